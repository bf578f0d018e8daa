# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.policies.acting.robots import StallDetector

JOINTS = torch.tensor([1.0, 1.0, 0.0])  # the third is a gripper
WINDOW, DISTANCE = 10, 8.0


def detector(window: int = WINDOW) -> StallDetector:
    return StallDetector(window, DISTANCE, JOINTS)


def feed(stalls: StallDetector, states, goals) -> list[list[int]]:
    return [
        stalls.add(torch.tensor(s, dtype=torch.float32), torch.tensor(g, dtype=torch.float32))
        for s, g in zip(states, goals, strict=True)
    ]


def test_a_blocked_joint_is_named_after_the_window_and_not_before():
    found = feed(detector(), [[0.0, 5.0, 0.0]] * 15, [[20.0, 5.0, 0.0]] * 15)
    assert found[:10] == [[]] * 10 and found[10] == [0]


def test_an_arm_that_lags_but_moves_does_not_stall():
    states = [[i * 0.5, 0.0, 0.0] for i in range(30)]
    assert not any(feed(detector(), states, [[s[0] + 20, 0.0, 0.0] for s in states]))


def test_an_arm_that_rests_where_it_should_does_not_stall():
    assert not any(feed(detector(), [[0.0, 0.0, 0.0]] * 30, [[7.0, -7.0, 0.0]] * 30))  # sags a little


def test_a_gripper_held_open_by_an_object_does_not_stall():
    assert not any(feed(detector(), [[0.0, 0.0, 40.0]] * 30, [[0.0, 0.0, 0.0]] * 30))


def test_a_goal_that_swings_round_the_joint_does_not_stall():
    goals = [[20.0 * (-1) ** i, 0.0, 0.0] for i in range(30)]
    assert not any(feed(detector(), [[0.0, 0.0, 0.0]] * 30, goals))


def test_no_window_watches_nothing():
    assert not any(feed(detector(0), [[0.0, 0.0, 0.0]] * 30, [[50.0, 0.0, 0.0]] * 30))


@given(noise=st.lists(st.floats(-0.39, 0.39), min_size=30, max_size=30))
def test_noise_does_not_hide_a_stall(noise):
    found = feed(detector(), [[n, 0.0, 0.0] for n in noise], [[30.0, 0.0, 0.0]] * 30)
    assert [0] in found


def test_a_window_counts_ticks_and_not_observations():
    stalls = detector()
    state, goal = torch.zeros(3), torch.tensor([20.0, 0.0, 0.0])
    assert stalls.add(state, goal, 4) == [] and stalls.add(state, goal, 4) == []
    assert stalls.add(state, goal, 4) == [] and stalls.add(state, goal, 4) == [0]


def test_after_clearing_the_window_starts_over():
    stalls = detector()
    feed(stalls, [[0.0, 0.0, 0.0]] * 10, [[20.0, 0.0, 0.0]] * 10)
    stalls.clear()
    assert not any(feed(stalls, [[0.0, 0.0, 0.0]] * 10, [[20.0, 0.0, 0.0]] * 10))
