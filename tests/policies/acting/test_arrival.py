# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import math

import pytest
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.policies.acting.arrival import Arrival
from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.planning.planners import ScriptPlanner

REPLAN, HORIZON = 4, 16


def act(
    walker: EventCursor, arm, ticks: int, background: bool = False
) -> tuple[list[tuple[str, str]], float]:
    """Lets a one-joint arm act: caption and reason of each event's end, and where it is then.

    ``arm(pose)`` gives actions, goal, remaining.
    """
    ends: list[tuple[str, str]] = []
    walker.write = lambda kind, **facts: (
        ends.append((facts["caption"], facts["why"])) if kind == "end" else None
    )
    pose = 0.0
    for tick in range(ticks):
        walker.follow_instruction("go")
        due = not walker.queue or (background and tick % walker.replan_steps == 0)
        if due and (not walker.leaving or not walker.queue) and walker.current_event() is not None:
            actions, goal, remaining = arm(pose)
            ways = [abs(a - goal) for a in actions]
            passed = 0 if background else None
            walker.accept(torch.tensor(actions)[:, None], len(actions), remaining, 60, passed, ways=ways)
        if walker.queue:
            pose = float(walker.pop())
    return ends, pose


def to(goal: float, share: float = 0.3, offset: float = 0.0, remaining: float = 6.0):
    """An arm whose every action goes a share of the way to ``offset`` beside the goal, and whose clock stands still."""

    def arm(pose: float):
        actions = []
        for _ in range(round(remaining) if remaining > 0 else 1):
            pose += share * (goal + offset - pose)
            actions.append(pose)
        return actions, goal, remaining

    return arm


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("offset", [0.0, 0.05])
@pytest.mark.parametrize("replan", [1, 2, REPLAN, 8])
def test_an_arm_that_came_to_rest_is_there_although_its_clock_stands_still(offset, background, replan):
    """And not before, although its clock is nearly up."""
    for remaining in (2.0, 6.0):
        walker = EventCursor(ScriptPlanner(["a"]), replan, 1.5, False)
        ends, pose = act(walker, to(10.0, offset=offset, remaining=remaining), 60, background)
        assert ends == [("a", "arrived")]
        assert abs(pose - 10.0 - offset) < 0.2 and walker.executed < 36


def test_without_a_goal_the_same_clock_ends_it_at_once_or_never():
    """The control: what the remaining time alone makes of the arm above."""
    for remaining, expected in ((2.0, [("a", "remaining")]), (6.0, [])):
        walker = EventCursor(ScriptPlanner(["a"]), REPLAN, 1.5, False)
        ends = []
        walker.write = lambda kind, ends=ends, **facts: (
            ends.append((facts["caption"], facts["why"])) if kind == "end" else None
        )
        for _ in range(24):
            walker.follow_instruction("go")
            if not walker.queue and walker.current_event() is not None:
                walker.accept(torch.zeros(6, 1), 6, remaining, 60)
            if walker.queue:
                walker.pop()
        assert ends == expected


def test_an_arm_that_sets_off_slowly_has_not_arrived():
    """The first looks of a long way bring it hardly nearer; the clock knows that much is left."""
    arrival = Arrival(REPLAN)
    assert not arrival.look([10.0, 9.9, 9.8, 9.7], 0, 30.0)
    assert not arrival.look([9.6, 9.5, 9.4, 9.3], 4, 28.0)
    assert not arrival.look([4.0, 3.0, 2.0, 1.0], 8, 7.0)
    assert not arrival.look([0.5, 0.4, 0.3, 0.2], 12, 6.0)
    assert arrival.look([0.2, 0.2, 0.2, 0.19], 16, 6.0)


def test_looks_that_overlap_are_not_compared():
    """In the background another plan comes before the last one is done: each tick brings the arm a little nearer."""
    arrival = Arrival(REPLAN)
    assert not arrival.look([3.0, 2.5, 2.0, 1.5], 0, 6.0)
    assert not arrival.look([2.5, 2.0, 1.5, 1.4], 1, 6.0)
    assert not arrival.look([2.0, 1.5, 1.0, 0.5], 4, 6.0)


@given(st.floats(1.0, 50.0), st.floats(0.15, 0.6), st.sampled_from([0.0, math.nan, 3.0, 7.9]))
def test_every_way_that_ends_arrives(goal, share, remaining):
    walker = EventCursor(ScriptPlanner(["a"]), REPLAN, 1.5, False)
    reasons = {why for _, why in act(walker, to(goal, share, remaining=remaining), 62)[0]}
    assert reasons == ({"limit"} if math.isnan(remaining) else {"arrived"})
