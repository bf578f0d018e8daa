# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Events against chunks on tables with choices: docs/results/events_against_chunks.md says what for, and how it is read.

Records demonstrations, trains the same network from the same base weights on events and on chunks, and plays both by the
unmodified lerobot-eval in the same scenes. What is done is not redone, an interrupted study goes on where it was.
Task Progress of an event arm less that of the chunk arm is paired by scene: the mean over training seeds in each scene,
then a bootstrap over scenes; success by McNemar's exact test.
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from so101_demo.collect import read_progress_log
from so101_demo.commands import CommandError

from benchmarks.harness.repo import REPO
from benchmarks.harness.rows import CannotRunError, Mean, Row, Share
from benchmarks.learning import one_run
from benchmarks.learning.sight import BASE
from benchmarks.so101.bench import evaluate

FIRST_SEED = 300_000
CHUNKS = "chunk, instruction"
# Name to the training and what it is told at each event's end.
ARMS = {
    "event, grammar": ("event", "--policy.planner=grammar"),
    "event, no plan": ("event", "--policy.planner=instruction"),
    CHUNKS: ("chunk", "--policy.planner=instruction"),
}
SPLITS = ("seen", "unseen_orders", "unseen_compositions")
QUICK = {"demonstrations": 3, "steps": 2, "batch": 2, "episodes": 1, "seeds": [0], "splits": ["seen"]}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--demonstrations", type=int, default=300)
    parser.add_argument("--steps", type=int, default=4000, help="of each training")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--splits", nargs="+", default=SPLITS)
    parser.add_argument("--episodes", type=int, default=50, help="of each arm, seed and split")


def rows(args: Namespace) -> Iterator[Row]:
    os.chdir(REPO)
    out = args.out.resolve()
    source = out / "tables"
    view = one_run.recorded(source, args.demonstrations, 0, "Table-v0") / "train"
    views = {"event": view, "chunk": source}
    trainings = sorted({ARMS[arm][0] for arm in args.arms})
    jobs = [
        one_run.Job(
            training,
            seed,
            args.steps,
            args.batch,
            str(views[training]),
            "",
            str(out / "frames"),
            0,
            changes={"start": BASE, "stage": "next_chunk" if training == "chunk" else "joint"},
        )
        for seed in args.seeds
        for training in trainings
    ]
    args.jobs = 1
    trained = one_run.run_all(args, jobs)
    for training, runs in trained.items():
        seconds = Mean.of(run["seconds_per_step"] for run in runs.values())
        losses = Mean.of(run["loss"] for run in runs.values())
        yield Row(
            f"trainings of {args.steps} steps of {args.batch}",
            {"training": training, "s a step": seconds, "loss": losses},
        )
    for split in args.splits:
        played = {
            arm: {
                seed: play(args, out, arm, seed, split, trained[ARMS[arm][0]][seed]["checkpoint"])
                for seed in args.seeds
            }
            for arm in args.arms
        }
        for arm, seeds in played.items():
            yield Row("episodes", {"split": split, "arm": arm, **counted(list(seeds.values()))})
        for arm in played if CHUNKS in played else ():
            if arm != CHUNKS:
                yield Row(
                    "less " + CHUNKS, {"split": split, "arm": arm, **compared(played[arm], played[CHUNKS])}
                )


def play(
    args: Namespace, out: Path, arm: str, seed: int, split: str, checkpoint: str
) -> dict[int, Mapping[str, Any]]:
    """Episodes of an arm by the seed of their scene; those that are in its log are not played again."""
    folder = out / "played" / f"{arm.replace(', ', '-').replace(' ', '_')}-{seed}-{split}"
    log = folder / "progress.jsonl"
    wanted = range(FIRST_SEED, FIRST_SEED + args.episodes)
    episodes = {e["seed"]: e for e in read_progress_log(log)} if log.exists() else {}
    if not set(wanted) <= set(episodes):
        more = [ARMS[arm][1], "--policy.on_plan_end=repeat"]
        try:
            evaluate(
                Path(checkpoint),
                split,
                args.episodes,
                folder,
                folder / "log",
                print,
                "Table-v0",
                FIRST_SEED,
                more,
            )
        except CommandError as error:
            raise CannotRunError(str(error)) from error
        episodes = {e["seed"]: e for e in read_progress_log(log)}
    return {scene: episodes[scene] for scene in wanted}


def counted(runs: Sequence[Mapping[int, Mapping[str, Any]]]) -> dict[str, Any]:
    """Cells: success and Task Progress over all runs of an arm."""
    episodes = [episode for run in runs for episode in run.values()]
    return {
        "success": Share(sum(bool(e["success"]) for e in episodes), len(episodes)),
        "Task Progress": Mean.of(e["task_progress"] for e in episodes),
        "by training seed": ", ".join(
            f"{np.mean([e['task_progress'] for e in run.values()]):.1f}" for run in runs
        ),
    }


def compared(runs: Mapping[int, Mapping], base: Mapping[int, Mapping]) -> dict[str, Any]:
    """Cells: the paired difference of Task Progress with 95 %, and McNemar's exact test of success."""
    from scipy.stats import binomtest

    scenes = sorted(next(iter(runs.values())))
    gains = Mean.of(
        np.mean([runs[seed][scene]["task_progress"] - base[seed][scene]["task_progress"] for seed in runs])
        for scene in scenes
    )
    low, high = gains.interval or (gains.mean, gains.mean)
    pairs = [
        (runs[seed][scene]["success"], base[seed][scene]["success"]) for seed in runs for scene in scenes
    ]
    won, lost = (sum(bool(a) > bool(b) for a, b in pairs), sum(bool(a) < bool(b) for a, b in pairs))
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    return {
        "Task Progress": gains.mean,
        "95 %": f"{low:.1f} to {high:.1f}",
        "won, lost": f"{won}, {lost}",
        "McNemar": p,
    }
