# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A loop at another rate than the data's, and a rollout without a task."""

import numpy as np
import pytest
import torch
from tiny_arm import CAMERAS, grammar

from lerobot_wallwm.policies.safety.interventions import SafetyError
from lerobot_wallwm.policies.safety.pace import TICKS, Pace


def run(pace: Pace, between: list[float]) -> None:
    now = 5.0
    pace.tick(0.0)  # warms up
    for seconds in [0.0, *between]:
        now += seconds
        pace.tick(now)


@pytest.mark.parametrize("hz", [30.0, 60.0, 10.0])
def test_a_loop_of_another_rate_is_refused_with_the_flag_to_set(hz):
    with pytest.raises(SafetyError, match=rf"runs at {hz:.0f} Hz.*20 Hz.*--fps=20"):
        run(Pace(20.0), [1 / hz] * (TICKS + 1))


def test_the_datas_own_rate_with_slow_looks_is_none():
    pace = Pace(20.0)
    run(pace, [0.05, 0.05, 0.05, 0.2] * 10)
    assert pace.slow == ""
    rng = np.random.default_rng(0)
    run(pace, list(rng.uniform(0.05, 0.12, 40)))  # a machine that is too slow
    assert "motions come out slower" in pace.slow
    run(Pace(None), [0.001] * 40)


def test_the_rtc_engine_is_judged_by_what_it_has_carried_out():
    pace = Pace(20.0)
    for k in range(40):
        pace.answer(k * 0.2, 4 * k)
    pace.reset()
    with pytest.raises(SafetyError, match="--fps=20"):
        for k in range(40):
            pace.answer(k * 0.2, 6 * k)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def tick(policy, task: str, seconds: float = 0.0):
    policy.guards.clock.now += seconds
    pictures = torch.Generator().manual_seed(int(policy.guards.clock.now * 1000))
    seen = {key: torch.rand(1, 3, 32, 32, generator=pictures) for key in CAMERAS}
    return policy.select_action({**seen, "observation.state": torch.zeros(1, 6), "task": [task]})


def test_a_rollout_at_30_hz_of_a_checkpoint_of_20_hz_ends(make_policy):
    policy = make_policy(guards="arm", fps=20.0)
    policy.guards.clock = Clock()
    with pytest.raises(SafetyError, match="--fps=20"):
        for _ in range(2 * TICKS):
            tick(policy, "lift it", 1 / 30)
    policy.reset()
    for _ in range(3 * TICKS):
        tick(policy, "lift it", 1 / 20)


@pytest.mark.parametrize("planner", [{"planner": "instruction"}, grammar(20)])
def test_without_a_task_nothing_is_sent(make_policy, planner):
    policy = make_policy(guards="arm", **planner)
    policy.guards.clock = Clock()
    with pytest.raises(SafetyError, match=r"there is none: nothing was sent to the arm. Fix: --task="):
        tick(policy, " ")
    tick(policy, "pick up the red cube and place it on the disc")


def test_a_script_needs_no_task(make_policy):
    policy = make_policy(guards="arm", planner="script", script=["lift it"])
    policy.guards.clock = Clock()
    assert torch.isfinite(tick(policy, "")).all()
