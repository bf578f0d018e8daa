# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the tests read, rewrite and read back, and the plain reference of a synchronised episode."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.clean.cleaner import CLEANING_SCHEMA, Finding, Verdict
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, read_parquet
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.synchronize.source import SYNC_SCHEMA, CameraFrames, SyncVerdict


def synchronized(episode: Episode, verdict: SyncVerdict) -> Episode:
    """The episode on the video's time: frames without picture, state and action are trimmed from its ends."""
    frames = np.arange(verdict.first_frame, verdict.end_frame)
    effort = None if episode.effort is None else episode.effort[frames - verdict.lag]
    state, action = episode.state[frames - verdict.lag], episode.action[frames - verdict.action_lag]
    return replace(episode, state=state, action=action, effort=effort)


def annotated(episodes: Iterable[Episode]) -> list[Event]:
    """The events that segmenter and captioner propose, numbered."""
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    return number_events([captioner(episode, segmenter(episode)) for episode in episodes])


def rows_file(root: Path) -> Path:
    return next((root / "data").glob("*/*.parquet"))


def episodes_file(root: Path) -> Path:
    return next((root / "meta" / "episodes").glob("*/*.parquet"))


def change_column(path: Path, name: str, change: Callable[[list], list | None]) -> None:
    """Rewrites a column of a table: ``change`` returns its values, or alters those that it is given."""
    table = pq.read_table(path)
    values = table[name].to_pylist()
    changed = change(values)
    field = table.schema.field(name)
    column = pa.array(values if changed is None else changed, field.type)
    pq.write_table(table.set_column(table.schema.get_field_index(name), field, column), path)


def change_episodes(root: Path, name: str, change: Callable[[np.ndarray, int], np.ndarray]) -> None:
    """Rewrites a column of vectors in a dataset's rows: ``change(values, episode)`` gives those of an episode."""
    path = rows_file(root)
    episodes = pq.read_table(path, columns=["episode_index"])["episode_index"].to_numpy()

    def each(values: list) -> list:
        array = np.array(values, dtype=np.float32)
        for episode in np.unique(episodes):
            array[episodes == episode] = change(array[episodes == episode], int(episode))
        return array.tolist()

    change_column(path, name, each)


def change_info(root: Path, change: Callable[[dict], object]) -> None:
    path = root / "meta" / "info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def contents(root: Path) -> dict[str, bytes]:
    """All files below a folder; of a summary without its two timings."""
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    if "summary.json" in files:
        summary = json.loads(files["summary.json"])
        del summary["seconds"], summary["real_time_factor"]
        files["summary.json"] = json.dumps(summary).encode()
    return files


def load(root: Path, **options: Any) -> LeRobotDataset:
    """As LeRobot reads it."""
    return LeRobotDataset("test/view", root=root, **options)


def cut_short(path: Path, part: float) -> None:
    """Cuts an mp4 whose index has been moved to its front: it still opens and reports its full length."""
    moved = path.with_suffix(".moved.mp4")
    with av.open(str(path)) as old, av.open(str(moved), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    moved.replace(path)
    os.truncate(path, int(path.stat().st_size * part))


def read_verdicts(path: str | Path) -> list[SyncVerdict]:
    """Reads what `write_verdicts` wrote; DataError if the file is missing, truncated, or lacks a column."""
    table = read_parquet(path, SYNC_SCHEMA.names, "run `wallwm prepare --synchronize=true` again to write it")
    verdicts = []
    for row in table.select(SYNC_SCHEMA.names).to_pylist():
        row["late"] = tuple(CameraFrames(**late) for late in row["late"])
        row["action_delay"] = float("nan") if row["action_delay"] is None else row["action_delay"]
        verdicts.append(SyncVerdict(**row))
    return verdicts


def read_cleaning(path: str | Path) -> list[Verdict]:
    """Reads `cleaning.parquet`."""
    table = read_parquet(path, CLEANING_SCHEMA.names, "run `wallwm prepare` again to write it")
    grouped: dict[int, list[Finding]] = {}
    columns = [table.column(name).to_pylist() for name in CLEANING_SCHEMA.names]
    for index, *values in zip(*columns, strict=True):
        grouped.setdefault(index, []).append(Finding(*values))
    return [Verdict(index, tuple(found)) for index, found in grouped.items()]
