# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import math

import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.planning.planners import ScriptPlanner

HORIZON = 8
remaining_times = st.one_of(st.floats(0, 200), st.sampled_from([0.0, math.inf, math.nan, -3.0]))


def cursor(captions: list[str], replan_steps: int = 4, end_threshold: float = 1.5, repeat: bool = False):
    return EventCursor(ScriptPlanner(captions), replan_steps, end_threshold, repeat)


def walk(walker: EventCursor, predict, limit: float, ticks: int, instruction: str = "do it"):
    """Runs a loop as the policy does. Yields (caption, action number) a tick, None once the plan is done.

    ``predict()`` gives (length, remaining) at each look.
    """
    number = 0
    for _ in range(ticks):
        walker.follow_instruction(instruction)
        if not walker.queue and walker.current_event() is not None:
            length, remaining = predict()
            actions = torch.arange(number, number + length, dtype=torch.float32)[:, None]
            number += length
            walker.accept(actions, length, remaining, limit)
        yield (walker.caption, int(walker.queue.popleft())) if walker.queue else None


@given(st.data(), st.integers(0, 10), st.floats(0, 4), st.floats(1.0, 30.0), st.integers(1, 3))
def test_whatever_is_predicted_each_event_is_left_within_its_limit(data, replan, threshold, limit, events):
    walker = cursor([str(i) for i in range(events)], replan, threshold)
    predict = lambda: (data.draw(st.integers(1, HORIZON)), data.draw(remaining_times))  # noqa: E731
    bound = math.ceil(limit)
    out = list(walk(walker, predict, limit, ticks=events * bound + 3))
    assert out[-1] is None  # the plan is over
    captions = [step[0] for step in out if step is not None]
    assert captions == sorted(captions)  # in order, none visited twice
    for event in range(events):
        assert 1 <= captions.count(str(event)) <= bound


@given(length=st.integers(1, HORIZON), threshold=st.floats(0.5, 3))
def test_zero_replan_steps_run_an_event_open_loop(length, threshold):
    looks = []

    def predict():
        looks.append(length)
        return length, float(length)

    out = list(walk(cursor(["only"], 0, threshold), predict, limit=100, ticks=length + 2))
    assert out == [("only", i) for i in range(length)] + [None, None]
    assert looks == [length]


@given(replan=st.integers(1, HORIZON), length=st.integers(1, HORIZON))
def test_it_looks_again_after_replan_steps(replan, length):
    looks = []

    def predict():
        looks.append(0)
        return length, 1000.0

    ticks = 4 * min(replan, length)
    out = list(walk(cursor(["only"], replan), predict, limit=1e6, ticks=ticks))
    assert len(looks) == 4
    # Of each look's actions the first ones run, the rest is dropped.
    expected = [look * length + k for look in range(4) for k in range(min(replan, length))]
    assert [step[1] for step in out] == expected


@given(total=st.integers(1, 40), replan=st.integers(1, 6))
def test_a_true_prediction_leaves_the_event_at_its_end(total, replan):
    walker = cursor(["first", "second"], replan, end_threshold=0.5)
    left = {"first": total, "second": 10_000}

    def predict():
        done = walker.frames_in_event
        remaining = left[walker.caption] - done
        return min(HORIZON, remaining), float(remaining)

    out = list(walk(walker, predict, limit=1e6, ticks=total + 1))
    assert [step[0] for step in out] == ["first"] * total + ["second"]


def test_a_threshold_leaves_the_last_frames_out():
    walker = cursor(["a", "b"], replan_steps=4, end_threshold=1.5)
    walker.follow_instruction("go")
    assert walker.current_event() == "a"
    walker.accept(torch.zeros(5, 1), 5, 5.0, 100)  # one frame would remain after these four
    assert walker.current_event() == "b"
    walker.accept(torch.zeros(6, 1), 6, 6.0, 100)  # two would
    assert walker.current_event() == "b" and not walker.is_new_event


def test_a_changed_instruction_drops_the_queue_and_the_plan():
    walker = cursor(["a", "b"])
    walker.follow_instruction("first task")
    walker.current_event()
    walker.accept(torch.zeros(4, 1), 4, 4.0, 100)
    assert walker.current_event() == "b"
    walker.accept(torch.zeros(4, 1), 4, 40.0, 100)
    walker.follow_instruction("first task")
    assert len(walker.queue) == 4  # the same instruction changes nothing
    walker.follow_instruction("second task")
    assert not walker.queue and walker.current_event() == "a" and walker.is_new_event


def test_after_the_plan_it_holds_or_repeats_and_an_empty_plan_does_not_loop():
    for captions, repeat, expected in (
        (["only"], False, [0, None, None]),
        (["only"], True, [0, 1, 2]),
        ([], True, [None] * 3),
    ):
        out = list(walk(cursor(captions, repeat=repeat), lambda: (1, 1.0), limit=10, ticks=3))
        assert [step and step[1] for step in out] == expected
