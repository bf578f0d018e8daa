# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The event table: schema, file, validation."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from lerobot_wallwm.processors.source.events import SCHEMA, Event, read_events, validate_events, write_events
from lerobot_wallwm.storage.errors import DataError


def table() -> list[Event]:
    def event(i, level, start, end, parent):
        words = ("reach", "reach for the cup", "reach for the {object}")
        return Event(i, 7, level, start, end, *words, parent, 0.5, "pause")

    whole = [event(0, "task", 0, 10, -1), event(1, "subtask", 0, 10, 0)]
    actions = [event(2, "action", 0, 4, 1), event(3, "action", 4, 10, 1)]
    segments = [event(4, "segment", 0, 4, 2), event(5, "segment", 4, 6, 3), event(6, "segment", 6, 10, 3)]
    return whole + actions + segments


def test_file_round_trip_and_schema(tmp_path):
    path = tmp_path / "deep" / "events.parquet"
    validate_events(table(), {7: 10})
    write_events(table(), path)
    assert read_events(path) == table()
    assert pq.read_schema(path).equals(SCHEMA)
    assert [p.name for p in path.parent.iterdir()] == ["events.parquet"]


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (3, {"start": 5}, "leaves a gap after event_id 2"),
        (3, {"start": 3}, "overlaps event_id 2"),
        (2, {"start": 1}, "gap at the episode's start"),
        (3, {"event_id": 2}, "occurs twice"),
        (1, {"level": "chapter"}, "level must be one of"),
        (2, {"end": 0}, "at least one frame"),
        (5, {"parent": 2}, "outside its parent"),
        (5, {"parent": 1}, "not a action"),
        (5, {"parent": 99}, "not a action"),
        (0, {"parent": 1}, "a task has no parent"),
        (6, {"end": 9}, "episode's length"),
    ],
)
def test_each_fault_is_named(index, change, message):
    events = table()
    events[index] = replace(events[index], **change)
    with pytest.raises(DataError, match=message):
        validate_events(events, {7: 10})


def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "events.parquet"
    write_events(table(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="events.parquet"):
        read_events(path)
    write_events(table(), path)
    pq.write_table(pq.read_table(path).drop_columns(["label"]), path)
    with pytest.raises(DataError, match="label"):
        read_events(path)
