# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Events as LeRobot's language columns, which its other policies and its renderer read.

Each frame carries its episode's whole list in `language_persistent`: a row of style `subtask` for each event, active from
its timestamp until the next one, and a row of style `plan` beside it, the numbered list of what is still to do. This is
what `lerobot-annotate` writes for the two styles. `language_events` (interjections, questions about an image, traces)
belongs to single frames and is taken over from the source.

LeRobot 0.6.1's renderer reads the columns from a dataset's items; its collate function leaves them out of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from lerobot_wallwm.language.event_grammar import without_pauses
from lerobot_wallwm.processors.source.events import Event

PERSISTENT, FRAME = "language_persistent", "language_events"
_TEXTS = [pa.field(name, pa.string()) for name in ("role", "content", "style")]
# No row of ours calls a tool; LeRobot's reader casts the column to its own type.
_TAIL = [pa.field("camera", pa.string()), pa.field("tool_calls", pa.list_(pa.string()))]
PERSISTENT_TYPE = pa.list_(pa.struct([*_TEXTS, pa.field("timestamp", pa.float32()), *_TAIL]))
FRAME_TYPE = pa.list_(pa.struct([*_TEXTS, *_TAIL]))


def language_features() -> dict[str, dict[str, Any]]:
    """The entries of both columns in `info.json`, as LeRobot writes them."""
    return {name: {"dtype": "language", "shape": [1], "names": None} for name in (PERSISTENT, FRAME)}


def plan_text(captions: Iterable[str]) -> str:
    """The numbered list that LeRobot's own annotation writes as a plan."""
    return "\n".join(f"{number}. {caption}" for number, caption in enumerate(captions, 1))


class LanguageRows:
    """Makes the language columns of carved events: captions of `level` become `subtask` rows.

    LeRobot's subtasks are as fine as our actions.
    """

    def __init__(self, events: Iterable[Event], level: str) -> None:
        self.by_episode: dict[int, list[Event]] = {}
        for event in sorted((e for e in events if e.level == level), key=lambda e: e.start):
            self.by_episode.setdefault(event.episode_index, []).append(event)

    def rows(self, episode: int, frames: np.ndarray, clock: np.ndarray) -> list[dict[str, Any]]:
        """The persistent rows of one carved event: `plan` and `subtask`, each at the time of the first row it holds for.

        `frames` are the (T,) source frames of the view's rows, ascending; events without any of them get no row. `clock`
        holds the (T,) float32 timestamps of these rows in the view.
        """
        own: list[tuple[float, str]] = []
        for event in self.by_episode.get(episode, ()):
            inside = np.searchsorted(frames, (event.start, event.end))
            if inside[0] < inside[1]:
                own.append((float(clock[inside[0]]), event.caption))
        rows = []
        for at, (timestamp, caption) in enumerate(own):
            # LeRobot's own order within one moment is that of the styles' names.
            for style, content in (
                ("plan", plan_text(without_pauses(c for _, c in own[at:]))),
                ("subtask", caption),
            ):
                row = {"role": "assistant", "content": content, "style": style, "timestamp": timestamp}
                rows.append(row | {"camera": None, "tool_calls": None})
        return rows

    def add(self, part: pa.Table, episode: int, frames: np.ndarray, clock: np.ndarray) -> pa.Table:
        """`part` with both columns: (T,) rows that all hold the same persistent list, and the source's frame rows."""
        length = len(part)
        once = pa.array([self.rows(episode, frames, clock)], PERSISTENT_TYPE)
        everywhere = once.take(pa.array(np.zeros(length, dtype=np.int64)))
        if FRAME not in part.column_names:
            part = part.append_column(FRAME, pa.array([[]] * length, FRAME_TYPE))
        if PERSISTENT in part.column_names:
            part = part.drop_columns([PERSISTENT])
        # The source's schema may say in its metadata which columns there are.
        return part.append_column(PERSISTENT, everywhere).replace_schema_metadata(None)
