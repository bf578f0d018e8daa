# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the policy learns from a LeRobot dataset before its first batch: spreads, episodes' ends, the event grammar."""

from __future__ import annotations

import itertools
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lerobot_wallwm.embodiment.dataset import read_rows
from lerobot_wallwm.embodiment.description import Embodiment
from lerobot_wallwm.language.event_grammar import END, START, learn_transitions
from lerobot_wallwm.language.view_events import has_events, recording_of, recordings, view_rows
from lerobot_wallwm.policies.batches.action_space import ActionSpace, Measured


def episode_column(dataset_meta: Any | None, name: str) -> Tensor | None:
    """A column ``(episodes,)`` of LeRobot's metadata, such as ``length``; None without metadata."""
    if dataset_meta is None or getattr(dataset_meta, "episodes", None) is None:
        return None
    return torch.as_tensor(dataset_meta.episodes[name])


def event_grammar(
    rows: Iterable[Mapping[str, Any]], trained: Container[str] | None = None
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Which event follows which, and how long the longest of each kind lasts.

    Where an event of a recording is not in the view any more, what came before it is not followed by what came after,
    unless nothing else in the view tells how to go on from there: then its kind is gone from the data.

    Args:
        rows: Of a view, see `view_rows`.
        trained: Templates that count; None: all.

    Returns:
        Transition counts (see `planners.learn_transitions`) and frames per caption template.
    """
    rows = [row for row in rows if trained is None or row["wallwm/template"] in trained]
    longest: dict[str, int] = {}
    for row in rows:
        template = row["wallwm/template"]
        longest[template] = max(int(row["length"]), longest.get(template, 0))
    sequences: list[list[str | None]] = []
    for events in recordings(rows):
        # An instruction that changes within an episode asks for something else: its events are a plan of their own.
        plans: dict[Any, list[Mapping[str, Any]]] = {}
        for event in events:
            plans.setdefault(event.get("wallwm/instruction"), []).append(event)
        sequences += [_with_gaps(plan) for _, plan in sorted(plans.items(), key=lambda item: str(item[0]))]
    pairs = [pair for sequence in sequences for pair in itertools.pairwise([START, *sequence, END])]
    followed = {before for before, after in pairs if after is not None}
    for sequence in sequences:
        # From the end, so that places hold; what is before the first event is its recording's start.
        for i in reversed([i for i, template in enumerate(sequence) if template is None]):
            if (sequence[i - 1] if i else START) not in followed:
                del sequence[i]
    return learn_transitions(sequences), longest


def _with_gaps(events: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Templates of a plan's events in order; None where some are missing. Views from before `wallwm/nth` do not tell."""
    sequence: list[str | None] = []
    following = 0
    for event in events:
        nth = event.get("wallwm/nth", following)
        if nth != following:
            sequence.append(None)
        sequence.append(event["wallwm/template"])
        following = nth + 1
    return sequence if following == (events[-1].get("wallwm/of") or following) else [*sequence, None]


def event_rows(dataset_meta: Any | None) -> list[Mapping[str, Any]]:
    """The events of a view that `wallwm prepare` wrote (`view_rows`); empty for other data."""
    root = getattr(dataset_meta, "root", None)
    rows = [] if root is None else view_rows(Path(root))
    found = rows or episode_rows(getattr(dataset_meta, "episodes", None))
    return list(found) if has_events(found) else []


def episode_rows(episodes: Any | None) -> list[Mapping[str, Any]]:
    """Episodes as rows, whether they are rows, LeRobot's table or columns by name."""
    names = list(episodes) if isinstance(episodes, Mapping) else getattr(episodes, "column_names", None)
    if episodes is None or names is None:
        return list(episodes or ())
    columns = (episodes[name] for name in names)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def instruction_slots(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Slots by task, of a view's tasks whose sentence alone does not give them; see `language.instruction`."""
    texts = {row["wallwm/instruction"]: row.get("wallwm/slots") for row in events}
    return {task: slots for task, text in texts.items() if (slots := json.loads(text or "{}"))}


def event_texts(dataset_meta: Any | None) -> tuple[list[str], list[str]] | None:
    """Of each event of a view that `wallwm prepare` wrote: the source episode's instruction, and the next event's caption.

    The latter is empty after the last event. None for data without events.
    """
    events = event_rows(dataset_meta)
    if not events or "wallwm/instruction" not in events[0]:
        return None
    by_recording: dict[Any, list[tuple[int, str]]] = {}
    for row in events:
        place = row["wallwm/ordinal"], str(row["tasks"][0])
        by_recording.setdefault(recording_of(row), []).append(place)
    following = [
        min(
            ((o, c) for o, c in by_recording[recording_of(row)] if o > row["wallwm/ordinal"]), default=(0, "")
        )[1]
        for row in events
    ]
    return [str(row["wallwm/instruction"]) for row in events], following


def measure(root: Path, horizon: int, space: ActionSpace) -> Measured | None:
    """What rows of a LeRobot dataset say of the network's units.

    The displacement of ``action[t + k]`` from ``state[t]`` is taken within episodes, k in [0, horizon), as the root of its
    mean square. The six numbers of a rotation, and the position of a pose, have one spread.

    Args:
        root: Dataset folder.
        horizon: Steps looked ahead.
        space: Says what is relative to what.

    Returns:
        None where the folder holds no such rows.
    """
    rows = read_rows(root, "action", "observation.state", "episode_index")
    widths = len(space.what.action), len(space.what.state)
    if rows is None or any(values.ndim != 2 for values in rows[:2]):
        return None
    action, state, episode = rows
    if (action.shape[1], state.shape[1]) != widths:
        return None
    actions, states = torch.from_numpy(action), torch.from_numpy(state)
    lifted, origin = space.action_layout.lift(actions), space.origin(states)
    count, total = 0, np.zeros(lifted.shape[1])
    for k in range(min(horizon, len(action))):
        same = torch.from_numpy(episode[k:] == episode[: len(episode) - k])
        difference = space.short_way((lifted[k:] - origin[: len(state) - k])[same]).numpy().astype(np.float64)
        count += len(difference)
        total += np.square(difference).sum(0)
    displacement = torch.from_numpy(np.sqrt(total / max(count, 1)))
    felt = space.state_layout.lift(states).double()
    acted = lifted.double()
    std, state_std = (values.var(0, correction=0).sqrt() for values in (acted, felt))
    for layout, spreads in ((space.action_layout, (displacement, std)), (space.state_layout, (state_std,))):
        for turn in layout.turns:
            for spread in spreads:
                spread[turn.at : turn.at + 6] = spread[turn.at : turn.at + 6].square().mean().sqrt()
    return Measured(*(v.float() for v in (displacement, acted.mean(0), std, felt.mean(0), state_std)))


def final_actions(root: Path) -> Tensor | None:
    """The last action of every episode of a LeRobot dataset.

    Args:
        root: Dataset folder.

    Returns:
        ``(episodes, A)`` float32 with episode ``i`` in row ``i``, or None where the folder holds no such rows.
    """
    rows = read_rows(root, "action", "episode_index", "frame_index")
    if rows is None:
        return None
    action, episode, frame = rows
    order = np.lexsort((frame, episode))
    last = order[np.flatnonzero(np.diff(episode[order], append=-1))]
    goals = np.zeros((int(episode.max()) + 1, action.shape[1]), np.float32)
    goals[episode[last]] = action[last]
    return torch.from_numpy(goals)


# Our choices. The quantile keeps a glitch of the recording from setting the limit.
QUANTILE = 0.999
# Of accelerations, over the ticks in which a joint's speed changes by more than a part of its range: most joints rest most of
# the time, and a gripper that is open or shut jumps seldom, but when it does it must be allowed to.
ACCELERATION_QUANTILE, RESTS = 0.99, 1e-3


def learn_motion_limits(
    root: Path | None, stats: dict[str, dict[str, Any]] | None, episodes: Any | None, what: Embodiment
) -> dict[str, list[float]]:
    """Measures a LeRobot dataset, in its own units. Angles that wrap, and rotations, go the short way round.

    Args:
        root: Dataset folder with ``data/*/*.parquet``, or None.
        stats: LeRobot statistics; the range of ``observation.state`` is taken from them.
        episodes: The dataset's episodes, as rows or as LeRobot's table. With the columns of a view that `wallwm prepare`
            wrote (`view_rows`), steps across the borders of events that follow each other count, too.
        what: What action and state are.

    Returns:
        ``state_low`` and ``state_high`` ``(P,)``; ``step`` ``(A,)``, quantile `QUANTILE` of ``|a[t+1] - a[t]|``
        within episodes; ``lead`` ``(A,)``, the same of ``|a[t] - s[t]|`` where the state measures the action's dimension.
        ``acceleration`` ``(A,)``, quantile `ACCELERATION_QUANTILE` of ``|a[t+1] - 2 a[t] + a[t-1]|`` over the ticks
        within episodes in which the joint's speed changes. What cannot be measured is left out.
    """
    limits: dict[str, list[float]] = {}
    state = (stats or {}).get("observation.state", {})
    for name, key in (("state_low", "min"), ("state_high", "max")):
        if key in state:
            limits[name] = _floats(np.asarray(state[key]).reshape(-1))
    rows = None if root is None else read_rows(root, "action", "observation.state", "episode_index")
    if rows is None or rows[0].ndim != 2 or rows[0].shape[1] != len(what.action):
        return limits
    action, poses, episode = rows[0].astype(np.float64), rows[1], rows[2]
    moves = what.difference(action[1:], action[:-1])
    step = np.abs(moves)[episode[1:] == episode[:-1]]
    step = np.concatenate((step, _steps_between_events(action, episode_rows(episodes), what)))
    if len(step):
        limits["step"] = _floats(np.quantile(step, QUANTILE, axis=0))
    acceleration = _accelerations(action, np.diff(moves, axis=0), episode)
    if acceleration is not None:
        limits["acceleration"] = _floats(acceleration)
    rest = what.rest(poses)
    measured = np.isfinite(rest).any(0) & ~what.rates
    if measured.any():
        lead = np.abs(what.difference(action, np.nan_to_num(rest)))
        limits["lead"] = _floats(np.where(measured, np.quantile(lead, QUANTILE, axis=0), 0.0))
    return limits


def _accelerations(action: np.ndarray, changes: np.ndarray, episode: np.ndarray) -> np.ndarray | None:
    """How hard each joint accelerates when it does, ``(A,)``; None without three ticks in an episode."""
    found = np.abs(changes)[episode[2:] == episode[:-2]]
    if not len(found):
        return None
    rests = found <= RESTS * (action.max(axis=0) - action.min(axis=0))
    moving = np.where(rests, np.nan, found)
    moving[0, rests.all(axis=0)] = 0.0
    return np.nanquantile(moving, ACCELERATION_QUANTILE, axis=0)


def _steps_between_events(
    action: np.ndarray, events: Sequence[Mapping[str, Any]], what: Embodiment
) -> np.ndarray:
    """``|a[t+1] - a[t]|`` where one event of a view ends and the next of the recording begins, ``(n, A)``.

    A carved view has its events as episodes, and a gripper often jumps just between two of them.
    """
    known = has_events(events)
    pairs = [pair for own in (recordings(events) if known else ()) for pair in itertools.pairwise(own)]
    pairs = [(a, b) for a, b in pairs if a["wallwm/end"] == b["wallwm/start"]]
    last = np.array([before["dataset_to_index"] - 1 for before, _ in pairs], int)
    first = np.array([after["dataset_from_index"] for _, after in pairs], int)
    if not pairs or max(last.max(), first.max()) >= len(action):
        return np.empty((0, action.shape[1]))
    return np.abs(what.difference(action[first], action[last]))


def _floats(values: np.ndarray) -> list[float]:
    return [float(np.float32(v)) for v in values]
