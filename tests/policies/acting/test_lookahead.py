# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Plans computed beside the control loop, with delays that a test can choose, and with a real thread."""

import copy
import json
import threading
import time

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny_arm import PICKED, TINY_TASK as TASK, grammar

from lerobot_wallwm.policies.acting.lookahead import BackgroundRollout

pytestmark = pytest.mark.usefixtures("to_the_last_frame")


class DelayedWorker:
    """Gives a result exactly so many ticks after it was asked for; a tick ends with `take`."""

    def __init__(self, delay: int):
        self.delay, self.left, self.plan = delay, 0, None
        self.jobs = 0

    @property
    def busy(self) -> bool:
        return self.plan is not None

    def submit(self, job) -> None:
        assert self.plan is None
        self.plan, self.left = job(), self.delay
        self.jobs += 1

    def take(self):
        if self.plan is None:
            return None
        self.left -= 1
        if self.left > 0:
            return None
        plan, self.plan = self.plan, None
        return plan

    def drop(self) -> None:
        self.plan = None


def delayed(policy, delay: int) -> BackgroundRollout:
    parts = policy.config, policy.model, policy.action_space, policy._images
    policy.rollout = BackgroundRollout(*parts, worker=DelayedWorker(delay))
    return policy.rollout


def run(policy, make_observation, ticks: int, tasks=(TASK,)) -> tuple[torch.Tensor, list[str | None]]:
    actions, captions = [], []
    for tick in range(ticks):
        actions.append(policy.select_action(make_observation(list(tasks), seed=tick)))
        captions.append(policy.rollout.cursors[0].caption)
    return torch.stack(actions), captions


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_events_follow_each_other_and_the_arm_is_never_late(lasting_policy, make_observation, delay):
    policy = lasting_policy(6.0, replan_steps=2)
    rollout = delayed(policy, delay)
    actions, captions = run(policy, make_observation, 40)
    order = [c for c, before in zip(captions, [None, *captions], strict=False) if c != before]
    assert order == [*PICKED, None]
    assert torch.isfinite(actions).all()
    # Delays are learnt from the first look on, which may come too late; and an end that comes as news costs a tick.
    assert rollout.late <= delay + len(PICKED)
    # The limit of 1.5 x 8 frames holds with looks in flight too.
    assert all(captions.count(c) <= 12 + delay for c in order if c)


def test_without_replanning_a_look_is_taken_once_an_event(lasting_policy, make_observation):
    policy = lasting_policy(6.0, replan_steps=0)
    rollout = delayed(policy, 2)
    run(policy, make_observation, 30)
    assert rollout.worker.jobs == 2 and rollout.log.counts["look"] == 3  # the first was waited for


def test_passed_actions_are_left_out(lasting_policy, make_observation):
    """With no seams, what is done d ticks after a look is that look's action d."""
    policy = lasting_policy(8.0, replan_steps=3, seam_acceleration=0.0, inference_seed=0)
    rollout = delayed(policy, 2)
    seen = []
    plan = rollout.plan_and_decode

    def recorded(*args, **kwargs):
        made = plan(*args, **kwargs)
        seen.append((rollout.tick, made.actions[0].clone()))
        return made

    rollout.plan_and_decode = recorded
    actions, _ = run(policy, make_observation, 7)
    (first, a), (second, b) = seen[:2]
    assert (first, second) == (0, 3)
    torch.testing.assert_close(actions[:5, 0], a[:5].clamp(-1, 1))  # the guards keep to the data's range
    torch.testing.assert_close(actions[5:7, 0], b[2:4].clamp(-1, 1))  # looked at in tick 3, there in tick 5


def test_a_slow_server_of_plans_holds_and_counts(lasting_policy, make_observation):
    policy = lasting_policy(4.0, replan_steps=0)
    rollout = delayed(policy, 9)
    actions, captions = run(policy, make_observation, 40)
    assert rollout.late > 0 and rollout.log.counts["late"] >= 1
    still = (actions.diff(dim=0).abs().amax(dim=(1, 2)) == 0).sum()
    assert still > 3  # it held
    assert captions[-1] is None  # and got through all the same


def test_a_new_instruction_voids_what_is_in_flight(lasting_policy, make_observation):
    policy = lasting_policy(8.0, replan_steps=2)
    rollout = delayed(policy, 3)
    for tick in range(4):
        policy.select_action(make_observation([TASK], seed=tick))
    assert rollout.worker.busy
    for tick in range(8):
        policy.select_action(make_observation(["put the green mug on the tray"], seed=tick))
    assert rollout.cursors[0].caption == "reach for the green mug"
    assert rollout.log.counts["stale"] == 1


@settings(max_examples=8)
@given(st.integers(1, 6), st.integers(0, 5), st.floats(1, 12), st.sampled_from([0.0, 0.5, 4.0]))
def test_whatever_the_delay_every_event_is_done_and_left(
    lasting_policy, make_observation, delay, replan, frames, seam
):
    policy = lasting_policy(frames, replan_steps=replan, seam_acceleration=seam)
    delayed(policy, delay)
    actions, captions = run(policy, make_observation, 3 * (12 + 2 * delay) + 6)
    assert captions[-1] is None and len(set(captions)) == 4
    assert torch.isfinite(actions).all() and float(actions.abs().max()) <= (1.0 if seam else 1e9)


def test_several_robots_are_refused(lasting_policy, make_observation):
    policy = lasting_policy(6.0)
    delayed(policy, 2)
    with pytest.raises(ValueError, match="background_inference=true drives one robot, got 2. Fix:"):
        run(policy, make_observation, 1, tasks=(TASK, TASK))


def test_seams_keep_accelerations_of_plan_changes_down(lasting_policy, make_observation):
    """Random observations make every look another plan: without seams the commands jump."""
    peaks = {}
    for seam in (0.0, 1.0):
        policy = lasting_policy(8.0, replan_steps=3, seam_acceleration=seam, inference_seed=None)
        delayed(policy, 2)
        torch.manual_seed(0)
        policy.model.action.requires_grad_(False)
        actions, _ = run(policy, make_observation, 24)
        peaks[seam] = float(actions[:, 0].clamp(-1, 1).diff(n=2, dim=0).abs().max())
    assert peaks[1.0] < 0.7 * peaks[0.0]


def test_a_real_thread_computes_and_ticks_stay_short(make_policy, make_observation, tmp_path):
    log = tmp_path / "events.jsonl"
    fields = {"background_inference": True, "event_log": str(log), "on_plan_end": "repeat", "replan_steps": 3}
    policy = make_policy(**grammar(100, fps=10.0), **fields)
    policy.reset()
    names = set()
    plan = policy.rollout.plan_and_decode

    def watched(*args, **kwargs):
        names.add(threading.current_thread().name)
        return plan(*args, **kwargs)

    policy.rollout.plan_and_decode = watched
    with torch.inference_mode():  # as LeRobot's sync engine calls it
        deadline = time.monotonic() + 60  # a busy machine has little time for the thread
        while policy._log.counts.get("look", 0) < 4 and time.monotonic() < deadline:
            action = policy.select_action(make_observation([TASK], seed=policy.rollout.tick))
            assert action.shape == (1, 6) and torch.isfinite(action).all()
            time.sleep(0.01)
    assert any(name.startswith("wallwm-inference") for name in names)
    policy._log.flush()
    looks = [line for line in map(json.loads, log.read_text().splitlines()) if line["kind"] == "look"]
    assert len(looks) > 3 and all(look["delay"] >= 0 for look in looks)
    policy.reset()  # with a look in flight, perhaps
    copy.deepcopy(policy).select_action(make_observation([TASK]))


def test_an_error_in_the_thread_reaches_the_loop(make_policy, make_observation):
    policy = make_policy(**grammar(8, fps=10.0), background_inference=True, replan_steps=1)
    policy.reset()
    policy.select_action(make_observation([TASK]))

    def full(*args, **kwargs):
        raise RuntimeError("out of memory")

    policy.rollout.plan_and_decode = full
    with pytest.raises(RuntimeError, match="out of memory"):
        for _ in range(100):
            policy.select_action(make_observation([TASK]))
            time.sleep(0.02)
