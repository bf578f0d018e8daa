# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Effort, current and force: found in any layout, read as holds and touches, and never a reason to cut worse."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from synthetic import pick_and_place
from tables import annotated, change_info, synchronized

from benchmarks.segmentation.score import BoundaryScore, boundary_score, tolerance_frames
from lerobot_wallwm.processors.motion.kinematics import kinematics
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset, effort_keys, join_effort
from lerobot_wallwm.processors.synchronize.source import SyncVerdict

SEEDS = range(100, 106)


def wide_open(seed: int, fps: float = 20) -> tuple[Episode, list[int]]:
    """A pick and place without commands whose gripper opens fully in the end: the grasp is a small part of its range.

    The effort is that of the gripper's motor, which presses from the grasp to the release, with noise.
    """
    episode, bounds = pick_and_place(seed, fps)
    state = episode.state.copy()
    pressed = (episode.action[:, 5] < 19.5) & (state[:, 5] < 21)
    ramp = np.clip((np.arange(len(state)) - bounds[-1]) / (0.4 * fps), 0, 1)
    state[:, 5] += ramp * (180 - state[:, 5])
    values = np.random.default_rng(seed).normal(0, 0.02, state.shape)
    values[:, 5] += pressed
    action = np.vstack([state[1:], state[-1:]])
    names = tuple(name.replace("pos", "current") for name in episode.state_names)
    return replace(episode, state=state, action=action, effort=values, effort_names=names), bounds


def f1(episodes: list[tuple[Episode, list[int]]]) -> float:
    total = BoundaryScore()
    for episode, true in episodes:
        found = EventSegmenter()(episode).frames()
        total += boundary_score(found, true, tolerance_frames(episode.fps))
    return total.f1


@pytest.mark.parametrize("fps", [10, 20, 50])
def test_effort_tells_a_grasp_from_a_twitch(fps):
    with_effort = [wide_open(seed, fps) for seed in SEEDS]
    without = [(replace(episode, effort=None), true) for episode, true in with_effort]
    assert f1(with_effort) > f1(without)
    for episode, _ in with_effort:
        assert "grasp" in [e.label for e in annotated([episode]) if e.level == "action"]
        assert not any(s.closing for s in kinematics(replace(episode, effort=None)).switches)


def test_a_squeeze_during_the_hold_is_no_grasp():
    episode, bounds = wide_open(100)
    squeezed = episode.state.copy()
    middle = (bounds[2] + bounds[5]) // 2
    squeezed[middle : middle + 6, 5] -= 15  # 9 % of the range, and back
    changed = replace(episode, state=squeezed, action=np.vstack([squeezed[1:], squeezed[-1:]]))
    assert len(kinematics(changed).switches) == len(kinematics(episode).switches) == 2


def test_effort_takes_nothing_from_plain_episodes():
    plain = [pick_and_place(seed) for seed in SEEDS]
    pressing = []
    for episode, true in plain:
        effort = np.random.default_rng(0).normal(0, 0.02, episode.state.shape)
        effort[:, 5] += episode.action[:, 5] < 19.5
        pressing.append((replace(episode, effort=effort), true))
    assert f1(pressing) >= f1(plain)
    before, after = (EventSegmenter()(pairs[0][0]).cuts for pairs in (plain, pressing))
    grown = [b.confidence < a.confidence for b, a in zip(before, after, strict=True) if b.source == "gripper"]
    assert sum(grown) >= 2 and [b.frame for b in before] == [a.frame for a in after]


def still_hand(frames: int = 100, fps: float = 20) -> Episode:
    rng = np.random.default_rng(1)
    path = np.cumsum(rng.normal(0, 0.01, (frames, 3)) + [0.5, 0.2, -0.1], axis=0)
    return Episode(0, "push the box", fps, path, path, ("x", "y", "z"), ("x", "y", "z"))


def test_a_touch_bounds_a_segment_where_motion_shows_nothing():
    episode = still_hand()
    force = np.random.default_rng(0).normal(0, 0.02, (100, 3))
    assert EventSegmenter()(replace(episode, effort=force)).cuts == ()
    force[60:90, 0] += 2.0
    cuts = EventSegmenter()(replace(episode, effort=force, effort_names=("fx", "fy", "fz"))).cuts
    assert [(c.level, c.source) for c in cuts] == [("segment", "touch")] * 2
    assert abs(cuts[0].frame - 60) <= 2 and abs(cuts[1].frame - 90) <= 2


def test_of_currents_that_carry_the_arm_nothing_is_claimed():
    t = np.arange(100)[:, None]
    weight = np.sin(t / 15 + np.arange(3)) + np.random.default_rng(0).normal(0, 0.01, (100, 3))
    assert kinematics(replace(still_hand(), effort=weight)).contacts == ()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 8), st.sampled_from(["noise", "steps", "still", "huge"]))
def test_any_effort_leaves_a_partition(seed, width, kind):
    episode, _ = pick_and_place(100, 20)
    rng = np.random.default_rng(seed)
    effort = rng.normal(size=(len(episode), width))
    if kind == "steps":
        effort = np.round(effort.cumsum(axis=0) / 5)
    elif kind != "noise":
        effort *= 0 if kind == "still" else 1e12
    names = episode.state_names if width == 6 else ()
    segmenter = EventSegmenter()
    result = segmenter(replace(episode, effort=effort, effort_names=names))
    edges = [0, *result.frames("segment"), len(episode)]
    assert all(b - a >= segmenter.min_frames(20) for a, b in zip(edges, edges[1:], strict=False))


def test_effort_is_found_by_any_of_its_names():
    kinds = {"state": "float32", "images.load": "video", "current.gripper": "int16"}
    kinds |= {"effort": "float32", "forceful": "float32", "load": "string"}
    features = {f"observation.{name}": {"dtype": kind} for name, kind in kinds.items()}
    assert effort_keys(features) == ["observation.current.gripper", "observation.effort"]
    two, holed, state = np.ones((3, 2)), np.array([[1.0], [np.nan], [2.0]]), np.zeros((3, 3))
    columns = {
        "observation.effort": (two, ("a", "gripper")),
        "observation.current.elbow": (holed, ()),
        "observation.current.wrist": (two[:, :1], ("value",)),
        "observation.force": (two, ()),
    }
    values, names = join_effort(columns, state, ("j.pos", "j.vel", "j.torque"))
    force = ("observation.force.0", "observation.force.1")
    assert names == ("a", "gripper", "observation.current.wrist", *force, "j.torque")
    assert values.shape == (3, 6)
    assert join_effort({}, state, ("a", "b", "c")) == (None, ())


def with_column(root: Path, out: Path, key: str, values: float | None) -> SourceDataset:
    """A copy of a dataset with a column of effort, six values a row; without a value the column is empty."""
    shutil.copytree(root, out)
    for path in (out / "data").rglob("*.parquet"):
        table = pq.read_table(path)
        rows = [None if values is None else [values + i] * 6 for i in range(len(table))]
        pq.write_table(table.append_column(key, pa.array(rows, pa.list_(pa.float32()))), path)

    def announce(info: dict) -> None:
        names = [name.replace("pos", "effort") for name in info["features"]["action"]["names"]]
        info["features"][key] = {"dtype": "float32", "shape": [6], "names": names}

    change_info(out, announce)
    return SourceDataset.open(out)


def test_effort_is_read_carried_and_moved_with_the_state(tiny_dataset, tmp_path):
    source = with_column(tiny_dataset, tmp_path / "a", "observation.effort", 0.0)
    episode = source.read(1)
    assert episode.effort.shape == (len(episode), 6) and episode.effort_names[5].endswith("gripper.effort")
    again = Episode.from_row(episode.to_row())
    np.testing.assert_array_equal(again.effort, episode.effort)
    assert again.effort_names == episode.effort_names
    verdict = SyncVerdict(1, len(episode), 0, 0, 1.0, 1.0, 0.0, 0, len(episode), False, "").with_lags(2, 1)
    np.testing.assert_array_equal(synchronized(episode, verdict).effort, episode.effort[: len(episode) - 2])
    mapped = source.to_hf().map(EventSegmenter(), batched=True, num_proc=2)
    assert mapped[1]["cut_frame"] == [cut.frame for cut in EventSegmenter()(episode).cuts]
    assert with_column(tiny_dataset, tmp_path / "b", "observation.effort", None).read(1).effort is None
    assert "observation.effort" not in SourceDataset.open(tiny_dataset).read(1).to_row()


def test_speeds_and_torques_in_the_state_do_not_hide_the_positions():
    episode, _ = pick_and_place(101)
    joints = [name.removesuffix(".pos") for name in episode.state_names]
    speeds = np.gradient(episode.state, axis=0)
    mixed = np.stack([episode.state, speeds, speeds * 0], axis=2).reshape(len(episode), -1)
    names = tuple(f"{joint}.{kind}" for joint in joints for kind in ("pos", "vel", "torque"))
    other = replace(episode, state=mixed, state_names=names)
    assert EventSegmenter()(other) == EventSegmenter()(episode)
