# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""wallwm on carved events against LeRobot's ACT on the uncarved source, for the same wall-clock, in simulation.

    make bench-so101 MINUTES=60 EPISODES=50

Trains both with the unmodified lerobot-train on the same episodes, evaluates both with the unmodified lerobot-eval on
seen and on left-out colour pairs at the same seeds, and prints success and Task Progress with 95 % intervals. What is
done is not redone: an interrupted run goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from so101_demo.collect import read_progress_log
from so101_demo.commands import CommandError, executable, run_command
from so101_demo.stages import Stages, fingerprint_path, write_json

from benchmarks.harness.repo import DATASET, REPO
from benchmarks.so101 import runs, table as results_table

ENV = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


def main() -> int:
    """Returns 0 when the table is written, 1 if a command failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="training time of each policy")
    parser.add_argument(
        "--episodes", type=int, default=50, help="simulated episodes of each policy on each split"
    )
    parser.add_argument("--policies", nargs="+", default=["wallwm", "act"], choices=["wallwm", "act"])
    parser.add_argument("--dataset", type=Path, default=DATASET, help="demonstrations, a LeRobotDataset v3")
    parser.add_argument(
        "--out", type=Path, default=REPO / "outputs/bench_so101", help="where everything goes"
    )
    parser.add_argument("--wallwm_args", default="", help="more lerobot-train arguments for wallwm, quoted")
    parser.add_argument("--act_args", default="", help="more lerobot-train arguments for ACT, quoted")
    parser.add_argument("--fresh", action="store_true", help="redo everything")
    arguments = parser.parse_args()
    if arguments.minutes <= 0 or arguments.episodes < 1:
        parser.error("--minutes must be above 0 and --episodes at least 1")
    out, dataset = arguments.out.resolve(), arguments.dataset.resolve()
    os.chdir(REPO)
    try:
        benchmark(arguments, Path(os.path.relpath(dataset)), Path(os.path.relpath(out)))
    except (CommandError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def benchmark(arguments: argparse.Namespace, dataset: Path, out: Path) -> None:
    """All stages.

    Args:
        arguments: See `main`.
        dataset: The demonstrations.
        out: Output folder.
    """
    stages = Stages(out, arguments.fresh)
    code = {
        room: fingerprint_path(REPO / "lerobot_wallwm" / room, suffixes=(".py",))
        for room in ("processors", "policies")
    }
    simulator = fingerprint_path(REPO / "examples/so101_sim/lerobot_env_so101_sim", suffixes=(".py",))
    events = out / "events"

    def prepare() -> dict[str, Any]:
        argv = [
            executable("wallwm"),
            "prepare",
            f"--dataset.root={dataset}",
            f"--out.root={events}",
            "--quiet=true",
        ]
        return {"command": run_command(argv, out / "logs/prepare.log", env=ENV).command}

    prepared = stages.run(
        "prepare", {"dataset": fingerprint_path(dataset), "code": code["processors"]}, [events], prepare
    )
    results, training = {}, {}
    wallwm_args, act_args = shlex.split(arguments.wallwm_args), shlex.split(arguments.act_args)
    for contender in runs.contenders(events / "train", dataset, wallwm_args, act_args):
        name = contender.name
        if name not in arguments.policies:
            continue
        inputs = {
            "after": prepared.fingerprint,
            "policy": contender.policy,
            "batch": contender.batch_size,
            "code": code["policies"] if name == "wallwm" else "",
        }
        folder = out / name
        probed = stages.run(
            f"{name}_probe",
            inputs,
            [out / f"logs/{name}_probe.log"],
            lambda c=contender, f=folder: runs.probe(c, f / "probe", out / f"logs/{c.name}_probe.log", ENV),
        )
        steps = runs.steps_in(arguments.minutes, probed.values["seconds_per_step"])
        trained = stages.run(
            f"{name}_train",
            inputs | {"minutes": arguments.minutes, "steps": steps},
            [folder / "train"],
            lambda c=contender, f=folder, n=steps: runs.train(
                c,
                n,
                f / "train",
                out / f"logs/{c.name}_train.log",
                ENV,
                lambda line: print(f"{stages.clock()} {line}"),
            ),
            resumable=True,
        )
        training[name] = trained.values
        for split in runs.SPLITS:
            target = folder / f"eval_{split}"
            evaluated = stages.run(
                f"{name}_{split}",
                {"after": trained.fingerprint, "episodes": arguments.episodes, "simulator": simulator},
                [target],
                lambda f=folder, s=split, t=target, n=name: runs.evaluate(
                    f / "train/checkpoints/last/pretrained_model",
                    s,
                    arguments.episodes,
                    t,
                    out / f"logs/{n}_{s}.log",
                    ENV,
                    lambda line: print(f"{stages.clock()} {line}"),
                ),
            )
            # A last batch that is not full simulates more episodes than asked for.
            wanted = range(runs.FIRST_SEED, runs.FIRST_SEED + arguments.episodes)
            rows = [
                row for row in read_progress_log(evaluated.values["progress_log"]) if row["seed"] in wanted
            ]
            results[f"{name}/{split}"] = results_table.summarise(rows)
    text = results_table.markdown(results, training)
    (out / "results.md").write_text(text, encoding="utf-8")
    write_json(out / "results.json", {"results": results, "training": training})
    results_table.chart(results, out / "results.png")
    print(f"\n{text}\n{stages.clock()} {out}/results.md, results.json, results.png")


if __name__ == "__main__":
    sys.exit(main())
