# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import pytest
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.policies.acting.robots import StallDetector

JOINTS = torch.tensor([0, 1])  # the third is a gripper
WINDOW, DISTANCE = 10, 8.0


def detector(window: int = WINDOW) -> StallDetector:
    return StallDetector(window, JOINTS, JOINTS, torch.full((2,), DISTANCE))


def feed(stalls: StallDetector, states, goals) -> list[list[int]]:
    return [
        stalls.add(torch.tensor(s, dtype=torch.float32), torch.tensor(g, dtype=torch.float32))
        for s, g in zip(states, goals, strict=True)
    ]


def test_a_blocked_joint_is_named_after_the_window_and_not_before():
    found = feed(detector(), [[0.0, 5.0, 0.0]] * 15, [[20.0, 5.0, 0.0]] * 15)
    assert found[:10] == [[]] * 10 and found[10] == [0]


STILL = [[0.0, 0.0, 0.0]] * 30


@pytest.mark.parametrize(
    ("window", "states", "goals"),
    [
        (WINDOW, [[i * 0.5, 0.0, 0.0] for i in range(30)], [[i * 0.5 + 20, 0.0, 0.0] for i in range(30)]),
        (WINDOW, STILL, [[7.0, -7.0, 0.0]] * 30),
        (WINDOW, [[0.0, 0.0, 40.0]] * 30, STILL),
        (WINDOW, STILL, [[20.0 * (-1) ** i, 0.0, 0.0] for i in range(30)]),
        (0, STILL, [[50.0, 0.0, 0.0]] * 30),
    ],
    ids=[
        "lags but moves",
        "sags a little",
        "a gripper on an object",
        "the goal swings round it",
        "no window",
    ],
)
def test_what_is_no_stall(window, states, goals):
    assert not any(feed(detector(window), states, goals))


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
