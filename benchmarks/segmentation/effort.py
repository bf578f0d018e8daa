# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What effort adds to the segmenter: boundary F1 of the same SO-101 demonstrations with and without it.

Fresh demonstrations with the actuator forces of all six joints. "Measured motion": as if commands had not been recorded;
"opens wide": as if the hand had opened the gripper fully while it retreats, which makes the grasp a small part of its
range. `--seed=40000` are those on which thresholds were chosen.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice

import numpy as np

from benchmarks.harness.demonstrations import demonstrations, measured
from benchmarks.harness.rows import Row
from benchmarks.segmentation.boundary_score import BoundaryScore, boundary_score, tolerance_frames
from benchmarks.segmentation.score import cuts_of
from lerobot_wallwm.processors.source.episodes import Episode

TOLERANCES_S = (0.1, 0.05)
QUICK = {"episodes": 4}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--episodes", type=int, default=40, help="successful ones")
    parser.add_argument("--seed", type=int, default=95000, help="of the first try")


def wide(episode: Episode, true: list[int]) -> Episode:
    """The episode with the gripper opened fully, command and finger, within 0.5 s of its last phase."""
    action, state = episode.action.copy(), episode.state.copy()
    ramp = np.clip((np.arange(len(action)) - true[-1]) / (0.5 * episode.fps), 0, 1)
    for values in (action, state):
        values[:, -1] += ramp * (100 - values[:, -1])
    return replace(episode, action=action, state=state)


def rows(args: Namespace) -> Iterator[Row]:
    tries = demonstrations(count(args.seed), effort=True)
    own = [(d.episode, d.boundaries) for d in islice((d for d in tries if d.success), args.episodes)]
    sets = {
        "as recorded": own,
        "measured motion": [(measured(episode), true) for episode, true in own],
        "opens wide": [(wide(episode, true), true) for episode, true in own],
        "measured, opens wide": [(measured(wide(episode, true)), true) for episode, true in own],
    }
    for name, episodes in sets.items():
        cells = {}
        for seconds in TOLERANCES_S:
            for how in ("without", "with"):
                score = BoundaryScore()
                for episode, true in episodes:
                    given = episode if how == "with" else replace(episode, effort=None)
                    found = cuts_of("ours, action events", given, true)
                    score += boundary_score(found, true, tolerance_frames(episode.fps, seconds))
                cells[f"F1 {how} effort, {seconds:g} s"] = score.f1
        yield Row(f"{len(own)} demonstrations", {"demonstrations": name, **cells})
