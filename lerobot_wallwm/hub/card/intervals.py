# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""95 % intervals for what a few dozen episodes can tell, computed by scipy. Same seed, same interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval of a proportion, in [0, 1]; unlike the normal one it is honest at 0 and at 1.

    Raises:
        ValueError: Impossible counts.
    """
    from scipy.stats import binomtest

    if trials < 1 or not 0 <= successes <= trials:  # scipy takes what it is given
        raise ValueError(f"{successes} successes of {trials} trials is impossible")
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of at least one value.

    Raises:
        ValueError: No values.
    """
    ones = np.ones(len(values))
    if len(values) == 0:
        raise ValueError("an interval needs at least one value")
    return clustered_interval(np.asarray(values, float), ones, ones.cumsum(), seed) or (values[0], values[0])


def clustered_interval(
    values: np.ndarray, weights: np.ndarray, clusters: np.ndarray, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of ``sum(values) / sum(weights)``, drawing whole clusters.

    Observations of one episode resemble each other: drawn one by one they would pretend to know too much.

    Args:
        values: ``(N,)``.
        weights: ``(N,)``, at least 0.
        clusters: ``(N,)`` which cluster each is of.
        seed: Of the draws.

    Returns:
        None for fewer than two clusters, or where a value is not finite.
    """
    from scipy.stats import bootstrap

    names, index = np.unique(clusters, return_inverse=True)
    sums = [np.bincount(index, part, len(names)) for part in (values, weights)]
    if len(names) < 2 or not np.isfinite(sums).all():
        return None

    def ratio(top: np.ndarray, bottom: np.ndarray, axis: int) -> np.ndarray:
        total = bottom.sum(axis)
        return np.divide(top.sum(axis), total, out=np.full(np.shape(total), np.inf), where=total > 0)

    drawn = bootstrap(
        sums, ratio, paired=True, vectorized=True, n_resamples=5_000, method="percentile", rng=seed
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)
