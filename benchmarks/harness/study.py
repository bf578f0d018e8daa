# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The command line of a study: many short trainings, each a process of its own with one thread, none done twice."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.harness.repo import DATASET, REPO


def study_parser(description: str | None, name: str, what: str) -> argparse.ArgumentParser:
    """The flags that all studies share.

    Args:
        description: Of the study.
        name: Its folder under outputs/.
        what: What a run is named by besides its seed, for the help text.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=REPO / "outputs" / name)
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--steps", type=int, default=400, help="of training, for every run")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--run", nargs=2, metavar=(what, "SEED"), help="one run, in this process")
    return parser


def parse_study(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Reads the command line, and keeps this process and the runs offline."""
    args = parser.parse_args()
    args.out = args.out.resolve()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return args


def result_path(args: argparse.Namespace, name: str, seed: int) -> Path:
    """Where a run writes its figures."""
    return args.out / "runs" / f"{name.replace(' ', '_')}-{seed}-{args.steps}x{args.batch}.json"


def run_all(
    module: str, args: argparse.Namespace, names: Sequence[str], passed: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Makes the runs that are not done yet, `args.jobs` at a time, and reads the figures of all that are.

    Args:
        module: The study's own module; `--run NAME SEED` makes one run and writes `result_path`.
        args: From `parse_study`.
        names: What is compared. Seed by seed, so that an interrupted study still compares everything.
        passed: Further flags for each run.
    """
    todo = [(name, seed) for seed in args.seeds for name in names]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda job: _spawn(module, args, *job, passed), todo))
    return [json.loads(path.read_text()) for job in todo if (path := result_path(args, *job)).exists()]


def write_table(args: argparse.Namespace, text: str) -> None:
    """Prints the study's table and keeps it beside the runs."""
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"{args.steps} steps of {args.batch}, seeds {args.seeds}\n\n{text}")


def _spawn(module: str, args: argparse.Namespace, name: str, seed: int, passed: Sequence[str]) -> None:
    result = result_path(args, name, seed)
    if result.exists():
        return
    log = args.out / "logs" / f"{result.stem}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", module, "--run", name, str(seed), "--out", str(args.out)]
    argv += ["--dataset", str(args.dataset), "--steps", str(args.steps), "--batch", str(args.batch), *passed]
    with log.open("wb") as sink:
        done = subprocess.run(
            argv, cwd=REPO, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    print(f"{name}, seed {seed}: {'done' if done.returncode == 0 else f'failed, see {log}'}", flush=True)
