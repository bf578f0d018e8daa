# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Cuts at action boundaries, on synthetic motion whose boundaries are known."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from synthetic import pick_and_place

from benchmarks.segmentation.score import BoundaryScore, boundary_score, tolerance_frames, uniform_cuts
from lerobot_wallwm.embodiment.dataset import changed
from lerobot_wallwm.processors.motion.kinematics import kinematics
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.source.episodes import Episode

STYLES = [(style, space, 0) for style in ("smooth", "linear") for space in ("joint", "delta")]
STYLES.append(("smooth", "joint", 0.15))


@pytest.mark.parametrize("fps", [10, 20, 30, 80])
@pytest.mark.parametrize(("style", "space", "noise"), STYLES)
def test_boundaries_at_any_rate_and_in_any_space(fps, style, space, noise):
    ours = uniform = BoundaryScore()
    for seed in range(100, 106):  # the defaults were chosen on seeds below 12
        episode, true = pick_and_place(seed, fps, style, space, noise)
        tolerance = tolerance_frames(fps)
        ours += boundary_score(EventSegmenter()(episode).frames(), true, tolerance)
        uniform += boundary_score(uniform_cuts(len(episode), len(true) + 1), true, tolerance)
    assert ours.f1 >= 0.8
    assert ours.f1 - uniform.f1 >= 0.2


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(2, 120),
    fps=st.sampled_from([10, 15, 30, 50]),
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["noise", "walk", "steps", "still"]),
    dims=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_any_signal_is_partitioned_without_gaps(frames, fps, seed, kind, dims):
    rng = np.random.default_rng(seed)

    def signal(width):
        values = rng.normal(size=(frames, width))
        if kind == "walk":
            return values.cumsum(axis=0)
        if kind == "steps":
            return np.round(values.cumsum(axis=0) / 3)
        return np.zeros((frames, width)) if kind == "still" else values

    episode = Episode(0, "", fps, signal(dims[0]), signal(dims[1]))
    segmenter = EventSegmenter()
    least = segmenter.min_frames(fps)
    if frames < least:
        with pytest.raises(ValueError, match="an event needs"):
            segmenter(episode)
        return
    result = segmenter(episode)
    edges = [0, *result.frames("segment"), frames]
    assert all(b - a >= least for a, b in zip(edges, edges[1:], strict=False))
    assert set(result.frames("action")) <= set(result.frames("segment"))
    assert all(0 < cut.confidence <= 1 for cut in result.cuts)
    assert result == segmenter(episode)


def test_units_do_not_matter_and_a_standstill_is_cut_where_motion_starts_again():
    episode, bounds = pick_and_place(1, 20, pause_s=0.6)
    found = EventSegmenter()(episode).frames()
    assert boundary_score(found, bounds, 2).recall == 1
    scaled = replace(episode, state=np.deg2rad(episode.state), action=np.deg2rad(episode.action))
    assert found == EventSegmenter()(scaled).frames()


def test_switches_have_the_right_direction_and_time():
    episode, bounds = pick_and_place(5, 30)
    close, release = kinematics(episode).switches
    assert close.closing and not release.closing
    assert abs(close.start - bounds[1]) <= 3 and abs(release.start - bounds[5]) <= 3
    what = changed(episode.what, {"gripper": "opens:low"})
    low = kinematics(replace(episode, embodiment=what)).switches
    assert [s.closing for s in low] == [False, True]


def test_shortest_event_and_pickling():
    episode, _ = pick_and_place(2, 20)
    segmenter = pickle.loads(pickle.dumps(EventSegmenter(SegmenterConfig(min_event_s=1.0))))
    edges = [0, *segmenter(episode).frames("segment"), len(episode)]
    assert min(b - a for a, b in zip(edges, edges[1:], strict=False)) >= 20


def test_matching_is_one_to_one():
    assert boundary_score([10, 11, 12], [11], 2) == BoundaryScore(1, 3, 1)
    assert boundary_score([10, 12], [11, 13], 1) == BoundaryScore(2, 2, 2)
    assert boundary_score([10], [13], 2).hits == 0
    assert tolerance_frames(10) == 1 and tolerance_frames(20) == 2 and tolerance_frames(5) == 1


def test_closing_and_opening_again_at_once_are_two_switches():
    episode, bounds = pick_and_place(5, 20)
    start, end = bounds[1], bounds[2]
    action = episode.action.copy()
    half = (start + end) // 2
    action[start:half, 5] = np.linspace(60, 8, half - start)
    action[half:end, 5] = np.linspace(8, 60, end - half)
    action[end:, 5] = 60.0
    switches = kinematics(replace(episode, action=action)).switches
    assert [s.closing for s in switches] == [True, False]
    assert abs(switches[0].start - start) <= 2 and abs(switches[1].start - half) <= 2
