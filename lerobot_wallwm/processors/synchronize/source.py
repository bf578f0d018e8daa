# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The verdict on an episode, and a dataset as it would be, had it been recorded in step: the later stages read it like any other.

Nothing is written. Rows are re-indexed when they are read, an episode starts at the first frame that has picture, state and
action, and quarantined episodes are left out. Frames of an event found in it therefore count from `first_frame` of its
episode; the carved view and `sync.parquet` say where that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lerobot_wallwm.processors.source.episodes import ACTION, SourceDataset, schema_of, write_rows
from lerobot_wallwm.storage.errors import DataError

SYNC_FILE = "sync.parquet"
FORMAT_VERSION = 2
# Of an event's metadata: by how many frames a camera runs behind the others.
LATE = "wallwm/late/"
FRAME_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True)
class CameraFrames:
    """A camera, and by how many frames its pictures run behind those of the others."""

    camera: str
    frames: int


@dataclass(frozen=True)
class SyncVerdict:
    """What is done with one episode.

    Attributes:
        length: The episode's frames as recorded.
        lag: Frames by which most cameras run behind the state: frame t takes its state from row t - lag.
        action_lag: The same for the action: frame t takes its action from row t - action_lag.
        fit: Evidence, in nats, that the joints explain what moves in this episode's pictures.
        margin: Evidence, in nats, of this episode for the rig's lags against any other lag; negative where it has none.
        action_delay: Frames from action to state as measured; NaN where it cannot be told.
        first_frame: First frame that has picture, state and action.
        end_frame: One past the last such frame.
        quarantined: Whether the episode must not be trained on unseen.
        reason: Why, `rule: evidence`; empty otherwise.
        late: Cameras that do not lag as most do: frame t takes their picture from frame t + frames.
    """

    episode_index: int
    length: int
    lag: int
    action_lag: int
    fit: float
    margin: float
    action_delay: float
    first_frame: int
    end_frame: int
    quarantined: bool = False
    reason: str = ""
    late: tuple[CameraFrames, ...] = field(default=())

    def quarantine(self, reason: str) -> SyncVerdict:
        """The same verdict, quarantined."""
        return replace(self, quarantined=True, reason=reason)

    def with_lags(self, lag: int, action_lag: int) -> SyncVerdict:
        """The same verdict with other lags and the frames that those leave."""
        behind = lag, action_lag, *(-camera.frames for camera in self.late)
        first = max(0, *behind)
        end = max(first, self.length + min(0, *behind))
        return replace(self, lag=lag, action_lag=action_lag, first_frame=first, end_frame=end)


def refused(episode_index: int, length: int, reason: str) -> SyncVerdict:
    """The verdict on an episode in which nothing could be measured."""
    return SyncVerdict(episode_index, length, 0, 0, 0.0, 0.0, float("nan"), 0, length, True, reason)


def rows_behind(
    column: str, cameras: Iterable[str], lag: int, action_lag: int, late: Mapping[str, int] | None = None
) -> int:
    """How many rows before a frame's own row its value of `column` was recorded.

    Pictures, the clock and whatever was written by looking at the pictures belong to the frame; those of a camera in `late`
    come as many frames after it. Actions come from `action_lag` rows before. All else (state, effort, reward ...) was read
    from the robot with the state.
    """
    if late and column in late:
        return -late[column]
    if column in FRAME_COLUMNS or column in cameras or column.startswith("language_"):
        return 0
    return action_lag if column == ACTION or column.startswith(f"{ACTION}.") else lag


_LATE = pa.struct([("camera", pa.string()), ("frames", pa.int64())])
SYNC_SCHEMA = schema_of(
    SyncVerdict,
    {"wallwm_sync_version": str(FORMAT_VERSION)},
    action_delay=pa.field("action_delay", pa.float64()),
    late=pa.field("late", pa.list_(_LATE), nullable=False),
)


def write_verdicts(verdicts: Iterable[SyncVerdict], path: str | Path) -> None:
    """Writes one row per episode, in the order given."""
    told = (replace(v, action_delay=None) if np.isnan(v.action_delay) else v for v in verdicts)  # type: ignore[arg-type]
    write_rows(told, SYNC_SCHEMA, path)


@dataclass
class SynchronizedSource(SourceDataset):
    """A `SourceDataset` on the video's time. Build it with `SynchronizedSource.of`."""

    raw: SourceDataset | None = None
    verdicts: Mapping[int, SyncVerdict] = field(default_factory=dict)
    _positions: Mapping[int, int] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, raw: SourceDataset, verdicts: Iterable[SyncVerdict]) -> SynchronizedSource:
        """Applies verdicts; an episode without one, or with a quarantined one, is left out."""
        kept = {verdict.episode_index: verdict for verdict in verdicts if not verdict.quarantined}
        positions = {episode: i for i, episode in enumerate(raw.episode_indices) if episode in kept}
        rows = []
        for episode, position in positions.items():
            row, verdict = raw.meta(position), kept[episode]
            if row["length"] != verdict.length:
                problem = f"has {row['length']} frames, but was synchronised with {verdict.length}"
                fix = "run `wallwm prepare --synchronize=true` on this very dataset"
                raise DataError(raw.data_path(row), f"episode_index {episode}", problem, fix)
            first, length = verdict.first_frame, verdict.end_frame - verdict.first_frame
            begin = float(raw.clock(raw.rows(row))[first])
            late = {camera.camera: camera.frames / raw.fps for camera in verdict.late}
            row["length"] = length
            row["dataset_from_index"] += first
            row["dataset_to_index"] = row["dataset_from_index"] + length
            for key in raw.video_keys:
                name, until = f"videos/{key}/from_timestamp", f"videos/{key}/to_timestamp"
                if row.get(name) is not None:
                    row[name] += begin + late.get(key, 0.0)
                if row.get(until) is not None:
                    row[until] = row[name] + length / raw.fps
            rows.append(row)
        episodes = pa.Table.from_pylist(rows, schema=raw.episodes.schema)
        features = (
            raw.camera_keys,
            raw.video_keys,
            raw.embodiment,
            raw.instructions,
            raw.notes,
            raw.depth_keys,
        )
        fields = (raw.root, raw.info, episodes, raw.tasks, *features, raw.identity)
        return cls(*fields, raw=raw, verdicts=kept, _positions=positions)

    def rows(self, meta: dict[str, Any]) -> pa.Table:
        """All columns of one episode, each from the row that was recorded at the frame's time; see `rows_behind`.

        `timestamp` and `frame_index` count from the episode's first frame on the video's time.
        """
        if self.raw is None:
            raise ValueError("SynchronizedSource has no dataset. Fix: build it with SynchronizedSource.of")
        verdict = self.verdicts[meta["episode_index"]]
        raw_meta = self.raw.meta(self._positions[meta["episode_index"]])
        table = self.raw.rows(raw_meta)
        first, length = verdict.first_frame, verdict.end_frame - verdict.first_frame
        begin = self.raw.clock(table)[first]
        columns = []
        for name in table.column_names:
            late = {camera.camera: camera.frames for camera in verdict.late}
            behind = rows_behind(name, self.all_cameras, verdict.lag, verdict.action_lag, late)
            column = table.column(name).slice(first - behind, length)
            if name in ("timestamp", "frame_index"):
                values = column.to_numpy().astype(np.float64) - (begin if name == "timestamp" else first)
                column = pa.chunked_array([pa.array(values).cast(column.type)])
            elif name == "language_persistent":
                column = _earlier(column, float(begin))
            columns.append(column)
        return pa.table(columns, schema=table.schema)

    def provenance(self, episode_index: int) -> dict[str, int]:
        """What the carver writes beside each event, so that `verify` finds the rows it came from."""
        verdict = self.verdicts[episode_index]
        found = {f"wallwm/{name}": getattr(verdict, name) for name in ("first_frame", "lag", "action_lag")}
        return found | {f"{LATE}{camera.camera}": camera.frames for camera in verdict.late}


def _earlier(column: pa.ChunkedArray, seconds: float) -> pa.ChunkedArray:
    """LeRobot's persistent language rows carry times of the episode, whose clock now starts later."""
    cells = [
        [entry | {"timestamp": max(0.0, entry["timestamp"] - seconds)} for entry in cell] if cell else cell
        for cell in column.to_pylist()
    ]
    return pa.chunked_array([pa.array(cells, type=column.type)])
