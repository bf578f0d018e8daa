# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Runs a checkpoint on held-out data and gathers everything that the rules and the page need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lerobot_wallwm.check.config import CheckConfig
from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.errors import OpenLoopErrors, baseline_actions, first_step, open_loop
from lerobot_wallwm.check.measure.latency import Timings, inference_batches, load_of_machine, measure_latency
from lerobot_wallwm.check.measure.match import Match, measure_match
from lerobot_wallwm.check.measure.observations import (
    Observations,
    Prediction,
    WholeEpisode,
    load_observations,
    predict,
)
from lerobot_wallwm.check.measure.sight import InputChanges, Sight, measure_changes, sight_where_needed
from lerobot_wallwm.check.measure.video import Clips, imagine
from lerobot_wallwm.check.measure.views import (
    Anchor,
    HeldOut,
    choose_anchors,
    open_view,
    read_event_rows,
    split_of,
)
from lerobot_wallwm.policies.training.stages import STAGES
from lerobot_wallwm.storage.errors import DataError

# Our choice: several looks into each event, no more than can be told apart in an episode.
LOOKS_PER_EPISODE = 40


@dataclass
class Measured:
    """What the rules judge; parts that were not measured are None."""

    stage: str = "joint"  # the checkpoint's
    acts: bool = True  # whether that stage trains actions
    bad_weights: list[str] = field(default_factory=list)  # names of weights that are not finite
    bad_outputs: float = 0.0  # share of predicted actions that are not finite
    carved: bool = True  # whether the data's events are known
    from_training: bool = False  # whether the data look like the checkpoint's own training view
    episodes: int = 0
    unit: str = "dataset units"  # of the errors
    observations: int = 0
    open_loop: OpenLoopErrors | None = None
    clamped: float | None = None  # share of predicted actions outside of the data's range
    # 99th percentile of the first action's distance from the pose, predicted and recorded.
    first_step: tuple[float, float] | None = None
    sensitivity: InputChanges | None = None  # changes by exchanged inputs
    # Ends of those events whose ends only pictures tell; None where there are none, or no actions.
    sight: Sight | None = None
    # Mean error of the predicted end, and of guessing the median, in frames.
    remaining: tuple[float, float] | None = None
    latency: Timings | None = None  # on this machine
    # Of the machine while it was measured (mean number of running processes), and its cores.
    load: tuple[float, int] | None = None
    match: Match | None = None  # of data and checkpoint
    imagination: str = "none"  # as configured
    psnr: tuple[float, float] | None = None  # of the imagined video, and of repeating the keyframe
    # Frames to the event's end, predicted and true; None where events are unknown.
    predicted_end: tuple[np.ndarray, np.ndarray] | None = None
    shown: list[WholeEpisode] = field(default_factory=list)  # episodes that are drawn whole
    clips: Clips | None = None  # imagined beside real


def unmeasured(policy: Any, heldout: HeldOut) -> Measured:
    """What is known from the checkpoint's configuration alone: all there is where its weights are not finite."""
    stage = STAGES[policy.stage]
    return Measured(
        stage=stage.name,
        acts="action" in stage.losses,
        carved=heldout.carved,
        from_training=split_of(heldout.root) == "train",
        episodes=len(heldout.sources),
        unit=heldout.unit,
        imagination=policy.imagination,
    )


def measure(checkpoint: Checkpoint, heldout: HeldOut, config: CheckConfig) -> Measured:
    """Measures match, actions, sensitivity, remaining time, video and latency; `match.require_same_shape` has passed."""
    m = unmeasured(checkpoint.config, heldout)
    m.match = measure_match(checkpoint, heldout, config.fps or float(heldout.meta.fps))
    anchors = choose_anchors(heldout.events, config.observations, config.seed)
    view = open_view(heldout.root, checkpoint.config, pictures_ahead=False)
    seen = _load("loading observations", checkpoint, view, heldout, anchors, config.quiet)
    m.observations = len(anchors)
    bar = None if config.quiet else "predicting"
    base = predict(checkpoint, seen, config.seed, bar=bar)
    m.sensitivity = measure_changes(checkpoint, seen, base, heldout.events, config.seed, bar)
    baselines = _errors(m, checkpoint, heldout, seen, base, config)
    order = np.random.default_rng(config.seed).permutation(heldout.sources)
    shown = sorted(order[: config.episodes_shown].tolist())
    m.shown = [_whole_episode(checkpoint, view, heldout, source, config) for source in shown]
    if m.bad_outputs:
        return m
    if m.acts and heldout.carved and not checkpoint.config.chunked:
        about = heldout.events, baselines, heldout.joints
        m.sight = sight_where_needed(checkpoint, seen, *about, config.seed)
    m.clips = _imagine(checkpoint, heldout, config)
    if m.clips.metrics["frames"]:
        m.psnr = (m.clips.metrics["imagined"]["psnr"], m.clips.metrics["repeat_keyframe"]["psnr"])
    if m.acts:
        rows = [view[anchor.row] for anchor in anchors[:8]]
        batches = inference_batches(rows, checkpoint.now, checkpoint.policy.image_keys)
        mean_event = heldout.frames / len(heldout.events)
        bar = None if config.quiet else "timing"
        m.latency = measure_latency(checkpoint, batches, config.timings, mean_event, bar)
        m.load = load_of_machine()
    return m


def _errors(
    m: Measured,
    checkpoint: Checkpoint,
    heldout: HeldOut,
    seen: Observations,
    base: Prediction,
    config: CheckConfig,
) -> dict[str, np.ndarray]:
    """Fills in what predicted actions and ends tell; returns what `baseline_actions` found."""
    bound = 1.0 + checkpoint.config.action_clamp_margin
    raw = base.normalized[seen.valid]
    m.bad_outputs = float(1 - np.isfinite(raw).mean())
    moving = [name not in (m.match.still if m.match else []) for name in heldout.joints]
    # A thousandth beyond is rounding; a joint without a range is clamped whatever it does.
    m.clamped = float((np.abs(np.nan_to_num(raw[:, moving])) > bound + 1e-3).mean())
    actions = np.where(np.isfinite(base.normalized), base.actions, np.nan)
    baselines = baseline_actions(seen, heldout.events, _training_events(heldout, config))
    m.open_loop = open_loop(actions, baselines, seen, heldout.events, heldout.joints, config.seed)
    m.first_step = first_step(actions, seen)
    if heldout.carved and not checkpoint.config.chunked:
        true = seen.remaining
        m.predicted_end = (base.remaining.astype(np.float64), true)
        m.remaining = (
            float(np.abs(base.remaining - true).mean()),
            float(np.abs(true - np.median(true)).mean()),
        )
    return baselines


def _load(
    text: str, checkpoint: Checkpoint, view: Any, heldout: HeldOut, anchors: Sequence[Anchor], quiet: bool
) -> Observations:
    try:
        return load_observations(checkpoint, view, heldout.events, anchors, None if quiet else text)
    except (RuntimeError, OSError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        fix = "copy the dataset again"
        raise DataError(heldout.root.name, "videos", f"cannot be decoded ({reason})", fix) from error


def _whole_episode(
    checkpoint: Checkpoint, view: Any, heldout: HeldOut, source: int, config: CheckConfig
) -> WholeEpisode:
    """A source episode with looks all along it."""
    policy = checkpoint.config
    numbers = [i for i, event in enumerate(heldout.events) if event.source == source]
    numbers.sort(key=lambda i: heldout.events[i].start)
    events = [heldout.events[i] for i in numbers]
    frames = sum(len(event.action) for event in events)
    apart = max(policy.replan_steps, policy.horizon // 3, -(-frames // LOOKS_PER_EPISODE), 1)
    anchors = [
        Anchor(i, offset, event.first_row + offset)
        for i, event in zip(numbers, events, strict=True)
        for offset in range(0, len(event.action), apart)
    ]
    seen = _load(f"looking into episode {source}", checkpoint, view, heldout, anchors, config.quiet)
    prediction = predict(checkpoint, seen, config.seed)
    actions = np.where(np.isfinite(prediction.normalized), prediction.actions, np.nan)
    first = events[0].start
    spans = [(e.start - first, e.start - first + len(e.action), e.kind) for e in events]
    true = np.full((spans[-1][1], actions.shape[2]), np.nan)
    for event, (start, end, _) in zip(events, spans, strict=True):
        true[start:end] = event.action
    steps = np.clip(np.nan_to_num(prediction.remaining, nan=1.0), 1, policy.horizon).astype(int)
    looks = [
        (heldout.events[anchor.event].start - first + anchor.offset, plan[:count])
        for anchor, plan, count in zip(anchors, actions, steps, strict=True)
    ]
    return WholeEpisode(source, events[0].instruction, true, spans, looks, float(heldout.meta.fps))


def _imagine(checkpoint: Checkpoint, heldout: HeldOut, config: CheckConfig) -> Clips:
    """Imagined and real video of some events from their first frames, all kinds among them."""
    order = np.random.default_rng(config.seed).permutation(len(heldout.events))
    by_kind: dict[str, list[int]] = {}
    for index in order:
        event = heldout.events[index]
        by_kind.setdefault(event.kind or event.caption, []).append(int(index))
    turns = max(len(group) for group in by_kind.values())
    chosen = [group[turn] for turn in range(turns) for group in by_kind.values() if turn < len(group)]
    events = heldout.events
    anchors = [Anchor(i, 0, events[i].first_row) for i in chosen[: config.clips]]
    view = open_view(heldout.root, checkpoint.config)
    seen = _load("loading video", checkpoint, view, heldout, anchors, config.quiet)
    told = checkpoint.config.stage == "video"
    return imagine(checkpoint, seen, float(heldout.meta.fps), config.seed, told_length=told)


def _training_events(heldout: HeldOut, config: CheckConfig) -> list[EventRows] | None:
    root, beside = config.train.root, heldout.root.resolve().parent / "train"
    if root is None and split_of(heldout.root) == "heldout" and split_of(beside) == "train":
        root = beside
    return None if root is None else read_event_rows(root)
