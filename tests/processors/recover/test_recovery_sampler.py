# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Shares, copies and the stage of `wallwm prepare`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from tables import change_episodes, episodes_file
from test_recovery import ONCE, episode_events

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.caption.captioner import number_events
from lerobot_wallwm.processors.recover.recovery import find_recoveries
from lerobot_wallwm.processors.recover.sampler import (
    RecoveryConfig,
    lift_to_level,
    recovery_counts,
    recovery_weights,
)
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.view.verify import verify_view

MISSED = ["reach", "grasp", "open", *ONCE]


def rows(lengths: list[int]) -> list[Event]:
    ends = [0, *np.cumsum(lengths).tolist()]
    places = enumerate(zip(ends, ends[1:], strict=False))
    return [Event(100 + i, 0, "action", *place, "move", "", "", -1, 1.0, "") for i, place in places]


def ids(events: list[Event], which: list[int]) -> set[int]:
    return {events[i].event_id for i in which}


# Of each event: its length, whether it recovers, and how often it is there already.
drawn_events = st.lists(
    st.tuples(st.integers(1, 60), st.booleans(), st.integers(0, 4)), min_size=1, max_size=30
)


@given(drawn_events, st.floats(0, 0.9), st.integers(1, 20))
def test_weights_are_the_papers_mixture_and_copies_stay_near_it(drawn, share, cap):
    lengths, special, others = zip(*drawn, strict=True)
    events = rows(lengths)
    own = {event.event_id: number for event, number in zip(events, others, strict=True)}
    recovering, config = ids(events, list(np.flatnonzero(special))), RecoveryConfig(share, cap)
    weights = np.array(list(recovery_weights(events, recovering, config, own).values()))
    mass = np.array(lengths) * others
    recovers = np.array(special) & (mass > 0)
    if recovers.any():
        nominal = mass / mass.sum()
        wanted = (1 - share) * nominal + share * recovers / recovers.sum()
        np.testing.assert_allclose(weights * nominal, wanted, atol=1e-12)
    else:
        assert (weights == 1).all()

    copies = recovery_counts(events, recovering, config, own)
    assert list(copies) == [event.event_id for event in events]
    total = exact = 0.0
    for event, special_one, before, weight in zip(events, recovers, others, weights, strict=True):
        after = copies[event.event_id]
        if not special_one:
            assert after == before
            continue
        assert before <= after <= cap * before
        wanted = before * min(weight / (1 - share), cap)
        assert abs(after - wanted) <= 1
        total, exact = total + after * event.length, exact + wanted * event.length
    # Together the recoveries miss their frames by at most half an event.
    assert abs(total - exact) <= max(lengths) / 2 + 1e-6 or recovers.sum() * max(lengths) >= exact


def test_share_of_frames_comes_out_as_asked():
    events = rows([10] * 200)
    recovering = ids(events, [3, 50, 51, 120])
    copies = recovery_counts(events, recovering, RecoveryConfig(0.1))
    part = sum(copies[events[i].event_id] for i in (3, 50, 51, 120)) / sum(copies.values())
    assert part == pytest.approx(0.9 * 4 / 200 + 0.1, abs=0.005)
    held = recovery_counts(events, recovering, RecoveryConfig(0.1, cap=2))
    assert max(held.values()) == 2
    assert set(recovery_counts(events, recovering, RecoveryConfig(0.0)).values()) == {1}


@pytest.mark.parametrize("arguments", [{"share": 1.0}, {"share": -0.1}, {"share": float("nan")}, {"cap": 0}])
def test_values_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=r"--recovery\.\w+ must be .* Fix: "):
        RecoveryConfig(**arguments)


def test_coarser_events_recover_with_what_they_hold():
    table = number_events([episode_events(ONCE, 0), episode_events(MISSED, 1)])
    found = find_recoveries(table)
    by_id = {event.event_id: event for event in table}
    again = ["open", "reach", "approach", "grasp"]
    for level, labels in {"segment": again, "action": again, "subtask": ["pick"], "task": ["task"]}.items():
        lifted = lift_to_level(table, found, level)
        assert [by_id[r.event_id].label for r in lifted] == labels
        assert {by_id[r.event_id].episode_index for r in lifted} == {1}


@pytest.fixture(scope="module")
def missing_dataset(tiny_dataset, tmp_path_factory) -> Path:
    """The tiny dataset, but in episode 1 the gripper opens again right after it closed, and closes again later."""

    def missing(late: int):
        def change(values: np.ndarray, episode: int) -> np.ndarray:
            if episode != 1:
                return values
            n = len(values)
            grip = np.full(n + 1, 80.0)
            for first, target in ((6, 10), (10, 80), (24, 10), (n - 6, 80)):
                grip[first : first + 4] = np.linspace(grip[first], target, 5)[1:]
                grip[first + 4 :] = target
            grip = np.r_[grip[:late], grip][:n]
            # The arm rests while the gripper works.
            clock = np.ones(n)
            for first, last in ((5, 15), (23, 29), (n - 7, n - 1)):
                clock[first:last] = 0
            source = np.clip(np.cumsum(clock) / clock.sum() * (n - 1), 0, n - 1)
            arm = np.stack([np.interp(source, np.arange(n), values[:, d]) for d in range(5)], 1)
            return np.column_stack([arm, grip])

        return change

    root = Path(shutil.copytree(tiny_dataset, tmp_path_factory.mktemp("missing") / "dataset"))
    change_episodes(root, "observation.state", missing(1))
    change_episodes(root, "action", missing(0))
    return root


def prepare(source: Path, out: Path, *flags: str) -> dict:
    flags = ("--quiet=true", "--heldout=0.2", *flags)
    assert main(["prepare", f"--dataset.root={source}", f"--out.root={out}", *flags]) == 0
    return json.loads((out / "summary.json").read_text())


def test_prepare_gives_recoveries_their_share(missing_dataset, tmp_path, capsys):
    plain = prepare(missing_dataset, tmp_path / "plain")
    assert "recovery" not in plain and not (tmp_path / "plain" / "recoveries.parquet").exists()
    summary = prepare(missing_dataset, tmp_path / "out", "--recovery.share=0.3", "--seed=1")
    figures = summary["recovery"]
    assert figures["kinds"]["retry"] >= 2 and figures["frames_after"] > 2 * figures["frames_before"] > 0
    assert figures["frames_after"] == pytest.approx(figures["frames_wanted"], abs=0.05)
    assert "recoveries" in capsys.readouterr().out
    written = pq.read_table(tmp_path / "out" / "recoveries.parquet").to_pylist()
    meta = pq.read_table(episodes_file(tmp_path / "out" / "train"))
    ids, labels = meta["wallwm/event_id"].to_pylist(), meta["wallwm/label"].to_pylist()
    times = {event_id: ids.count(event_id) for event_id in ids}
    recovering = {row["event_id"] for row in written if row["kind"] == "retry"}
    assert {e for e in ids if times[e] > 1} <= recovering | {r["event_id"] for r in written}
    assert any(times[e] > 1 and label == "grasp" for e, label in zip(ids, labels, strict=True))
    # Held-out events are drawn as they come.
    held = pq.read_table(episodes_file(tmp_path / "out" / "heldout"))
    assert len(set(held["wallwm/event_id"].to_pylist())) == held.num_rows
    assert verify_view(missing_dataset, tmp_path / "out" / "train", frames=2, quiet=True).ok


def test_prepare_says_when_nothing_recovers(tiny_dataset, tmp_path, capsys):
    figures = prepare(tiny_dataset, tmp_path / "out", "--recovery.share=0.1")["recovery"]
    assert figures["events"] == 0 and figures["frames_after"] == 0
    assert "none found" in capsys.readouterr().out


def test_bad_flags_get_one_line(tiny_dataset, tmp_path, capsys):
    flags = [f"--dataset.root={tiny_dataset}", f"--out.root={tmp_path / 'out'}", "--recovery.share=2"]
    assert main(["prepare", *flags]) == 2
    error = capsys.readouterr().err
    assert "--recovery.share must be in [0, 1), got 2.0. Fix: " in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
