# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Intervals against known values; those of whole clusters are tested with `check`, which uses them."""

import numpy as np
import pytest

from lerobot_wallwm.hub.card.intervals import bootstrap_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (score without continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 1 - 0.1611, 1.0000),
    ],
)
def test_wilson_matches_published_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match="impossible"):
        wilson_interval(successes, trials)


def test_bootstrap_agrees_with_the_normal_interval_on_a_large_sample():
    values = np.random.default_rng(3).normal(50, 10, 400)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert bootstrap_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.2)


def test_bootstrap_of_few_values():
    assert bootstrap_interval([7.0] * 5) == bootstrap_interval([7.0]) == (7.0, 7.0)
    assert bootstrap_interval([1, 2, 9], seed=4) == bootstrap_interval([1, 2, 9], seed=4)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])
