# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Finding recoveries in event tables and in motion."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from synthetic import NAMES, PHASES, TASK
from tables import annotated

from lerobot_wallwm.processors.caption.captioner import number_events
from lerobot_wallwm.processors.recover.recovery import Recovery, common_cycles, find_recoveries
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset
from lerobot_wallwm.processors.source.events import Event, validate_events
from lerobot_wallwm.storage.errors import DataError

ONCE = list(PHASES)
DATA = Path(__file__).parents[3] / "examples" / "so101_sim" / "data"


def episode_events(labels: list[str], index: int = 0, lengths: dict[int, int] | None = None) -> list[Event]:
    """Events of one episode whose actions have these labels, one segment each; ids from 0."""
    sizes = [(lengths or {}).get(i, 10) for i in range(len(labels))]
    total = sum(sizes)

    def event(level, start, end, label, parent, template="t"):
        return Event(len(rows), index, level, start, end, label, label, template, parent, 1.0, "change")

    rows: list[Event] = []
    rows.append(event("task", 0, total, "task", -1, "pick {object}"))
    rows.append(event("subtask", 0, total, "pick", 0))
    at = 0
    for label, size in zip(labels, sizes, strict=True):
        rows.append(event("action", at, at + size, label, 1))
        rows.append(event("segment", at, at + size, label, len(rows) - 1))
        at += size
    validate_events(rows)
    return rows


def found_actions(events: list[Event], recoveries: list[Recovery], kind: str) -> list[tuple[int, str]]:
    by_id = {event.event_id: event for event in events}
    own = [by_id[r.event_id] for r in recoveries if r.kind == kind]
    return [(event.episode_index, event.label) for event in own if event.level == "action"]


def test_a_retry_is_what_follows_the_miss_up_to_the_next_grasp():
    events = episode_events(["reach", "approach", "grasp", "open", *ONCE])
    found = find_recoveries(events)
    assert found_actions(events, found, "retry") == [(0, n) for n in ("open", "reach", "approach", "grasp")]
    assert {r.kind for r in found} == {"retry"}
    segments = [e for e in events if e.level == "segment" and e.event_id in {r.event_id for r in found}]
    assert [e.label for e in segments] == ["open", "reach", "approach", "grasp"]
    miss = next(e for e in events if e.level == "action" and e.label == "grasp")
    assert {r.cause for r in found} == {miss.event_id}
    assert f"closed at frame {miss.start}" in found[0].evidence


@pytest.mark.parametrize(
    "labels",
    [
        ONCE,
        [*ONCE, "open"],
        ["reach", "grasp", "lift", "move"],  # never opened
        ["reach", "grasp", "open", "retreat"],  # given up: nothing follows
        ["open", *ONCE],  # opened before anything was grasped
        ["manipulate"],
        [*ONCE, *ONCE],  # two things, and nobody knows what is common
        ["reach", "grasp", "grasp", "lift", "release", "retreat"],  # two arms at one thing
    ],
)
def test_ordinary_episodes_hold_no_recovery(labels):
    assert find_recoveries(episode_events(labels)) == []


def test_a_person_may_wait_before_opening_again():
    events = episode_events(["reach", "grasp", "wait", "release", "reach", "grasp", "lift", "release"])
    labels = [label for _, label in found_actions(events, find_recoveries(events), "retry")]
    assert labels == ["wait", "release", "reach", "grasp"]


def test_two_misses_are_two_retries():
    again = ["reach", "grasp", "open"]
    events = episode_events([*again, *again, *ONCE])
    assert len({r.cause for r in find_recoveries(events)}) == 2
    assert len(found_actions(events, find_recoveries(events), "retry")) == 3 + 4


def regrasp_table(extra: list[str], lengths: dict[int, int], plain: int = 3) -> list[Event]:
    usual = [episode_events(ONCE, index) for index in range(plain)]
    return number_events([*usual, episode_events(extra, plain, lengths)])


def test_a_re_grasp_follows_the_surplus_grasp_with_the_shortest_carry():
    slipped = ["reach", "grasp", "lift", "release", *ONCE]
    table = regrasp_table(slipped, {2: 4})
    found = find_recoveries(table)
    assert found_actions(table, found, "re-grasp") == [(3, n) for n in ("reach", "approach", "grasp")]
    assert "1 are common; this carry lasted 4 frames" in found[0].evidence
    # Mended at the end: the short cycle itself is the recovery, without the retreat before it.
    mended = [*ONCE, "reach", "grasp", "move", "release", "retreat"]
    table = regrasp_table(mended, {10: 4})
    labels = found_actions(table, find_recoveries(table), "re-grasp")
    assert labels == [(3, n) for n in ("reach", "grasp", "move", "release")]


def test_without_a_common_number_nothing_is_a_surplus():
    slipped = ["reach", "grasp", "lift", "release", *ONCE]
    assert find_recoveries(regrasp_table(slipped, {}, plain=1)) == []
    cleared = [episode_events(ONCE * n, n) for n in range(1, 6)]  # a table of any number of things
    assert common_cycles(number_events(cleared)) == {}
    assert find_recoveries(number_events(cleared)) == []


def arm_episode(waypoints: list[float], seconds: float = 0.8, fps: float = 20) -> Episode:
    """Moves two of five joints from waypoint to waypoint, rest to rest; then the gripper closes."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=5)
    path = [0.0]
    for goal in waypoints:
        start, steps = path[-1], round(seconds * fps)
        t = np.arange(1, steps + 1) / steps
        path += list(start + (t**3 * (10 - 15 * t + 6 * t * t)) * (goal - start))
    path += [path[-1]] * 12
    arm = np.array(path)[:, None] * direction
    grip = np.r_[np.full(len(path) - 10, 60.0), np.linspace(60, 5, 10)]
    states = np.column_stack([arm, grip])
    return Episode(0, TASK, fps, states[:-1], states[1:], NAMES, NAMES)


@pytest.mark.parametrize(
    ("waypoints", "corrections"),
    [
        ([30, 60, 90], 0),  # onwards
        ([30, 60, 45, 70], 1),  # overshoots, comes back, goes on: both ways lie in the reach
        ([60, 59.5, 90], 0),  # settling
    ],
)
def test_a_correction_moves_back_inside_its_action(waypoints, corrections):
    episode = arm_episode(waypoints)
    events = annotated([episode])
    found = [r for r in find_recoveries(events, [episode]) if r.kind == "correction"]
    assert len(found) >= corrections and bool(found) == bool(corrections)
    by_id = {event.event_id: event for event in events}
    for recovery in found:
        after, before = by_id[recovery.event_id], by_id[recovery.cause]
        assert after.level == before.level == "segment" and after.parent == before.parent
        assert "cosine -1.00" in recovery.evidence
    assert find_recoveries(events) == []  # needs the motion


def test_wiping_to_and_fro_is_no_correction():
    episode = arm_episode([30, 0, 30, 0, 30, 0, 30])
    length = len(episode)
    words = ("manipulate", "", "")
    rows = [Event(0, 0, "action", 0, length, *words, -1, 1.0, "")]
    rows += [Event(1 + k, 0, "segment", 16 * k, 16 * (k + 1), *words, 0, 1.0, "") for k in range(6)]
    assert find_recoveries(rows, [episode]) == []
    few = [row for row in rows if row.end <= 48 or row.level == "action"]
    assert [r.event_id for r in find_recoveries(few, [episode])] == [2, 3]


@given(st.lists(st.lists(st.sampled_from([*ONCE, "open", "wait"]), min_size=1, max_size=14), max_size=6))
def test_any_table_gives_well_formed_recoveries_in_any_order(episodes):
    table = number_events([episode_events(labels, index) for index, labels in enumerate(episodes)])
    found = find_recoveries(table)
    by_id = {event.event_id: event for event in table}
    assert [r.event_id for r in found] == sorted({r.event_id for r in found})
    for recovery in found:
        event, cause = by_id[recovery.event_id], by_id[recovery.cause]
        assert cause.label == "grasp" and cause.episode_index == event.episode_index
        if event.level == "segment":
            assert any(r.event_id == event.parent for r in found)
    assert find_recoveries(table[::-1]) == found


def test_the_committed_demonstrations_missed_grasps_are_found():
    phases = pq.read_table(DATA / "so101_pick_place_phases.parquet").to_pylist()
    truth = {row["episode_index"]: row["missed_grasp"] for row in phases}
    source = SourceDataset.open(DATA / "so101_pick_place")
    kept = [episode for episode in source if truth[episode.index] or episode.index < 20]
    table = annotated(kept)
    found = find_recoveries(table, kept)
    by_id = {event.event_id: event for event in table}
    flagged = {by_id[r.event_id].episode_index for r in found}
    assert flagged == {episode for episode, missed in truth.items() if missed}
    assert {r.kind for r in found} == {"retry"}


def test_a_table_of_other_episodes_is_refused():
    episode = arm_episode([30])
    says = r"event_id \d+: ends at frame .* Fix: pass the event table of this very"
    with pytest.raises(DataError, match=says):
        find_recoveries(episode_events(ONCE), [episode])
