# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The second kind of view: K + 1 rows an event at a stride of its own, so an epoch draws each event exactly once.

LeRobot reads windows by rows, not by time. Rows `stride` frames apart therefore give a window whose stride differs from
event to event, and a policy with `observation_delta_indices = range(K + 1)`, `action_delta_indices = None` and
`drop_n_last_frames = K` has one anchor an event, its first row. Each row holds the event's actions at the recording's own
rate as `action` (L, A), and two masks whose names LeRobot's batch conversion lets through. It is made for training only:
LeRobot's visualiser and replay do not know such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lerobot_wallwm.processors.source.episodes import ACTION, SourceDataset
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.view.stats import NumericStats
from lerobot_wallwm.processors.view.writer import ViewWriter

ACTION_PAD, VIDEO_PAD = "wallwm_action_is_pad", "wallwm_video_is_pad"


def keyframe_rows(length: int, future: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Which frames of an event of `length` frames become rows.

    Args:
        length: Frames of the event, at least 1.
        future: K, rows after the first.

    Returns:
        (K + 1,) frames from 0, the last frame repeated past the event's end; (K + 1,) bool, True for those repeats; and
        the stride, the least whole number of frames with which K rows reach the event's last frame or pass it.
    """
    stride = max(1, -(-(length - 1) // future))
    frames = np.arange(future + 1) * stride
    return np.minimum(frames, length - 1), frames > length - 1, stride


class KeyframeViewWriter(ViewWriter):
    """Writes a keyframe view.

    Args:
        source: The dataset that the events were found in.
        root: The new dataset's folder.
        future: K, at least 1: rows after an event's first.
        events: The events that will be written; the longest sets L, the length of the actions.
        copy_videos: See `ViewWriter`.
    """

    format = "wallwm-keyframe-view"

    def __init__(
        self,
        source: SourceDataset,
        root: Path,
        future: int,
        events: Iterable[Event],
        *,
        copy_videos: bool = False,
    ) -> None:
        if future < 1:
            raise ValueError(f"--keyframes must be at least 1, got {future}. Fix: 0 writes no keyframe view")
        self.future = future
        self.longest = max(event.length for event in events)
        super().__init__(source, root, None, copy_videos=copy_videos)
        self.width = int(np.prod(self.features[ACTION]["shape"]))
        self.features[ACTION] = {
            **self.features[ACTION],
            "shape": [self.longest, self.width],
            "names": ["frame", "dimension"],
        }
        for name, length in ((ACTION_PAD, self.longest), (VIDEO_PAD, future + 1)):
            self.features[name] = {"dtype": "bool", "shape": [length], "names": None}
        self.action_stats = NumericStats([ACTION])

    def _numeric(self) -> list[str]:
        return [key for key in super()._numeric() if key not in (ACTION, ACTION_PAD, VIDEO_PAD)]

    def _part(
        self, rows: pa.Table, clock: np.ndarray, event: Event, kept: Callable[[int, int], np.ndarray] | None
    ) -> tuple[pa.Table, np.ndarray, float, dict[str, Any]]:
        frames, late, stride = keyframe_rows(event.length, self.future)
        part = rows.take(event.start + frames)
        actions = rows.slice(event.start, event.length).column(ACTION).combine_chunks()
        flat = actions.flatten() if pa.types.is_nested(actions.type) else actions
        window = np.zeros((self.longest, self.width), dtype=flat.to_numpy().dtype)
        window[: event.length] = flat.to_numpy().reshape(event.length, self.width)
        window[event.length :] = window[event.length - 1]  # as LeRobot repeats an episode's last action
        count = len(frames)
        column = part.schema.get_field_index(ACTION)
        part = part.set_column(column, ACTION, _repeated(window, count))
        part = part.append_column(ACTION_PAD, _repeated(np.arange(self.longest) >= event.length, count))
        part = part.append_column(VIDEO_PAD, _repeated(late, count))
        extra = {"wallwm/stride": stride}
        return (
            part.replace_schema_metadata(None),
            clock[event.start + frames],
            event.length / self.source.fps,
            extra,
        )

    def _add_stats(self, table: pa.Table) -> None:
        """Statistics of the actions are (A,): those of each event's own, once a copy."""
        super()._add_stats(table)
        anchors = table.take(pa.array(np.arange(0, len(table), self.future + 1)))
        flat = anchors.column(ACTION).combine_chunks().flatten().flatten().to_numpy()
        late = anchors.column(ACTION_PAD).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        own = flat.reshape(-1, self.width)[~late.astype(bool)]
        self.action_stats.add(
            pa.table({ACTION: pa.FixedSizeListArray.from_arrays(own.reshape(-1), self.width)})
        )

    def _numeric_stats(self) -> dict[str, Any]:
        return super()._numeric_stats() | self.action_stats.result()


def _repeated(values: np.ndarray, count: int) -> pa.Array:
    """`count` rows that each hold `values`, (L,) or (L, A), as nested lists."""
    array = pa.array(np.broadcast_to(values, (count, *values.shape)).reshape(-1))
    for length in reversed(values.shape):
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, length, dtype=np.int32), array)
    return array
