# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Trains each variant of the model for the same steps on the committed data and prints held-out errors with spread.

    python benchmarks/ablate.py --steps 400 --seeds 0 1 2 --jobs 2

Each run is a process of its own with one thread; a run that is done is not done again. Action errors are mean absolute
errors on held-out events in degrees (gripper 0 to 100) without imagination: `near` over the next 8 steps inside the event,
`event` over the rest of the event, both with the true caption (fixed chunks: the instruction).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "examples"))

from ablation.chunks import carve_chunks  # noqa: E402
from ablation.table import table  # noqa: E402
from ablation.variants import VARIANTS  # noqa: E402

DATASET = REPO / "examples/so101_sim/data/so101_pick_place"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=REPO / "outputs/ablate")
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--steps", type=int, default=400, help="of training, for every run")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", help="names of variants; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--run", nargs=2, metavar=("VARIANT", "SEED"), help="one run, in this process")
    args = parser.parse_args()
    args.out = args.out.resolve()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if args.run:
        _one(args)
        return
    _prepare(args)
    chosen = [v for v in VARIANTS if not args.only or v.name in args.only]
    # Seed by seed, so that an interrupted run still compares everything.
    todo = [(v.name, seed) for seed in args.seeds for v in chosen]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda job: _spawn(args, *job), todo))
    runs = [json.loads(path.read_text()) for job in todo if (path := _result(args, *job)).exists()]
    text = table(runs, [v.name for v in chosen])
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"{args.steps} steps of {args.batch}, seeds {args.seeds}\n\n{text}")


def _prepare(args: argparse.Namespace) -> None:
    """Views of events and of chunks, calibration, and the decoded frames that all runs share."""
    from ablation.windows_in_memory import WindowsInMemory

    from lerobot_env_so101_sim.calibration import main as write_calibration
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
    from lerobot_wallwm.processors.places import DatasetConfig, OutputConfig
    from lerobot_wallwm.processors.prepare import prepare
    from lerobot_wallwm.processors.prepare_config import PrepareConfig

    args.out.mkdir(parents=True, exist_ok=True)
    events = args.out / "events"
    if not events.exists():
        prepare(PrepareConfig(DatasetConfig(root=args.dataset), OutputConfig(root=events), heldout=0.2))
    carve_chunks(args.dataset, events / "events.parquet", _train_episodes(events), args.out / "chunks")
    if not (args.out / "cameras.json").exists():
        arguments, sys.argv = sys.argv, ["calibration", "--out", str(args.out / "cameras.json")]
        try:
            write_calibration()
        finally:
            sys.argv = arguments
    config = WallwmConfig(push_to_hub=False)
    for view in (events / "train", events / "heldout", args.out / "chunks"):
        WindowsInMemory(
            view, args.out / "frames", config.observation_delta_indices, config.action_delta_indices
        )


def _train_episodes(events: Path) -> list[int]:
    from lerobot.datasets import LeRobotDatasetMetadata

    episodes = LeRobotDatasetMetadata("local/train", root=events / "train").episodes
    return sorted(set(episodes["wallwm/source_episode"]))


def _spawn(args: argparse.Namespace, name: str, seed: int) -> None:
    result = _result(args, name, seed)
    if result.exists():
        return
    log = args.out / "logs" / f"{result.stem}.log"
    log.parent.mkdir(exist_ok=True)
    argv = [sys.executable, __file__, "--run", name, str(seed), "--out", str(args.out)]
    argv += ["--dataset", str(args.dataset), "--steps", str(args.steps), "--batch", str(args.batch)]
    with log.open("wb") as sink:
        done = subprocess.run(
            argv, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    print(f"{name}, seed {seed}: {'done' if done.returncode == 0 else f'failed, see {log}'}", flush=True)


def _one(args: argparse.Namespace) -> None:
    import torch
    from ablation.one_run import Places, run, write_result

    from lerobot_wallwm.processors.episodes import SourceDataset

    torch.set_num_threads(1)
    name, seed = args.run[0], int(args.run[1])
    (variant,) = [v for v in VARIANTS if v.name == name]
    source = SourceDataset.open(args.dataset)
    events = args.out / "events"
    places = Places(
        {"event": events / "train", "chunk": args.out / "chunks"},
        events / "heldout",
        args.out / "frames",
        args.out / "cameras.json",
        {source.episode_indices[i]: source.read(i).task for i in range(len(source))},
        args.out / "checkpoints",
    )
    write_result(_result(args, name, seed), run(variant, seed, args.steps, args.batch, places))


def _result(args: argparse.Namespace, name: str, seed: int) -> Path:
    return args.out / "runs" / f"{name.replace(' ', '_')}-{seed}-{args.steps}x{args.batch}.json"


if __name__ == "__main__":
    main()
