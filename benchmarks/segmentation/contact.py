# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What effort adds to the segmenter: boundary F1 of the same episodes with and without it, within 0.1 s and 0.05 s.

SO-101 (20 Hz, fresh demonstrations, actuator forces of all six joints; "measured motion" as if commands had not been
recorded; "opens wide" as if the hand had opened the gripper fully while it retreats, which makes the grasp a small part of
its range) and ten Meta-World tasks (80 Hz, a noisy force sensor at the hand; see segmentation_tasks.py, whose phases are
partly defined by contact, which flatters a force sensor). `--tuning` scores the seeds on which thresholds were chosen.

    python benchmarks/contact_score.py [--episodes 10] [--tuning]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from benchmarks.segmentation.boundary_score import BoundaryScore, boundary_score, tolerance_frames
from benchmarks.segmentation.score import cuts_of
from benchmarks.segmentation.tasks import META_WORLD, MissingPackageError, record_meta_world
from lerobot_wallwm.processors.source.episodes import Episode

METHOD = "ours, action events"
SIMULATORS = ["so101", "metaworld"]
TOLERANCES_S = (0.1, 0.05)


def record_so101(number: int, seed: int) -> list[tuple[Episode, list[int]]]:
    """Successful demonstrations with actuator forces, and where their phases start."""
    from lerobot_env_so101_sim.env import MOTORS, So101PickPlaceEnv
    from lerobot_env_so101_sim.record import demonstrate

    names = tuple(f"{motor}.pos" for motor in MOTORS)
    env = So101PickPlaceEnv(split="all", cameras=False)
    episodes: list[tuple[Episode, list[int]]] = []
    while len(episodes) < number:
        frames, commands, _, success = demonstrate(env, seed, effort=True)
        seed += 1
        if not success:
            continue
        state, action, effort = (
            np.stack([f[key] for f in frames]).astype(np.float64)
            for key in ("observation.state", "action", "observation.effort")
        )
        lengths = [len(list(run)) for _, run in groupby(commands, key=lambda command: command.phase)]
        fps, joints = float(env.metadata["render_fps"]), tuple(f"{motor}.effort" for motor in MOTORS)
        episode = Episode(
            len(episodes), env.task_description, fps, state, action, names, names, effort, joints
        )
        episodes.append((episode, np.cumsum(lengths)[:-1].tolist()))
    env.close()
    return episodes


def measured(episode: Episode) -> Episode:
    """The episode as if its commands had not been recorded."""
    return replace(episode, action=np.vstack([episode.state[1:], episode.state[-1:]]))


def wide(episode: Episode, true: list[int]) -> Episode:
    """The episode with the gripper opened fully, command and finger, within 0.5 s of its last phase."""
    action, state = episode.action.copy(), episode.state.copy()
    ramp = np.clip((np.arange(len(action)) - true[-1]) / (0.5 * episode.fps), 0, 1)
    for values in (action, state):
        values[:, -1] += ramp * (100 - values[:, -1])
    return replace(episode, action=action, state=state)


def tasks(
    episodes: int, tuning: bool, simulators: list[str]
) -> Iterator[tuple[str, list[tuple[Episode, list[int]]]]]:
    """Name, and episodes with effort and true boundaries, of each task."""
    if "so101" in simulators:
        own = record_so101(4 * episodes, 40000 if tuning else 95000)
        yield "so101", own
        yield "so101, measured motion", [(measured(episode), true) for episode, true in own]
        yield "so101, opens wide", [(wide(episode, true), true) for episode, true in own]
        yield "so101, measured, opens wide", [(measured(wide(episode, true)), true) for episode, true in own]
    seeds = range(episodes) if tuning else range(1000, 1000 + episodes)
    for task in META_WORLD if "metaworld" in simulators else ():
        yield f"metaworld {task}", record_meta_world(task, seeds, force=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=10, help="of each task; of SO-101 four times as many")
    parser.add_argument(
        "--only", nargs="+", choices=SIMULATORS, default=SIMULATORS, help="simulators; all by default"
    )
    parser.add_argument(
        "--tuning", action="store_true", help="score the seeds on which thresholds were chosen"
    )
    args = parser.parse_args()
    heads = [f"{how}, {s:g} s" for s in TOLERANCES_S for how in ("without", "with")]
    print(f"{'':<34}{'episodes':>8}{'true':>6}" + "".join(f"{head:>18}" for head in heads), flush=True)
    rows = []
    try:
        for name, episodes in tasks(args.episodes, args.tuning, args.only):
            row = []
            for seconds in TOLERANCES_S:
                for keep in (False, True):
                    score = BoundaryScore()
                    for episode, true in episodes:
                        found = cuts_of(METHOD, episode if keep else replace(episode, effort=None), true)
                        score += boundary_score(found, true, tolerance_frames(episode.fps, seconds))
                    row.append(score.f1)
            rows.append(row)
            true = sum(len(true) for _, true in episodes)
            print(
                f"{name:<34}{len(episodes):>8}{true:>6}" + "".join(f"{value:>18.3f}" for value in row),
                flush=True,
            )
    except MissingPackageError as error:
        print(f"contact_score: {error}", file=sys.stderr)
        return 2
    print(f"{'mean':<48}" + "".join(f"{value:>18.3f}" for value in np.mean(rows, axis=0)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
