# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the policy learns from a LeRobot dataset before its first batch: spreads, episodes' ends, the event grammar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from lerobot_wallwm.language.event_grammar import learn_transitions


def episode_column(dataset_meta: Any | None, name: str) -> Tensor | None:
    """A column ``(episodes,)`` of LeRobot's metadata, such as ``length``; None without metadata."""
    if dataset_meta is None or getattr(dataset_meta, "episodes", None) is None:
        return None
    return torch.as_tensor(dataset_meta.episodes[name])


def read_rows(root: Path, *columns: str) -> list[np.ndarray] | None:
    """Columns of all rows of a LeRobot dataset, ``(rows,)`` or ``(rows, D)``; None where the folder holds none of them."""
    files = sorted(root.glob("data/*/*.parquet"))
    if not files or not set(columns) <= set(pq.read_schema(files[0]).names):
        return None
    tables = [pq.read_table(file, columns=list(columns)) for file in files]
    parts = ([t[name].to_numpy(zero_copy_only=False) for t in tables] for name in columns)
    values = (np.concatenate(part) for part in parts)
    return [np.stack(list(v)) if v.dtype == object else v for v in values]


def event_grammar(episodes: Any) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Which event follows which, and how long the longest of each kind lasts.

    Args:
        episodes: Episode table of a view that `wallwm prepare` wrote (columns ``wallwm/...``).

    Returns:
        Transition counts (see `planners.learn_transitions`) and frames per caption template.
    """
    rows = zip(
        *(
            episodes[f"wallwm/{name}"]
            for name in ("source_episode", "ordinal", "copy", "template", "instruction")
        ),
        episodes["length"],
        strict=True,
    )
    sequences: dict[tuple[int, str], list[tuple[int, str]]] = {}
    longest: dict[str, int] = {}
    for source, ordinal, copy, template, instruction, length in rows:
        if copy == 0:
            # An instruction that changes within an episode asks for something else: its events are a plan of their own.
            sequences.setdefault((source, instruction), []).append((ordinal, template))
        longest[template] = max(int(length), longest.get(template, 0))
    in_order = [[template for _, template in sorted(events)] for _, events in sorted(sequences.items())]
    return learn_transitions(in_order), longest


def instruction_slots(episodes: Any) -> dict[str, dict[str, str]]:
    """Slots by task, of a view's tasks whose sentence alone does not give them; see `language.instruction`."""
    if "wallwm/slots" not in getattr(episodes, "column_names", []):
        return {}
    rows = zip(episodes["wallwm/instruction"], episodes["wallwm/slots"], strict=True)
    return {task: slots for task, text in dict(rows).items() if (slots := json.loads(text or "{}"))}


def event_texts(dataset_meta: Any | None) -> tuple[list[str], list[str]] | None:
    """Of each event of a view that `wallwm prepare` wrote: the source episode's instruction, and the next event's caption.

    The latter is empty after the last event. None for data without events.
    """
    episodes: Any = getattr(dataset_meta, "episodes", None)
    if "wallwm/instruction" not in (getattr(episodes, "column_names", None) or []):
        return None
    captions = [str(tasks[0]) for tasks in episodes["tasks"]]
    places = list(zip(episodes["wallwm/source_episode"], episodes["wallwm/ordinal"], strict=True))
    by_source: dict[int, list[tuple[int, str]]] = {}
    for (source, ordinal), caption in zip(places, captions, strict=True):
        by_source.setdefault(source, []).append((ordinal, caption))
    following = [
        min(((o, c) for o, c in by_source[source] if o > ordinal), default=(0, ""))[1]
        for source, ordinal in places
    ]
    return [str(text) for text in episodes["wallwm/instruction"]], following


def displacement_std(root: Path, horizon: int) -> Tensor | None:
    """Spread of ``action[t + k] - state[t]`` within episodes of a LeRobot dataset, k in [0, horizon).

    Args:
        root: Dataset folder.
        horizon: Steps looked ahead.

    Returns:
        ``(A,)`` float32, or None where the folder holds no such rows or the two differ in width.
    """
    rows = read_rows(root, "action", "observation.state", "episode_index")
    if rows is None:
        return None
    action, state, episode = rows
    if action.ndim != 2 or action.shape != state.shape:
        return None
    count, total = 0, np.zeros(action.shape[1])
    for k in range(min(horizon, len(action))):
        same = episode[k:] == episode[: len(episode) - k]
        difference = (action[k:] - state[: len(state) - k])[same].astype(np.float64)
        count += len(difference)
        total += np.square(difference).sum(0)
    return torch.tensor(np.sqrt(total / max(count, 1)), dtype=torch.float32)


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
    root: Path | None,
    stats: dict[str, dict[str, Any]] | None,
    episodes: Any | None,
    action_names: Sequence[str] | None,
    state_names: Sequence[str] | None,
) -> dict[str, list[float]]:
    """Measures a LeRobot dataset, in its own units.

    Args:
        root: Dataset folder with ``data/*/*.parquet``, or None.
        stats: LeRobot statistics; the range of ``observation.state`` is taken from them.
        episodes: The dataset's episode table. With the columns of a view that `wallwm prepare` wrote, steps across the
            borders of events that follow each other count, too.
        action_names: Names of the action's dimensions, or None.
        state_names: Names of the state's dimensions, or None.

    Returns:
        ``state_low`` and ``state_high`` ``(P,)``; ``step`` ``(A,)``, quantile `QUANTILE` of ``|a[t+1] - a[t]|``
        within episodes; ``lead`` ``(A,)``, the same of ``|a[t] - s[t]|`` where action and state are the same joints.
        ``acceleration`` ``(A,)``, quantile `ACCELERATION_QUANTILE` of ``|a[t+1] - 2 a[t] + a[t-1]|`` over the ticks
        within episodes in which the joint's speed changes. What cannot be measured is left out.
    """
    limits: dict[str, list[float]] = {}
    state = (stats or {}).get("observation.state", {})
    for name, key in (("state_low", "min"), ("state_high", "max")):
        if key in state:
            limits[name] = _floats(np.asarray(state[key]).reshape(-1))
    rows = None if root is None else read_rows(root, "action", "observation.state", "episode_index")
    if rows is None or rows[0].ndim != 2:
        return limits
    action, poses, episode = rows
    step = np.abs(np.diff(action.astype(np.float64), axis=0))[episode[1:] == episode[:-1]]
    step = np.concatenate((step, _steps_between_events(action, episodes)))
    if len(step):
        limits["step"] = _floats(np.quantile(step, QUANTILE, axis=0))
    acceleration = _accelerations(action.astype(np.float64), episode)
    if acceleration is not None:
        limits["acceleration"] = _floats(acceleration)
    index = joint_index(action_names, state_names)
    if (index >= 0).any():
        lead = np.abs(action - poses[:, np.maximum(index, 0)]).astype(np.float64)
        limits["lead"] = _floats(np.where(index >= 0, np.quantile(lead, QUANTILE, axis=0), 0.0))
    return limits


def joint_index(action_names: Sequence[str] | None, state_names: Sequence[str] | None) -> np.ndarray:
    """Where the state has the joint that an action dimension moves, ``(A,)``; -1 where it has not, or names lack."""
    if action_names is None:
        return np.empty(0, int)
    where = {name: i for i, name in enumerate(state_names or ())}
    return np.array([where.get(name, -1) for name in action_names], int)


def _accelerations(action: np.ndarray, episode: np.ndarray) -> np.ndarray | None:
    """How hard each joint accelerates when it does, ``(A,)``; None without three ticks in an episode."""
    found = np.abs(np.diff(action, n=2, axis=0))[episode[2:] == episode[:-2]]
    if not len(found):
        return None
    rests = found <= RESTS * (action.max(axis=0) - action.min(axis=0))
    moving = np.where(rests, np.nan, found)
    moving[0, rests.all(axis=0)] = 0.0
    return np.nanquantile(moving, ACCELERATION_QUANTILE, axis=0)


def _steps_between_events(action: np.ndarray, episodes: Any | None) -> np.ndarray:
    """``|a[t+1] - a[t]|`` where one event of a view ends and the next of the recording begins, ``(n, A)``.

    A carved view has its events as episodes, and a gripper often jumps just between two of them.
    """
    none = np.empty((0, action.shape[1]))
    if "wallwm/start" not in (getattr(episodes, "column_names", None) or ()):
        return none
    assert episodes is not None
    names = ("wallwm/source_episode", "wallwm/start", "wallwm/end", "dataset_from_index", "dataset_to_index")
    table = np.stack([np.asarray(episodes[name]) for name in names], axis=1)
    table = table[np.asarray(episodes["wallwm/copy"]) == 0]
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    before, after = table[:-1], table[1:]
    follows = (before[:, 0] == after[:, 0]) & (before[:, 2] == after[:, 1])
    last, first = before[follows, 4] - 1, after[follows, 3]
    if not follows.any() or max(last.max(), first.max()) >= len(action):
        return none
    return np.abs(action[first].astype(np.float64) - action[last])


def _floats(values: np.ndarray) -> list[float]:
    return [float(np.float32(v)) for v in values]
