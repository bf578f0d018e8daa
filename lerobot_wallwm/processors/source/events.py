# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The event table: one dataclass, one schema, one parquet file.

Four levels tile every episode without gaps or overlaps, each level refining the one above:
task (L3) > subtask (L2) > action (L1) > segment (L0). Intervals are half-open `[start, end)` in source frames
counted from the episode's first frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from lerobot_wallwm.processors.source.episodes import read_parquet, schema_of, write_rows
from lerobot_wallwm.storage.errors import DataError

LEVELS = ("task", "subtask", "action", "segment")
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one episode at one level.

    Attributes:
        event_id: Unique in its table.
        episode_index: Source episode.
        level: One of `LEVELS`.
        start: First source frame, counted from the episode's first frame.
        end: One past the last source frame.
        label: A verb: reach, approach, grasp, lift, move, lower, release, retreat, ...
        caption: The event in words.
        template: The caption with `{object}` and `{target}` slots.
        parent: `event_id` of the enclosing event one level up; -1 at level task.
        confidence: 0..1, how sure the segmenter is of the boundary at `start` (1 at an episode's first frame).
        source: The cue that set the boundary at `start`: episode, gripper, change, pause, ...
    """

    event_id: int
    episode_index: int
    level: str
    start: int
    end: int
    label: str
    caption: str
    template: str
    parent: int
    confidence: float
    source: str

    @property
    def length(self) -> int:
        """Number of source frames."""
        return self.end - self.start


SCHEMA = schema_of(
    Event,
    {"wallwm_events_version": str(FORMAT_VERSION)},
    confidence=pa.field("confidence", pa.float32(), nullable=False),
)


def to_table(events: Iterable[Event]) -> pa.Table:
    """The events as an Arrow table with `SCHEMA`, one row per event, in the order given."""
    return pa.Table.from_pylist([asdict(event) for event in events], schema=SCHEMA)


def from_table(table: pa.Table) -> list[Event]:
    """Events from a table that has (at least) the columns of `SCHEMA`."""
    columns = [table.column(name).to_pylist() for name in SCHEMA.names]
    return [Event(*values) for values in zip(*columns, strict=True)]


def write_events(events: Iterable[Event], path: str | Path) -> None:
    """Writes the event table; the file appears whole or not at all."""
    write_rows(events, SCHEMA, path)


def read_events(path: str | Path) -> list[Event]:
    """Reads an event table.

    Raises:
        DataError: If the file is missing, truncated, or lacks a column.
    """
    return from_table(read_parquet(path, SCHEMA.names, "run `wallwm prepare` again to write it"))


def by_episode(events: Iterable[Event]) -> dict[int, list[Event]]:
    """Events of each episode, in the order given."""
    groups: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        groups[event.episode_index].append(event)
    return groups


def validate_events(
    events: Sequence[Event], lengths: Mapping[int, int] | None = None, path: str | Path = "events"
) -> None:
    """Checks that the events tile their episodes at every level and nest in their parents.

    Where `lengths` gives the frames of each episode, every level must cover `[0, length)` exactly. `path` is for the message.

    Raises:
        DataError: On a duplicate id, an unknown level, an empty event, a gap or overlap within a level, or a child
            outside its parent.
    """

    def fail(event: Event, problem: str) -> None:
        where = f"event_id {event.event_id} (episode {event.episode_index}, {event.level} [{event.start}, {event.end}))"
        raise DataError(path, where, problem, "run `wallwm prepare` again, or correct that row")

    by_id: dict[int, Event] = {}
    groups: dict[tuple[int, str], list[Event]] = defaultdict(list)
    for event in events:
        if event.event_id in by_id:
            fail(event, "event_id occurs twice")
        if event.level not in LEVELS:
            fail(event, f"level must be one of {', '.join(LEVELS)}")
        if event.end <= event.start or event.start < 0:
            fail(event, "must hold at least one frame and start at 0 or later")
        by_id[event.event_id] = event
        groups[event.episode_index, event.level].append(event)

    for (episode, _), group in groups.items():
        group.sort(key=lambda event: event.start)
        if group[0].start != 0:
            fail(group[0], "leaves a gap at the episode's start")
        for before, after in zip(group, group[1:], strict=False):
            if after.start != before.end:
                kind = "overlaps" if after.start < before.end else "leaves a gap after"
                fail(after, f"{kind} event_id {before.event_id}, which ends at {before.end}")
        if lengths is not None and group[-1].end != lengths.get(episode, -1):
            fail(group[-1], f"does not end at the episode's length {lengths.get(episode)}")

    for event in events:
        depth = LEVELS.index(event.level)
        if depth == 0:
            if event.parent != -1:
                fail(event, "a task has no parent (-1)")
            continue
        parent = by_id.get(event.parent)
        if parent is None or parent.level != LEVELS[depth - 1] or parent.episode_index != event.episode_index:
            fail(event, f"parent {event.parent} is not a {LEVELS[depth - 1]} of the same episode")
        elif not (parent.start <= event.start and event.end <= parent.end):
            fail(event, f"lies outside its parent {parent.event_id} [{parent.start}, {parent.end})")
