# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One lag from first to last frame: proven where the motion tells, and never where the lag changes half way."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from synthetic import pick_and_place
from test_synchronizer import watched

from lerobot_wallwm.processors.synchronize.constancy import UNTOLD, likeliest_change
from lerobot_wallwm.processors.synchronize.evidence import sharpened
from lerobot_wallwm.processors.synchronize.synchronizer import TemporalSynchronizer

# What the synchronizer asks for: a change would be seen with a probability of one in a thousand at most.
EXCLUDED = np.log(0.001)


def busy(seed: int, frames: int = 160, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Two cameras' signals and the three joints that they see, all in motion all the time."""
    rng = np.random.default_rng(seed)
    joints = np.exp(rng.normal(size=(3, frames)))
    seen = rng.uniform(0.3, 1.0, (4, 3)) @ joints
    return seen * np.exp(noise * rng.normal(size=seen.shape)), joints


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(-5, 5))
def test_a_constant_lag_excludes_every_change(seed, lag):
    seen, joints = busy(seed)
    late, early = seen[:, 6 - lag : 150 - lag], joints[:, 6:150]
    assert likeliest_change(late, early, lag, 0.6).inner < EXCLUDED


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0.27, 0.73), st.integers(1, 3), st.booleans())
def test_dropped_frames_are_never_excluded(seed, at, dropped, known_from_the_start):
    seen, joints = busy(seed)
    frame = int(at * seen.shape[1])
    late = np.delete(seen, range(frame, frame + dropped), axis=1)
    lag = 0 if known_from_the_start else -dropped
    found = likeliest_change(late, joints[:, : late.shape[1]], lag, 0.6)
    assert found.inner > EXCLUDED


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_a_dropped_frame_is_quarantined_wherever_a_good_episode_is_trusted(noise):
    synchronizer = TemporalSynchronizer()
    trusted = 0
    for seed in range(8):
        episode, _ = pick_and_place(seed, 20, pause_s=0.3)
        motion = watched(episode, seed, noise)
        trusted += not synchronizer(episode, motion).quarantined
        shorter = replace(episode, state=episode.state[:-1], action=episode.action[:-1])
        for at in (0.3, 0.5, 0.7):
            jumped = {c: np.delete(v, int(at * len(episode)), axis=0) for c, v in motion.items()}
            assert synchronizer(shorter, jumped).quarantined
    assert trusted >= 5


def test_the_video_of_another_demonstration_of_the_task_is_never_trusted():
    # The same phases at other paces: the hardest stranger there is.
    episodes = [pick_and_place(seed, 20, pause_s=0.3)[0] for seed in range(6)]
    for i, episode in enumerate(episodes):
        for j, other in enumerate(episodes):
            length = min(len(episode), len(other))
            rows = replace(episode, state=episode.state[:length], action=episode.action[:length])
            motion = {c: v[:length] for c, v in watched(other, j, 0.02).items()}
            assert i == j or TemporalSynchronizer()(rows, motion).quarantined


def test_what_says_nothing_excludes_nothing():
    seen, joints = busy(0)
    assert likeliest_change(np.zeros_like(seen), joints, 0, 0.6) == UNTOLD
    assert likeliest_change(seen, np.zeros_like(joints), 0, 0.6) == UNTOLD
    assert likeliest_change(seen[:, :30], joints[:, :30], 0, 0.6) == UNTOLD
    strangers = busy(1)[0]
    assert likeliest_change(strangers, joints, 0, 0.6).inner > EXCLUDED


@settings(max_examples=15)
@given(st.floats(1e-3, 1e3), st.integers(0, 50))
def test_neither_units_nor_a_copied_camera_change_the_verdict(scale, seed):
    seen, joints = busy(seed)
    found = likeliest_change(seen, joints, 0, 0.6).inner
    assert likeliest_change(seen * scale, joints * scale, 0, 0.6).inner == pytest.approx(found, rel=1e-6)
    twice = likeliest_change(np.vstack([seen, seen]), joints, 0, 0.6).inner
    assert abs(twice - found) < 0.1 * abs(found)


def test_at_a_risk_of_one_nothing_is_tested_and_the_linear_reading_cuts_off_what_is_far_above_the_rest():
    episode, _ = pick_and_place(0, 20, pause_s=0.3)
    motion = watched(episode, 0)
    assert TemporalSynchronizer()(episode, motion).reason.startswith("change_not_excluded")
    assert not TemporalSynchronizer(max_change_risk=1.0)(episode, motion).quarantined
    signal = np.ones(50)
    signal[20] = 1000.0
    assert np.abs(sharpened(signal, 0.6, logarithm=False)).max() < 1.0
