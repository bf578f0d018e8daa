# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Writes the view: each event becomes an episode of a LeRobotDataset v3 over the source's own video files.

LeRobot clamps and pads windows at episode ends, so in the view `action_is_pad` and `observation.*_is_pad` mark the
event's end. Rows are taken as they are and only re-indexed; videos are hard-linked (copied across devices); nothing is
decoded. A hard link shares its bytes with the source, and LeRobot never writes into an existing video.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.episodes import ACTION, STATE, Episode, SourceDataset
from lerobot_wallwm.processors.errors import DataError
from lerobot_wallwm.processors.events import LEVELS, Event
from lerobot_wallwm.processors.instruction import instruction_template
from lerobot_wallwm.processors.quasi_static import QuasiStaticPruner
from lerobot_wallwm.processors.view_stats import NumericStats

# Rewritten by the carver; everything else is the source's, bit for bit.
REINDEXED = ("timestamp", "frame_index", "episode_index", "index", "task_index")
FORMAT_VERSION = 1
SIDECAR = "wallwm.json"
# Our choice: rows of many events share a row group, or the footer would outgrow the data (LeRobot's own writer makes
# one group per episode, but events are ten times shorter than episodes).
ROWS_PER_GROUP = 8192
ROWS_PER_FILE = 1_000_000


@dataclass(frozen=True)
class CarveResult:
    """What one call of `EventCarver` wrote."""

    root: Path
    events: int
    episodes: int
    frames: int
    linked: int
    copied: int
    captions: int
    pruned: int = 0


class EventCarver:
    """Carves events out of a dataset.

    `carver(source, events, out)` writes one view. As a transform of an episodes-as-rows `datasets.Dataset` that has
    been through `EventSegmenter` and `EventCaptioner`, `ds.map(carver, batched=True,
    remove_columns=ds.column_names)` gives one row per event with its own slice of state and action.

    Args:
        level: Which events become episodes: task, subtask, action or segment.
        pruner: Leaves quasi-static frames out of the events; None keeps all.
    """

    def __init__(self, level: str = "action", pruner: QuasiStaticPruner | None = None) -> None:
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        self.level, self.pruner = level, pruner

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
        columns: dict[str, list] = {
            name: [] for name in ("event_id", "episode_index", "ordinal", "start", "end")
        }
        columns |= {name: [] for name in ("label", "template", "task", "instruction", "fps", STATE, ACTION)}
        for row, events in enumerate(batch["events"]):
            own = sorted((e for e in events if e["level"] == self.level), key=lambda e: e["start"])
            values = dict(zip(batch.keys(), (column[row] for column in batch.values()), strict=True))
            kept = None if self.pruner is None else self.pruner(Episode.from_row(values))
            for ordinal, event in enumerate(own):
                bounds = event["start"], event["end"]
                frames = np.arange(*bounds) if kept is None else kept(*bounds)
                for name in ("event_id", "start", "end", "label", "template"):
                    columns[name].append(event[name])
                columns["episode_index"].append(batch["episode_index"][row])
                columns["ordinal"].append(ordinal)
                columns["task"].append(event["caption"])
                columns["instruction"].append(batch["task"][row])
                columns["fps"].append(batch["fps"][row])
                columns[STATE].append([batch[STATE][row][k] for k in frames])
                columns[ACTION].append([batch[ACTION][row][k] for k in frames])
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
    ) -> CarveResult:
        """Writes the view of `events` at `self.level` to `out`.

        Args:
            source: The dataset the events were found in.
            events: The event table; other levels are ignored.
            out: The new dataset's folder. It must not exist; it appears whole or not at all.
            episodes: Source episodes to carve (default: all that have events).
            copies: How often an event is written, by event_id (default 1). LeRobot's sampler draws each copy once an
                epoch, so this balances sampling; 0 leaves the event out.
            sidecar: More fields for `meta/wallwm.json`, such as the split and the parameters.
            progress: Called with the number of events done since its last call.

        Raises:
            FileExistsError: If `out` exists.
            DataError: If the source cannot be read, or lacks statistics of a camera.
        """
        out = Path(out)
        if out.exists():
            raise FileExistsError(f"{out} exists. Fix: choose another folder, or remove it")
        wanted = None if episodes is None else set(episodes)
        by_episode: dict[int, list[Event]] = {}
        for event in events:
            if event.level == self.level and (wanted is None or event.episode_index in wanted):
                by_episode.setdefault(event.episode_index, []).append(event)
        if not any((copies or {}).get(e.event_id, 1) > 0 for group in by_episode.values() for e in group):
            raise DataError(
                out, "events", f"there is no {self.level} event to carve", "check the level and the split"
            )
        partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            result = _ViewWriter(source, partial, self.pruner).write(
                by_episode, copies or {}, self.level, sidecar or {}, progress
            )
            os.replace(partial, out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return CarveResult(out, *result)


class _ViewWriter:
    """One view while it is being written."""

    def __init__(self, source: SourceDataset, root: Path, pruner: QuasiStaticPruner | None) -> None:
        self.source, self.pruner, self.pruned = source, pruner, 0
        self.root = root
        # `language_persistent` rows and the like carry times of the source episode, which an event's clock no longer
        # shares; the caption takes their place.
        self.dropped = [key for key in source.info["features"] if key.startswith("language_")]
        self.features = {k: v for k, v in source.info["features"].items() if k not in self.dropped}
        self.numeric = [
            key for key, value in self.features.items() if value["dtype"] not in ("video", "image", "string")
        ]
        self.stats = NumericStats(self.numeric)
        self.meta: list[dict[str, Any]] = []
        self.pending: list[pa.Table] = []
        self.pending_rows = 0
        self.reindexed: dict[str, list[np.ndarray]] = {name: [] for name in REINDEXED}
        self.frames = 0
        self.file_index = 0
        self.file_rows = 0
        self.writer: pq.ParquetWriter | None = None

    def write(
        self,
        by_episode: Mapping[int, list[Event]],
        copies: Mapping[int, int],
        level: str,
        sidecar: Mapping[str, Any],
        progress: Callable[[int], object] | None,
    ) -> tuple[int, int, int, int, int, int, int]:
        source = self.source
        image_stats = self._image_stats()
        captions = sorted(
            {e.caption for group in by_episode.values() for e in group if copies.get(e.event_id, 1) > 0}
        )
        task_index = {caption: i for i, caption in enumerate(captions)}
        videos: dict[Path, Path] = {}
        events = 0
        for position, episode in enumerate(source.episode_indices):
            group = sorted(by_episode.get(episode, ()), key=lambda event: event.start)
            if not group:
                continue
            meta = source.meta(position)
            for key in source.video_keys:
                path = source.video_path(meta, key)
                videos[path] = path.relative_to(source.root)
            self._carve_episode(position, meta, group, copies, task_index)
            events += sum(copies.get(event.event_id, 1) > 0 for event in group)
            if progress is not None:
                progress(len(group))
        self._flush()
        if self.writer is not None:
            self.writer.close()
        linked = sum(_link(path, self.root / relative) for path, relative in videos.items())
        self._write_meta(captions, image_stats, level, sidecar, events)
        copied = len(videos) - linked
        return events, len(self.meta), self.frames, linked, copied, len(captions), self.pruned

    # -- rows --------------------------------------------------------------------------------------------------------
    def _carve_episode(
        self,
        position: int,
        meta: dict[str, Any],
        group: list[Event],
        copies: Mapping[int, int],
        task_index: Mapping[str, int],
    ) -> None:
        source, fps = self.source, self.source.fps
        rows = source.rows(meta)
        keep = [name for name in rows.column_names if name in self.features]
        rows = rows.select(keep)
        instruction = source.tasks[rows.column("task_index")[0].as_py()]
        clock = rows.column("timestamp").to_numpy().astype(np.float64)
        grid = np.arange(len(clock)) / fps
        # LeRobot's clock is frame / fps stored as float32. On that grid the exact quotient keeps the rounding of a
        # late event from adding to that of its offset; a recording with its own clock keeps its own clock.
        if np.abs(clock - grid).max() < 1e-4:
            clock = grid
        kept = None if self.pruner is None else self.pruner(source.read(position))
        for ordinal, event in enumerate(group):
            if event.end > len(rows):
                raise DataError(
                    source.data_path(meta),
                    f"episode_index {event.episode_index}",
                    f"has {len(rows)} frames, but event {event.event_id} ends at {event.end}",
                    "run the segmenter on this very dataset",
                )
            if kept is None:
                part, at = rows.slice(event.start, event.length), clock[event.start : event.end]
            else:
                frames = kept(event.start, event.end)
                part, at = rows.take(frames), clock[frames]
            length = len(part)
            span = length / fps if kept is None else float(at[-1] - at[0]) + 1 / fps
            for copy in range(copies.get(event.event_id, 1)):
                index = len(self.meta)
                if self.file_rows and self.file_rows + length > ROWS_PER_FILE:
                    self._next_file()
                row: dict[str, Any] = {
                    "episode_index": index,
                    "tasks": [event.caption],
                    "length": length,
                    "data/chunk_index": self._chunk()[0],
                    "data/file_index": self._chunk()[1],
                    "dataset_from_index": self.frames,
                    "dataset_to_index": self.frames + length,
                }
                for key in source.video_keys:
                    begin = meta[f"videos/{key}/from_timestamp"] + float(at[0])
                    row[f"videos/{key}/chunk_index"] = meta[f"videos/{key}/chunk_index"]
                    row[f"videos/{key}/file_index"] = meta[f"videos/{key}/file_index"]
                    row[f"videos/{key}/from_timestamp"] = begin
                    row[f"videos/{key}/to_timestamp"] = begin + span
                row |= {
                    "meta/episodes/chunk_index": 0,
                    "meta/episodes/file_index": 0,
                    "wallwm/event_id": event.event_id,
                    "wallwm/source_episode": event.episode_index,
                    "wallwm/start": event.start,
                    "wallwm/end": event.end,
                    "wallwm/ordinal": ordinal,
                    "wallwm/label": event.label,
                    "wallwm/template": event.template,
                    "wallwm/instruction": instruction,
                    "wallwm/instruction_template": instruction_template(instruction),
                    "wallwm/confidence": float(event.confidence),
                    "wallwm/copy": copy,
                }
                if kept is not None:
                    row["wallwm/pruned"] = event.length - length
                    self.pruned += event.length - length
                self.meta.append(row)
                self.pending.append(part)
                columns = (
                    (at - at[0]).astype(np.float32),
                    np.arange(length, dtype=np.int64),
                    np.full(length, index, dtype=np.int64),
                    np.arange(self.frames, self.frames + length, dtype=np.int64),
                    np.full(length, task_index[event.caption], dtype=np.int64),
                )
                for name, values in zip(REINDEXED, columns, strict=True):
                    self.reindexed[name].append(values)
                self.pending_rows += length
                self.file_rows += length
                self.frames += length
        if self.pending_rows >= ROWS_PER_GROUP:
            self._flush()

    def _chunk(self) -> tuple[int, int]:
        return divmod(self.file_index, int(self.source.info.get("chunks_size", 1000)))

    def _next_file(self) -> None:
        self._flush()
        if self.writer is not None:
            self.writer.close()
        self.writer = None
        self.file_index += 1
        self.file_rows = 0

    def _flush(self) -> None:
        if not self.pending:
            return
        table = pa.concat_tables(self.pending).combine_chunks()
        # All events at once: setting columns event by event costs more than all the rest.
        for name, values in self.reindexed.items():
            column = table.schema.get_field_index(name)
            field = table.schema.field(column)
            table = table.set_column(column, field, pa.array(np.concatenate(values)).cast(field.type))
            values.clear()
        self.pending, self.pending_rows = [], 0
        self.stats.add(table)
        if self.writer is None:
            chunk, file = self._chunk()
            path = self.root / "data" / f"chunk-{chunk:03d}" / f"file-{file:03d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self.writer.write_table(table, row_group_size=ROWS_PER_GROUP)

    # -- metadata ----------------------------------------------------------------------------------------------------
    def _image_stats(self) -> dict[str, Any]:
        path = self.source.root / "meta" / "stats.json"
        try:
            stats = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise DataError(
                path,
                "file",
                f"cannot be read ({error})",
                "record the dataset again, or restore its meta/stats.json",
            ) from error
        for key in self.source.camera_keys:
            if key not in stats:
                raise DataError(
                    path,
                    key,
                    "has no statistics of this camera",
                    "run `lerobot-edit-dataset` to recompute stats",
                )
        return {key: stats[key] for key in self.source.camera_keys}

    def _write_meta(
        self,
        captions: list[str],
        image_stats: dict[str, Any],
        level: str,
        sidecar: Mapping[str, Any],
        events: int,
    ) -> None:
        folder = self.root / "meta"
        (folder / "episodes" / "chunk-000").mkdir(parents=True)
        pq.write_table(
            pa.Table.from_pylist(self.meta),
            folder / "episodes" / "chunk-000" / "file-000.parquet",
            compression="snappy",
        )
        import pandas as pd

        tasks = pd.DataFrame({"task_index": range(len(captions))}, index=pd.Index(captions, name="task"))
        tasks.to_parquet(folder / "tasks.parquet")
        info = dict(self.source.info)
        info |= {
            "features": self.features,
            "total_episodes": len(self.meta),
            "total_frames": self.frames,
            "total_tasks": len(captions),
            "splits": {"train": f"0:{len(self.meta)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        }
        _write_json(folder / "info.json", info)
        _write_json(folder / "stats.json", image_stats | self.stats.result())
        _write_json(
            folder / SIDECAR,
            {
                "format": "wallwm-view",
                "format_version": FORMAT_VERSION,
                "level": level,
                "events": events,
                "source": {
                    "name": self.source.root.name,
                    "total_episodes": len(self.source),
                    "total_frames": self.source.info.get("total_frames"),
                },
                "dropped_features": self.dropped,
                **sidecar,
            },
        )


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _link(source: Path, target: Path) -> bool:
    """Hard-links a file, or copies it where links are impossible. Returns True for a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)  # resolved: on the Hub's cache the file is a symlink into blobs/
        return True
    except OSError:
        shutil.copy2(source, target)
        return False
