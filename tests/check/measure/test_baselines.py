# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Open-loop maths against values worked out by hand."""

import numpy as np
import pytest

from lerobot_wallwm.check.measure.baselines import CaptionMean, EventRows, hold_pose, resample
from lerobot_wallwm.check.measure.observations import mean_absolute
from lerobot_wallwm.check.measure.views import spread_anchors, thin


def column(*values):
    return np.array(values, dtype=float)[:, None]


def ramp(caption, start, steps, template="t"):
    """State runs from ``start`` in steps of one; the action is one ahead."""
    state = column(*(start + i for i in range(steps)))
    return EventRows(caption, template, state, state + 1)


def test_resample_keeps_ends_and_interpolates():
    assert resample(column(0, 2, 4), 5)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert resample(column(7), 3)[:, 0].tolist() == [7, 7, 7]


def test_caption_mean_absolute_and_displacement_by_step():
    mean = CaptionMean([ramp("lift", 0, 4), ramp("lift", 10, 4)])
    # Mean action 6, 7, 8, 9; mean state 5, 6, 7, 8.
    args = ("lift", "t", np.array([100.0]), 1, 4, 3)
    assert mean.predict("absolute, by step", *args)[:, 0].tolist() == [7, 8, 9]
    # From step 1: displacement (7, 8, 9) - 6 on top of the observed 100.
    assert mean.predict("displacement, by step", *args)[:, 0].tolist() == [101, 102, 103]


def test_caption_mean_by_phase_scales_with_the_events_length():
    mean = CaptionMean([ramp("lift", 0, 11)])
    # A test event half as long passes the same way in half the steps: actions 1, 3, 5, ... 11.
    got = mean.predict("absolute, by phase", "lift", "t", np.array([0.0]), 0, 6, 6)
    assert got[:, 0] == pytest.approx([1, 3, 5, 7, 9, 11])
    later = mean.predict("displacement, by phase", "lift", "t", np.array([50.0]), 2, 6, 2)
    assert later[:, 0] == pytest.approx([51, 53])  # actions 5 and 7, from state 4


def test_mean_by_step_ignores_events_that_are_over():
    mean = CaptionMean([ramp("lift", 0, 2), ramp("lift", 10, 4)])
    got = mean.predict("absolute, by step", "lift", "t", np.array([0.0]), 0, 4, 6)
    assert got[:, 0].tolist() == [6, 7, 13, 14, 14, 14]


def test_unseen_caption_falls_back_to_its_template_then_to_holding():
    mean = CaptionMean([ramp("lift the red cube", 0, 3, "lift the {object}")])
    got = mean.predict(
        "absolute, by step", "lift the blue cube", "lift the {object}", np.array([9.0]), 0, 3, 3
    )
    assert got[:, 0].tolist() == [1, 2, 3]
    unknown = mean.predict("absolute, by step", "dance", "dance", np.array([9.0]), 0, 3, 2)
    assert unknown[:, 0].tolist() == [9, 9]


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
