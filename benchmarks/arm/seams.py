# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How hard commands accelerate where events meet, against inside them, and whether success suffers from the seams.

Acceleration is the second difference of the commands, per tick squared (degrees; percent for the gripper). At a boundary
it is that of the two windows of three commands that hold commands of both events; inside, that of all others. "Worst
joint": each joint in units of its own 99th percentile inside events. Writes seams.png. `--quick` takes a small random
checkpoint of its own.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arm.closed_loop import Agent, Episode, Variant, run_episode
from benchmarks.arm.toy_checkpoint import make_simulator_checkpoint
from benchmarks.harness.rows import CannotRunError, Mean, Row, Share
from lerobot_env_so101_sim.env import So101PickPlaceEnv

FIRST_SEED = 200_000


def accelerations(episodes: list[Episode]) -> tuple[np.ndarray, np.ndarray]:
    """Absolute second differences ``(N, A)`` inside events, and ``(M, A)`` at their boundaries."""
    inside, between = [], []
    for episode in episodes:
        found = np.abs(np.diff(episode.commands, n=2, axis=0))  # row k holds commands k, k + 1, k + 2
        at = np.zeros(len(found), bool)
        for tick in episode.begins:
            at[max(0, tick - 2) : tick] = True
        inside.append(found[~at])
        between.append(found[at])
    return np.concatenate(inside), np.concatenate(between)


def report(variant: Variant, episodes: list[Episode]) -> dict[str, Any]:
    """Cells of one variant."""
    inside, between = accelerations(episodes)
    limit = np.maximum(np.percentile(inside, 99, axis=0), 1e-9)
    cells = {
        "variant": variant.name,
        "success": Share(sum(e.success for e in episodes), len(episodes)),
        "Task Progress": Mean.of(e.progress for e in episodes),
        "boundaries": sum(len(e.begins) for e in episodes),
        "late": sum(e.late for e in episodes),
        "inside, 99 %": float(np.percentile(inside[:, :5], 99)),
        "worst joint inside, 99 %": float(np.percentile((inside / limit).max(axis=1), 99)),
    }
    if len(between):
        cells |= {
            "boundary, 99 %": float(np.percentile(between[:, :5], 99)),
            "boundary, most": float(between[:, :5].max()),
            "worst joint at a boundary, 99 %": float(np.percentile((between / limit).max(axis=1), 99)),
        }
    return cells


def plot(runs: dict[str, list[Episode]], cells: list[dict[str, Any]], path: Path) -> None:
    """Commands of one episode around its events, and the distributions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, len(runs), figsize=(5.2 * len(runs), 9), squeeze=False, sharey="row")
    for column, (name, episodes) in enumerate(runs.items()):
        episode = episodes[0]
        axes[0, column].plot(episode.commands[:, 1:4], lw=1)
        axes[0, column].set_title(f"{name}: {cells[column]['success']} succeed")
        axes[1, column].plot(np.abs(np.diff(episode.commands, n=2, axis=0))[:, 1:4], lw=0.8)
        for axis in axes[:2, column]:
            for tick in episode.begins:
                axis.axvline(tick, color="0.7", lw=0.7, zorder=0)
            axis.set_xlabel("tick (20 Hz); grey: an event begins")
        inside, between = (part[:, :5] for part in accelerations(episodes))
        bins = np.geomspace(1e-3, 30, 60)
        for part, label in ((inside, "inside events"), (between, "at boundaries")):
            share = np.ones(part.size) / part.size
            axes[2, column].hist(part.ravel().clip(1e-3), bins, weights=share, alpha=0.6, label=label)
        axes[2, column].axvline(np.percentile(inside, 99), color="k", lw=1, label="99th percentile inside")
        axes[2, column].set_xscale("log")
        axes[2, column].set_xlabel("|second difference|, arm joints, degrees per tick²")
        axes[2, column].legend(fontsize=8)
    axes[0, 0].set_ylabel("commands, degrees (3 joints)")
    axes[1, 0].set_ylabel("|second difference|")
    axes[2, 0].set_ylabel("share")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


VARIANTS = ("jump", "seam", "background", "rtc")
QUICK = {"episodes": 1, "variants": ["seam"], "ticks": 30}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seam", type=float, default=1.0, help="seam_acceleration of all variants but jump")
    parser.add_argument("--delay", type=int, default=2, help="ticks that a look takes, of background and rtc")
    parser.add_argument("--replan", type=int, default=4)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--split", default="seen")
    parser.add_argument("--ticks", type=int, help="of an episode, at most")


def rows(args: Namespace) -> Iterator[Row]:
    if args.checkpoint is None and not args.quick:
        raise CannotRunError(
            "--checkpoint is missing. Fix: name the pretrained_model folder of a wallwm policy"
        )
    checkpoint = args.checkpoint or make_simulator_checkpoint(args.out / "checkpoint")
    env = So101PickPlaceEnv(split=args.split)
    runs, cells = {}, []
    for name in args.variants:
        fields = {"replan_steps": args.replan, "on_plan_end": "repeat"}
        fields["seam_acceleration"] = 0.0 if name == "jump" else args.seam
        engine = name if name in ("background", "rtc") else "sync"
        variant = Variant(name, engine, 0 if engine == "sync" else args.delay, fields)
        agent = Agent(checkpoint, variant)
        runs[name] = [run_episode(env, agent, args.seed + i, args.ticks) for i in range(args.episodes)]
        cells.append(report(variant, runs[name]))
        yield Row("acceleration of the commands, a tick squared", cells[-1])
    env.close()
    plot(runs, cells, args.out / "seams.png")
