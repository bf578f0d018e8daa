# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The environment: reproducible, in LeRobot's units, with clear errors and an honest log."""

import json

import numpy as np
import pytest

from lerobot_env_so101_sim.colours import ALL_PAIRS, CUBE_COLOURS, DISC_COLOURS, LEFT_OUT_PAIRS, SEEN_PAIRS
from lerobot_env_so101_sim.configuration import So101SimEnvConfig
from lerobot_env_so101_sim.env import So101PickPlaceEnv
from lerobot_env_so101_sim.expert import Expert, Style


def _play(env, seed, steps=12):
    observation, _ = env.reset(seed=seed)
    frames = [observation]
    rng = np.random.default_rng(seed)
    target = observation["agent_pos"].copy()
    for _ in range(steps):
        target += rng.normal(0, 2, 6).astype(np.float32)
        frames.append(env.step(target)[0])
    return frames


def _assert_equal_episodes(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["agent_pos"], other["agent_pos"])
        for camera in ("wrist", "overhead"):
            np.testing.assert_array_equal(one["pixels"][camera], other["pixels"][camera])


def test_same_seed_gives_the_same_pixels_and_states(env, make_env):
    first = _play(env, seed=11)
    _play(env, seed=12)  # nothing of the episode in between may leak into the next
    _assert_equal_episodes(first, _play(env, seed=11))
    _assert_equal_episodes(first, _play(make_env(split="all"), seed=11))


def test_seeds_differ_in_layout_and_posture(env):
    first, second = env.reset(seed=21)[0], env.reset(seed=22)[0]
    assert np.abs(first["agent_pos"] - second["agent_pos"]).max() > 1.0
    assert (first["pixels"]["overhead"] != second["pixels"]["overhead"]).any()


def test_observation_matches_the_declared_space(env):
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert env.render().shape == (384, 384, 3)
    np.testing.assert_array_equal(env.render()[::4, ::4], observation["pixels"]["overhead"])


def test_cube_and_disc_show_in_the_overhead_view(env):
    from so101_nexus import COLOR_MAP

    for seed in range(6):
        picture = env.reset(seed=seed)[0]["pixels"]["overhead"].astype(int)
        cube = np.array(COLOR_MAP[env.cube_colour][:3]) > 0.4
        # A saturated colour's channels stand out by at least 60 levels, lit or shaded; grey ones do not.
        spread = picture[..., cube].min(axis=-1) - picture[..., ~cube].max(axis=-1)
        assert (spread > 60).sum() >= 10, (seed, env.task_description)


def test_units_round_trip(env):
    rng = np.random.default_rng(0)
    low, high = env.simulation.action_space.low, env.simulation.action_space.high
    for joints in rng.uniform(low, high, (50, 6)):
        np.testing.assert_allclose(env.to_joints(env.to_row(joints)), joints, atol=1e-5)
    assert env.to_row(low)[5] == pytest.approx(0.0, abs=1e-4)
    assert env.to_row(high)[5] == pytest.approx(100.0, abs=1e-4)
    assert env.to_row(np.deg2rad([10, -20, 30, 40, -50, 0]))[:5] == pytest.approx([10, -20, 30, 40, -50])


def test_leaving_the_cameras_out_changes_no_motion(env, blind_env):
    seeing, blind = env.reset(seed=4)[0], blind_env.reset(seed=4)[0]
    for _ in range(5):
        np.testing.assert_array_equal(seeing["agent_pos"], blind["agent_pos"])
        assert not blind["pixels"]["wrist"].any()
        goal = seeing["agent_pos"] + 2
        seeing, blind = env.step(goal)[0], blind_env.step(goal)[0]


def test_arm_goes_where_it_is_told(blind_env):
    observation, _ = blind_env.reset(seed=2)
    goal = observation["agent_pos"] + np.array([10, 5, 5, -5, 10, 10], np.float32)
    for _ in range(25):
        observation, *_ = blind_env.step(goal)
    np.testing.assert_allclose(observation["agent_pos"], goal, atol=1.5)


def test_faster_rendering_leaves_the_physics_alone(env):
    from lerobot_env_so101_sim.env import FPS, make_simulation
    from lerobot_env_so101_sim.rendering import speed_up_rendering

    plain, fast = make_simulation(FPS), make_simulation(FPS)
    faces = int(fast.model.mesh_facenum.sum())
    speed_up_rendering(fast.model)
    assert fast.model.mesh_facenum.sum() < faces / 5
    for simulation in (plain, fast):
        simulation.reset(seed=5)
    rng = np.random.default_rng(5)
    for _ in range(30):
        action = plain.data.qpos[:6] + rng.normal(0, 0.1, 6)
        plain.step(action)
        fast.step(action)
    np.testing.assert_array_equal(plain.data.qpos, fast.data.qpos)
    np.testing.assert_array_equal(plain.data.qvel, fast.data.qvel)


def test_colour_splits_share_colours_but_no_pair(make_env):
    assert set(SEEN_PAIRS).isdisjoint(LEFT_OUT_PAIRS)
    assert set(SEEN_PAIRS) | set(LEFT_OUT_PAIRS) == set(ALL_PAIRS)
    assert {cube for cube, _ in SEEN_PAIRS} == set(CUBE_COLOURS)
    assert {disc for _, disc in SEEN_PAIRS} == set(DISC_COLOURS)
    env = make_env(split="left_out")
    for seed in range(12):
        env.reset(seed=seed)
        assert (env.cube_colour, env.disc_colour) in LEFT_OUT_PAIRS
        assert env.cube_colour in env.task_description and env.disc_colour in env.task_description


def test_log_gets_one_line_per_seeded_episode(make_env, tmp_path):
    log = tmp_path / "deep" / "progress.jsonl"
    env = make_env(episode_length=3, progress_log=log)
    for seed in (7, 8, None):  # the last is what a vector environment does with a member that finished early
        observation, _ = env.reset(seed=seed)
        truncated = False
        while not truncated:
            *_, truncated, info = env.step(observation["agent_pos"])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["seed"] for line in lines] == [7, 8]
    assert lines[0]["steps"] == 3
    assert lines[0]["success"] is False and lines[0]["task_progress"] == 0.0 and lines[0]["grasped"] is False
    assert info["is_success"] is False


@pytest.mark.parametrize("action", [np.zeros(5), np.full(6, np.nan)])
def test_bad_action_is_refused(env, action):
    env.reset(seed=0)
    with pytest.raises(ValueError, match="6 finite numbers"):
        env.step(action)


@pytest.mark.parametrize(
    ("field", "value"), [("split", "some"), ("fps", 30), ("task", "Stack-v0"), ("episode_length", 0)]
)
def test_bad_configuration_names_the_field(field, value):
    with pytest.raises(ValueError, match=f"env.{field}"):
        So101SimEnvConfig(**{field: value})


@pytest.mark.parametrize(("disturb", "away", "height"), [("moved", 0.03, 0.0), ("taken", 0.0, 0.03)])
def test_the_cube_is_moved_or_taken_once(disturb, away, height):
    env = So101PickPlaceEnv(cameras=False, disturb=disturb)
    env.reset(seed=3)
    first = before = env.object_pose()
    when = set()
    for command in Expert(env, np.random.default_rng([3, 202]), Style(False, False, 1.0)).commands():
        env.step(command.executed)
        if env.disturbed_at >= 0 and not when:
            assert np.linalg.norm(env.object_pose()[:2] - first[:2]) == pytest.approx(away, abs=2e-3)
            assert before[2] - first[2] >= 0.8 * height and abs(env.object_pose()[2] - first[2]) < 2e-3
        before = env.object_pose()
        when |= {env.disturbed_at} - {-1}
    assert len(when) == 1
    env.reset(seed=4)
    assert env.disturbed_at == -1
    env.close()


def test_an_unknown_disturbance_is_refused():
    with pytest.raises(ValueError, match="disturb='shaken' is unknown"):
        So101PickPlaceEnv(cameras=False, disturb="shaken")
    with pytest.raises(ValueError, match=r"env\.disturb='moved' is unknown; .*Table-v0 none"):
        So101SimEnvConfig(task="Table-v0", disturb="moved")
