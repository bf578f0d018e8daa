# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Writes a view's rows, metadata and links to the source's videos.

Rows are re-indexed event by event and written many events at a time; everything else is the source's, bit for bit. An event
that is written several times has each copy in video files of its own, which are links to the same bytes: LeRobot's tools take
an episode's stretch of a file for its alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm import __version__
from lerobot_wallwm.language.view_events import PREFIX, carried
from lerobot_wallwm.processors.motion.quasi_static import QuasiStaticPruner
from lerobot_wallwm.processors.source.episodes import SUBTASKS, SourceDataset
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.view.language_rows import FRAME, LanguageRows, language_features
from lerobot_wallwm.processors.view.statistics import (
    CameraStatistics,
    Statistics,
    columns_of,
    episode_statistics,
    numbers_of,
    overall_statistics,
    picture_count,
)
from lerobot_wallwm.processors.view.videos import cut_camera, needed_cuts, told_anew
from lerobot_wallwm.storage.errors import DataError

# Rewritten by the carver; everything else is the source's, bit for bit.
REINDEXED = ("timestamp", "frame_index", "episode_index", "index", "task_index")
FORMAT_VERSION = 1
SIDECAR = "wallwm.json"
# Our choice: rows of many events share a row group, or the footer would outgrow the data (LeRobot's own writer makes
# one group per episode, but events are ten times shorter than episodes).
ROWS_PER_GROUP = 8192
ROWS_PER_FILE = 1_000_000


class ViewWriter:
    """One view while it is being written to the folder `root`; the other arguments are as in `EventCarver`."""

    def __init__(
        self,
        source: SourceDataset,
        root: Path,
        pruner: QuasiStaticPruner | None,
        *,
        language: LanguageRows | None = None,
        copy_videos: bool = False,
    ) -> None:
        self.source, self.root, self.pruner, self.pruned = source, root, pruner, 0
        self.language, self.copy_videos = language, copy_videos
        # Of tasks whose slots the sentence alone does not give, for a planner.
        self.slots = any(one.by_hand or one.whole for one in source.instructions.known.values())
        # `language_persistent` rows and the like carry times of the source episode, which an event's clock no longer
        # shares; the caption takes their place. `language_events` has no clock.
        kept = () if language is None else (FRAME,)
        theirs = source.info["features"]
        self.dropped = [k for k in theirs if k.startswith("language_") and k not in kept]
        self.features = {k: v for k, v in theirs.items() if k not in self.dropped}
        if language is not None:
            self.features |= language_features()
        other = ("video", "image", "string", "language")
        # The view's own rows, copies included, for their statistics. Exact quantiles need all values: at float32 a
        # million rows of 12 numbers are 48 MB.
        numeric = (key for key, value in self.features.items() if value["dtype"] not in other)
        self.values: dict[str, list[np.ndarray]] = {key: [] for key in numeric}
        self.meta: list[dict[str, Any]] = []
        self.cameras = CameraStatistics(source)
        self.of_cameras: dict[int, Statistics] = {}
        # Files of the source: copies of an event lie in files whose numbers begin beyond them.
        self.files = 1 + max((self._last_file(key) for key in source.video_keys), default=0)
        self.pending: list[pa.Table] = []
        self.reindexed: dict[str, list[np.ndarray]] = {name: [] for name in REINDEXED}
        self.frames = self.file_index = self.file_rows = self.pending_rows = 0
        self.writer: pq.ParquetWriter | None = None
        self.videos: dict[Path, Path] = {}  # where it goes -> where it comes from

    def write(
        self,
        by_episode: Mapping[int, list[Event]],
        copies: Mapping[int, int],
        level: str,
        sidecar: Mapping[str, Any],
        progress: Callable[[int], object] | None,
        facts: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> dict[str, int]:
        """Writes the view; see `EventCarver.carve`. Returns the numbers of a `CarveResult`."""
        source = self.source
        same = {"level": level, "source": source.identity, "dataset": source.root.name}
        same |= {name: sidecar[name] for name in ("split",) if name in sidecar}
        written = (e for group in by_episode.values() for e in group if copies.get(e.event_id, 1) > 0)
        captions = sorted({event.caption for event in written})
        task_index = {caption: i for i, caption in enumerate(captions)}
        events = 0
        for position, episode in enumerate(source.episode_indices):
            group = sorted(by_episode.get(episode, ()), key=lambda event: event.start)
            if not group:
                continue
            meta = source.meta(position)
            told = {event.event_id: same | dict((facts or {}).get(event.event_id, {})) for event in group}
            self._carve_episode(position, meta, group, copies, task_index, told)
            events += sum(copies.get(event.event_id, 1) > 0 for event in group)
            if progress is not None:
                progress(len(group))
        self._flush()
        if self.writer is not None:
            self.writer.close()
        linked = 0
        if self.copy_videos:
            self._cut_videos()
        else:
            linked = sum(place_file(path, to) for to, path in self.videos.items())
        self._write_meta(captions, level, sidecar, events)
        counts = {
            "events": events,
            "episodes": len(self.meta),
            "frames": self.frames,
            "captions": len(captions),
        }
        counts |= {"frames_pruned": self.pruned, "videos_linked": linked}
        return counts | {"videos_copied": len(self.videos) - linked}

    def _carve_episode(
        self,
        position: int,
        meta: dict[str, Any],
        group: list[Event],
        copies: Mapping[int, int],
        task_index: Mapping[str, int],
        told: Mapping[int, Mapping[str, Any]],
    ) -> None:
        source, fps = self.source, self.source.fps
        rows = source.rows(meta)
        rows = rows.select([name for name in rows.column_names if name in self.features])
        task_of = rows.column("task_index")
        clock = source.clock(rows)
        kept = None if self.pruner is None else self.pruner(source.read(position))
        self.of_cameras[meta["episode_index"]] = self.cameras(meta)
        for event in group:
            if event.end > len(rows):
                where = source.data_path(meta), f"episode_index {event.episode_index}"
                problem = f"has {len(rows)} frames, but event {event.event_id} ends at {event.end}"
                raise DataError(*where, problem, "run the segmenter on this very dataset")
        asked = [source.tasks[task_of[event.start].as_py()] for event in group]
        for ordinal, event in enumerate(group):
            if copies.get(event.event_id, 1) <= 0:
                continue
            instruction = asked[ordinal]
            read = source.instructions(instruction)
            slots = read.slots if read.by_hand or read.whole else {}
            part, at, pruned = self._rows(rows, clock, event, kept)
            length = len(part)
            span = event.length / fps if pruned is None else float(at[-1] - at[0]) + 1 / fps
            for copy in range(copies.get(event.event_id, 1)):
                index = len(self.meta)
                if self.file_rows and self.file_rows + length > ROWS_PER_FILE:
                    self._next_file()
                chunk, file = self._chunk()
                row: dict[str, Any] = {"episode_index": index, "tasks": [event.caption], "length": length}
                row |= {"data/chunk_index": chunk, "data/file_index": file}
                row |= {"dataset_from_index": self.frames, "dataset_to_index": self.frames + length}
                for key in source.video_keys:
                    begin = meta[f"videos/{key}/from_timestamp"] + float(at[0])
                    row |= self._video(meta, key, copy)
                    row[f"videos/{key}/from_timestamp"] = begin
                    row[f"videos/{key}/to_timestamp"] = begin + span
                row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
                row |= {
                    "wallwm/event_id": event.event_id,
                    "wallwm/source_episode": event.episode_index,
                    "wallwm/start": event.start,
                    "wallwm/end": event.end,
                    "wallwm/ordinal": ordinal,
                    "wallwm/label": event.label,
                    "wallwm/template": event.template,
                    "wallwm/instruction": instruction,
                    "wallwm/instruction_template": read.template,
                    **({"wallwm/slots": json.dumps(slots, ensure_ascii=False)} if self.slots else {}),
                    "wallwm/confidence": float(event.confidence),
                    "wallwm/copy": copy,
                    "wallwm/caption": event.caption,
                    "wallwm/nth": asked[:ordinal].count(instruction),
                    "wallwm/of": asked.count(instruction),
                    **{f"{PREFIX}{name}": value for name, value in told[event.event_id].items()},
                    **({} if pruned is None else {"wallwm/pruned": pruned}),
                } | source.provenance(event.episode_index)
                self.pruned += pruned or 0
                self.meta.append(row)
                row |= carried(row)
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

    def _rows(
        self, rows: pa.Table, clock: np.ndarray, event: Event, kept: Callable[[int, int], np.ndarray] | None
    ) -> tuple[pa.Table, np.ndarray, int | None]:
        """T rows of one event, their source timestamps (T,), and how many were left out; None where none may be."""
        frames = np.arange(event.start, event.end) if kept is None else kept(event.start, event.end)
        at = clock[frames]
        part = rows.slice(event.start, event.length) if kept is None else rows.take(frames)
        if self.language is not None:
            part = self.language.add(part, event.episode_index, frames, (at - at[0]).astype(np.float32))
        return part, at, None if kept is None else event.length - len(frames)

    def _last_file(self, key: str) -> int:
        indices = self.source.episodes.column(f"videos/{key}/file_index").drop_null().to_pylist()
        return max((int(index) for index in indices if np.isfinite(index)), default=0)

    def _video(self, meta: dict[str, Any], key: str, copy: int) -> dict[str, int]:
        """Where a camera's pictures of an episode's copy lie; the file is noted for when the rows are written."""
        place = {name: int(meta[f"videos/{key}/{name}"]) for name in ("chunk_index", "file_index")}
        place["file_index"] += copy * self.files
        to = self.root / self.source.info["video_path"].format(video_key=key, **place)
        self.videos[to] = self.source.video_path(meta, key)
        return {f"videos/{key}/{name}": value for name, value in place.items()}

    def _cut_videos(self) -> None:
        """Writes files that hold the view's own pictures, and says in each episode where they lie now."""
        fps, pattern = self.source.fps, self.source.info["video_path"]
        for key in self.source.video_keys:
            name = f"videos/{key}/"
            places = []
            for row in self.meta:
                where = {part: row[f"{name}{part}"] for part in ("chunk_index", "file_index")}
                target = self.root / pattern.format(video_key=key, **where)
                begin, end = row[f"{name}from_timestamp"], row[f"{name}to_timestamp"]
                places.append((self.videos[target], target, begin, end))
            cuts = needed_cuts(places, fps)
            codec = cut_camera(list(cuts.values()), fps)
            if codec is not None:
                self.features[key] = told_anew(self.features[key], codec)
            for row, (_, target, begin, end) in zip(self.meta, places, strict=True):
                new = cuts[target].place(round(begin * fps)) / fps
                row[f"{name}from_timestamp"], row[f"{name}to_timestamp"] = new, new + end - begin

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
        self._describe(table, [len(part) for part in self.pending])
        self.pending, self.pending_rows = [], 0
        if self.writer is None:
            chunk, file = self._chunk()
            path = self.root / "data" / f"chunk-{chunk:03d}" / f"file-{file:03d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self.writer.write_table(table, row_group_size=ROWS_PER_GROUP)

    def _describe(self, table: pa.Table, lengths: list[int]) -> None:
        """Puts the statistics of the last episodes, of so many rows each, into their metadata; keeps their values."""
        values = {key: numbers_of(table.column(key), self.features[key]) for key in self.values}
        for key, parts in self.values.items():
            parts.append(columns_of(values[key]))
        ends = np.cumsum(lengths)
        for row, end, length in zip(self.meta[-len(lengths) :], ends, lengths, strict=True):
            own = {key: value[end - length : end].astype(np.float64) for key, value in values.items()}
            seen = self.of_cameras[row["wallwm/source_episode"]]
            count = {"count": [picture_count(length)]}
            found = episode_statistics(own) | {key: known | count for key, known in seen.items()}
            row |= {f"stats/{key}/{name}": v for key, part in found.items() for name, v in part.items()}

    def _write_meta(self, captions: list[str], level: str, sidecar: Mapping[str, Any], events: int) -> None:
        folder = self.root / "meta"
        (folder / "episodes" / "chunk-000").mkdir(parents=True)
        path = folder / "episodes" / "chunk-000" / "file-000.parquet"
        pq.write_table(pa.Table.from_pylist(self.meta), path, compression="snappy")
        tasks = pd.DataFrame({"task_index": range(len(captions))}, index=pd.Index(captions, name="task"))
        tasks.to_parquet(folder / "tasks.parquet")
        if (named := self.source.root / SUBTASKS).is_file():
            shutil.copyfile(named, self.root / SUBTASKS)
        info = self.source.info | {
            "features": self.features,
            "total_episodes": len(self.meta),
            "total_frames": self.frames,
            "total_tasks": len(captions),
            "splits": {"train": f"0:{len(self.meta)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        }
        about = {
            "format": "wallwm-view",
            "format_version": FORMAT_VERSION,
            "version": __version__,
            "level": level,
            "events": events,
            "source": {
                "name": self.source.root.name,
                "total_episodes": self.source.info.get("total_episodes", len(self.source)),
                "total_frames": self.source.info.get("total_frames"),
            },
            "dropped_features": self.dropped,
            **sidecar,
        }
        stats = self.cameras.of_all(self.of_cameras) | overall_statistics(self.values, self.frames)
        for name, content in (("info.json", info), ("stats.json", stats), (SIDECAR, about)):
            (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def place_file(source: Path, target: Path) -> bool:
    """Hard-links a file, or copies it where links are impossible. Returns True for a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(source.resolve(), target)  # resolved: on the Hub's cache the file is a symlink into blobs/
        return True
    shutil.copyfile(source, target)
    return False
