# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Runs a checkpoint on held-out data and gathers everything that the rules and the page need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
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
    predict_all,
)
from lerobot_wallwm.check.measure.sensitivity import InputChanges, measure_sensitivity
from lerobot_wallwm.check.measure.video import Clips, imagine
from lerobot_wallwm.check.measure.views import (
    Anchor,
    HeldOut,
    choose_anchors,
    choose_episodes,
    open_view,
    read_event_rows,
)
from lerobot_wallwm.policies.training.stages import STAGES
from lerobot_wallwm.storage.errors import DataError

# Our choice: several looks into each event, no more than can be told apart in an episode.
LOOKS_PER_EPISODE = 40


@dataclass
class Measured:
    """What the rules judge; parts that were not measured are None.

    Attributes:
        stage: The checkpoint's.
        acts: Whether that stage trains actions.
        bad_weights: Names of weights that are not finite.
        bad_outputs: Share of predicted actions that are not finite.
        carved: Whether the data's events are known.
        from_training: Whether the data look like the checkpoint's own training view.
        episodes: Source episodes.
        unit: Of the errors.
        open_loop: Errors.
        clamped: Share of predicted actions outside of the data's range.
        first_step: 99th percentile of the first action's distance from the pose, predicted and recorded.
        sensitivity: Changes by exchanged inputs.
        remaining: Mean error of the predicted end, and of guessing the median, in frames.
        latency: On this machine.
        load: Of the machine while it was measured (mean number of running processes), and its cores.
        match: Of data and checkpoint.
        imagination: The configured one.
        psnr: Of the imagined video, and of repeating the keyframe.
    """

    stage: str = "joint"
    acts: bool = True
    bad_weights: list[str] = field(default_factory=list)
    bad_outputs: float = 0.0
    carved: bool = True
    from_training: bool = False
    episodes: int = 0
    unit: str = "dataset units"
    open_loop: OpenLoopErrors | None = None
    clamped: float | None = None
    first_step: tuple[float, float] | None = None
    sensitivity: InputChanges | None = None
    remaining: tuple[float, float] | None = None
    latency: Timings | None = None
    load: tuple[float, int] | None = None
    match: Match | None = None
    imagination: str = "none"
    psnr: tuple[float, float] | None = None


@dataclass
class Run:
    """Everything that was measured.

    Attributes:
        measured: What the rules judge.
        observations: Number of them.
        predicted_end: Frames to the event's end, predicted and true; empty where events are unknown.
        episodes: Drawn whole.
        clips: Imagined beside real; None where nothing could be imagined.
    """

    measured: Measured
    observations: int = 0
    predicted_end: tuple[np.ndarray, np.ndarray] | None = None
    episodes: list[WholeEpisode] = field(default_factory=list)
    clips: Clips | None = None


@contextmanager
def _bar(text: str, total: int, quiet: bool) -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=text, disable=quiet, file=sys.stderr, leave=False) as bar:
        yield bar.update


def unmeasured(policy: Any, heldout: HeldOut) -> Run:
    """What is known before the policy is run: all there is of one whose weights are not finite.

    Args:
        policy: The checkpoint's configuration.
        heldout: The data.
    """
    stage = STAGES[policy.stage]
    return Run(
        Measured(
            stage=stage.name,
            acts="action" in stage.losses,
            carved=heldout.carved,
            from_training=_split(heldout.root) == "train",
            episodes=len(heldout.sources),
            unit=unit_of(heldout),
            imagination=policy.imagination,
        )
    )


def measure(checkpoint: Checkpoint, heldout: HeldOut, config: CheckConfig) -> Run:
    """Measures actions, sensitivity, remaining time, video, latency and match.

    Args:
        checkpoint: The policy.
        heldout: What it was not trained on; `match.require_same_shape` has passed.
        config: The flags.
    """
    run = unmeasured(checkpoint.config, heldout)
    measured, fps = run.measured, config.fps or float(heldout.meta.fps)
    measured.match = measure_match(checkpoint, heldout, fps)
    anchors = choose_anchors(heldout.events, config.observations, config.seed)
    view = open_view(heldout.root, checkpoint.config, pictures_ahead=False)
    seen = _load("loading observations", checkpoint, view, heldout, anchors, config.quiet)
    run.observations = len(anchors)
    with _bar("predicting", 5 * len(anchors), config.quiet) as progress:
        base = predict_all(checkpoint, seen, config.seed, progress=progress)
        measured.sensitivity = measure_sensitivity(
            checkpoint, seen, base, heldout.events, config.seed, progress
        )
    _errors(run, checkpoint, heldout, seen, base, config)
    run.episodes = _whole_episodes(checkpoint, view, heldout, config)
    if not measured.bad_outputs:
        run.clips = _imagine(checkpoint, heldout, config)
        metrics = run.clips.metrics
        if metrics["frames"]:
            measured.psnr = (metrics["imagined"]["psnr"], metrics["repeat_keyframe"]["psnr"])
    if measured.acts and not measured.bad_outputs:
        rows = [view[anchor.row] for anchor in anchors[:8]]
        batches = inference_batches(rows, checkpoint.now, checkpoint.policy.image_keys)
        mean_event = heldout.frames / len(heldout.events)
        with _bar("timing", 4 * config.timings, config.quiet) as progress:
            measured.latency = measure_latency(checkpoint, batches, config.timings, mean_event, progress)
        measured.load = load_of_machine()
    return run


def _errors(
    run: Run,
    checkpoint: Checkpoint,
    heldout: HeldOut,
    seen: Observations,
    base: Prediction,
    config: CheckConfig,
) -> None:
    measured, inside = run.measured, seen.valid
    bound = 1.0 + checkpoint.config.action_clamp_margin
    raw = base.normalized[inside]
    measured.bad_outputs = float(1 - np.isfinite(raw).mean())
    moving = [name not in (measured.match.still if measured.match else []) for name in heldout.joints]
    # A thousandth beyond is rounding; a joint without a range is clamped whatever it does.
    measured.clamped = float((np.abs(np.nan_to_num(raw[:, moving])) > bound + 1e-3).mean())
    actions = np.where(np.isfinite(base.normalized), base.actions, np.nan)
    train = _training_events(heldout, config)
    baselines = baseline_actions(seen, heldout.events, train)
    measured.open_loop = open_loop(actions, baselines, seen, heldout.events, heldout.joints, config.seed)
    measured.first_step = first_step(actions, seen)
    if heldout.carved and not checkpoint.config.chunked:
        true = seen.remaining
        run.predicted_end = (base.remaining.astype(np.float64), true)
        error = float(np.abs(base.remaining - true).mean())
        measured.remaining = (error, float(np.abs(true - np.median(true)).mean()))


def _load(
    text: str, checkpoint: Checkpoint, view: Any, heldout: HeldOut, anchors: Sequence[Anchor], quiet: bool
) -> Observations:
    with _bar(text, len(anchors), quiet) as progress:
        try:
            return load_observations(checkpoint, view, heldout.events, anchors, progress)
        except (RuntimeError, OSError, IndexError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(
                heldout.root.name, "videos", f"cannot be decoded ({reason})", "copy the dataset again"
            ) from error


def _whole_episodes(
    checkpoint: Checkpoint, view: Any, heldout: HeldOut, config: CheckConfig
) -> list[WholeEpisode]:
    """Some source episodes with looks all along them."""
    policy, out = checkpoint.config, []
    chosen = choose_episodes(heldout, config.episodes_shown, config.seed)
    for source in chosen:
        events = sorted(
            ((i, e) for i, e in enumerate(heldout.events) if e.source == source), key=lambda p: p[1].start
        )
        frames = sum(len(event.action) for _, event in events)
        apart = max(policy.replan_steps, policy.horizon // 3, -(-frames // LOOKS_PER_EPISODE), 1)
        anchors = [
            Anchor(i, offset, event.first_row + offset)
            for i, event in events
            for offset in range(0, len(event.action), apart)
        ]
        seen = _load(f"looking into episode {source}", checkpoint, view, heldout, anchors, config.quiet)
        prediction = predict_all(checkpoint, seen, config.seed)
        actions = np.where(np.isfinite(prediction.normalized), prediction.actions, np.nan)
        first = events[0][1].start
        true = np.full((events[-1][1].start + len(events[-1][1].action) - first, actions.shape[2]), np.nan)
        for _, event in events:
            true[event.start - first : event.start - first + len(event.action)] = event.action
        looks = []
        for anchor, plan, left in zip(anchors, actions, prediction.remaining, strict=True):
            steps = int(np.clip(np.nan_to_num(left, nan=1.0), 1, policy.horizon))
            looks.append((heldout.events[anchor.event].start - first + anchor.offset, plan[:steps]))
        spans = [(e.start - first, e.start - first + len(e.action), e.kind) for _, e in events]
        out.append(
            WholeEpisode(source, events[0][1].instruction, true, spans, looks, float(heldout.meta.fps))
        )
    return out


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
    root = config.train.root
    if root is None:
        beside = heldout.root.resolve().parent / "train"
        there = _split(heldout.root) == "heldout" and _split(beside) == "train"
        root = beside if there else None
    return None if root is None else read_event_rows(root)


def _split(root: Path) -> str | None:
    """Which side of the split a carved view is; None where nothing says so."""
    import json

    file = root / "meta" / "wallwm.json"
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("split")
    except (ValueError, AttributeError):
        return None


def unit_of(heldout: HeldOut) -> str:
    """What the data's numbers are, where they show it: an SO arm beyond 100 in a joint can only be in degrees."""
    robot = str(heldout.meta.robot_type or "")
    if not robot.startswith(("so100", "so101", "so_")) or "gripper" not in heldout.joints[-1]:
        return "dataset units"
    actions = heldout.column("action")
    degrees = (
        np.abs(actions[:, :-1]).max() > 101 and actions[:, -1].min() >= -5 and actions[:, -1].max() <= 105
    )
    return "degrees, gripper 0 to 100" if degrees else "dataset units"
