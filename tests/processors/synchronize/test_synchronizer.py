# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The lag between video and rows: found where it can be told, and quarantined where it cannot."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from synthetic import pick_and_place
from tables import synchronized

from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.synchronize.dataset import control_delay
from lerobot_wallwm.processors.synchronize.evidence import (
    correlations,
    evidence,
    margin,
    peak,
    sharpened,
    weighted_mean,
)
from lerobot_wallwm.processors.synchronize.signals import action_motion, image_motion, state_motion
from lerobot_wallwm.processors.synchronize.source import SyncVerdict, rows_behind
from lerobot_wallwm.processors.synchronize.synchronizer import SynchronizerConfig, TemporalSynchronizer


def watched(episode: Episode, seed: int = 0, noise: float = 0.05) -> dict[str, np.ndarray]:
    """What two cameras might measure: each sees the joints by other weights, with noise in proportion."""
    rng = np.random.default_rng(seed)
    speed = np.abs(np.diff(episode.state, axis=0, prepend=episode.state[:1]))
    motion = {}
    for camera in ("front", "wrist"):
        seen = speed @ rng.uniform(0.2, 1.0, speed.shape[1])
        signals = [np.abs(seen + noise * seen.max() * rng.normal(size=len(seen))) for _ in range(2)]
        motion[camera] = np.column_stack(signals)
    return motion


def planted(episode: Episode, motion: dict[str, np.ndarray], lag: int):
    """Rows ahead of the video by `lag`, with its ends cut off."""
    first, end = max(0, lag), len(episode) + min(0, lag)
    cut = replace(episode, state=episode.state[first:end], action=episode.action[first:end])
    return cut, {camera: values[first - lag : end - lag] for camera, values in motion.items()}


@settings(max_examples=15)
@given(
    st.integers(-5, 5),
    st.integers(0, 1000),
    st.sampled_from([10, 20, 30, 60]),
    st.sampled_from(["smooth", "linear"]),
    st.sampled_from(["joint", "delta"]),
)
def test_a_planted_lag_is_found_or_nothing_is_said(lag, seed, fps, style, space):
    episode, _ = pick_and_place(seed, fps, style, space, pause_s=0.3)
    verdict = TemporalSynchronizer()(*planted(episode, watched(episode, seed), lag))
    assert verdict.quarantined or verdict.lag == lag


def test_most_planted_lags_are_found_confidently():
    confident = 0
    for seed in range(5):
        episode, _ = pick_and_place(seed, 20, pause_s=0.3)
        for lag in (-5, -2, 0, 5):
            verdict = TemporalSynchronizer()(*planted(episode, watched(episode, seed), lag))
            assert verdict.quarantined or (verdict.lag, verdict.action_lag) == (lag, lag)
            confident += not verdict.quarantined
    assert confident >= 14  # the motion of seed 0 does not exclude a lag that changes by a frame


def test_the_action_moves_alone_where_it_is_out_of_step_with_the_state():
    moved = 0
    for seed in range(6):
        episode, _ = pick_and_place(seed, 20, pause_s=0.3)
        motion = watched(episode, seed)
        plain = TemporalSynchronizer()(episode, motion)
        assert 0.5 < plain.action_delay < 3
        informed = TemporalSynchronizer(control_delay=plain.action_delay)
        for slip in (-3, 2):
            first, end = max(0, -slip), len(episode) - max(0, slip)
            action = episode.action[first + slip : end + slip]
            slipped = replace(episode, state=episode.state[first:end], action=action)
            seen = {camera: values[first:end] for camera, values in motion.items()}
            verdict = informed(slipped, seen)
            if not verdict.quarantined:
                assert (verdict.lag, verdict.action_lag) == (0, slip)
                mended = synchronized(slipped, verdict)
                start = first + verdict.first_frame
                np.testing.assert_array_equal(mended.action, episode.action[start : start + len(mended)])
                moved += 1
            alone = TemporalSynchronizer()(slipped, seen)
            assert alone.action_lag == alone.lag  # without the robot's delay, the action goes with the state
    assert moved >= 8


def each_camera(change):
    return lambda episode, motion, seed: (episode, {c: change(v, seed) for c, v in motion.items()})


def jump(episode, motion, seed):
    """The video lacks three frames in its middle."""
    half = len(episode) // 2
    shorter = {c: np.delete(values, range(half, half + 3), axis=0) for c, values in motion.items()}
    return first_frames(episode, len(episode) - 3), shorter


def first_frames(episode: Episode, count: int) -> Episode:
    return replace(episode, state=episode.state[:count], action=episode.action[:count])


DAMAGES = {
    "another video": (
        each_camera(lambda values, seed: np.random.default_rng(seed + 50).permutation(values)),
        {"change_not_excluded", "weak", "ambiguous", "outside_window", "windows_disagree", "votes_split"},
    ),
    "nothing moves": (each_camera(lambda values, seed: np.zeros_like(values)), {"no_motion"}),
    "no camera": (lambda episode, motion, seed: (episode, {}), {"no_camera"}),
    "far off": (lambda episode, motion, seed: planted(episode, motion, 13), {"outside_window"}),
    "jump": (jump, {"windows_disagree", "ambiguous", "lag_changes", "change_not_excluded"}),
    "cameras apart": (
        lambda episode, motion, seed: (episode, {**motion, "wrist": np.roll(motion["wrist"], 3, axis=0)}),
        {"cameras_disagree", "ambiguous"},
    ),
    "too short": (
        lambda episode, motion, seed: (first_frames(episode, 40), {c: v[:40] for c, v in motion.items()}),
        {"too_short"},
    ),
}


@pytest.mark.parametrize(("damage", "rules"), DAMAGES.values(), ids=DAMAGES)
def test_what_cannot_be_trusted_is_quarantined_by_a_named_rule(damage, rules):
    seen = set()
    for seed in range(5):
        episode, _ = pick_and_place(seed, 20, pause_s=0.3)
        verdict = TemporalSynchronizer()(*damage(episode, watched(episode, seed), seed))
        assert verdict.quarantined, verdict
        seen.add(verdict.reason.split(":")[0])
    assert seen <= rules


def test_an_action_that_cannot_be_checked_is_quarantined_where_the_robots_delay_is_known():
    episode, _ = pick_and_place(1, 20, pause_s=0.3)
    motion = watched(episode, 1)
    still = replace(episode, action=np.zeros_like(episode.action))
    assert not TemporalSynchronizer()(still, motion).quarantined
    verdict = TemporalSynchronizer(control_delay=1.0)(still, motion)
    assert verdict.quarantined and verdict.reason.startswith("action_unknown")
    lenient = TemporalSynchronizer(control_delay=1.0, require_action_delay=False)(still, motion)
    assert not lenient.quarantined and lenient.action_lag == lenient.lag == 0


def test_a_motion_of_another_length_is_refused():
    episode, _ = pick_and_place()
    with pytest.raises(ValueError, match=r"front has 3 frames, but episode 0 has \d+ rows"):
        TemporalSynchronizer()(episode, {"front": np.zeros((3, 2))})


@given(st.integers(12, 60), st.integers(0, 10**6), st.integers(1, 20))
def test_correlations_equal_numpys(length, seed, reach):
    rng = np.random.default_rng(seed)
    late, early = rng.normal(size=(2, length)), rng.normal(size=(3, length))
    early[2] = 7.0
    found = correlations(late, early, reach)
    assert found.shape == (2, 3, 2 * reach + 1) and (found[:, 2] == 0).all()
    for i, lag in enumerate(range(-reach, reach + 1)):
        frames = np.array([t for t in range(length) if 0 <= t - lag < length])
        for s in range(2):
            for c in range(2):
                expected = 0.0
                if len(frames) >= 8:
                    expected = np.corrcoef(late[s, frames], early[c, frames - lag])[0, 1]
                assert found[s, c, i] == pytest.approx(expected, abs=1e-9)


def test_correlations_of_a_span_use_only_its_frames_of_the_late_signal():
    rng = np.random.default_rng(0)
    late, early = rng.normal(size=(2, 1, 50))
    found = correlations(late, early, 3, (10, 30))
    late[:, :10] = late[:, 30:] = 1e6
    np.testing.assert_array_equal(found, correlations(late, early, 3, (10, 30)))
    assert found[0, 0, 4] == pytest.approx(np.corrcoef(late[0, 10:30], early[0, 9:29])[0, 1])


def test_a_mean_counts_each_curve_by_its_weight():
    curves = np.array([[1.0, 2.0], [3.0, 0.0]])
    np.testing.assert_allclose(weighted_mean(curves, np.array([3.0, 1.0])), [1.5, 1.5])
    assert (weighted_mean(curves, np.zeros(2)) == 0).all()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.integers(10, 500), st.floats(0.1, 5))
def test_evidence_grows_with_correlation_and_frames(r, frames, sigma):
    r = np.sort(np.array(r))
    found = evidence(r, frames, sigma)
    assert (np.diff(found) >= 0).all() and (found[r <= 0] == 0).all() and np.isfinite(found).all()
    assert (evidence(r, 2 * frames, sigma) >= found).all()


def test_peak_and_margin():
    x = np.arange(11)
    top, fraction = peak(-((x - 4.3) ** 2.0))
    assert (top, fraction) == (4, pytest.approx(0.3))
    assert peak(x.astype(float)) == (10, 0.0)
    assert margin(np.array([1.0, 5.0, 3.5])) == 1.5


@given(st.floats(1e-6, 1e6))
def test_units_do_not_matter(scale):
    signal = np.abs(np.random.default_rng(3).normal(size=80))
    np.testing.assert_allclose(sharpened(signal * scale, 1.0), sharpened(signal, 1.0), atol=1e-8)
    assert not sharpened(np.zeros(10), 1.0).any()


def test_motion_of_a_picture_is_where_it_moves_and_when():
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (40, 40)), np.ones((4, 4))).astype(np.uint8)
    shifts = [0, 0, 1, 3, 6, 6, 6]
    frames = [np.ascontiguousarray(texture[:96, s : s + 96]) for s in shifts]
    flow, change = image_motion(frames).T
    assert flow.shape == change.shape == (7,)
    for signal in (flow, change):
        assert (signal[[0, 1, 5, 6]] == 0).all()
        assert 0 < signal[2] < signal[3] < signal[4]
    assert image_motion([]).shape == (0, 2)


def test_a_flicker_below_the_threshold_is_no_flow():
    still = np.full((96, 96), 100, np.uint8)
    flow, change = image_motion([still, still + 3, still]).T
    assert (flow == 0).all() and change[1] == change[2] == 3


def test_robot_motion_reads_positions_steps_and_poses():
    joint, _ = pick_and_place(1, 20)
    assert {"state", "state.pan.pos", "state.gripper.pos"} <= state_motion(joint).keys()
    command = action_motion(joint)["action"]
    assert np.corrcoef(command[1:], state_motion(joint)["state"][1:])[0, 1] > 0.5
    delta, _ = pick_and_place(1, 20, space="delta")
    steps = action_motion(delta)["action"]
    pose = replace(delta, action=np.cumsum(delta.action, axis=0) * 0.01 + 5.0)
    for values in (steps, action_motion(pose)["action"]):
        assert np.corrcoef(values[:-1], state_motion(delta)["state"][1:])[0, 1] > 0.5


@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(20, 40))
def test_synchronized_rows_are_those_of_the_frames_time(lag, action_lag, length):
    at = np.arange(length, dtype=float)[:, None]
    episode = Episode(0, "t", 20.0, at, at + 1000)
    verdict = SyncVerdict(0, length, 0, 0, 1.0, 9.0, 1.0, 0, length).with_lags(lag, action_lag)
    moved = synchronized(episode, verdict)
    frames = np.arange(verdict.first_frame, verdict.end_frame)
    np.testing.assert_array_equal(moved.state[:, 0], frames - lag)
    np.testing.assert_array_equal(moved.action[:, 0], frames - action_lag + 1000)
    usable = [t for t in range(length) if 0 <= t - lag < length and 0 <= t - action_lag < length]
    assert frames.tolist() == usable


def test_which_columns_move():
    cameras = ["observation.images.front"]
    behind = dict.fromkeys(("observation.images.front", "timestamp", "task_index", "language_persistent"), 0)
    behind |= dict.fromkeys(("observation.state", "observation.effort", "next.reward"), 1) | {"action": 3}
    assert {column: rows_behind(column, cameras, 1, 3) for column in behind} == behind


def test_the_robots_delay_is_the_median_of_episodes_that_agree():
    def delay_of(*delays: float):
        return control_delay([SyncVerdict(i, 100, 0, 0, 0.9, 9.0, d, 0, 100) for i, d in enumerate(delays)])

    assert delay_of(1.0, 1.1, 1.2, 4.0)[0] == pytest.approx(1.15)
    assert delay_of(1.0, 1.0) == delay_of(*[float("nan")] * 4) == (None, [])
    delay, warnings = delay_of(*map(float, range(9)))
    assert delay is None and "differs from episode to episode" in warnings[0]
    delay, warnings = delay_of(*[-2.0] * 4)
    assert delay is None and "2.0 frames behind the state" in warnings[0]
    good = SyncVerdict(0, 100, 0, 0, 0.9, 9.0, 1.0, 0, 100)
    assert control_delay([good.quarantine("lag_changes: x")] * 4) == (1.0, [])


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("max_change_risk", 0.0),
        ("max_lag_s", 0.0),
        ("smooth_s", -1.0),
        ("min_score", 2.0),
        ("control_delay", -1),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_flag(flag, value):
    with pytest.raises(ValueError, match=f"--synchronizer.{flag}"):
        SynchronizerConfig(**{flag: value})
