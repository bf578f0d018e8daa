# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Annotations that exist already, and how they override what the segmenter and the captioner propose.

Three sources. LeRobot's language column: the rows of style `subtask` in `language_persistent`, each of which holds from its
timestamp to the next one's. LeRobot's column `subtask_index`, whose texts lie in `meta/subtasks.parquet`. And a JSON file beside the dataset with spans in the form of X-Planner's L0 to L3, half-open
intervals in frames counted from the episode's first:

    {"format": "wallwm-annotations", "version": 1, "episodes": [
        {"episode_index": 0, "spans": [
            {"level": "L2", "start": 0, "end": 34, "caption": "pick up the red cube"},
            {"level": "L1", "start": 0, "end": 12, "caption": "reach for the red cube"}]}]}

`level` is L3, L2, L1, L0 or task, subtask, action, segment. An episode or a level without spans keeps its proposals, and so
does the time between spans. Where several sources annotate a level of an episode, the file wins, then the language column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from lerobot_wallwm.processors.source.episodes import SUBTASKS, SourceDataset, named_rows
from lerobot_wallwm.processors.source.events import LEVELS, Event
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.json_file import read_json_as

LANGUAGE_COLUMN = "language_persistent"
SUBTASK_STYLE = "subtask"
SUBTASK_COLUMN = "subtask_index"
# X-Planner counts from the finest level.
_NUMBERED = {f"L{3 - depth}": level for depth, level in enumerate(LEVELS)}


@dataclass(frozen=True, slots=True)
class AnnotatedSpan:
    """One annotated event `[start, end)` of one of `LEVELS`, in frames counted from the episode's first.

    `source` is `annotation` (from the file), `language` or `subtask` (from LeRobot's columns).
    """

    level: str
    start: int
    end: int
    caption: str
    source: str = "annotation"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _SpanRow(_Strict):
    level: Literal["L3", "L2", "L1", "L0", "task", "subtask", "action", "segment"]
    start: int = Field(ge=0)
    end: int = Field(ge=1)
    caption: str = Field(min_length=1)


class _EpisodeRow(_Strict):
    episode_index: int = Field(ge=0)
    spans: list[_SpanRow]


class _File(_Strict):
    format: Literal["wallwm-annotations"]
    version: Literal[1]
    episodes: list[_EpisodeRow]


def read_annotation_file(path: str | Path) -> dict[int, list[AnnotatedSpan]]:
    """The spans of a JSON file, by episode.

    Raises:
        DataError: If the file is missing, is not JSON, or does not have the form above.
    """
    content = read_json_as(path, _File, f"see the docstring of {__name__} for the form")
    spans: dict[int, list[AnnotatedSpan]] = {}
    for episode in content.episodes:
        if episode.episode_index in spans:
            problem = f"episode_index {episode.episode_index} occurs twice"
            raise DataError(path, "episodes", problem, "join its spans")
        spans[episode.episode_index] = [
            AnnotatedSpan(_NUMBERED.get(row.level, row.level), row.start, row.end, row.caption)
            for row in episode.spans
        ]
    return spans


def subtask_spans(
    rows: Iterable[Mapping[str, Any]], timestamps: np.ndarray, where: str | Path, episode: int
) -> list[AnnotatedSpan]:
    """The subtasks of LeRobot's language rows as spans.

    Args:
        rows: The value of `language_persistent` at any frame of the episode (LeRobot repeats it on all).
        timestamps: (T,) seconds of the episode's frames.
        where: The file, for messages, as is `episode`.

    Raises:
        DataError: If a subtask has no text, starts outside the episode, or starts at the frame of another.
    """
    length = len(timestamps)
    step = (timestamps[-1] - timestamps[0]) / max(length - 1, 1)
    starts: dict[int, str] = {}
    for row in rows:
        if row.get("style") != SUBTASK_STYLE:
            continue
        key = f"{LANGUAGE_COLUMN} of episode {episode}"
        text, time = (row.get("content") or "").strip(), float(row["timestamp"])
        if not text:
            raise DataError(where, key, f"the subtask at {time:g} s has no text", "annotate it again")
        if not timestamps[0] - step / 2 <= time <= timestamps[-1] + step / 2:
            lasts = f"the episode lasts from {timestamps[0]:g} to {timestamps[-1]:g} s"
            problem = f"the subtask {text!r} starts at {time:g} s, but {lasts}"
            raise DataError(where, key, problem, "annotate it again")
        frame = int(np.argmin(np.abs(timestamps - time)))
        if starts.get(frame, text) != text:
            problem = f"two subtasks start at {time:g} s: {starts[frame]!r}, {text!r}"
            raise DataError(where, key, problem, "keep one of them")
        starts[frame] = text
    bounds = pairwise([*sorted(starts), length])
    return [AnnotatedSpan("subtask", start, end, starts[start], "language") for start, end in bounds]


def subtask_names(root: Path) -> dict[int, str]:
    """The texts of `meta/subtasks.parquet` by `subtask_index`; `DataError` if it cannot be read."""
    fix = "restore it from where the dataset was annotated, or remove the column from meta/info.json"
    return named_rows(root / SUBTASKS, "subtask", fix)


def indexed_spans(
    rows: pa.Table, names: Mapping[int, str], where: str | Path, episode: int
) -> list[AnnotatedSpan]:
    """The subtasks that the (T,) values of `subtask_index` name, a span for each run of the same one.

    Frames without one (negative, or missing) belong to no span.

    Raises:
        DataError: A value is not in `names`.
    """
    if SUBTASK_COLUMN not in rows.column_names:
        return []
    values = [-1 if value is None else int(value) for value in rows.column(SUBTASK_COLUMN).to_pylist()]
    starts = [0, *(i for i in range(1, len(values)) if values[i] != values[i - 1])]
    spans = []
    for start, end in pairwise([*starts, len(values)]):
        if values[start] < 0:
            continue
        text = names.get(values[start], "").strip()
        if not text:
            key, problem = f"{SUBTASK_COLUMN} of episode {episode}", f"is {values[start]} at frame {start}"
            raise DataError(where, key, f"{problem}, which {SUBTASKS} does not name", "annotate it again")
        spans.append(AnnotatedSpan("subtask", start, end, text, "subtask"))
    return spans


def read_annotations(
    source: SourceDataset, path: str | Path | None = None
) -> tuple[dict[int, list[AnnotatedSpan]], list[str]]:
    """All annotations of a dataset, checked.

    The dataset's language column, or its subtask column, is read where it has one; `path` is a JSON file with more.

    Returns:
        The spans by episode; and one line for each episode whose annotations cannot be used, which keeps its proposals.

    Raises:
        DataError: If the file as a whole cannot be read.
    """
    given = read_annotation_file(path) if path is not None else {}
    spans: dict[int, list[AnnotatedSpan]] = {}
    refused: list[str] = []
    has_column = LANGUAGE_COLUMN in source.info["features"]
    names: dict[int, str] | None = None
    if SUBTASK_COLUMN in source.info["features"]:
        try:
            names = subtask_names(source.root)
        except DataError as error:
            refused.append(str(error))
    for position, index in enumerate(source.episode_indices):
        own = list(given.pop(index, ()))
        meta = source.meta(position)
        where = source.data_path(meta)
        try:
            check_spans(own, meta["length"], path or where, index)
        except DataError as error:
            refused.append(str(error))
            own = []
        try:
            if has_column and not any(span.level == "subtask" for span in own):
                part = source.rows(meta)
                known = LANGUAGE_COLUMN in part.column_names
                rows = part.column(LANGUAGE_COLUMN)[0].as_py() if known else None
                found = subtask_spans(rows or (), part.column("timestamp").to_numpy(), where, index)
                check_spans([*own, *found], meta["length"], where, index)
                own += found
            if names is not None and not any(span.level == "subtask" for span in own):
                found = indexed_spans(source.rows(meta), names, where, index)
                check_spans([*own, *found], meta["length"], where, index)
                own += found
        except DataError as error:
            refused.append(str(error))
        if own:
            spans[index] = own
    for index in sorted(given):
        unknown = DataError(path or "", f"episode_index {index}", "is not in the dataset", "remove it")
        refused.append(str(unknown))
    return spans, refused


def check_spans(spans: Sequence[AnnotatedSpan], length: int, path: str | Path, episode: int) -> None:
    """Checks that the spans of an episode of `length` frames lie in it, do not overlap in a level, and nest.

    Raises:
        DataError: If they do not; it names the span.
    """

    def fail(span: AnnotatedSpan, problem: str) -> None:
        key = f"episode {episode}, {span.level} [{span.start}, {span.end}) {span.caption!r}"
        raise DataError(path, key, problem, "correct that span")

    for span in spans:
        if not 0 <= span.start < span.end <= length:
            fail(span, f"does not lie in the episode's {length} frames, or is empty")
        if span.level == LEVELS[0] and (span.start, span.end) != (0, length):
            fail(span, f"a task covers its episode, here [0, {length})")
    for level in LEVELS:
        row = sorted((span for span in spans if span.level == level), key=lambda span: span.start)
        for before, after in pairwise(row):
            if after.start < before.end:
                fail(after, f"overlaps [{before.start}, {before.end}) {before.caption!r}")
    for span in spans:
        for edge in (span.start, span.end):
            for finer in spans:
                if LEVELS.index(finer.level) > LEVELS.index(span.level) and finer.start < edge < finer.end:
                    fail(span, f"its edge {edge} cuts the {finer.level} [{finer.start}, {finer.end})")


class AnnotationMerger:
    """Puts annotated spans into an episode's events.

    `merger(events)` returns the episode's events with the annotated ones in their place. Every annotated span becomes
    one event, unaltered. Proposed boundaries inside an annotated span of the same or a finer level move to its nearest
    edge; those nearer than `least` frames to an annotated one give way; the others stay.

    Args:
        spans: By episode; see `read_annotations`. They must have passed `check_spans`.
        least: Frames of the shortest event; see `EventSegmenter.min_frames`.
    """

    def __init__(self, spans: Mapping[int, Sequence[AnnotatedSpan]], least: int = 2) -> None:
        self.spans = spans
        self.least = least

    def __call__(self, events: Sequence[Event]) -> list[Event]:
        """Events of one episode at all four levels, ids counted from 0, tiling `[0, T)` at every level."""
        if not events or not self.spans.get(events[0].episode_index):
            return list(events)
        spans = self.spans[events[0].episode_index]
        length = max(event.end for event in events)
        bounds: set[int] = set()
        merged: list[Event] = []
        parents: list[Event] = []
        for depth, level in enumerate(LEVELS):
            own = {span.start: span for span in spans if span.level == level}
            proposed = [event for event in events if event.level == level]
            bounds |= {edge for span in own.values() for edge in (span.start, span.end)} - {0, length}
            finer = [span for span in spans if LEVELS.index(span.level) >= depth]
            for event in proposed:
                frame = _snap(event.start, finer)
                near = min((abs(frame - other) for other in (0, length, *bounds)), default=self.least)
                if near >= self.least and not any(span.start < frame < span.end for span in finer):
                    bounds.add(frame)
            edges = [0, *sorted(bounds), length]
            fixed = {edge: span.source for span in spans for edge in (span.start, span.end)}
            row: list[Event] = []
            for start, end in pairwise(edges):
                like = max(proposed, key=lambda e: min(e.end, end) - max(e.start, start))
                parent = next((p.event_id for p in parents if p.start <= start < p.end), -1)
                span = own.get(start)
                label, caption, template = like.label, like.caption, like.template
                if span is not None:
                    # Our choice: the label of a caption in somebody's words is its first word.
                    label, caption, template = span.caption.split()[0].lower(), span.caption, span.caption
                known = span.source if span is not None else fixed.get(start)
                sure = 1.0 if known or start == 0 else like.confidence
                cue = known or ("episode" if start == 0 else like.source)
                place = len(merged) + len(row), events[0].episode_index, level, start, end
                row.append(Event(*place, label, caption, template, parent, sure, cue))
            merged += row
            parents = row
        return merged

    def keep_captions(self, events: Sequence[Event]) -> list[Event]:
        """Events of any number of episodes, with the annotated captions where a later stage has written others."""
        own = {(i, s.level, s.start, s.end): s.caption for i, spans in self.spans.items() for s in spans}
        captions = (own.get((e.episode_index, e.level, e.start, e.end), e.caption) for e in events)
        pairs = zip(events, captions, strict=True)
        return [e if e.caption == text else replace(e, caption=text, template=text) for e, text in pairs]


def _snap(frame: int, spans: Sequence[AnnotatedSpan]) -> int:
    """The nearest edge of the span that holds the frame in its inside (the coarsest first); else the frame."""
    for span in sorted(spans, key=lambda span: LEVELS.index(span.level)):
        if span.start < frame < span.end:
            return span.start if frame - span.start <= span.end - frame else span.end
    return frame
