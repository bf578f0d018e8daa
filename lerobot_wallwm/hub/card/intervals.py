# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""95 % intervals for what a few dozen episodes can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z_95 = 1.959963984540054


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a proportion; unlike the normal one it is honest at 0 and at 1.

    Args:
        successes: 0 to ``trials``.
        trials: At least 1.
        z: Quantile of the normal distribution.

    Returns:
        Lower and upper bound in [0, 1].

    Raises:
        ValueError: Impossible counts.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials is impossible")
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Args:
        values: At least one.
        level: Coverage.
        resamples: How many.
        seed: Same seed, same interval.

    Raises:
        ValueError: No values.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("an interval needs at least one value")
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, data.size, (resamples, data.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def clustered_interval(
    values: np.ndarray,
    weights: np.ndarray,
    clusters: np.ndarray,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 5_000,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of ``sum(values) / sum(weights)``, drawing whole clusters.

    Observations of one episode resemble each other: drawn one by one they would pretend to know too much.

    Args:
        values: ``(N,)``.
        weights: ``(N,)``, at least 0.
        clusters: ``(N,)`` which cluster each is of.
        seed: Same seed, same interval.
        level: Coverage.
        resamples: How many.

    Returns:
        None for fewer than two clusters, or where a value is not finite.
    """
    names, index = np.unique(clusters, return_inverse=True)
    top, bottom = (np.bincount(index, part, len(names)) for part in (values, weights))
    if len(names) < 2 or not np.isfinite(top).all() or not np.isfinite(bottom).all():
        return None
    drawn = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    total = bottom[drawn].sum(1)
    ratio = np.divide(top[drawn].sum(1), total, out=np.full(resamples, np.inf), where=total > 0)
    low, high = np.quantile(ratio, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
