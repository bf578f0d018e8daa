# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Shares, copies and the stage of `wallwm prepare`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
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
    ends = np.cumsum(lengths)
    return [
        Event(100 + i, 0, "action", int(end - n), int(end), "move", "", "", -1, 1.0, "")
        for i, (n, end) in enumerate(zip(lengths, ends, strict=True))
    ]


def ids(events: list[Event], which: list[int]) -> set[int]:
    return {events[i].event_id for i in which}


event_lists = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 60), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
        st.floats(0, 0.9),
        st.integers(1, 20),
    )
)


@given(event_lists)
def test_weights_are_the_papers_mixture_and_copies_stay_near_it(case):
    lengths, special, others, share, cap = case
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
    for level, labels in (
        ("segment", ["open", "reach", "approach", "grasp"]),
        ("action", ["open", "reach", "approach", "grasp"]),
        ("subtask", ["pick"]),
        ("task", ["task"]),
    ):
        lifted = lift_to_level(table, found, level)
        assert [by_id[r.event_id].label for r in lifted] == labels
        assert {by_id[r.event_id].episode_index for r in lifted} == {1}


@pytest.fixture(scope="module")
def missing_dataset(tiny_dataset, tmp_path_factory) -> Path:
    """The tiny dataset, but in episode 1 the gripper opens again right after it closed, and closes again later."""
    root = Path(shutil.copytree(tiny_dataset, tmp_path_factory.mktemp("missing") / "dataset"))
    path = next((root / "data").glob("*/*.parquet"))
    table = pq.read_table(path)
    episodes = np.array(table["episode_index"].to_pylist())
    at = np.flatnonzero(episodes == 1)
    for key, late in (("observation.state", 1), ("action", 0)):
        values = np.array(table[key].to_pylist(), dtype=np.float32)
        episode = values[at]
        arm, n = episode[:, :5].copy(), len(at)
        grip = np.full(n + 1, 80.0)
        for first, target in ((6, 10), (10, 80), (24, 10), (n - 6, 80)):
            begin = grip[first]
            grip[first : first + 4] = np.linspace(begin, target, 5)[1:]
            grip[first + 4 :] = target
        grip = np.r_[grip[:1], grip][:n] if late else grip[:n]
        # The arm rests while the gripper works.
        clock = np.ones(n)
        for first, last in ((5, 15), (23, 29), (n - 7, n - 1)):
            clock[first:last] = 0
        source = np.clip(np.cumsum(clock) / clock.sum() * (n - 1), 0, n - 1)
        arm = np.stack([np.interp(source, np.arange(n), arm[:, d]) for d in range(5)], 1)
        values[at] = np.column_stack([arm, grip])
        index = table.schema.get_field_index(key)
        field = table.schema.field(index)
        table = table.set_column(index, field, pa.array(values.tolist(), field.type))
    pq.write_table(table, path)
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
    meta = pq.read_table(next((tmp_path / "out" / "train" / "meta" / "episodes").glob("*/*.parquet")))
    ids, labels = meta["wallwm/event_id"].to_pylist(), meta["wallwm/label"].to_pylist()
    times = {event_id: ids.count(event_id) for event_id in ids}
    recovering = {row["event_id"] for row in written if row["kind"] == "retry"}
    assert {e for e in ids if times[e] > 1} <= recovering | {r["event_id"] for r in written}
    assert any(times[e] > 1 and label == "grasp" for e, label in zip(ids, labels, strict=True))
    # Held-out events are drawn as they come.
    held = pq.read_table(next((tmp_path / "out" / "heldout" / "meta" / "episodes").glob("*/*.parquet")))
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
