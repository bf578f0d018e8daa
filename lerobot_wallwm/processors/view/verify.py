# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Compares a carved view with its source, through LeRobot's own loader: every row, every frame, every pad; and its statistics
with its rows.

Of a view that was merged from several, the events of this source are compared. In a view without its quasi-static frames, a row's timestamp says which source frame it must equal. In a synchronised view
an event's metadata says from how many rows before its frames state and action must be.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.language.view_events import PREFIX, has_events, view_rows
from lerobot_wallwm.processors.source.episodes import ACTION, SourceDataset
from lerobot_wallwm.processors.synchronize.source import LATE, rows_behind
from lerobot_wallwm.processors.view.language_rows import FRAME, PERSISTENT
from lerobot_wallwm.processors.view.statistics import (
    QUANTILES,
    episode_statistics,
    numbers_of,
    stored_statistics,
)
from lerobot_wallwm.processors.view.writer import REINDEXED
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import FolderConfig

_WINDOW = 8  # frames asked of LeRobot at once
_STATISTICS = ("min", "max", "mean", "std", *(f"q{round(q * 100):02d}" for q in QUANTILES))


@dataclass
class VerifyConfig:
    """`wallwm verify`."""

    # The dataset that was carved.
    source: FolderConfig = field(default_factory=FolderConfig)
    # The view: a train or heldout folder.
    view: FolderConfig = field(default_factory=FolderConfig)
    # Decode and compare every frame; rows and pads alone take seconds.
    frames: bool = True
    # No progress bar.
    quiet: bool = False


@dataclass
class VerifyReport:
    """Counts over all events of a view."""

    events: int = 0
    rows: int = 0
    row_mismatches: int = 0
    index_mismatches: int = 0
    frames: int = 0
    frame_mismatches: int = 0
    pads: int = 0
    pad_mismatches: int = 0
    statistics: int = 0
    statistic_mismatches: int = 0
    elsewhere: int = 0  # events that were cut from another dataset, and not compared

    @property
    def ok(self) -> bool:
        """Whether everything was equal (and there was something to compare)."""
        wrong = self.row_mismatches + self.index_mismatches + self.frame_mismatches + self.pad_mismatches
        return wrong + self.statistic_mismatches == 0 and self.rows > 0


def verify_view(
    source_root: str | Path | None, view_root: str | Path | None, *, frames: bool = True, quiet: bool = False
) -> VerifyReport:
    """Compares a view with its source.

    With `frames`, every row is also loaded through `LeRobotDataset` with a window that runs past the event's end, and its
    images and pad masks are compared.

    Raises:
        DataError: If one of the two cannot be read, or the view was not cut from this source.
    """
    if source_root is None or view_root is None:
        raise ValueError("two folders are needed. Fix: pass --source.root=<dataset> and --view.root=<view>")
    source, view = SourceDataset.open(source_root), SourceDataset.open(view_root)
    everything = view_rows(view.root)
    if not has_events(everything):
        problem = "holds no events, so this is not a carved view"
        raise DataError(view.root, "meta/episodes", problem, "point --view.root at <out>/train")
    events, report = _of_this_source(everything, source), VerifyReport()
    report.elsewhere = len(everything) - len(events)
    _compare_metadata(view, events, report)
    rows = pa.concat_tables(
        [pq.read_table(path) for path in sorted((view.root / "data").glob("*/*.parquet"))]
    )
    source_frames = _compare_rows(source, view, events, rows, report)
    _compare_statistics(view, rows, report)
    if frames:
        _compare_frames(source, view, events, source_frames, report, quiet)
    return report


def _of_this_source(events: list[dict[str, Any]], source: SourceDataset) -> list[dict[str, Any]]:
    """The events that were cut from `source`.

    Raises:
        DataError: There are none, or the source lacks a recording.
    """
    # Its rows may have changed since: that is what is compared.
    known = source.identity.split("-")[0]
    own = [event for event in events if (event.get("wallwm/source") or known).split("-")[0] == known]
    fix = "point --source.root at the dataset that was carved, as it was then"
    if not own:
        names = sorted({f"{event.get('wallwm/dataset')} ({event['wallwm/source']})" for event in events})
        problem = f"is {known}, but the view was cut from {', '.join(names)}"
        raise DataError(source.root, "fingerprint", problem, fix)
    lacking = sorted({event["wallwm/source_episode"] for event in own} - set(source.episode_indices))
    if lacking:
        raise DataError(
            source.root, f"episode_index {lacking[0]}", "is missing, and the view has its events", fix
        )
    return own


def _compare_metadata(view: SourceDataset, events: list[dict[str, Any]], report: VerifyReport) -> None:
    """Compares an event's columns with what LeRobot's tools carry on, and goes on with the columns where they differ."""
    table = view.episodes.select([name for name in view.episodes.column_names if name.startswith(PREFIX)])
    of_episode = dict(zip(view.episode_indices, table.to_pylist(), strict=True))
    for event in events:
        known = {name: value for name, value in of_episode[event["episode_index"]].items() if value == value}
        told = {name: value for name, value in known.items() if value is not None}
        # The template follows a caption that was changed afterwards.
        report.index_mismatches += any(
            event.get(name) != value for name, value in told.items() if name != f"{PREFIX}template"
        )
        event |= told


def _bits(column: pa.ChunkedArray) -> list[bytes]:
    """Each row of a column as bytes, so that -0.0, NaN and float width count."""
    flat = column
    while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        flat = pa.chunked_array([chunk.flatten() for chunk in flat.chunks], flat.type.value_type)
    if pa.types.is_primitive(flat.type) and flat.null_count == 0 and len(flat) % max(len(column), 1) == 0:
        values = flat.to_numpy().reshape(len(column), -1)
        return [row.tobytes() for row in values]
    return [repr(value).encode() for value in column.to_pylist()]


def _compare_rows(
    source: SourceDataset,
    view: SourceDataset,
    events: list[dict[str, Any]],
    rows: pa.Table,
    report: VerifyReport,
) -> list[np.ndarray]:
    """Compares rows and indices; returns the source frames of each event, counted from its recording's first."""
    # Language rows are on the event's clock, so they differ from the source's by design, or were left out.
    dropped = {*(key for key in source.info["features"] if key.startswith("language_")), PERSISTENT, FRAME}
    all_frames: list[np.ndarray] = []
    position = {episode: i for i, episode in enumerate(source.episode_indices)}
    clock = {name: rows.column(name).to_numpy() for name in REINDEXED}
    cached: dict[int, dict[str, list[bytes]]] = {}

    def bits(table: pa.Table) -> dict[str, list[bytes]]:
        return {n: _bits(table.column(n)) for n in table.column_names if n not in dropped.union(REINDEXED)}

    mine = bits(rows)
    for meta in events:
        begin, end = meta["dataset_from_index"], meta["dataset_to_index"]
        origin = meta["wallwm/source_episode"]
        if origin not in cached:
            part = source.rows(source.meta(position[origin]))
            cached = {origin: bits(part)}
            moments = part.column("timestamp").to_numpy().astype(np.float64)
        theirs = cached[origin]
        frames, on_time = _source_frames(meta, clock["timestamp"][begin:end], moments, view.fps)
        all_frames.append(frames)
        report.events += 1
        report.rows += end - begin
        wrong = np.zeros(end - begin, dtype=bool)
        for name in theirs.keys() | mine.keys():
            ours = mine.get(name, [b"missing"] * len(rows))[begin:end]
            column = theirs.get(name)
            at = frames - rows_behind(name, source.all_cameras, *_lags(meta))
            inside = (at >= 0) & (at < len(moments))
            known = zip(at, inside, strict=True)
            expected = [column[k] if ok and column is not None else b"missing" for k, ok in known]
            wrong |= np.array([a != b for a, b in zip(ours, expected, strict=True)])
        report.row_mismatches += int(wrong.sum())
        length = np.arange(end - begin)
        good = (
            (clock["index"][begin:end] == begin + length)
            & (clock["frame_index"][begin:end] == length)
            & (clock["episode_index"][begin:end] == meta["episode_index"])
            & on_time
            & np.array([view.tasks[t] == meta["tasks"][0] for t in clock["task_index"][begin:end]])
        )
        report.index_mismatches += int((~good).sum())
    return all_frames


def _lags(meta: dict[str, Any]) -> tuple[int, int, dict[str, int]]:
    """Rows by which state and action of an event lie before its frames, and frames by which cameras are late; none in a view
    that was not synchronised.
    """
    late = {
        key.removeprefix(LATE): int(frames) for key, frames in meta.items() if key.startswith(LATE) and frames
    }
    return int(meta.get("wallwm/lag") or 0), int(meta.get("wallwm/action_lag") or 0), late


def _source_frames(
    meta: dict[str, Any], timestamps: np.ndarray, moments: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Source frame of each row of an event, and whether the row's clock agrees with it.

    Without pruning rows follow each other, whatever their clock says. With it the clock chooses among the event's frames:
    they must ascend, from its first to its last, and as many must be missing as the metadata says.
    """
    first, rows = int(meta.get("wallwm/first_frame") or 0), len(timestamps)
    start, end = first + meta["wallwm/start"], first + meta["wallwm/end"]
    if not meta.get("wallwm/pruned"):
        ahead = np.arange(rows)
        return start + ahead, np.abs(timestamps - ahead / fps) < 1e-4
    since = moments[start:end] - moments[start]
    after = np.clip(np.searchsorted(since, timestamps), 1, len(since) - 1)
    near = after - (timestamps - since[after - 1] < since[after] - timestamps)
    on_time = np.abs(timestamps - since[near]) < 1e-4
    on_time[1:] &= np.diff(near) > 0
    whole = near[0] == 0 and near[-1] == end - start - 1 and rows + meta["wallwm/pruned"] == end - start
    return start + near, on_time & whole


def _compare_statistics(view: SourceDataset, rows: pa.Table, report: VerifyReport) -> None:
    """Compares `stats.json` and the statistics of each episode with the view's numbers: a feature of one or the other each.

    LeRobot's tools reckon with float32 and average quantiles, so those count only by their shape.
    """
    features = {key: view.info["features"][key] for key in rows.column_names if key in view.info["features"]}
    other = ("video", "image", "string", "language")
    numeric = [key for key, value in features.items() if value["dtype"] not in other and key not in REINDEXED]
    values = {key: numbers_of(rows.column(key), features[key]).astype(np.float64) for key in numeric}
    stored = stored_statistics(view)
    for path in sorted((view.root / "meta" / "episodes").glob("*/*.parquet")):
        names = ["dataset_from_index", "dataset_to_index"]
        table = pq.read_table(path)
        names += [name for name in table.column_names if name.startswith("stats/")]
        for row in table.select(names).to_pylist():
            part = slice(row["dataset_from_index"], row["dataset_to_index"])
            known = {
                key: {n: row.get(f"stats/{key}/{n}") for n in ("count", *_STATISTICS)} for key in numeric
            }
            _compare_numbers({key: value[part] for key, value in values.items()}, known, report)
    _compare_numbers(values, {key: stored.get(key, {}) for key in numeric}, report)


def _compare_numbers(
    values: dict[str, np.ndarray], known: dict[str, dict[str, Any]], report: VerifyReport
) -> None:
    expected = episode_statistics(values)
    for key, own in known.items():
        report.statistics += 1
        size = float(np.abs(values[key]).max(initial=0.0))
        near = {"min": 1e-6, "max": 1e-6, "mean": 1e-5, "std": 2e-3}
        right = own.get("count") == expected[key]["count"]
        for name in _STATISTICS:
            mine = np.array(np.nan if own.get(name) is None else own[name], dtype=np.float64)
            theirs = np.array(expected[key][name])
            right &= mine.shape == theirs.shape
            right &= name not in near or bool(np.all(np.abs(mine - theirs) <= near[name] * max(size, 1e-6)))
        report.statistic_mismatches += not right


class _FrameWindows:
    """Single frames of a dataset that is read in windows; ask for them in ascending order."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.first = dataset, -_WINDOW
        self.item: dict[str, Any] = {}

    def __call__(self, row: int, key: str) -> Any:
        if not self.first <= row < self.first + _WINDOW:
            self.first, self.item = row, self.dataset[row]
        return self.item[key][row - self.first]


def _compare_frames(
    source: SourceDataset,
    view: SourceDataset,
    events: list[dict[str, Any]],
    frames: list[np.ndarray],
    report: VerifyReport,
    quiet: bool,
) -> None:
    import torch
    from datasets.exceptions import DatasetsError
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from tqdm import tqdm

    offsets = list(range(_WINDOW))
    deltas = {key: [k / view.fps for k in offsets] for key in [*view.all_cameras, ACTION]}
    both = []
    for root in (view.root, source.root):
        try:
            both.append(LeRobotDataset(f"wallwm/{root.name}", root=root, delta_timestamps=deltas))
        except (OSError, ValueError, DatasetsError) as error:
            fix = "mend it (a file under data/ may be cut off), or compare rows alone with --frames=false"
            raise DataError(root, "data", f"LeRobot cannot load it ({error})", fix) from error
    ours, theirs = both
    begins = source.episodes.column("dataset_from_index").to_pylist()
    first = dict(zip(source.episode_indices, begins, strict=True))
    shown = tqdm(events, unit=" events", desc="verify", file=sys.stderr, disable=quiet)
    for meta, at in zip(shown, frames, strict=True):
        begin, length = meta["dataset_from_index"], meta["length"]
        origin = first[meta["wallwm/source_episode"]]
        # A window ends with its episode, so each event reads its own; of the actions another one, where they are shifted.
        behind = {key: rows_behind(key, source.all_cameras, *_lags(meta)) for key in deltas}
        windows = {shift: _FrameWindows(theirs) for shift in set(behind.values())}
        for anchor in range(0, length, _WINDOW):
            item: dict[str, Any] = ours[begin + anchor]
            past_end = torch.tensor([anchor + k >= length for k in offsets])
            inside = min(_WINDOW, length - anchor)
            expected = [
                {key: windows[behind[key]](int(origin + k - behind[key]), key) for key in deltas}
                for k in at[anchor:][:inside]
            ]
            for key in deltas:
                report.pads += _WINDOW
                report.pad_mismatches += int((item[f"{key}_is_pad"] != past_end).sum())
                equal = [torch.equal(item[key][k], expected[k][key]) for k in range(inside)]
                # Past the end LeRobot repeats the event's last row.
                equal += [torch.equal(item[key][k], item[key][inside - 1]) for k in range(inside, _WINDOW)]
                if key in view.all_cameras:
                    report.frames += inside
                    report.frame_mismatches += equal.count(False)
                else:
                    report.row_mismatches += equal.count(False)


def print_report(report: VerifyReport) -> None:
    """Prints the counts as a table."""
    print(f"{report.events} events\n{'':<28}{'compared':>10}{'different':>12}")
    print(f"{'rows, bit for bit':<28}{report.rows:>10}{report.row_mismatches:>12}")
    print(f"{'indices, clock and captions':<28}{report.rows:>10}{report.index_mismatches:>12}")
    print(f"{'statistics':<28}{report.statistics:>10}{report.statistic_mismatches:>12}")
    if report.pads:
        print(f"{'camera frames, bit for bit':<28}{report.frames:>10}{report.frame_mismatches:>12}")
        print(f"{'pad flags':<28}{report.pads:>10}{report.pad_mismatches:>12}")
    else:
        print("camera frames and pad flags were not compared (--frames=false)")
    if report.elsewhere:
        print(f"{report.elsewhere} events were cut from another dataset and not compared")
    print("equal" if report.ok else "DIFFERENT")
