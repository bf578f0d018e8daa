# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pruning of frames in which nothing happens, and the views that it leaves."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from synthetic import NAMES, pick_and_place
from tables import change_column, episodes_file, rows_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.motion.quasi_static import EventFrames, Motion, QuasiStaticPruner
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset
from lerobot_wallwm.processors.view.verify import verify_view

FPS = 20.0


def kept_frames(episode: Episode, threshold: float, start: int = 0, end: int | None = None, least: int = 2):
    motion = Motion()
    motion.add(episode)
    return QuasiStaticPruner(motion, threshold, least)(episode)(start, end or len(episode))


def prepare(source, out, *flags: str) -> int:
    return main(["prepare", f"--dataset.root={source}", f"--out.root={out}", "--quiet=true", *flags])


def moves_and_rests(noise: float = 0.0, seed: int = 0) -> tuple[Episode, np.ndarray]:
    """Moves of 1 s with rests of 2 s between them; and which frames lie well inside a rest."""
    rng = np.random.default_rng(seed)
    arm, grip = [np.zeros(5)], [60.0]
    resting = [False]
    for stage in range(4):
        goal = arm[-1] + rng.uniform(20, 40, 5)
        begin = arm[-1]
        for k in range(1, 21):
            arm.append(begin + (goal - begin) * k / 20)
            grip.append(10.0 if stage > 1 else 60.0)
            resting.append(False)
        for k in range(40):
            arm.append(goal)
            grip.append(grip[-1])
            resting.append(5 <= k < 35)
    state = np.column_stack([arm, grip])
    noisy = state[:-1] + rng.normal(0, noise, state[:-1].shape)
    action = state[1:] + rng.normal(0, noise / 10, state[1:].shape)
    return Episode(0, "move", FPS, noisy, action, NAMES, NAMES), np.array(resting[:-1])


paths = arrays(float, st.tuples(st.integers(2, 40), st.just(2)), elements=st.floats(-1, 1))


@given(paths, st.integers(0, 39), st.floats(0.001, 1.0), st.integers(2, 50))
def test_what_is_left_out_was_still(path, start, tolerance, least):
    n = len(path)
    start %= n
    kept = EventFrames(path, np.full(2, tolerance), least)(start, n)
    assert (np.diff(kept) > 0).all()
    assert kept[0] == start and kept[-1] == n - 1
    assert len(kept) >= min(least, n - start)
    plain = EventFrames(path, np.full(2, tolerance), 2)(start, n)
    assert np.isin(plain, kept).all()
    for frame in np.setdiff1d(np.arange(start, n), plain):
        last = plain[plain < frame][-1]
        assert (np.abs(path[frame] - path[last]) <= tolerance).all()
    for last, frame in zip(plain[:-2], plain[1:-1], strict=True):  # the event's end is kept in any case
        assert (np.abs(path[frame] - path[last]) > tolerance).any()


@given(st.floats(0.001, 1.0), st.floats(1.01, 4.0))
def test_a_higher_threshold_never_keeps_much_more(threshold, factor):
    episode, _ = moves_and_rests()
    low, high = (len(kept_frames(episode, t)) for t in (threshold, threshold * factor))
    assert high <= low + 1


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_rests_go_and_motion_stays(noise):
    episode, resting = moves_and_rests(noise)
    kept = kept_frames(episode, 0.02)
    gone = np.setdiff1d(np.arange(len(episode)), kept)
    assert np.isin(np.flatnonzero(resting), gone).mean() > 0.95
    if noise < 0.1:
        moving = np.abs(np.diff(episode.action, axis=0)).max(1) > 0.5
        assert not np.isin(np.flatnonzero(moving), gone).any()


def test_a_slow_creep_is_thinned_and_not_lost():
    state = np.column_stack([np.linspace(0, 1, 2001), np.zeros(2001)])  # 1 % of its range in a second
    episode = Episode(0, "creep", FPS, state[:-1], state[1:])
    kept = kept_frames(episode, 0.02)
    assert 900 <= len(kept) <= 1100
    assert np.diff(episode.state[kept, 0]).max() <= 2.1 * 0.02 / FPS


def test_a_step_command_moves_while_it_is_not_zero():
    steps = np.zeros((120, 3))
    steps[20:60, 0] = 0.5
    steps[:, 2] = np.where(np.arange(120) < 90, -1.0, 1.0)  # a gripper's command is a state
    state = np.zeros((120, 8))
    state[:, 0] = np.cumsum(steps[:, 0]) * 0.01
    names = ("x", "y", "gripper")
    kept = kept_frames(Episode(0, "push", FPS, state, steps, (), names), 0.05)
    assert np.isin(np.arange(21, 59), kept).all()
    assert len(kept) <= 40 + 20 and np.isin([90], kept).any()


def test_units_do_not_matter():
    episode, _ = pick_and_place(pause_s=1.0)
    scaled = replace(episode, state=episode.state * 0.01745, action=episode.action * 0.01745)
    assert np.array_equal(kept_frames(episode, 0.02), kept_frames(scaled, 0.02))


@pytest.mark.parametrize("value", ["-0.1", "nan", "inf"])
def test_a_wrong_threshold_is_one_clear_error(capsys, tiny_dataset, tmp_path, value):
    assert prepare(tiny_dataset, tmp_path / "out", f"--prune_quasi_static={value}") == 2
    assert "--prune_quasi_static must be at least 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def pruned(tiny_dataset, tmp_path_factory):
    """The tiny dataset's view without slow frames: a high threshold, for its arm never rests for long."""
    out = tmp_path_factory.mktemp("pruned") / "events"
    assert prepare(tiny_dataset, out, "--prune_quasi_static=0.4") == 0
    return out


def test_a_pruned_view_equals_its_source_where_it_has_rows(pruned, tiny_dataset):
    source = SourceDataset.open(tiny_dataset)
    frames = left_out = 0
    for split in ("train", "heldout"):
        report = verify_view(tiny_dataset, pruned / split, quiet=True)
        assert report.ok and report.frames == 2 * report.rows, report
        view = SourceDataset.open(pruned / split)
        for e in range(len(view)):
            meta = view.meta(e)
            assert meta["length"] + meta["wallwm/pruned"] == meta["wallwm/end"] - meta["wallwm/start"]
            left_out += meta["wallwm/pruned"]
            rows = view.rows(meta)
            at = np.round(rows["timestamp"].to_numpy() * view.fps).astype(int) + meta["wallwm/start"]
            truth = source.read(meta["wallwm/source_episode"]).action[at].astype(np.float32)
            np.testing.assert_array_equal(np.array(rows["action"].to_pylist(), dtype=np.float32), truth)
        frames += report.rows
    summary = json.loads((pruned / "summary.json").read_text())
    assert left_out == sum(view["frames_pruned"] for view in summary["views"].values()) > 10
    assert frames + left_out == summary["frames"]


@settings(max_examples=5)
@given(st.floats(0.01, 3.0))
def test_any_threshold_gives_a_view_that_verifies(tiny_dataset, tmp_path_factory, threshold):
    out = tmp_path_factory.mktemp("any") / "events"
    assert prepare(tiny_dataset, out, "--level=segment", f"--prune_quasi_static={threshold}") == 0
    for split in ("train", "heldout"):
        assert verify_view(tiny_dataset, out / split, frames=False).ok


def test_verify_notices_damage_to_a_pruned_view(pruned, tiny_dataset):
    view = SourceDataset.open(pruned / "train")
    data, episodes = rows_file(view.root), episodes_file(view.root)
    event = next(e for e in range(len(view)) if view.meta(e)["wallwm/pruned"] and view.meta(e)["length"] > 3)
    row = view.meta(event)["dataset_from_index"] + 1
    for path, name, at, by, counter in (
        (data, "timestamp", row, 1 / view.fps, None),
        (data, "timestamp", row, 0.3 / view.fps, "index_mismatches"),
        (episodes, "wallwm/pruned", event, 1, "index_mismatches"),
    ):
        good = path.read_bytes()
        change_column(path, name, lambda values, at=at, by=by: values.__setitem__(at, values[at] + by))
        report = verify_view(tiny_dataset, view.root, frames=False)
        path.write_bytes(good)
        assert not report.ok, name
        assert counter is None or getattr(report, counter) > 0, name
    assert verify_view(tiny_dataset, view.root, frames=False).ok


def test_without_the_flag_no_row_is_left_out(tiny_view, tiny_dataset):
    view = SourceDataset.open(tiny_view / "train")
    assert "wallwm/pruned" not in view.episodes.column_names
    assert verify_view(tiny_dataset, tiny_view / "train", frames=False).ok
