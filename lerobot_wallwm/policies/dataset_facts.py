# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the policy learns from a LeRobot dataset before its first batch: spreads, episodes' ends, the event grammar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from .planners import learn_transitions


def episode_ends(dataset_meta: Any | None) -> Tensor | None:
    """Row after each episode's last, ``(episodes,)``, from LeRobot's metadata; None without it."""
    if dataset_meta is None or getattr(dataset_meta, "episodes", None) is None:
        return None
    return torch.as_tensor(dataset_meta.episodes["dataset_to_index"])


def episode_lengths(dataset_meta: Any | None) -> Tensor | None:
    """Frames of each episode, ``(episodes,)``, from LeRobot's metadata; None without it."""
    if dataset_meta is None or getattr(dataset_meta, "episodes", None) is None:
        return None
    return torch.as_tensor(dataset_meta.episodes["length"])


def episode_starts(dataset_meta: Any | None) -> Tensor | None:
    """First row of each episode, ``(episodes,)``, from LeRobot's metadata; None without it."""
    if dataset_meta is None or getattr(dataset_meta, "episodes", None) is None:
        return None
    return torch.as_tensor(dataset_meta.episodes["dataset_from_index"])


def event_grammar(episodes: Any) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Which event follows which, and how long the longest of each kind lasts.

    Args:
        episodes: Episode table of a view that `wallwm prepare` wrote (columns ``wallwm/...``).

    Returns:
        Transition counts (see `planners.learn_transitions`) and frames per caption template.
    """
    rows = zip(
        *(episodes[f"wallwm/{name}"] for name in ("source_episode", "ordinal", "copy", "template")),
        episodes["length"],
        strict=True,
    )
    sequences: dict[int, list[tuple[int, str]]] = {}
    longest: dict[str, int] = {}
    for source, ordinal, copy, template, length in rows:
        if copy == 0:
            sequences.setdefault(source, []).append((ordinal, template))
        longest[template] = max(int(length), longest.get(template, 0))
    in_order = [[template for _, template in sorted(events)] for _, events in sorted(sequences.items())]
    return learn_transitions(in_order), longest


def displacement_std(root: Path, horizon: int) -> Tensor | None:
    """Spread of ``action[t + k] - state[t]`` within episodes of a LeRobot dataset, k in [0, horizon).

    Args:
        root: Dataset folder.
        horizon: Steps looked ahead.

    Returns:
        ``(A,)`` float32, or None where the folder holds no such rows or the two differ in width.
    """
    files = sorted(Path(root).glob("data/*/*.parquet"))
    if not files:
        return None
    actions, states, episodes = [], [], []
    for file in files:
        table = pq.read_table(file, columns=["action", "observation.state", "episode_index"])
        actions.append(np.stack(table["action"].to_numpy(zero_copy_only=False)))
        states.append(np.stack(table["observation.state"].to_numpy(zero_copy_only=False)))
        episodes.append(table["episode_index"].to_numpy())
    action, state, episode = (np.concatenate(parts) for parts in (actions, states, episodes))
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
    files = sorted(Path(root).glob("data/*/*.parquet"))
    if not files:
        return None
    tables = [pq.read_table(file, columns=["action", "episode_index", "frame_index"]) for file in files]
    action = np.concatenate([np.stack(t["action"].to_numpy(zero_copy_only=False)) for t in tables])
    episode, frame = (
        np.concatenate([t[k].to_numpy() for t in tables]) for k in ("episode_index", "frame_index")
    )
    order = np.lexsort((frame, episode))
    last = order[np.flatnonzero(np.diff(episode[order], append=-1))]
    goals = np.zeros((int(episode.max()) + 1, action.shape[1]), np.float32)
    goals[episode[last]] = action[last]
    return torch.from_numpy(goals)
