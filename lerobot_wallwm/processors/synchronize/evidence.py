# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""By how many frames does one motion signal run behind another, and how sure is that?

Both signals are compressed by a logarithm, smoothed and differentiated (a derivative of a Gaussian), which turns the broad
hill of the correlation of two smooth speeds into a sharp peak. With r(L) the correlation at lag L over n frames of which
smoothing leaves n_eff independent ones, the evidence for L is ``-n_eff / 2 * log(1 - r(L)^2)`` for r > 0: the
log-likelihood ratio of "one signal explains the other at L" against "it does not".
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

# Our choice: motion below this part of the signal's 90th percentile is rest, whose flicker the logarithm would blow up.
FLOOR = 0.05


def sharpened(signal_T: np.ndarray, sigma: float, top: float | None = None) -> np.ndarray:
    """A motion signal (T,), row 0 unused, as (T - 1,) rate of change of its logarithm.

    `top` is its fast size; None takes its 90th percentile.
    """
    values = np.maximum(signal_T[1:], 0.0)
    if top is None:
        top = float(np.quantile(values, 0.9)) if len(values) else 0.0
    top = top if top > 0 else float(values.max(initial=0.0))
    if top <= 0:
        return np.zeros(len(values))
    return gaussian_filter1d(np.log(values / top + FLOOR), sigma, order=1, mode="nearest")


def correlations(
    late_ST: np.ndarray, early_CT: np.ndarray, reach: int, span: tuple[int, int] | None = None
) -> np.ndarray:
    """r(L) for L = -reach .. reach: of ``late[t]`` with ``early[t - L]``, over the frames that both have.

    0 where fewer than 8 frames overlap or one of the two does not vary. `span`: only ``t`` in this half-open range.

    Returns:
        (S, C, 2 reach + 1) for S signals and C signals of T frames.
    """
    total = late_ST.shape[1]
    start, stop = span or (0, total)
    found = np.zeros((len(late_ST), len(early_CT), 2 * reach + 1))
    for i, lag in enumerate(range(-reach, reach + 1)):
        first, last = max(start, lag), min(stop, total + min(0, lag))
        if last - first < 8:
            continue
        a, b = late_ST[:, first:last], early_CT[:, first - lag : last - lag]
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        size = np.sqrt(np.outer((a * a).sum(axis=1), (b * b).sum(axis=1)))
        found[:, :, i] = np.where(size > 1e-12, a @ b.T / np.maximum(size, 1e-12), 0.0)
    return found


def evidence(r: np.ndarray, frames: int, sigma: float) -> np.ndarray:
    """Log-likelihood ratio (nats) of each correlation `r` over `frames` frames; a negative one counts as none.

    A Gaussian of width sigma leaves one independent frame in ``2 sqrt(pi) sigma``.
    """
    independent = frames / max(1.0, 2 * np.sqrt(np.pi) * sigma)
    return -0.5 * independent * np.log1p(-(np.clip(r, 0.0, 0.999) ** 2))


def peak(curve_L: np.ndarray) -> tuple[int, float]:
    """Index of the highest point, and its parabolic refinement in (-0.5, 0.5)."""
    top = int(np.argmax(curve_L))
    if not 0 < top < len(curve_L) - 1:
        return top, 0.0
    left, mid, right = curve_L[top - 1 : top + 2]
    bend = left - 2 * mid + right
    return top, 0.0 if bend >= 0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def margin(curve_L: np.ndarray) -> float:
    """How much the highest point stands above every other lag."""
    if len(curve_L) < 2:
        return 0.0
    first, second = np.sort(curve_L)[::-1][:2]
    return float(first - second)
