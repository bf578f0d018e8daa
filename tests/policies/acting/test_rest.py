# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""To hold is to stay: velocities and steps are zero whenever nothing is planned or something is wrong."""

import time

import numpy as np
import pytest
import torch
from demonstrations import LEKIWI, driving, hand_steps, metadata
from fake_robot import FakeRobot
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors
from tiny_arm import CAMERAS

from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

BASE = slice(6, 9)


@pytest.fixture
def robot(make_config, tmp_path):
    """Builds a policy for demonstrations, shaken so that it moves, and a robot for it."""

    def build(actions, states, rows, **fields) -> FakeRobot:
        torch.manual_seed(0)
        meta = metadata(tmp_path / "data", actions, states, rows)
        config = make_config(
            **{"guards": "arm", "planner": "instruction", "num_inference_steps": 1, **fields}
        )
        width = len(rows[0][0][0])
        config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (width,))}
        policy = WallwmPolicy(config, dataset_stats=meta.stats, dataset_meta=meta)
        for parameter in policy.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
        pipelines = make_pre_post_processors(policy.config, dataset_stats=meta.stats)
        return FakeRobot(policy.eval(), pipelines, rows[0][1][0])

    return build


@pytest.fixture
def lekiwi(robot):
    return lambda **fields: robot(LEKIWI, LEKIWI, driving(0), **fields)


def rests(sent: np.ndarray, size: np.ndarray | float = 1.0) -> bool:
    """Zero, but for what the pipeline's float32 leaves of it."""
    return bool((np.abs(sent) <= 1e-6 * size).all())


def drives(sent: np.ndarray) -> bool:
    return bool(np.abs(sent[BASE]).max() > 0.01)


def test_velocities_are_not_learned_relative_to_the_pose(lekiwi):
    space = lekiwi().policy.action_space
    assert space.relative.tolist() == [1.0] * 5 + [0.0] * 4
    assert space.what.rates.tolist() == [False] * 6 + [True] * 3


def test_a_dark_camera_leaves_the_base_at_rest(lekiwi):
    """Show e, first."""
    robot = lekiwi()
    assert any(drives(robot.tick()) for _ in range(6))
    robot.dark = True
    dark = [robot.tick() for _ in range(10)]
    assert all(rests(sent[BASE]) for sent in dark)
    assert np.ptp([sent[:6] for sent in dark], axis=0).max() == 0  # and the arm where it is
    robot.dark = False
    assert any(drives(robot.tick()) for _ in range(6))


@pytest.mark.parametrize("how", [{}, {"seam_acceleration": 0.0}, {"background_inference": True}])
def test_the_plans_end_leaves_the_base_at_rest(lekiwi, how):
    """Show e, second."""
    robot = lekiwi(planner="script", script=["drive there | 0.5 s"], **how)
    driven = []
    for _ in range(1000):  # on a busy machine a plan in the background comes late
        driven.append(robot.tick())
        if robot.policy.rollout.cursors[0].caption is None:
            break
        time.sleep(0.005 if "background_inference" in how else 0.0)
    assert any(map(drives, driven))
    for _ in range(8):
        robot.tick()
    after = [robot.tick() for _ in range(15)]
    assert all(rests(sent[BASE]) for sent in after)
    assert np.abs(np.diff([sent[:6] for sent in after[5:]], axis=0)).max() < 1e-3
    robot.policy.reset()


@pytest.mark.parametrize("on_stall", ["retry", "hold", "next"])
def test_a_stall_leaves_the_base_at_rest(lekiwi, on_stall, tmp_path):
    """Show e, third: in the tick in which it is seen, and with ``hold`` from the third on for good."""
    plan = {"planner": "script", "script": ["drive there | 60 s"], "on_plan_end": "repeat"}
    robot = lekiwi(retries=1, stall_s=0.5, stall_distance=2.0, on_stall=on_stall, rate_limit=0.0, **plan)
    robot.blocked = True
    robot.policy.action_space.scale[:5] = 60.0  # far goals
    counts, stopped = robot.policy._log.counts, []
    for _ in range(60):
        before = counts.get("stall", 0)
        sent = robot.tick()
        if counts.get("stall", 0) > before:
            stopped.append(sent)
    assert len(stopped) >= 2 and all(rests(sent[BASE]) for sent in stopped)
    if on_stall == "hold":
        assert all(rests(robot.tick()[BASE]) for _ in range(5))


def test_answers_to_the_rtc_engine_come_to_rest(lekiwi):
    robot = lekiwi(planner="script", script=["drive there | 0.5 s"])
    robot.policy.init_rtc_processor()
    seen = robot.pre(robot.observation())
    first = robot.post(robot.policy.predict_action_chunk(seen)[0])
    assert any(drives(sent.numpy()) for sent in first) and rests(first[-1, BASE].numpy())
    left = robot.policy.predict_action_chunk(seen)
    for _ in range(20):
        left = robot.policy.predict_action_chunk(seen, prev_chunk_left_over=left[0, 8:])
    assert rests(robot.post(left[0])[:, BASE].numpy())


def test_a_goal_that_is_not_finite_does_not_repeat_a_step(robot):
    states, actions, rows = hand_steps(0, 1.0, 850.0)
    mixed = robot(actions, states, rows)
    first = mixed.tick()
    assert np.abs(first[:6]).max() > 0
    mixed.policy.rollout.step = lambda observation: torch.full((1, 7), torch.nan)
    held = mixed.tick()
    assert rests(held[:6]) and held[6] == pytest.approx(first[6], abs=1e-2)


@pytest.mark.parametrize("length", [1.0, 1000.0])
@pytest.mark.parametrize("top", [1.0, 850.0])
def test_held_goals_hold_whatever_the_unit(robot, length, top):
    """Show d: steps stay zero and the gripper where it is; no dimension drifts by itself."""
    states, actions, rows = hand_steps(0, length, top)
    mixed = robot(actions, states, rows, planner="script", script=["go there | 0.3 s"])
    moved = np.array([mixed.tick() for _ in range(6)])
    assert (np.ptp(moved[:, :6], axis=0) > 0).all()  # not one of them counts as constant
    held = np.array([mixed.tick() for _ in range(20)][10:])
    assert rests(held[:, :6], length) and np.ptp(held[:, 6]) < 1e-3 * top


def test_the_same_demonstrations_in_other_units_make_the_same_policy(make_config, tmp_path, make_observation):
    """Show d: trained for three steps on each, both answer the same to 1e-5 of the range."""
    answers = []
    for name, units in (("first", (1.0, 1.0)), ("second", (1000.0, 850.0))):
        states, actions, rows = hand_steps(0, *units)
        meta = metadata(tmp_path / name, actions, states, rows)
        torch.manual_seed(0)
        config = make_config()
        config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (7,))}
        policy = WallwmPolicy(config, dataset_stats=meta.stats, dataset_meta=meta).train()
        pre, _ = make_pre_post_processors(policy.config, dataset_stats=meta.stats)
        optimizer = torch.optim.SGD(policy.parameters(), lr=1e-2)
        action, state = (np.concatenate([pair[i] for pair in rows]) for i in (0, 1))
        for step in range(3):
            at = torch.arange(4) + 8 * step
            steps = at[:, None] + torch.arange(config.horizon)
            frames = at[:, None] + torch.tensor(config.observation_delta_indices)
            pictures = torch.Generator().manual_seed(step)
            shape = (4, frames.shape[1], 3, 32, 32)
            batch = {
                **{key: torch.rand(*shape, generator=pictures) for key in CAMERAS},
                "observation.state": torch.tensor(state[frames], dtype=torch.float32),
                "action": torch.tensor(action[steps], dtype=torch.float32),
                "task": ["go there"] * 4,
                "index": at,
                "episode_index": torch.zeros(4, dtype=torch.long),
            }
            loss, _ = policy(pre(batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seen = make_observation(["go there"])
        seen["observation.state"] = torch.tensor(state[[20]], dtype=torch.float32)
        answers.append((loss.detach(), policy.eval().predict_action_chunk(seen)))
    for first, second in zip(*answers, strict=True):
        torch.testing.assert_close(second, first, atol=1e-5, rtol=1e-5)
