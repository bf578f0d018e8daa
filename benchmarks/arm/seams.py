# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How hard commands accelerate where events meet, against inside them, and whether success suffers from the seams.

    python benchmarks/bench_seams.py --checkpoint=<pretrained_model> [--episodes=10] [--seam=1] [--delay=2] \\
        [--variants=jump,seam,background,rtc] [--out=outputs/seams]

Acceleration is the second difference of the commands, per tick squared (degrees; percent for the gripper). At a boundary
it is that of the two windows of three commands that hold commands of both events; inside, that of all others. Writes
seams.json and seams.png.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.arm.closed_loop import Agent, Episode, Variant, run_episode
from lerobot_env_so101_sim.env import MOTORS, So101PickPlaceEnv

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
    """The figures of one variant."""
    inside, between = accelerations(episodes)
    limit = np.percentile(inside, 99, axis=0)
    joints = {
        name: {
            "inside_p50": float(np.median(inside[:, j])),
            "inside_p99": float(limit[j]),
            "inside_max": float(inside[:, j].max()),
            "boundary_p50": float(np.median(between[:, j])),
            "boundary_p99": float(np.percentile(between[:, j], 99)),
            "boundary_max": float(between[:, j].max()),
            "boundary_over_inside_p99": float((between[:, j] > limit[j]).mean()),
        }
        for j, name in enumerate(MOTORS)
    }
    # Over all joints, each in units of its own p99 inside events.
    worst_inside = (inside / np.maximum(limit, 1e-9)).max(axis=1)
    worst_between = (between / np.maximum(limit, 1e-9)).max(axis=1)
    return {
        "variant": variant.name,
        "engine": variant.engine,
        "delay": variant.delay,
        "fields": variant.fields,
        "episodes": len(episodes),
        "success": sum(e.success for e in episodes),
        "progress": float(np.mean([e.progress for e in episodes])),
        "steps": float(np.mean([len(e.commands) for e in episodes])),
        "boundaries": sum(len(e.begins) for e in episodes),
        "late": sum(e.late for e in episodes),
        "stalls": sum(e.counts.get("stall", 0) for e in episodes),
        "joints": joints,
        "arm_inside_p99": float(np.percentile(inside[:, :5], 99)),
        "arm_boundary_p99": float(np.percentile(between[:, :5], 99)),
        "arm_boundary_max": float(between[:, :5].max()),
        "worst_joint_inside_p99": float(np.percentile(worst_inside, 99)),
        "worst_joint_boundary_p99": float(np.percentile(worst_between, 99)),
        "worst_joint_boundary_max": float(worst_between.max()),
    }


def plot(runs: dict[str, list[Episode]], rows: list[dict[str, Any]], path: Path) -> None:
    """Commands of one episode around its events, and the distributions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, len(runs), figsize=(5.2 * len(runs), 9), squeeze=False, sharey="row")
    for column, (name, episodes) in enumerate(runs.items()):
        episode = episodes[0]
        axes[0, column].plot(episode.commands[:, 1:4], lw=1)
        axes[0, column].set_title(f"{name}: {rows[column]['success']}/{len(episodes)} episodes succeed")
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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seam", type=float, default=1.0, help="seam_acceleration of all variants but jump")
    parser.add_argument("--delay", type=int, default=2, help="ticks that a look takes, of background and rtc")
    parser.add_argument("--replan", type=int, default=4)
    parser.add_argument("--variants", default="jump,seam,background,rtc")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--split", default="seen")
    parser.add_argument("--out", type=Path, default=Path("outputs/seams"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    common = {"replan_steps": args.replan, "on_plan_end": "repeat"}
    known = {
        "jump": Variant("jump", fields={**common, "seam_acceleration": 0.0}),
        "seam": Variant("seam", fields={**common, "seam_acceleration": args.seam}),
        "background": Variant(
            "background", "background", args.delay, {**common, "seam_acceleration": args.seam}
        ),
        "rtc": Variant("rtc", "rtc", args.delay, {**common, "seam_acceleration": args.seam}),
    }
    env = So101PickPlaceEnv(split=args.split)
    runs, rows = {}, []
    for name in args.variants.split(","):
        agent, began = Agent(args.checkpoint, known[name]), time.perf_counter()
        runs[name] = [run_episode(env, agent, args.seed + i) for i in range(args.episodes)]
        rows.append(report(known[name], runs[name]))
        row = rows[-1]
        print(
            f"{name:<11} success {row['success']}/{row['episodes']}  progress {row['progress']:.1f}  "
            f"steps {row['steps']:.0f}  boundaries {row['boundaries']}  arm |a| inside p99 {row['arm_inside_p99']:.2f}  "
            f"boundary p99 {row['arm_boundary_p99']:.2f} max {row['arm_boundary_max']:.2f}  worst joint: inside p99 "
            f"{row['worst_joint_inside_p99']:.2f} boundary p99 {row['worst_joint_boundary_p99']:.2f}  late {row['late']}  "
            f"stalls {row['stalls']}  ({time.perf_counter() - began:.0f} s)",
            flush=True,
        )
    env.close()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "seams.json").write_text(json.dumps(rows, indent=1))
    plot(runs, rows, args.out / "seams.png")


if __name__ == "__main__":
    main()
