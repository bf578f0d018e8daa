# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.policies.safety.goal_guard import GoalGuard, MotionLimits
from lerobot_wallwm.policies.safety.interventions import Interventions, SafetyError

LOW, HIGH = np.array([-60.0, -10.0, 20.0, 0.0]), np.array([60.0, 10.0, 20.0, 100.0])
STEP, LEAD = [4.0, 1.0, 0.0, 30.0], [8.0, 2.0, 0.0, 40.0]
NAMES = ["pan", "lift", "still", "gripper"]
POSE = np.array([[0.0, 0.0, 20.0, 50.0]])


def make(max_bad: int = 1000, names: list[str] | None = NAMES) -> GoalGuard:
    what = recognise(names, names, (4, 4), None)
    limits = MotionLimits.build(LOW, HIGH, {"step": STEP, "lead": LEAD}, 1.0, what)
    return GoalGuard(limits, max_bad, Interventions(None))


anything = st.floats(allow_nan=True, allow_infinity=True)
poses = arrays(np.float64, (2, 4), elements=st.floats(-200, 200))


@given(st.lists(arrays(np.float64, (2, 4), elements=anything), min_size=1, max_size=12), poses)
def test_whatever_is_asked_goals_are_finite_slow_and_on_their_way_into_the_range(asked, pose):
    guard, before = make(), pose
    for goals in asked:
        sent = guard.tick(goals, pose)
        assert np.isfinite(sent).all()
        assert (np.abs(sent - before) <= guard.limits.step + 1e-9).all()
        # Outside the range only where the last goal, or the pose at first, was farther outside.
        assert (sent >= np.minimum(LOW, before) - 1e-9).all()
        assert (sent <= np.maximum(HIGH, before) + 1e-9).all()
        before = sent


@given(st.lists(arrays(np.float64, (2, 4), elements=anything), min_size=1, max_size=12))
def test_from_a_pose_inside_the_range_nothing_leaves_it(asked):
    guard = make()
    for goals in asked:
        sent = guard.tick(goals, np.repeat(POSE, 2, axis=0))
        assert (sent >= LOW).all() and (sent <= HIGH).all() and (sent[:, 2] == 20.0).all()


@given(arrays(np.float64, (2, 9, 4), elements=anything), poses)
def test_a_chunk_starts_near_the_arm_and_goes_on_slowly(chunk, pose):
    sent = make().chunk(chunk, pose)
    limits = make().limits
    assert np.isfinite(sent).all()
    inside = (pose >= LOW) & (pose <= HIGH)
    assert (np.abs(sent[:, 0] - pose) <= limits.lead + limits.step + 1e-9)[inside].all()
    assert (np.abs(np.diff(sent, axis=1)) <= limits.step + 1e-9).all()


@given(arrays(np.float64, (7, 4), elements=st.floats(-500, 500)))
def test_a_chunk_and_single_ticks_give_the_same_goals(asked):
    """From a first goal at the pose, where the two start alike."""
    asked[0] = POSE[0]
    one_by_one, whole = make(), make()
    ticks = [one_by_one.tick(goal[None], POSE)[0] for goal in asked]
    np.testing.assert_array_equal(np.stack(ticks), whole.chunk(asked[None], POSE)[0])
    assert one_by_one.diary.log.counts == whole.diary.log.counts


@given(st.lists(arrays(np.float64, (2, 4), elements=anything), min_size=2, max_size=6))
def test_robots_of_a_batch_do_not_touch_each_other(asked):
    pose = np.array([[0.0, 0.0, 20.0, 50.0], [30.0, 5.0, 20.0, 0.0]])
    both, first, second = make(), make(), make()
    for goals in asked:
        together = both.tick(goals, pose)
        np.testing.assert_array_equal(together[:1], first.tick(goals[:1], pose[:1]))
        np.testing.assert_array_equal(together[1:], second.tick(goals[1:], pose[1:]))


def test_goals_inside_the_limits_pass_untouched():
    guard = make()
    for k in range(10):
        goal = POSE + np.array([[3.9 * k, 0.5 * k, 0.0, -3.0 * k]])
        np.testing.assert_array_equal(guard.tick(goal, POSE), goal)
    assert not guard.diary.log.counts


def test_what_was_done_is_counted_by_kind_and_joint():
    guard = make()
    guard.tick(np.array([[0.0, 0.5, 90.0, 50.0]]), POSE)  # moves the joint that never moved
    guard.tick(np.array([[0.0, -0.3, 20.0, 120.0]]), POSE)  # out of the gripper's range, and too fast
    guard.tick(np.array([[np.nan, -0.3, 20.0, 60.0]]), POSE)
    assert guard.diary.log.counts == {"constant": 1, "range": 1, "rate": 1, "non_finite": 1}
    report = guard.diary.report()
    assert report["joints"]["range"] == {"gripper": 1} and report["largest_change"]["range"] == 20.0


def test_an_arm_far_from_the_data_comes_in_at_the_allowed_speed():
    guard = make()
    pose = np.array([[-80.0, 0.0, 20.0, 50.0]])
    path = [guard.tick(np.array([[10.0, 0.0, 20.0, 50.0]]), pose)[0, 0] for _ in range(30)]
    assert path[0] == -76.0 and np.allclose(np.diff(path[:22]), 4.0) and path[-1] == 10.0


def test_a_held_robot_stays_where_it_was_told_to_be():
    guard = make()
    first = guard.tick(np.array([[2.0, 0.1, 20.0, 51.0]]), POSE)
    held = guard.tick(np.array([[9.0, 9.0, 20.0, 90.0]]), POSE, held=np.array([True]))
    np.testing.assert_array_equal(first, held)
    assert not guard.diary.log.counts  # what a held robot would have done does not count


def test_after_a_gap_goals_start_near_the_arm_but_keep_a_grip():
    guard = make()
    guard.tick(np.array([[4.0, 0.0, 20.0, 20.0]]), POSE)
    # Meanwhile somebody moved the pan by 50; the gripper is stopped by what it holds, as in the data.
    guard.reanchor(np.array([[50.0, 0.0, 20.0, 50.0]]), [0])
    np.testing.assert_array_equal(guard.last, [[42.0, 0.0, 20.0, 20.0]])


def test_bad_goals_end_the_run_after_a_while():
    guard = make(max_bad=3)
    nothing = np.full((1, 4), np.nan)
    np.testing.assert_array_equal(guard.tick(nothing, POSE), POSE)
    guard.tick(nothing, POSE)
    for _ in range(3):  # as many sound ones in a row start the count anew
        guard.tick(POSE, POSE)
    guard.tick(nothing, POSE)
    guard.tick(POSE, POSE)
    guard.tick(nothing, POSE)
    with pytest.raises(SafetyError, match="3 goals were not finite"):
        guard.tick(nothing, POSE)


def test_without_a_known_pose_nothing_is_made_up():
    guard = make(names=None)
    unknown = guard.limits.what.rest(np.zeros((1, 4)))
    assert np.isnan(unknown).all()
    with pytest.raises(SafetyError, match="not known: nothing was sent"):
        guard.tick(np.full((1, 4), np.nan), unknown)
    first = make(names=None).tick(np.array([[33.0, 3.0, 20.0, 7.0]]), unknown)
    np.testing.assert_array_equal(first, [[33.0, 3.0, 20.0, 7.0]])  # only the range binds the first goal
