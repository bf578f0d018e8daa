# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A robot with several parts (two arms, an arm on a base) as one episode a part, each with events of its own.

What belongs to a part is told by the dataset's description (`embodiment`). A part that hardly moves in an episode holds still
in all of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lerobot_wallwm.embodiment.description import Rotation, widest_alike
from lerobot_wallwm.processors.motion.kinematics import steps_of, typical_size
from lerobot_wallwm.processors.source.episodes import Episode

BASE = "base"
# Of the widest travel in the same unit; less over a whole episode is no action of this part. Our choice.
_LEAST_TRAVEL = 0.03
# Of its typical speed; a base that is slower stands. Our choice.
_STANDS = 0.1


def parts_of(episode: Episode) -> list[str]:
    """The parts of a robot that has more than one, in the action's order; `[""]` for all others."""
    parts = list(dict.fromkeys(dim.part for dim in episode.what.action))
    return parts if len(parts) > 1 else [""]


def arms_of(parts: list[str]) -> list[str]:
    """Those parts that are arms."""
    return [part for part in parts if part != BASE]


def moves(episode: Episode, part: str) -> bool:
    """Whether a part does anything in an episode."""
    what = episode.what
    span = np.ptp(np.where(what.rates, np.cumsum(episode.action, axis=0), episode.action), axis=0)
    least = _LEAST_TRAVEL * widest_alike(span, what.action)
    return any(
        s > max(low, 1e-9) for s, low, dim in zip(span, least, what.action, strict=True) if dim.part == part
    )


def part_episode(episode: Episode, part: str) -> Episode:
    """The episode of one part alone: its dimensions of action, state and effort."""
    what = episode.what
    acts = [d for d, dim in enumerate(what.action) if dim.part == part]
    shows = [d for d, dim in enumerate(what.state) if dim.part == part]
    place = {d: i for i, d in enumerate(acts)}
    turns: list[Rotation] = [
        replace(t, dims=tuple(place[d] for d in t.dims), position=tuple(place[d] for d in t.position))
        for t in what.action_rotations
        if {*t.dims, *t.position} <= place.keys()
    ]
    own = replace(what, action=tuple(what.action[d] for d in acts), action_rotations=tuple(turns))
    effort, names = episode.effort, episode.effort_names
    if effort is not None:
        whole = effort.shape[1] == episode.action.shape[1]
        effort = effort[:, acts] if whole else None
        names = tuple(names[d] for d in acts) if whole and names else ()
    return replace(
        episode,
        action=episode.action[:, acts],
        state=episode.state[:, shows],
        action_names=tuple(episode.action_names[d] for d in acts) if episode.action_names else (),
        state_names=tuple(episode.state_names[d] for d in shows) if episode.state_names else (),
        effort=effort,
        effort_names=names,
        embodiment=own.of_state(shows),
    )


def drives(base: Episode) -> list[tuple[int, int, str]]:
    """What a base does: intervals `(start, end, label)` that tile the episode, `drive`, `turn` or `wait`.

    Standing or moving for less than 0.3 s belongs to what came before.
    """
    what = base.what
    velocity = np.where(what.rates, base.action, steps_of(base.action) * base.fps)
    # Of the same unit together: a base that drives straight has a little noise sideways.
    size = np.maximum(widest_alike(typical_size(velocity), what.action), 1e-9)
    relative = np.abs(velocity) / size
    angle = np.array([dim.quantity == "angle" for dim in what.action])
    turning, driving = (
        relative[:, dims].max(axis=1) if dims.any() else np.zeros(len(base)) for dims in (angle, ~angle)
    )
    labels = np.where(np.maximum(turning, driving) < _STANDS, 0, np.where(driving >= turning, 1, 2))
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    least = max(2, round(0.3 * base.fps))
    spans: list[tuple[int, int, str]] = []
    for start, end in zip(edges, edges[1:], strict=False):
        label = ("wait", "drive", "turn")[labels[start]]
        if spans and (end - start < least or spans[-1][2] == label):
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        else:
            spans.append((start, end, label))
    return spans
