# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Loads a carved view: its events without images, and anchors with images, spread over each event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lerobot_wallwm.check.measure.baselines import EventRows


@dataclass(frozen=True)
class Anchor:
    """One observation inside one event.

    Attributes:
        event: Index of the event in its view.
        offset: Frames from the event's start.
        row: Row of the dataset.
    """

    event: int
    offset: int
    row: int


def read_event_rows(root: str | Path) -> list[EventRows]:
    """Events of a view in its order, copies left out; of a dataset that was not carved, its episodes.

    Args:
        root: ``train`` or ``heldout`` of `wallwm prepare`.
    """
    root = Path(root)
    meta = [
        row
        for file in sorted(root.glob("meta/episodes/*/*.parquet"))
        for row in pq.read_table(file).to_pylist()
    ]
    columns = ["index", "observation.state", "action"]
    tables = [pq.read_table(file, columns=columns) for file in sorted(root.glob("data/*/*.parquet"))]
    state, action = (
        np.concatenate([np.stack(table[key].to_numpy(zero_copy_only=False)) for table in tables]).astype(
            np.float64
        )
        for key in columns[1:]
    )
    events = []
    for row in meta:
        if row.get("wallwm/copy", 0):
            continue
        part = slice(row["dataset_from_index"], row["dataset_to_index"])
        caption = row["tasks"][0]
        events.append(
            EventRows(
                caption,
                row.get("wallwm/template", ""),
                state[part],
                action[part],
                part.start,
                row.get("wallwm/label", ""),
                row.get("wallwm/source_episode", row["episode_index"]),
                row.get("wallwm/start", 0),
                row.get("wallwm/instruction", caption),
            )
        )
    return events


def source_episodes(root: str | Path) -> list[int]:
    """Episodes of the source that a view was carved from."""
    files = sorted(Path(root).glob("meta/episodes/*/*.parquet"))
    return sorted({e for f in files for e in pq.read_table(f)["wallwm/source_episode"].to_pylist()})


def spread_anchors(events: Sequence[EventRows], per_event: int) -> list[Anchor]:
    """Anchors at equal distances from each event's first frame on; short events get fewer.

    Args:
        events: Of one view.
        per_event: At most so many; the first is always the keyframe.
    """
    anchors = []
    for index, event in enumerate(events):
        offsets = sorted({len(event.action) * i // per_event for i in range(per_event)})
        anchors += [Anchor(index, offset, event.first_row + offset) for offset in offsets]
    return anchors


def thin(anchors: Sequence[Anchor], at_most: int) -> list[Anchor]:
    """At most so many anchors, evenly spaced over the list, the first included."""
    if len(anchors) <= at_most:
        return list(anchors)
    return [anchors[i * len(anchors) // at_most] for i in range(at_most)]


def open_view(root: str | Path, config: Any, pictures_ahead: bool = True) -> Any:
    """The view as a ``LeRobotDataset`` with the windows that a policy asks for.

    Args:
        root: The view's folder; that of the dataset it was carved from for windows centred on the observation.
        config: The policy's configuration (its delta indices are used).
        pictures_ahead: Decode the future pictures, too, which acting never sees.
    """
    from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata

    name = f"local/{Path(root).name}"
    meta = LeRobotDatasetMetadata(name, root=root)
    # A window must have its length; the present picture in place of later ones spares their decoding.
    seen = [i if pictures_ahead else min(i, 0) for i in config.observation_delta_indices]
    windows = {key: [i / meta.fps for i in seen] for key in meta.camera_keys}
    # Later states of an event are never read; the reader of chunks finds the observed one among all.
    windows["observation.state"] = windows[meta.camera_keys[0]] if config.chunked else [0.0]
    windows["action"] = [i / meta.fps for i in config.action_delta_indices]
    return LeRobotDataset(name, root=root, delta_timestamps=windows)
