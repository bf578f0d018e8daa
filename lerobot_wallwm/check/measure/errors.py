# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Open-loop action errors, near and over the whole event, beside baselines, with intervals over episodes.

Shapes: N observations, H horizon, D joints. Errors are mean absolute, in the dataset's units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.baselines import CaptionMean, EventRows, hold_pose
from lerobot_wallwm.check.measure.observations import Observations

# Steps ahead that count as near: twice what is executed between two looks by default (our choice).
NEAR = 8
REACHES = ("near", "event")
HOLD, MEAN, TOLD = "hold the pose", "caption's mean motion", "caption's mean, told the phase"


def baseline_actions(
    observations: Observations, events: Sequence[EventRows], train: Sequence[EventRows] | None
) -> dict[str, np.ndarray]:
    """What one would do without the policy, ``(N, H, D)`` by the name of the baseline.

    The captions' means are those of the ``train`` events, or where it is None, for each episode those of the other
    held-out ones.
    """
    horizon = observations.true.shape[1]
    hold = np.stack([hold_pose(state, horizon) for state in observations.state])
    sources = [events[anchor.event].source for anchor in observations.anchors]
    fitted: dict[int, CaptionMean | None] = {}
    for source in set(sources):
        rows = [e for e in events if e.source != source] if train is None else train
        fitted[source] = CaptionMean(rows) if rows else None
    variants = {variant: hold.copy() for variant in CaptionMean.VARIANTS}
    for i, anchor in enumerate(observations.anchors):
        event, mean = events[anchor.event], fitted[sources[i]]
        if mean is None:
            continue
        for variant in CaptionMean.VARIANTS:
            variants[variant][i] = mean.predict(
                variant,
                event.caption,
                event.template,
                observations.state[i],
                anchor.offset,
                len(event.action),
                horizon,
            )
    plain, *told = CaptionMean.VARIANTS
    errors = {v: float(np.abs(variants[v] - observations.true)[observations.valid].mean()) for v in told}
    return {HOLD: hold, MEAN: variants[plain], TOLD: variants[min(errors, key=lambda v: errors[v])]}


def clustered_interval(
    values: np.ndarray, weights: np.ndarray, clusters: np.ndarray, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of ``sum(values) / sum(weights)``, drawing whole clusters.

    Observations of one episode resemble each other: drawn one by one they would pretend to know too much.
    All are ``(N,)``, weights at least 0. None for fewer than two clusters, or where a value is not finite.
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


@dataclass
class OpenLoopErrors:
    """Errors of the policy and the baselines."""

    error: dict[str, float]  # by reach, ``near`` or ``event``
    # 95 % over source episodes, by reach; None where there is but one episode.
    intervals: dict[str, tuple[float, float] | None]
    baselines: dict[str, dict[str, float]]  # error by name and reach
    # By reach: the policy's error as a part of that of holding the pose, with its interval or None.
    against_hold: dict[str, tuple[float, tuple[float, float] | None]]
    by_joint: dict[str, float]  # name to error over the event
    hold_by_joint: dict[str, float]  # the same of holding the pose
    by_event: dict[str, dict[str, float]]  # kind of event to errors; empty where events are unknown


def open_loop(
    predicted: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    observations: Observations,
    events: Sequence[EventRows],
    joints: Sequence[str],
    seed: int = 0,
) -> OpenLoopErrors:
    """Compares predictions ``(N, H, D)`` and those of `baseline_actions` with what was recorded inside the events.
    ``predicted`` is NaN where the policy's output was not finite, ``joints`` has D names, and ``seed`` is the bootstrap's.
    """
    valid, true = observations.valid, observations.true
    near = valid.copy()
    near[:, NEAR:] = False
    masks = {"near": near, "event": valid}
    errors = {"policy": np.abs(predicted - true)} | {n: np.abs(a - true) for n, a in baselines.items()}
    sources = np.array([events[anchor.event].source for anchor in observations.anchors])

    def mean(name: str, reach: str, chosen: np.ndarray | None = None) -> float:
        mask = masks[reach] if chosen is None else masks[reach] & chosen[:, None]
        return float(errors[name][mask].mean())

    def sums(name: str, reach: str) -> np.ndarray:
        return (errors[name].mean(-1) * masks[reach]).sum(1)

    result: dict[str, Any] = {"error": {}, "intervals": {}, "against_hold": {}}
    for reach in REACHES:
        policy, hold, steps = sums("policy", reach), sums(HOLD, reach), masks[reach].sum(1).astype(float)
        result["error"][reach] = mean("policy", reach)
        result["intervals"][reach] = clustered_interval(policy, steps, sources, seed)
        still = mean(HOLD, reach)
        ratio = result["error"][reach] / still if still > 0 else float("inf")
        result["against_hold"][reach] = (ratio, clustered_interval(policy, hold, sources, seed))
    kinds = np.array([events[anchor.event].kind for anchor in observations.anchors])
    return OpenLoopErrors(
        baselines={name: {reach: mean(name, reach) for reach in REACHES} for name in baselines},
        by_joint=dict(zip(joints, errors["policy"][valid].mean(0).tolist(), strict=True)),
        hold_by_joint=dict(zip(joints, errors[HOLD][valid].mean(0).tolist(), strict=True)),
        by_event={
            str(kind): {
                **{reach: mean("policy", reach, kinds == kind) for reach in REACHES},
                **{f"hold_{reach}": mean(HOLD, reach, kinds == kind) for reach in REACHES},
                "observations": int((kinds == kind).sum()),
            }
            for kind in dict.fromkeys(kinds)
            if kind
        },
        **result,
    )


def first_step(predicted: np.ndarray, observations: Observations) -> tuple[float, float]:
    """How far the first action lies from the observed pose at its worst joint, predicted and as recorded.

    Both are 99th percentiles over observations, or NaN where actions are not the state's joints.
    """
    if observations.state.shape[1] != predicted.shape[2]:
        return float("nan"), float("nan")
    worst = [np.abs(actions[:, 0] - observations.state).max(1) for actions in (predicted, observations.true)]
    return float(np.quantile(worst[0], 0.99)), float(np.quantile(worst[1], 0.99))
