# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The maths of a check against values worked out by hand, or by others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.errors import (
    HOLD,
    MEAN,
    baseline_actions,
    clustered_interval,
    first_step,
    open_loop,
)
from lerobot_wallwm.check.measure.latency import WITH_LOOK, WITHOUT_LOOK, Times, Timings, control_rate
from lerobot_wallwm.check.measure.observations import Observations
from lerobot_wallwm.check.measure.views import Anchor, choose_anchors


def test_clusters_are_drawn_whole():
    # Two episodes with means 0 and 2: whatever is drawn, the mean is 0, 1 or 2.
    values, clusters = np.array([0.0, 0, 0, 2, 2, 2]), np.array([5, 5, 5, 9, 9, 9])
    assert clustered_interval(values, np.ones(6), clusters) == (0.0, 2.0)
    assert clustered_interval(values, np.ones(6), np.zeros(6)) is None
    assert clustered_interval(np.array([0, np.nan]), np.ones(2), np.arange(2)) is None


def test_the_interval_covers_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for trial in range(100):
        centre = np.repeat(rng.normal(size=30), 4)
        values = centre + rng.normal(size=120) * 0.1
        low, high = clustered_interval(values, np.ones(120), np.repeat(np.arange(30), 4), trial)
        hits += low <= 0 <= high
    assert 89 <= hits <= 99


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(8, 200), st.integers(0, 2**32 - 1))
def test_observations_are_many_enough_spread_and_repeatable(lengths, count, seed):
    starts = np.cumsum([0, *lengths])
    events = [
        EventRows("c", "t", np.zeros((n, 1)), np.zeros((n, 1)), int(start))
        for n, start in zip(lengths, starts[:-1], strict=True)
    ]
    anchors = choose_anchors(events, count, seed)
    assert anchors == choose_anchors(events, count, seed)
    assert len(anchors) <= count and len(set(anchors)) == len(anchors)
    assert len(anchors) >= min(count, len(lengths))
    for anchor in anchors:
        assert 0 <= anchor.offset < lengths[anchor.event]
        assert anchor.row == starts[anchor.event] + anchor.offset
    if count >= 3 * len(lengths):
        assert {anchor.event for anchor in anchors} == set(range(len(lengths)))


def ramp(caption: str, source: int, start: float, slope: float = 1.0) -> EventRows:
    state = start + slope * np.arange(4.0)[:, None]
    return EventRows(caption, caption, state, state + slope, 4 * source, "lift", source)


def test_errors_by_hand():
    events = [ramp("lift", 0, 0.0), ramp("lift", 1, 10.0)]
    true = np.array([[[1.0], [2.0], [3.0], [4.0], [99.0]], [[11.0], [12.0], [13.0], [14.0], [99.0]]])
    valid = np.array([[True] * 4 + [False]] * 2)
    seen = Observations(
        [Anchor(0, 0, 0), Anchor(1, 0, 4)],
        [],
        ["lift"] * 2,
        true,
        valid,
        np.array([[0.0], [10.0]]),
        np.full(2, 4.0),
    )
    baselines = baseline_actions(seen, events, None)
    np.testing.assert_allclose(baselines[HOLD][:, :, 0], [[0] * 5, [10] * 5])
    # The other episode's motion from the observed pose is exact here, although that episode began elsewhere.
    np.testing.assert_allclose(baselines[MEAN][:, :4], true[:, :4])
    predicted = true + np.array([0.5, 1.5])[:, None, None]
    predicted[:, 4] = 1e6  # beyond the event's end: does not count
    result = open_loop(predicted, baselines, seen, events, ["elbow"])
    assert result.error == {"near": 1.0, "event": 1.0} and result.intervals["event"] == (0.5, 1.5)
    assert result.baselines[HOLD] == {"near": 2.5, "event": 2.5} and result.baselines[MEAN]["event"] == 0
    assert result.against_hold["event"][0] == pytest.approx(0.4)
    assert result.by_joint == {"elbow": 1.0} and result.hold_by_joint == {"elbow": 2.5}
    assert result.by_event["lift"]["observations"] == 2 and result.by_event["lift"]["hold_near"] == 2.5
    predicted, recorded = first_step(predicted, seen, None, np.ones(1))
    assert recorded == pytest.approx(1.0) and 2.4 < predicted <= 2.5


def test_the_mean_comes_from_training_where_it_is_given():
    events = [ramp("lift", 0, 0.0)]
    seen = Observations(
        [Anchor(0, 0, 0)],
        [],
        ["lift"],
        np.zeros((1, 4, 1)),
        np.ones((1, 4), bool),
        np.zeros((1, 1)),
        np.ones(1),
    )
    alone = baseline_actions(seen, events, None)
    np.testing.assert_array_equal(alone[MEAN], alone[HOLD])  # no other episode to learn it from
    given_ = baseline_actions(seen, events, [ramp("lift", 7, 5.0, slope=2.0)])
    np.testing.assert_allclose(given_[MEAN][0, :, 0], [2, 4, 6, 8])


def test_what_a_control_rate_needs():
    def latency(look: float, tick: float, between: float = 1.0) -> Timings:
        looks = {"none": Times(look, look, 9)}
        ticks = {WITH_LOOK: Times(tick, tick, 9), WITHOUT_LOOK: Times(between, between, 9)}
        return Timings(looks, ticks, "none", 4.0)

    # 20 Hz: 50 ms a tick, of which 80 % are the policy's; four ticks between looks.
    assert control_rate(latency(40, 40), 20, 0.8) == {"sync": True, "background": True}
    assert control_rate(latency(41, 41), 20, 0.8) == {"sync": False, "background": True}
    assert control_rate(latency(160, 160), 20, 0.8) == {"sync": False, "background": True}
    assert control_rate(latency(161, 161), 20, 0.8) == {"sync": False, "background": False}
    assert control_rate(latency(1, 1, between=41), 20, 0.8) == {"sync": False, "background": False}
