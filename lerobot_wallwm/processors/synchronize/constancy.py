# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Is the lag between video and rows one and the same from the first frame to the last?

Two demonstrations of one task have the same phases at nearly the same pace: the video of one correlates with the rows of
the other by up to 0.7, which no threshold on correlation tells from a noisy episode of its own. What tells them apart is that the
events of another episode come a frame or three early here and late there. A dropped frame does the same, once. So the test
is not how well the best lag fits, but whether the episode excludes that the lag changes on the way:

* All signals of all cameras are predicted from all motion channels of the state at the lag found (ridge regression, each
  quarter of the episode from the other three, so that a good fit is not built in).
* The residuals are Gaussian with their own covariance, which counts what cameras share only once, and their own autocorrelation,
  by which all evidence is divided. So every frame has a log-likelihood at every lag.
* "One lag" is set against every "lag a before frame f, lag b from there". Wald's bound (Sequential Tests of Statistical
  Hypotheses, 1945): where the lag does change, "one lag" comes out at least 1 / p times as likely with probability p at most.

The signals are read twice: by their logarithm, as for the lag itself, which suits noise in proportion to the motion, and as
they are, which suits noise of one size at rest and in motion. The reading that excludes more counts, and pays for the choice
by log(2) nats (Bonferroni).

An episode in which little moves has little to say on either side, and excludes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lerobot_wallwm.processors.synchronize.evidence import sharpened

# All our choice. Lags up to this many frames from the one found are alternatives.
WIDEST = 4
# Parts of the episode; each is predicted from the others.
FOLDS = 4
# A change within the first or last quarter leaves too few frames on one side to be excluded; only its signs are looked for.
INNER = (0.25, 0.75)
# Of the residuals' variance (the signals have 1), added to the diagonal of their covariance.
_NUGGET = 1e-3


@dataclass(frozen=True)
class LagChange:
    """The likeliest change of the lag within an episode.

    Attributes:
        inner: Log-likelihood ratio (nats) of the likeliest change in the episode's middle half against one lag. Below
            ``log(p)``: had there been a change, that would be seen with probability p at most.
        outer: The same for a change at any frame.
        frame: First frame after the change that gives `outer`.
        before: Lag before it, frames.
        after: Lag from it on, frames.
    """

    inner: float
    outer: float
    frame: int
    before: int
    after: int


UNTOLD = LagChange(np.inf, np.inf, 0, 0, 0)


def likeliest_change(late_ST: np.ndarray, early_CT: np.ndarray, lag: int, sigma: float) -> LagChange:
    """Sets the likeliest change of the lag against no change.

    Args:
        late_ST: Motion in the pictures (see `motion_signals`), all cameras together, S signals of T frames.
        early_CT: Motion channels of the state, as long.
        lag: Frames by which `late_ST` runs behind `early_CT`.
        sigma: What the signals are smoothed by, frames.

    Returns:
        `UNTOLD` where nothing varies or too few frames overlap.
    """
    readings = [_read(late_ST, early_CT, lag, sigma, logarithm) for logarithm in (True, False)]
    best = min(readings, key=lambda reading: reading.inner)
    return replace(best, inner=best.inner + float(np.log(len(readings))))


def _read(late_ST: np.ndarray, early_CT: np.ndarray, lag: int, sigma: float, logarithm: bool) -> LagChange:
    """`likeliest_change` by one reading of the signals."""
    late, early = (
        _standard(np.array([sharpened(signal, sigma, logarithm) for signal in signals]))
        for signals in (late_ST, early_CT)
    )
    total = early.shape[1] if len(early) else 0
    t = np.arange(max(0, lag + WIDEST), min(total, total + lag - WIDEST))
    if not len(late) or len(t) < 8 * FOLDS:
        return UNTOLD
    log_likelihood = _log_likelihood(late[:, t], [early[:, t - lag - d] for d in _OFFSETS], sigma)
    before = np.concatenate([np.zeros((len(log_likelihood), 1)), np.cumsum(log_likelihood, axis=1)], axis=1)
    after = before[:, -1:] - before
    # (a, b, f): lag a before frame f, lag b from there; a = b is no change.
    ratio = before[:, None] + after[None]
    ratio[np.arange(len(ratio)), np.arange(len(ratio))] = -np.inf
    edge, end = int(np.ceil(INNER[0] * len(t))), int(INNER[1] * len(t))
    a, b, f = (int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    at = int(t[min(f, len(t) - 1)]) + 1  # sharpening dropped row 0
    inner = float(ratio[:, :, edge : end + 1].max())
    return LagChange(inner, float(ratio.max()), at, lag + _OFFSETS[a], lag + _OFFSETS[b])


_OFFSETS = tuple(range(-WIDEST, WIDEST + 1))


def _standard(signals: np.ndarray) -> np.ndarray:
    """Signals of mean 0 and variance 1; those that do not vary are left out."""
    spread = signals.std(axis=1, keepdims=True)
    kept = spread[:, 0] > 1e-9
    return (signals - signals.mean(axis=1, keepdims=True))[kept] / spread[kept]


def _log_likelihood(late_Sn: np.ndarray, early_DCn: list[np.ndarray], sigma: float) -> np.ndarray:
    """(D, n) log-likelihood (nats) of every frame at every lag, relative to the middle one, at which the relation is fitted."""
    middle, n = len(early_DCn) // 2, late_Sn.shape[1]
    fitted = early_DCn[middle]
    # A priori the channels together explain as much as the noise does: one unit of ridge for each.
    ridge = len(fitted) * np.eye(len(fitted))
    inner, cross = fitted @ fitted.T + ridge, late_Sn @ fitted.T
    errors = np.repeat(late_Sn[None], len(early_DCn), axis=0)
    for fold in np.array_split(np.arange(n), FOLDS):
        part = fitted[:, fold]
        weights = np.linalg.solve(inner - part @ part.T, (cross - late_Sn[:, fold] @ part.T).T).T
        for d, early in enumerate(early_DCn):
            errors[d][:, fold] -= weights @ early[:, fold]
    covariance = errors[middle] @ errors[middle].T / n + _NUGGET * np.eye(len(late_Sn))
    white = np.linalg.solve(np.linalg.cholesky(covariance), errors)
    found = -0.5 * (white**2).sum(axis=1) / _frames_a_piece(white[middle], sigma)
    return found - found[middle]


def _frames_a_piece(white_Sn: np.ndarray, sigma: float) -> float:
    """Frames that say as much as one independent frame: 1 + 2 x the residuals' positive autocorrelations.

    They are summed over six standard deviations of the smoothing, beyond which it correlates nothing.
    """
    power = float((white_Sn**2).sum())
    lags = range(1, min(int(np.ceil(6 * sigma)) + 1, white_Sn.shape[1] - 1) + 1)
    rho = [float((white_Sn[:, k:] * white_Sn[:, :-k]).sum()) / max(power, 1e-12) for k in lags]
    return 1.0 + 2.0 * sum(max(r, 0.0) for r in rho)
