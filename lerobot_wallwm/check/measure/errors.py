# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Open-loop action errors, near and over the whole event, beside baselines, with intervals over episodes.

Shapes: N observations, H horizon, D joints. Errors are mean absolute. Those of one joint are in the dataset's units; those
over joints are in per cent of each joint's range, because degrees, metres and a gripper's ticks have no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.baselines import CaptionMean, EventRows, hold_pose
from lerobot_wallwm.check.measure.observations import Observations
from lerobot_wallwm.embodiment.description import Embodiment

# Steps ahead that count as near: twice what is executed between two looks by default (our choice).
NEAR = 8
REACHES = ("near", "event")
HOLD, MEAN = "hold the pose", "caption's mean motion"
GRASP, RELEASE = "grasp", "release"
# Around a grasp or a release, in seconds before and after the gripper's command passes the middle of its range (our choice).
AROUND_S = 0.5


def baseline_actions(
    observations: Observations, events: Sequence[EventRows], train: Sequence[EventRows] | None
) -> dict[str, np.ndarray]:
    """What one would do without the policy, ``(N, H, D)`` by the name of the baseline.

    The captions' means are those of the ``train`` events, or where it is None, for each episode those of the other
    held-out ones.
    """
    horizon = observations.true.shape[1]
    hold = np.stack([hold_pose(stay, horizon) for stay in observations.stay])
    sources = [events[anchor.event].source for anchor in observations.anchors]
    fitted: dict[int, CaptionMean | None] = {}
    for source in set(sources):
        rows = [e for e in events if e.source != source] if train is None else train
        fitted[source] = CaptionMean(rows) if rows else None
    usual = hold.copy()
    for i, anchor in enumerate(observations.anchors):
        event, mean = events[anchor.event], fitted[sources[i]]
        if mean is not None:
            usual[i] = mean.predict(event.caption, event.template, observations.stay[i], horizon)
    return {HOLD: hold, MEAN: usual}


def critical_frames(events: Sequence[EventRows], grippers: Sequence[int], fps: float) -> list[np.ndarray]:
    """What each frame of each event is close to: 0 nothing, 1 a grasp, 2 a release.

    Whether a task succeeds is decided there, in a small part of all frames, which a mean over an episode hides. A grasp is
    the way that a gripper first moves in most episodes; without a gripper nothing is critical.
    """
    marks = [np.zeros(len(event.action), dtype=int) for event in events]
    episodes = [
        [i for _, i in sorted((e.start, i) for i, e in enumerate(events) if e.source == source)]
        for source in dict.fromkeys(e.source for e in events)
    ]
    reach = round(AROUND_S * fps)
    for gripper in grippers:
        low, high = np.quantile(np.concatenate([e.action[:, gripper] for e in events]), (0.02, 0.98))
        if not high > low:
            continue
        paths = [np.concatenate([events[i].action[:, gripper] for i in numbers]) for numbers in episodes]
        turns = [_turns((path - low) / (high - low)) for path in paths]
        first = [found[0][1] for found in turns if found]
        closing = 1 if sum(first) > 0 else -1
        for numbers, path, found in zip(episodes, paths, turns, strict=True):
            near = np.zeros(len(path), dtype=int)
            for frame, way in found:
                near[max(0, frame - reach) : frame + reach + 1] = 1 if way == closing else 2
            parts = np.split(near, np.cumsum([len(events[i].action) for i in numbers])[:-1])
            for i, part in zip(numbers, parts, strict=True):
                marks[i] = np.maximum(marks[i], part)
    return marks


def _turns(path_T: np.ndarray) -> list[tuple[int, int]]:
    """Where a gripper's command, 0 to 1, goes from one half of its range to the other: frame and direction."""
    out, side = [], 1 if path_T[0] > 0.5 else -1
    for frame, value in enumerate(path_T):
        if side * (value - 0.5) < -0.1:
            side = -side
            out.append((frame, side))
    return out


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
    scale: np.ndarray | None = (
        None  # ``(D,)`` what errors over joints are measured in; None for the dataset's units
    )
    # `GRASP` and `RELEASE` to the ``error`` close to them, that of holding (``hold``), and the number of ``steps``.
    critical: dict[str, dict[str, float]] = field(default_factory=dict)

    def moving(self) -> dict[str, float]:
        """How far each joint moves within a plan, that is the error of holding it, in `scale`."""
        size = np.ones(len(self.hold_by_joint)) if self.scale is None else self.scale
        return {
            n: v / s for (n, v), s in zip(self.hold_by_joint.items(), size, strict=True) if np.isfinite(s)
        }


def open_loop(
    predicted: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    observations: Observations,
    events: Sequence[EventRows],
    joints: Sequence[str],
    seed: int = 0,
    scale: np.ndarray | None = None,
    critical: Sequence[np.ndarray] | None = None,
) -> OpenLoopErrors:
    """Compares predictions with what was recorded inside the events.

    Args:
        predicted: ``(N, H, D)``, NaN where the policy's output was not finite.
        baselines: From `baseline_actions`.
        observations: What was recorded.
        events: Those that the observations' anchors name.
        joints: D names.
        seed: The bootstrap's.
        scale: ``(D,)`` what errors over joints are measured in, NaN for those left out; None for the dataset's units.
        critical: From `critical_frames`.
    """
    valid, true = observations.valid, observations.true
    kept = np.ones(true.shape[2], bool) if scale is None else np.isfinite(scale)
    size = np.ones(kept.sum()) if scale is None else scale[kept]
    near = valid.copy()
    near[:, NEAR:] = False
    masks = {"near": near, "event": valid}
    raw = {"policy": np.abs(predicted - true)} | {n: np.abs(a - true) for n, a in baselines.items()}
    errors = {name: off[:, :, kept] / size for name, off in raw.items()}
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
    kinds = np.array([events[anchor.event].kind_at(anchor.offset) for anchor in observations.anchors])
    close = {}
    for number, name in enumerate((GRASP, RELEASE), 1) if critical is not None else ():
        assert critical is not None
        marks = [critical[a.event][a.offset : a.offset + true.shape[1]] for a in observations.anchors]
        at = valid & np.stack([np.pad(m, (0, true.shape[1] - len(m))) == number for m in marks])
        if at.any():
            means = {key: float(errors[of][at].mean()) for key, of in (("error", "policy"), ("hold", HOLD))}
            close[name] = {**means, "steps": int(at.sum())}
    return OpenLoopErrors(
        baselines={name: {reach: mean(name, reach) for reach in REACHES} for name in baselines},
        by_joint=dict(zip(joints, raw["policy"][valid].mean(0).tolist(), strict=True)),
        hold_by_joint=dict(zip(joints, raw[HOLD][valid].mean(0).tolist(), strict=True)),
        scale=scale,
        critical=close,
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


def first_step(
    predicted: np.ndarray, observations: Observations, embodiment: Embodiment | None, scale: np.ndarray
) -> tuple[float, float]:
    """How far the first action lies from the observed pose at its worst joint, predicted and as recorded.

    Both are 99th percentiles over observations, in ``scale`` ``(D,)``, of those dimensions that are goals of the pose; NaN
    where there are none.
    """
    goals = [
        d
        for d in range(predicted.shape[2])
        if np.isfinite(scale[d]) and (embodiment is None or embodiment.follows[d] >= 0)
    ]
    if not goals:
        return float("nan"), float("nan")
    off = [np.abs(actions[:, 0] - observations.stay) / scale for actions in (predicted, observations.true)]
    worst = [values[:, goals].max(1) for values in off]
    return float(np.quantile(worst[0], 0.99)), float(np.quantile(worst[1], 0.99))
