# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Events through LeRobot's own RTC queue: its merging and cutting, with delays that a test can choose."""

import pytest
import torch
from lerobot.policies.rtc import ActionQueue
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.rollout.inference.rtc import _normalize_prev_actions_length, supports_rtc_inference
from tiny_arm import PICK, PICKED, TINY_TASK as TASK

pytestmark = pytest.mark.usefixtures("to_the_last_frame")


@pytest.fixture
def realtime(lasting_policy):
    def build(frames: float = 6.0, **fields):
        policy = lasting_policy(frames, **fields)
        policy.config.rtc_config = RTCConfig()
        policy.init_rtc_processor()
        return policy

    return build


def engine(policy, make_observation, ticks: int, delay: int, threshold: int = 30, tasks=None):
    """What `RTCInferenceEngine` does, with a thread that takes exactly `delay` ticks.

    Returns:
        The command of each tick (None where the queue was dry), and the event's caption at each call.
    """
    queue, config = ActionQueue(RTCConfig()), RTCConfig()
    sent, captions, tick = [], [], 0
    while tick < ticks:
        if queue.qsize() > threshold:
            sent.append(queue.get())
            tick += 1
            continue
        before, left = queue.get_action_index(), queue.get_left_over()
        if left is not None:
            left = _normalize_prev_actions_length(left, config.execution_horizon)
        task = tasks(tick) if tasks else TASK
        late = {"inference_delay": delay if sent else 0, "prev_chunk_left_over": left}
        chunk = policy.predict_action_chunk(make_observation([task], seed=tick), **late)
        captions.append(policy.rollout.cursors[0].caption)
        for _ in range(delay):
            sent.append(queue.get())
            tick += 1
        queue.merge(chunk.squeeze(0), chunk.squeeze(0), delay, before)
    return sent, captions


def test_lerobot_accepts_it(make_policy):
    assert supports_rtc_inference(make_policy())
    assert not supports_rtc_inference(make_policy(stage="next_chunk"))


@pytest.mark.parametrize(("delay", "threshold"), [(1, 30), (2, 30), (3, 4), (2, 0)])
def test_events_follow_each_other(realtime, make_observation, delay, threshold):
    policy = realtime()
    sent, captions = engine(policy, make_observation, 100, delay, threshold)
    order = [c for c, before in zip(captions, [None, *captions], strict=False) if c != before]
    assert order == [*PICKED, None]
    assert all(command is not None for command in sent[delay:]) or threshold == 0
    counts = policy._log.counts
    assert counts["begin"] == 3 == counts["end"]


@pytest.mark.parametrize("delay", [1, 2, 4])
def test_commands_do_not_jump_where_chunks_meet(realtime, make_observation, delay):
    """The engine's queue is replaced in the middle of what it holds."""
    peaks = {}
    for seam in (0.0, 1.0):
        fields = {"seam_acceleration": seam, "inference_seed": None}
        policy = realtime(frames=8.0, event_max_frames=dict.fromkeys(PICK, 99), **fields)
        torch.manual_seed(0)
        sent, _ = engine(policy, make_observation, 30, delay)
        commands = torch.stack([c for c in sent if c is not None]).clamp(-1, 1)
        peaks[seam] = float(commands.diff(dim=0).diff(dim=0).abs().max())
    assert peaks[1.0] < 0.7 * peaks[0.0]


def test_what_will_be_carried_out_anyway_comes_first(realtime, make_observation):
    policy = realtime(frames=8.0)
    first = policy.predict_action_chunk(make_observation([TASK]))[0]
    second = policy.predict_action_chunk(
        make_observation([TASK], seed=1), inference_delay=2, prev_chunk_left_over=first[3:]
    )[0]
    assert torch.equal(second[:2], first[3:5]) and not torch.equal(second[2:4], first[5:7])


def test_time_in_an_event_counts_what_was_carried_out(realtime, make_observation):
    policy = realtime(frames=8.0, event_max_frames=dict.fromkeys(PICK, 99))
    first = policy.predict_action_chunk(make_observation([TASK]))[0]
    padded = torch.zeros(10, 6)
    padded[: len(first) - 5] = first[5:15]
    policy.predict_action_chunk(make_observation([TASK]), inference_delay=1, prev_chunk_left_over=padded)
    cursor = policy.rollout.cursors[0]
    assert cursor.frames_in_event - len(cursor.queue) == 6  # and the tick that the answer takes
    assert policy.rollout.tick == 5


def test_a_new_instruction_is_followed_and_the_plans_end_holds(realtime, make_observation):
    policy = realtime()
    sent, captions = engine(
        policy, make_observation, 60, 2, tasks=lambda t: TASK if t < 6 else "put the green mug on the tray"
    )
    assert "reach for the red cube" in captions and "move the green mug to the tray" in captions
    assert captions[-1] is None
    assert torch.equal(sent[-1], sent[-2])


def test_a_reset_starts_over(realtime, make_observation):
    policy = realtime()
    one = policy.predict_action_chunk(make_observation([TASK]))
    policy.predict_action_chunk(make_observation([TASK]), prev_chunk_left_over=one[0, 2:])
    policy.reset()
    assert torch.equal(policy.predict_action_chunk(make_observation([TASK])), one)


def test_several_robots_are_refused(realtime, make_observation):
    with pytest.raises(ValueError, match="drives one robot, got 2"):
        realtime().predict_action_chunk(make_observation([TASK, TASK]))
