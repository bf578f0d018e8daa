# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Writes a view's rows, metadata and links to the source's videos.

Rows are re-indexed event by event and written many events at a time; everything else is the source's, bit for bit.
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
from lerobot_wallwm.processors.motion.quasi_static import QuasiStaticPruner
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.view.language_rows import FRAME, LanguageRows, language_features
from lerobot_wallwm.storage.errors import DataError

# Rewritten by the carver; everything else is the source's, bit for bit.
REINDEXED = ("timestamp", "frame_index", "episode_index", "index", "task_index")
FORMAT_VERSION = 1
SIDECAR = "wallwm.json"
QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
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
        self.dropped = [k for k in source.info["features"] if k.startswith("language_") and k not in kept]
        self.features = {k: v for k, v in source.info["features"].items() if k not in self.dropped}
        if language is not None:
            self.features |= language_features()
        other = ("video", "image", "string", "language")
        # The view's own rows, copies included, for their statistics. Exact quantiles need all values: at float32 a
        # million rows of 12 numbers are 48 MB.
        numeric = (key for key, value in self.features.items() if value["dtype"] not in other)
        self.values: dict[str, list[np.ndarray]] = {key: [] for key in numeric}
        self.meta: list[dict[str, Any]] = []
        self.pending: list[pa.Table] = []
        self.reindexed: dict[str, list[np.ndarray]] = {name: [] for name in REINDEXED}
        self.frames = self.file_index = self.file_rows = self.pending_rows = 0
        self.writer: pq.ParquetWriter | None = None

    def write(
        self,
        by_episode: Mapping[int, list[Event]],
        copies: Mapping[int, int],
        level: str,
        sidecar: Mapping[str, Any],
        progress: Callable[[int], object] | None,
    ) -> dict[str, int]:
        """Writes the view; see `EventCarver.carve`. Returns the numbers of a `CarveResult`."""
        source = self.source
        image_stats = self._image_stats()
        written = (e for group in by_episode.values() for e in group if copies.get(e.event_id, 1) > 0)
        captions = sorted({event.caption for event in written})
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
        linked = sum(place_file(path, self.root / to, copy=self.copy_videos) for path, to in videos.items())
        self._write_meta(captions, image_stats, level, sidecar, events)
        counts = {
            "events": events,
            "episodes": len(self.meta),
            "frames": self.frames,
            "captions": len(captions),
        }
        counts |= {"frames_pruned": self.pruned, "videos_linked": linked}
        return counts | {"videos_copied": len(videos) - linked}

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
        rows = rows.select([name for name in rows.column_names if name in self.features])
        task_of = rows.column("task_index")
        clock = source.clock(rows)
        kept = None if self.pruner is None else self.pruner(source.read(position))
        for ordinal, event in enumerate(group):
            if event.end > len(rows):
                where = source.data_path(meta), f"episode_index {event.episode_index}"
                problem = f"has {len(rows)} frames, but event {event.event_id} ends at {event.end}"
                raise DataError(*where, problem, "run the segmenter on this very dataset")
            if copies.get(event.event_id, 1) <= 0:
                continue
            instruction = source.tasks[task_of[event.start].as_py()]
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
                    for name in ("chunk_index", "file_index"):
                        row[f"videos/{key}/{name}"] = int(meta[f"videos/{key}/{name}"])
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
                    **({} if pruned is None else {"wallwm/pruned": pruned}),
                } | source.provenance(event.episode_index)
                self.pruned += pruned or 0
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
        for key, parts in self.values.items():
            column = table.column(key)
            while pa.types.is_nested(column.type):
                column = pa.chunked_array([chunk.flatten() for chunk in column.chunks])
            parts.append(column.to_numpy().reshape(len(table), -1))
        if self.writer is None:
            chunk, file = self._chunk()
            path = self.root / "data" / f"chunk-{chunk:03d}" / f"file-{file:03d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self.writer.write_table(table, row_group_size=ROWS_PER_GROUP)

    def _numeric_stats(self) -> dict[str, Any]:
        """`{key: {min, max, mean, std, count, q01, q10, q50, q90, q99}}`, each a list over dimensions."""
        stats: dict[str, Any] = {}
        for key, parts in self.values.items():
            values = np.concatenate(parts).astype(np.float64)
            stats[key] = {name: getattr(values, name)(0).tolist() for name in ("min", "max", "mean", "std")}
            stats[key]["count"] = [len(values)]
            for q, row in zip(QUANTILES, np.quantile(values, QUANTILES, axis=0), strict=True):
                stats[key][f"q{round(q * 100):02d}"] = row.tolist()
        return stats

    def _image_stats(self) -> dict[str, Any]:
        path = self.source.root / "meta" / "stats.json"
        try:
            stats = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError) as error:
            fix = "record the dataset again, or restore its meta/stats.json"
            raise DataError(path, "file", f"cannot be read ({error})", fix) from error
        for key in self.source.camera_keys:
            if key not in stats:
                fix = "run `lerobot-edit-dataset` to recompute stats"
                raise DataError(path, key, "has no statistics of this camera", fix)
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
        path = folder / "episodes" / "chunk-000" / "file-000.parquet"
        pq.write_table(pa.Table.from_pylist(self.meta), path, compression="snappy")
        tasks = pd.DataFrame({"task_index": range(len(captions))}, index=pd.Index(captions, name="task"))
        tasks.to_parquet(folder / "tasks.parquet")
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
        stats = image_stats | self._numeric_stats()
        for name, content in (("info.json", info), ("stats.json", stats), (SIDECAR, about)):
            (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def place_file(source: Path, target: Path, *, copy: bool = False) -> bool:
    """Hard-links a file, or copies it where links are impossible or not wanted. Returns True for a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copy:
        with contextlib.suppress(OSError):
            os.link(
                source.resolve(), target
            )  # resolved: on the Hub's cache the file is a symlink into blobs/
            return True
    shutil.copyfile(source, target)
    return False
