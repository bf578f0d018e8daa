# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""wallwm on carved events against LeRobot's ACT on the uncarved source, for the same wall-clock, in simulation.

    make bench-so101 MINUTES=60 EPISODES=50

Trains both with the unmodified lerobot-train on the same episodes, evaluates both with the unmodified lerobot-eval on
seen and on left-out colour pairs at the same seeds: success and Task Progress with 95 % intervals. What is done is not
redone: an interrupted run goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from so101_demo.collect import read_progress_log
from so101_demo.commands import CommandError, executable, run_command
from so101_demo.stages import Stages, fingerprint_path

from benchmarks.harness.repo import DATASET, REPO
from benchmarks.harness.rows import CannotRunError, Mean, Row, Share
from benchmarks.so101 import runs

ENV = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
MILESTONES = ("reached", "grasped", "lifted", "above_target", "released", "retreated")
NONE_FAILED = "none"
QUICK = {"minutes": 0.01, "episodes": 1, "policies": ["wallwm"], "splits": ["seen"]}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=60, help="training time of each policy")
    parser.add_argument("--episodes", type=int, default=50, help="of each policy on each split")
    parser.add_argument("--policies", nargs="+", default=["wallwm", "act"], choices=["wallwm", "act"])
    parser.add_argument("--splits", nargs="+", default=runs.SPLITS, choices=runs.SPLITS)
    parser.add_argument("--dataset", type=Path, default=DATASET, help="demonstrations, a LeRobotDataset v3")
    parser.add_argument("--wallwm_args", default="", help="more lerobot-train arguments for wallwm, quoted")
    parser.add_argument("--act_args", default="", help="more lerobot-train arguments for ACT, quoted")
    parser.add_argument("--fresh", action="store_true", help="redo everything")


def first_failing_phase(episode: Mapping[str, Any]) -> str:
    """The first milestone that an episode missed, or `NONE_FAILED`."""
    return next((name for name in MILESTONES if not episode[name]), NONE_FAILED)


def summarise(policy: str, split: str, episodes: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Counts, means and intervals of one policy on one split.

    Args:
        policy, split: Names.
        episodes: Lines of a progress log.

    Raises:
        CannotRunError: No episodes.
    """
    if not episodes:
        raise CannotRunError("no episodes to summarise. Fix: rerun the evaluation")
    names = {"policy": policy, "colour pairs": split.replace("_", " ")}
    success = Share(sum(bool(e["success"]) for e in episodes), len(episodes))
    progress = Mean.of(e["task_progress"] for e in episodes)
    low, high = progress.interval or (progress.mean, progress.mean)
    cells = {**names, "success": success, "Task Progress": progress.mean}
    yield Row("episodes", {**cells, "95 %": f"{low:.1f} to {high:.1f}"})
    failures = Counter(first_failing_phase(e) for e in episodes)
    missed = {name: failures[name] for name in (*MILESTONES, NONE_FAILED)}
    yield Row("first phase that failed", names | missed)


def rows(args: Namespace) -> Iterator[Row]:
    if args.minutes <= 0 or args.episodes < 1:
        raise CannotRunError("--minutes must be above 0 and --episodes at least 1")
    os.chdir(REPO)
    try:
        dataset, out = (Path(os.path.relpath(path.resolve())) for path in (args.dataset, args.out))
        yield from stages(args, dataset, out)
    except CommandError as error:
        raise CannotRunError(str(error)) from error


def stages(args: Namespace, dataset: Path, out: Path) -> Iterator[Row]:
    """Prepare, then probe, train and evaluate each policy."""
    stages = Stages(out, args.fresh)

    def say(line: str) -> None:
        print(f"{stages.clock()} {line}")

    package, rooms = REPO / "lerobot_wallwm", ("processors", "policies")
    code = {room: fingerprint_path(package / room, suffixes=(".py",)) for room in rooms}
    simulator = fingerprint_path(REPO / "examples/so101_sim/lerobot_env_so101_sim", suffixes=(".py",))
    events, logs = out / "events", out / "logs"

    def prepare() -> dict[str, Any]:
        places = [f"--dataset.root={dataset}", f"--out.root={events}"]
        argv = [executable("wallwm"), "prepare", *places, "--quiet=true"]
        return {"command": run_command(argv, logs / "prepare.log", env=ENV).command}

    made_of = {"dataset": fingerprint_path(dataset), "code": code["processors"]}
    prepared = stages.run("prepare", made_of, [events], prepare)
    more = shlex.split(args.wallwm_args), shlex.split(args.act_args)
    for contender in runs.contenders(events / "train", dataset, *more):
        name, folder = contender.name, out / contender.name
        if name not in args.policies:
            continue
        inputs = {
            "after": prepared.fingerprint,
            "policy": contender.policy,
            "batch": contender.batch_size,
            "code": code["policies"] if name == "wallwm" else "",
        }
        log = logs / f"{name}_probe.log"
        probe = partial(runs.probe, contender, folder / "probe", log, ENV)
        probed = stages.run(f"{name}_probe", inputs, [log], probe)
        steps = runs.steps_in(args.minutes, probed.values["seconds_per_step"])
        train = partial(runs.train, contender, steps, folder / "train", logs / f"{name}_train.log", ENV, say)
        inputs |= {"minutes": args.minutes, "steps": steps}
        trained = stages.run(f"{name}_train", inputs, [folder / "train"], train, resumable=True)
        figures = {key: trained.values[key] for key in ("minutes", "steps", "samples", "parameters")}
        yield Row("training", {"policy": name, **figures})
        for split in args.splits:
            target, log = folder / f"eval_{split}", logs / f"{name}_{split}.log"
            checkpoint = folder / "train/checkpoints/last/pretrained_model"
            evaluate = partial(runs.evaluate, checkpoint, split, args.episodes, target, log, ENV, say)
            inputs_of_eval = {"after": trained.fingerprint, "episodes": args.episodes, "simulator": simulator}
            evaluated = stages.run(f"{name}_{split}", inputs_of_eval, [target], evaluate)
            # A last batch that is not full simulates more episodes than asked for.
            wanted = range(runs.FIRST_SEED, runs.FIRST_SEED + args.episodes)
            progress = read_progress_log(evaluated.values["progress_log"])
            yield from summarise(name, split, [row for row in progress if row["seed"] in wanted])
