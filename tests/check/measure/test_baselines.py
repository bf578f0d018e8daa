# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Open-loop maths against values worked out by hand."""

import numpy as np

from lerobot_wallwm.check.measure.baselines import CaptionMean, EventRows, hold_pose
from lerobot_wallwm.check.measure.observations import mean_absolute
from lerobot_wallwm.check.measure.views import spread_anchors, thin


def column(*values):
    return np.array(values, dtype=float)[:, None]


def ramp(caption, start, steps, template="t"):
    """State runs from ``start`` in steps of one; the action is one ahead."""
    state = column(*(start + i for i in range(steps)))
    return EventRows(caption, template, state, state + 1)


def test_the_mean_motion_starts_where_the_robot_is():
    """From a state of an event of two steps the action is one ahead, and one step later two; later nobody knows."""
    mean = CaptionMean(
        [ramp("lift the red cube", 0, 2, "lift the {object}"), ramp("lift the red cube", 10, 4)]
    )
    here = np.array([100.0])
    own = mean.predict("lift the red cube", "lift the {object}", here, 5)
    assert own[:, 0].tolist() == [101, 102, 103, 104, 104]
    by_template = mean.predict("lift the blue cube", "lift the {object}", here, 3)
    assert by_template[:, 0].tolist() == [101, 102, 102]
    assert mean.predict("dance", "dance", np.array([9.0]), 2)[:, 0].tolist() == [9, 9]


def test_events_that_are_over_do_not_count():
    slow = EventRows("lift", "t", column(0, 2, 4), column(2, 4, 6))
    mean = CaptionMean([ramp("lift", 0, 1), slow])
    # One step ahead: 1 once and 2 three times; two steps: 4 twice; three: 6 once.
    assert mean.predict("lift", "t", np.array([0.0]), 3)[:, 0].tolist() == [7 / 4, 4, 6]


def test_hold_pose_and_mean_absolute():
    assert hold_pose(np.array([1.0, 2.0]), 3).tolist() == [[1, 2]] * 3
    difference = np.array([[[1.0, -3.0], [50.0, 50.0]]])
    assert mean_absolute(difference, np.array([[True, False]])) == 2.0


def test_anchors_spread_over_each_event():
    events = [ramp("a", 0, 9), EventRows("b", "t", np.zeros((2, 1)), np.zeros((2, 1)), first_row=9)]
    anchors = spread_anchors(events, 3)
    assert [(a.event, a.offset, a.row) for a in anchors] == [
        (0, 0, 0),
        (0, 3, 3),
        (0, 6, 6),
        (1, 0, 9),
        (1, 1, 10),
    ]
    assert thin(anchors, 2) == [anchors[0], anchors[2]]
    assert thin(anchors, 9) == anchors
