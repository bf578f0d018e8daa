# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The lag between videos and rows: of a camera, from all episodes; an episode that contradicts it is left out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from synthetic import pick_and_place
from tables import synchronized

from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.synchronize.evidence import correlations, evidence, margin, peak, sharpened
from lerobot_wallwm.processors.synchronize.signals import action_motion, image_motion, state_motion
from lerobot_wallwm.processors.synchronize.source import CameraFrames, SyncVerdict, rows_behind
from lerobot_wallwm.processors.synchronize.synchronizer import SynchronizerConfig, TemporalSynchronizer


def watched(episode: Episode, seed: int = 0, noise: float = 0.05) -> dict[str, np.ndarray]:
    """What two cameras might measure: each sees the joints by other weights, with noise in proportion."""
    cameras, rng = np.random.default_rng(0), np.random.default_rng(seed)
    speed = np.abs(np.diff(episode.state, axis=0, prepend=episode.state[:1]))
    motion = {}
    for camera in ("front", "wrist"):
        seen = speed @ cameras.uniform(0.2, 1.0, speed.shape[1])
        signals = [np.abs(seen + noise * seen.max() * rng.normal(size=len(seen))) for _ in range(2)]
        motion[camera] = np.column_stack(signals)
    return motion


def planted(episode: Episode, motion: dict[str, np.ndarray], lag: int):
    """Rows ahead of the video by `lag`, with its ends cut off."""
    first, end = max(0, lag), len(episode) + min(0, lag)
    cut = replace(episode, state=episode.state[first:end], action=episode.action[first:end])
    return cut, {camera: values[first - lag : end - lag] for camera, values in motion.items()}


def demonstrations(seed: int, fps: int = 20, style: str = "smooth", space: str = "joint", count: int = 8):
    return [pick_and_place(1000 * seed + i, fps, style, space, index=i, pause_s=0.3)[0] for i in range(count)]


@settings(max_examples=12)
@given(
    st.integers(-5, 5),
    st.integers(0, 1000),
    st.sampled_from([10, 20, 30, 60]),
    st.sampled_from(["smooth", "linear"]),
    st.sampled_from(["joint", "delta"]),
)
def test_a_lag_of_the_rig_is_found_from_all_episodes_together(lag, seed, fps, style, space):
    recordings = [planted(e, watched(e, e.index), lag) for e in demonstrations(seed, fps, style, space)]
    found = TemporalSynchronizer()(recordings)
    assert {camera.lag for camera in found.cameras.values()} == {lag}
    kept = [verdict for verdict in found.verdicts if not verdict.quarantined]
    assert len(kept) >= 7 and {verdict.lag for verdict in kept} == {lag}


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_short_and_few_episodes_are_kept(lag):
    rng = np.random.default_rng(1)
    recordings = []
    for episode in demonstrations(0, count=20):
        motion, length = watched(episode, episode.index), int(rng.integers(30, 54))
        start = int(rng.integers(0, len(episode) - length))
        span = slice(start, start + length)
        part = replace(episode, state=episode.state[span], action=episode.action[span])
        recordings.append(planted(part, {c: v[span] for c, v in motion.items()}, lag))
    verdicts = TemporalSynchronizer()(recordings).verdicts
    kept = [verdict for verdict in verdicts if not verdict.quarantined]
    assert len(kept) >= 19 and {verdict.lag for verdict in kept} == {lag}


def test_each_camera_has_its_own_lag_and_frames_without_a_picture_are_trimmed():
    recordings = []
    for episode in demonstrations(3):
        motion = watched(episode, episode.index)
        rows, late = planted(episode, motion, 3)
        recordings.append(
            (rows, {"front": motion["front"][3:], "wrist": late["wrist"], "top": late["front"]})
        )
    found = TemporalSynchronizer()(recordings)
    assert {name: camera.lag for name, camera in found.cameras.items()} == {"front": 0, "wrist": 3, "top": 3}
    verdict = found.verdicts[0]
    assert (verdict.lag, verdict.late) == (3, (CameraFrames("front", -3),))
    # Frame t takes its state from t - 3, and its picture in front from t - 3 as well.
    assert (verdict.first_frame, verdict.end_frame) == (3, len(recordings[0][0]))


def test_a_camera_that_does_not_see_the_robot_says_nothing():
    rng = np.random.default_rng(0)
    recordings = []
    for episode in demonstrations(4):
        elsewhere = np.abs(rng.normal(size=(len(episode), 2)))
        recordings.append((episode, watched(episode, episode.index) | {"window": elsewhere}))
    found = TemporalSynchronizer()(recordings)
    assert [camera.seen for camera in found.cameras.values()] == [True, True, False]
    assert sum(verdict.quarantined for verdict in found.verdicts) <= 1


def swapped(episode: Episode, motion, other):
    """The video of another demonstration of the task: the same phases at another pace."""
    length = min(len(episode), len(other["front"]))
    return first_frames(episode, length), {camera: values[:length] for camera, values in other.items()}


def dropped(episode: Episode, motion, other):
    """The video lacks a frame in its middle."""
    half = len(episode) // 2
    return first_frames(episode, len(episode) - 1), {c: np.delete(v, half, axis=0) for c, v in motion.items()}


def one_camera(episode: Episode, motion, other):
    return first_frames(episode, len(episode) - 1), {
        "front": motion["front"][1:],
        "wrist": motion["wrist"][:-1],
    }


def slipped(episode: Episode, motion, other):
    """The action was logged three rows early."""
    moved = replace(episode, state=episode.state[:-3], action=episode.action[3:])
    return moved, {camera: values[:-3] for camera, values in motion.items()}


def first_frames(episode: Episode, count: int) -> Episode:
    return replace(episode, state=episode.state[:count], action=episode.action[:count])


DAMAGES = {
    "its own lag": (lambda episode, motion, other: planted(episode, motion, 2), {"contradicts_rig"}),
    "another video": (swapped, {"contradicts_rig", "lag_changes", "another_video", "camera_contradicts_rig"}),
    "a dropped frame": (dropped, {"contradicts_rig", "lag_changes"}),
    "one camera": (one_camera, {"camera_contradicts_rig", "contradicts_rig"}),
    "its action": (slipped, {"action_contradicts"}),
}


@pytest.mark.parametrize(("damage", "rules"), DAMAGES.values(), ids=DAMAGES)
def test_an_episode_that_contradicts_the_rig_is_quarantined_by_a_named_rule(damage, rules):
    episodes = demonstrations(2, count=10)
    recordings = [(episode, watched(episode, episode.index)) for episode in episodes]
    recordings[3] = damage(*recordings[3], recordings[4][1])
    found = TemporalSynchronizer()(recordings)
    assert {camera.lag for camera in found.cameras.values()} == {0}
    assert found.verdicts[3].reason.split(":")[0] in rules
    assert sum(verdict.quarantined for verdict in found.verdicts) <= 2


def test_without_a_camera_and_without_motion_nothing_is_trusted():
    episodes = demonstrations(6, count=3)
    still = {"front": np.zeros((1, 2))}
    for motion, rule in (({}, "no_camera"), (still, "no_motion")):
        recordings = [(e, {c: np.repeat(v, len(e), axis=0) for c, v in motion.items()}) for e in episodes]
        verdicts = TemporalSynchronizer()(recordings).verdicts
        assert all(verdict.reason.startswith(rule) for verdict in verdicts)


def test_a_lag_beyond_the_greatest_is_refused():
    recordings = [planted(e, watched(e, e.index), 13) for e in demonstrations(7)]
    verdicts = TemporalSynchronizer()(recordings).verdicts
    assert all(verdict.quarantined for verdict in verdicts)
    assert sum(verdict.reason.startswith("outside_window") for verdict in verdicts) >= 6


def test_the_action_moves_with_the_state_or_by_what_the_robots_delay_asks_for():
    recordings = [(e, watched(e, e.index)) for e in demonstrations(8)]
    found = TemporalSynchronizer()(recordings)
    assert found.delay is not None and 0.5 < found.delay < 3 and found.delay_share > 0.7
    assert {(v.lag, v.action_lag) for v in found.verdicts} == {(0, 0)}
    asked = TemporalSynchronizer(control_delay=round(found.delay) + 2.0)(recordings)
    assert {(v.lag, v.action_lag) for v in asked.verdicts if not v.quarantined} == {(0, -2)}
    still = [(replace(e, action=np.zeros_like(e.action)), motion) for e, motion in recordings]
    assert TemporalSynchronizer(control_delay=1.0)(still).delay is None


def test_a_motion_of_another_length_is_refused():
    episode, _ = pick_and_place()
    with pytest.raises(ValueError, match=r"front has 3 frames, but episode 0 has \d+ rows"):
        TemporalSynchronizer()([(episode, {"front": np.zeros((3, 2))})])
    with pytest.raises(ValueError, match="no episode"):
        TemporalSynchronizer()([])


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
    assert rows_behind(cameras[0], cameras, 1, 3, {cameras[0]: 2}) == -2


@pytest.mark.parametrize(
    ("flag", "value"), [("max_lag_s", 0.0), ("smooth_s", -1.0), ("max_dissent", 0.0), ("control_delay", -1)]
)
def test_a_wrong_parameter_is_refused_by_its_flag(flag, value):
    with pytest.raises(ValueError, match=f"--synchronizer.{flag}"):
        SynchronizerConfig(**{flag: value})
