# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Carves: each event becomes an episode of a LeRobotDataset v3 over the source's own video files (writer.py).

LeRobot clamps and pads windows at episode ends, so in the view `action_is_pad` and `observation.*_is_pad` mark the
event's end. Rows are taken as they are and only re-indexed; videos are hard-linked (copied across devices); nothing is
decoded. A hard link shares its bytes with the source, and LeRobot never writes into an existing video.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.motion.quasi_static import QuasiStaticPruner
from lerobot_wallwm.processors.source.episodes import ACTION, STATE, Episode, SourceDataset
from lerobot_wallwm.processors.source.events import LEVELS, Event, by_episode
from lerobot_wallwm.processors.view.card import write_card
from lerobot_wallwm.processors.view.disk_space import check_space, full_disk_explained, needed_space
from lerobot_wallwm.processors.view.language_rows import LanguageRows
from lerobot_wallwm.processors.view.writer import ViewWriter
from lerobot_wallwm.storage.atomic import atomic_folder
from lerobot_wallwm.storage.errors import DataError


@dataclass(frozen=True)
class CarveResult:
    """What one call of `EventCarver` wrote."""

    root: Path
    events: int
    episodes: int
    frames: int
    frames_pruned: int
    captions: int
    videos_linked: int
    videos_copied: int


class EventCarver:
    """Carves events out of a dataset.

    `carver(source, events, out)` writes one view. As a transform of an episodes-as-rows `datasets.Dataset` that has
    been through `EventSegmenter` and `EventCaptioner`, `ds.map(carver, batched=True,
    remove_columns=ds.column_names)` gives one row per event with its own slice of state and action.

    Args:
        level: Which events become episodes: task, subtask, action or segment.
        pruner: Leaves quasi-static frames out of the events; None keeps all.
        language: Level whose captions become `subtask` rows of LeRobot's language columns (language_rows.py); None
            writes no such columns.
        copy_videos: Copies videos instead of linking them, so that the view can be moved or uploaded on its own.
    """

    def __init__(
        self,
        level: str = "action",
        pruner: QuasiStaticPruner | None = None,
        *,
        language: str | None = None,
        copy_videos: bool = False,
    ) -> None:
        for name in (level, language):
            if name is not None and name not in LEVELS:
                raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {name!r}")
        self.level, self.pruner, self.language, self.copy_videos = level, pruner, language, copy_videos

    def __call__(
        self, source: Any, events: Iterable[Event] | None = None, out: str | Path | None = None, **kwargs: Any
    ):
        """See the class. With a batch of rows it returns rows, with a `SourceDataset` it returns a `CarveResult`."""
        if isinstance(source, SourceDataset):
            if events is None or out is None:
                raise TypeError("EventCarver(source, events, out) needs the events and the output folder")
            return self.carve(source, events, out, **kwargs)
        return self._rows(source)

    def _rows(self, batch: Mapping[str, list]) -> dict[str, list]:
        taken = ("event_id", "start", "end", "label", "template")
        added = ("task", "ordinal", "instruction", "episode_index", "fps", STATE, ACTION)
        columns: dict[str, list] = {name: [] for name in (*taken, *added)}
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(batch, values, strict=True))
            own = sorted((e for e in row["events"] if e["level"] == self.level), key=lambda e: e["start"])
            tasks = [(0, row["task"]), *json.loads(row.get("later_tasks") or "[]")]
            kept = None if self.pruner is None else self.pruner(Episode.from_row(row))
            for ordinal, event in enumerate(own):
                bounds = event["start"], event["end"]
                frames = np.arange(*bounds) if kept is None else kept(*bounds)
                new = {name: event[name] for name in taken} | {
                    name: row[name] for name in ("episode_index", "fps")
                }
                later = [task for frame, task in tasks if frame <= event["start"]]
                new |= {"task": event["caption"], "ordinal": ordinal, "instruction": later[-1]}
                new |= {key: [row[key][k] for k in frames] for key in (STATE, ACTION)}
                for name, value in new.items():
                    columns[name].append(value)
        return columns

    def carve(
        self,
        source: SourceDataset,
        events: Iterable[Event],
        out: str | Path,
        *,
        episodes: Sequence[int] | None = None,
        copies: Mapping[int, int] | None = None,
        sidecar: Mapping[str, Any] | None = None,
        progress: Callable[[int], object] | None = None,
        facts: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> CarveResult:
        """Writes the view of those `events` that are of `self.level` to `out`, which appears whole or not at all.

        Args:
            source: The dataset the events were found in.
            events: The event table.
            out: The new dataset's folder.
            episodes: Source episodes to carve (default: all that have events).
            copies: How often an event is written, by event_id (default 1). LeRobot's sampler draws each copy once an
                epoch, so this balances sampling; 0 leaves the event out.
            sidecar: More fields for `meta/wallwm.json`, such as the split and the parameters.
            progress: Called with the number of events done since its last call.
            facts: More to say of an event, by event_id: columns `wallwm/...` of the view.

        Raises:
            FileExistsError: If `out` exists.
            DataError: If the source cannot be read, or the disk has no room.
        """
        out, events, copies = Path(out), list(events), copies or {}
        wanted = None if episodes is None else set(episodes)
        chosen = (e for e in events if wanted is None or e.episode_index in wanted)
        groups = by_episode(event for event in chosen if event.level == self.level)
        own = [(e.length, copies.get(e.event_id, 1)) for group in groups.values() for e in group]
        if not any(count > 0 for _, count in own):
            problem = f"there is no {self.level} event to carve"
            raise DataError(out, "events", problem, "check the level and the split")
        weight = sum(length * count for length, count in own) / sum(length for length, _ in own)
        language = None if self.language is None else LanguageRows(events, self.language)
        with full_disk_explained(out), atomic_folder(out) as partial:
            needed = needed_space(source, partial, [list(groups)], self.copy_videos, weight)
            check_space(*needed, out, self.copy_videos)
            writer = ViewWriter(source, partial, self.pruner, language=language, copy_videos=self.copy_videos)
            counts = writer.write(groups, copies, self.level, sidecar or {}, progress, facts)
            write_card(partial, source.root, events)
        return CarveResult(out, **counts)
