# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Runs a checkpoint on held-out data and gathers everything that the rules and the page need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lerobot_wallwm.check.config import CheckConfig
from lerobot_wallwm.check.measure.baselines import EventRows, with_hold
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.errors import (
    OpenLoopErrors,
    baseline_actions,
    critical_frames,
    first_step,
    open_loop,
)
from lerobot_wallwm.check.measure.latency import (
    Timings,
    load_of_machine,
    measure_latency,
    measure_other_latency,
)
from lerobot_wallwm.check.measure.match import Match, measure_match
from lerobot_wallwm.check.measure.observations import (
    Observations,
    Prediction,
    WholeEpisode,
    load_observations,
    predict,
)
from lerobot_wallwm.check.measure.other_policy import OtherPolicy
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

# Our choice: several looks into each event, no more than can be told apart in an episode.
LOOKS_PER_EPISODE = 40


@dataclass
class Measured:
    """What the rules judge; parts that were not measured are None."""

    policy: str = "wallwm"  # the checkpoint's type
    stage: str = "joint"  # the checkpoint's; empty for other types
    acts: bool = True  # whether that stage trains actions
    refuses: str = ""  # why the policy itself would not act
    bad_weights: list[str] = field(default_factory=list)  # names of weights that are not finite
    bad_outputs: float = 0.0  # share of predicted actions that are not finite
    carved: bool = True  # whether the data's events are known
    from_training: bool = False  # whether the data look like the checkpoint's own training view
    episodes: int = 0
    unit: str = "dataset units"  # of one joint
    of_range: str = "% of each joint's range"  # of errors over joints
    observations: int = 0
    tasks: int = 1  # different tasks or captions in the data
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

    @property
    def end(self) -> str:
        """What the longer reach goes to: a carved event ends, a plan into a whole episode only stops."""
        return "event's end" if self.carved else "plan's end"


def unmeasured(policy: Any, heldout: HeldOut, from_training: bool = False) -> Measured:
    """What is known from the checkpoint's configuration alone: all there is where its weights are not finite."""
    stage = STAGES[policy.stage] if policy.type == "wallwm" else None
    return Measured(
        policy=policy.type,
        stage="" if stage is None else stage.name,
        acts=stage is None or "action" in stage.losses,
        carved=heldout.carved,
        from_training=from_training or split_of(heldout.root) == "train",
        episodes=len(heldout.sources),
        unit=heldout.unit,
        tasks=len({event.caption for event in heldout.events}),
        imagination=getattr(policy, "imagination", "none"),
    )


def measure(
    checkpoint: Checkpoint | OtherPolicy, heldout: HeldOut, config: CheckConfig, from_training: bool = False
) -> Measured:
    """Measures match, actions, sensitivity, remaining time, video and latency; `match.require_same_shape` has passed.

    Args:
        checkpoint: The policy.
        heldout: The data.
        config: The flags.
        from_training: Whether the policy was trained on these data.
    """
    m = unmeasured(checkpoint.config, heldout, from_training)
    m.match = measure_match(checkpoint, heldout, config.fps or float(heldout.meta.fps))
    anchors = choose_anchors(heldout.events, config.observations, config.seed)
    view = open_view(heldout.root, checkpoint.config, pictures_ahead=False)
    if isinstance(checkpoint, OtherPolicy):
        first = load_observations(checkpoint, view, heldout.events, anchors[:1], heldout.root.name)
        checkpoint.try_out(first.items[0], first.captions[0])
    seen = load_observations(checkpoint, view, heldout.events, anchors, heldout.root.name)
    m.observations = len(anchors)
    bar = None if config.quiet else "predicting"
    base = predict(checkpoint, seen, config.seed, bar=bar)
    m.sensitivity = measure_changes(checkpoint, seen, base, heldout.events, config.seed, bar, heldout.scale)
    baselines = _errors(m, checkpoint, heldout, seen, base, config)
    order = np.random.default_rng(config.seed).permutation(heldout.sources)
    shown = sorted(order[: config.episodes_shown].tolist())
    m.shown = [_whole_episode(checkpoint, view, heldout, source, config) for source in shown]
    if m.bad_outputs:
        return m
    bar = None if config.quiet else "timing"
    items = [seen.items[i] | {"task": seen.captions[i]} for i in range(min(3, len(anchors)))]
    if isinstance(checkpoint, OtherPolicy):
        m.latency = measure_other_latency(checkpoint, items, config.timings, bar)
    else:
        _only_wallwm(m, checkpoint, heldout, seen, baselines, config)
        if m.acts:
            m.refuses = _refusal(checkpoint)
        if m.acts and not m.refuses:
            mean_event = heldout.frames / len(heldout.events)
            m.latency = measure_latency(checkpoint, items, config.timings, mean_event, bar)
    m.load = load_of_machine()
    return m


def _refusal(checkpoint: Checkpoint) -> str:
    """Why a rollout with this checkpoint would be refused, in one clause; empty where it would not."""
    try:
        checkpoint.policy.rollout.require_trained_actions()
    except ValueError as error:
        return str(error).split(" Fix:")[0].rstrip(".")
    return ""


def _only_wallwm(
    m: Measured,
    checkpoint: Checkpoint,
    heldout: HeldOut,
    seen: Observations,
    baselines: dict[str, np.ndarray],
    config: CheckConfig,
) -> None:
    """Fills in what other policies do not have: where its events end, and what it imagines."""
    if m.acts and heldout.carved and not checkpoint.config.chunked:
        about = heldout.events, baselines, heldout.joints
        m.sight = sight_where_needed(checkpoint, seen, *about, config.seed, heldout.scale)
    m.clips = _imagine(checkpoint, heldout, config)
    if m.clips.metrics["frames"]:
        m.psnr = (m.clips.metrics["imagined"]["psnr"], m.clips.metrics["repeat_keyframe"]["psnr"])


def _errors(
    m: Measured,
    checkpoint: Checkpoint | OtherPolicy,
    heldout: HeldOut,
    seen: Observations,
    base: Prediction,
    config: CheckConfig,
) -> dict[str, np.ndarray]:
    """Fills in what predicted actions and ends tell; returns what `baseline_actions` found."""
    bound = 1.0 + getattr(checkpoint.config, "action_clamp_margin", 0.0)
    raw = base.normalized[seen.valid]
    m.bad_outputs = float(1 - np.isfinite(raw).mean())
    moving = [name not in (m.match.still if m.match else []) for name in heldout.joints]
    # A thousandth beyond is rounding; a joint without a range is clamped whatever it does.
    m.clamped = float((np.abs(np.nan_to_num(raw[:, moving])) > bound + 1e-3).mean()) if any(moving) else 0.0
    actions = np.where(np.isfinite(base.normalized), base.actions, np.nan)
    events, scale = heldout.events, heldout.scale
    baselines = baseline_actions(seen, events, _training_events(heldout, config))
    critical = critical_frames(events, heldout.grippers, float(heldout.meta.fps))
    m.open_loop = open_loop(actions, baselines, seen, events, heldout.joints, config.seed, scale, critical)
    m.first_step = first_step(actions, seen, heldout.embodiment, scale)
    if heldout.carved and isinstance(checkpoint, Checkpoint) and not checkpoint.config.chunked:
        true = seen.remaining
        m.predicted_end = (base.remaining.astype(np.float64), true)
        m.remaining = (
            float(np.abs(base.remaining - true).mean()),
            float(np.abs(true - np.median(true)).mean()),
        )
    return baselines


def _whole_episode(
    checkpoint: Checkpoint | OtherPolicy, view: Any, heldout: HeldOut, source: int, config: CheckConfig
) -> WholeEpisode:
    """A source episode with looks all along it."""
    horizon, replan = checkpoint.horizon, getattr(checkpoint.config, "replan_steps", 0)
    numbers = [i for i, event in enumerate(heldout.events) if event.source == source]
    numbers.sort(key=lambda i: heldout.events[i].start)
    events = [heldout.events[i] for i in numbers]
    frames = sum(len(event.action) for event in events)
    apart = max(replan, horizon // 3, -(-frames // LOOKS_PER_EPISODE), 1)
    anchors = [
        Anchor(i, offset, event.first_row + offset)
        for i, event in zip(numbers, events, strict=True)
        for offset in range(0, len(event.action), apart)
    ]
    seen = load_observations(checkpoint, view, heldout.events, anchors, heldout.root.name)
    bar = None if config.quiet else f"looking into episode {source}"
    prediction = predict(checkpoint, seen, config.seed, bar=bar)
    actions = np.where(np.isfinite(prediction.normalized), prediction.actions, np.nan)
    first = events[0].start
    spans = [(e.start - first, e.start - first + len(e.action), e.kind) for e in events]
    true = np.full((spans[-1][1], actions.shape[2]), np.nan)
    for event, (start, end, _) in zip(events, spans, strict=True):
        true[start:end] = event.action
    if not heldout.carved:
        spans = list(events[0].spans) or spans
    steps = np.clip(np.nan_to_num(prediction.remaining, nan=1.0), 1, horizon).astype(int)
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
    seen = load_observations(checkpoint, view, heldout.events, anchors, heldout.root.name)
    told = checkpoint.config.stage == "video"
    return imagine(checkpoint, seen, float(heldout.meta.fps), config.seed, told_length=told)


def _training_events(heldout: HeldOut, config: CheckConfig) -> list[EventRows] | None:
    root, beside = config.train.root, heldout.root.resolve().parent / "train"
    if root is None and split_of(heldout.root) == "heldout" and split_of(beside) == "train":
        root = beside
    if root is None:
        return None
    return with_hold(read_event_rows(root), heldout.embodiment)
