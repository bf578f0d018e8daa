# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The jitter study: spoiled boundaries still tile their episode, are as wrong as asked, and the table pairs seeds."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from benchmarks.learning.jitter import DEVIATIONS, VIEWS, moved, ordered, spoiled, uniform

LEAST = 3


@st.composite
def episodes(draw):
    lengths = draw(st.lists(st.integers(LEAST, 40), min_size=1, max_size=12))
    ends = np.cumsum(lengths).tolist()
    return [(e - n, e, f"event {i}") for i, (n, e) in enumerate(zip(lengths, ends, strict=True))]


@given(episodes(), st.sampled_from([v for v in VIEWS if v != "segmenter"]), st.integers(0, 99))
def test_spoiled_intervals_tile_the_same_frames(intervals, view, seed):
    new = spoiled(view, intervals, 20.0, np.random.default_rng(seed))
    assert new[0][0] == 0 and new[-1][1] == intervals[-1][1]
    assert all(before[1] == after[0] for before, after in pairwise(new))
    # Equal parts may be shorter than the shortest event of the truth by no more than rounding.
    assert all(end - start >= (1 if view == "uniform" else LEAST) for start, end, _ in new)
    assert {caption for *_, caption in new} <= {caption for *_, caption in intervals}
    if view == "exact":
        assert new == intervals
    if view in DEVIATIONS:
        assert [caption for *_, caption in new] == [caption for *_, caption in intervals]
    if view == "uniform":
        assert len(new) == len(intervals)


@given(episodes(), st.lists(st.floats(-200, 600), min_size=12, max_size=12))
def test_ordered_boundaries_are_the_nearest(intervals, wanted):
    length, wanted = intervals[-1][1], wanted[: len(intervals) - 1]
    new = ordered(wanted, length, LEAST)
    assert all(b - a >= LEAST for a, b in pairwise([0, *new, length]))
    true = [
        start for start, *_ in intervals[1:]
    ]  # one other choice that is allowed; rounding costs up to 1/2 each
    best = sum((n - w) ** 2 for n, w in zip(new, wanted, strict=True)) ** 0.5
    assert best <= sum((t - w) ** 2 for t, w in zip(true, wanted, strict=True)) ** 0.5 + 0.5 * len(new) ** 0.5
    assert ordered(true, length, LEAST) == true


def test_too_short_an_episode_is_refused():
    with pytest.raises(ValueError, match="5 frames do not hold 2 intervals of 3"):
        ordered([2.0], 5, 3)


def test_boundaries_far_apart_move_by_what_was_asked():
    intervals = [(1000 * i, 1000 * (i + 1), str(i)) for i in range(2000)]
    new = moved(intervals, 5.0, LEAST, np.random.default_rng(0))
    errors = [a[0] - b[0] for a, b in zip(new[1:], intervals[1:], strict=True)]
    assert np.std(errors) == pytest.approx(5.0, rel=0.05) and abs(np.mean(errors)) < 0.5


def test_equal_parts_are_named_after_what_fills_them():
    intervals = [(0, 4, "a"), (4, 20, "b"), (20, 24, "c")]
    assert uniform(intervals) == [(0, 8, "a"), (8, 16, "b"), (16, 24, "b")]
