# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Recorded observations, ready for the policy, and what it predicts from them.

Shapes: N observations, H horizon, D joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.views import Anchor

BATCH = 16
# Our choice: enough for stable means, few enough for a minute on two cores.
MAX_OBSERVATIONS = 180


@dataclass
class Observations:
    """Held-out observations, ready for the policy.

    Attributes:
        anchors: Where each is from.
        batches: Preprocessed batches of at most `BATCH` observations.
        captions: N strings.
        true: ``(N, H, D)`` recorded actions.
        valid: ``(N, H)``, False beyond the event's end.
        state: ``(N, D)``.
        remaining: ``(N,)`` frames to the event's end.
    """

    anchors: list[Anchor]
    batches: list[dict[str, Any]]
    captions: list[str]
    true: np.ndarray
    valid: np.ndarray
    state: np.ndarray
    remaining: np.ndarray


def load_observations(
    checkpoint: Checkpoint,
    view: Any,
    events: Sequence[EventRows],
    anchors: Sequence[Anchor],
    progress: Callable[[int], object] | None = None,
) -> Observations:
    """Decodes and preprocesses observations.

    Args:
        checkpoint: For its pipeline.
        view: From `heldout.open_view`.
        events: All events of the view.
        anchors: The observations to load.
        progress: Told how many observations are loaded more.
    """
    import torch
    from torch.utils.data import default_collate

    config = checkpoint.config
    now = checkpoint.now if config.chunked else 0  # of the states: see `views.open_view`
    batches, true, valid, state = [], [], [], []
    for start in range(0, len(anchors), BATCH):
        raw = default_collate([view[anchor.row] for anchor in anchors[start : start + BATCH]])
        true.append(raw["action"][:, -config.horizon :].double().numpy().copy())
        valid.append(~raw["action_is_pad"][:, -config.horizon :].numpy())
        state.append(raw["observation.state"][:, now].double().numpy().copy())
        with torch.no_grad():
            batches.append(checkpoint.preprocess(raw))
        if progress is not None:
            progress(len(true[-1]))
    return Observations(
        list(anchors),
        batches,
        [events[anchor.event].caption for anchor in anchors],
        np.concatenate(true),
        np.concatenate(valid),
        np.concatenate(state),
        np.array([len(events[anchor.event].action) - anchor.offset for anchor in anchors], dtype=np.float64),
    )


@dataclass
class Prediction:
    """What the policy would do from N observations.

    Attributes:
        actions: ``(N, H, D)`` in dataset units, past the predicted end the last one.
        remaining: ``(N,)`` predicted frames to the event's end.
        normalized: ``(N, H, D)`` as they enter the postprocessor, where -1 and 1 are the ends of the data's range.
    """

    actions: np.ndarray
    remaining: np.ndarray
    normalized: np.ndarray


def predict(
    checkpoint: Checkpoint,
    observations: Observations,
    seed: int = 0,
    captions: Sequence[str] | None = None,
    images_from: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted actions ``(N, H, D)`` in dataset units and predicted remaining frames ``(N,)``; see `predict_all`."""
    prediction = predict_all(checkpoint, observations, seed, captions, images_from)
    return prediction.actions, prediction.remaining


def predict_all(
    checkpoint: Checkpoint,
    observations: Observations,
    seed: int = 0,
    captions: Sequence[str] | None = None,
    images_from: Sequence[int] | None = None,
    states_from: Sequence[int] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Prediction:
    """What the policy would do.

    Args:
        checkpoint: The policy.
        observations: What it sees.
        seed: Of the sampling noise; the same seed gives each observation the same noise.
        captions: Replace the observations' own.
        images_from: Observation ``i`` sees the images of observation ``images_from[i]``.
        states_from: Observation ``i`` has the state of observation ``states_from[i]``.
        progress: Told how many observations are done more.
    """
    import torch

    space = checkpoint.policy.action_space
    events = [checkpoint.policy.windows_from_batch(batch) for batch in observations.batches]
    keyframes = torch.cat([event.keyframes for event in events])
    chunks = [event.chunk.past for event in events if event.chunk is not None]
    pasts = torch.cat(chunks) if chunks else None
    parts, done = [], 0
    for number, event in enumerate(events):
        rows = list(range(done, done + len(event.captions)))
        done += len(rows)
        shown = rows if images_from is None else [images_from[i] for i in rows]
        event.keyframes = keyframes[shown]
        if pasts is not None and event.chunk is not None:
            event.chunk.past = pasts[shown]
        if captions is not None:
            event.captions = [captions[i] for i in rows]
        felt = rows if states_from is None else [states_from[i] for i in rows]
        state = torch.as_tensor(observations.state[felt], dtype=torch.float32)
        if states_from is not None:
            there = state.to(event.state.device)
            event.state, event.here = space.encode_state(there), space.here(there)
        actions, plan = checkpoint.plan(event, state, seed * 10_000 + number)
        parts.append((actions, plan.remaining.float().cpu().numpy(), plan.actions.cpu().numpy()))
        if progress is not None:
            progress(len(rows))
    return Prediction(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def mean_absolute(difference: np.ndarray, valid: np.ndarray) -> float:
    """Mean absolute value of ``(N, H, D)`` over all valid steps and joints."""
    return float(np.abs(difference)[valid].mean())


def other_captions(captions: Sequence[str], rng: np.random.Generator) -> list[str]:
    """For each caption another one of the list, drawn at random; all equal captions stay."""
    distinct = sorted(set(captions))
    if len(distinct) < 2:
        return list(captions)
    return [distinct[(distinct.index(c) + rng.integers(1, len(distinct))) % len(distinct)] for c in captions]


def derangement(count: int, rng: np.random.Generator) -> list[int]:
    """A permutation that leaves nothing in its place (count >= 2)."""
    order = rng.permutation(count)
    partner = np.empty(count, dtype=int)
    partner[order] = np.roll(order, 1)
    return partner.tolist()


@dataclass
class WholeEpisode:
    """One source episode with every look into it.

    Attributes:
        index: Its number.
        instruction: Its task.
        true: ``(T, D)`` recorded actions; NaN where the view left frames out.
        events: ``(start, end, kind)`` in frames.
        looks: ``(frame, actions (L, D))`` up to each look's predicted end.
        fps: Of the data.
    """

    index: int
    instruction: str
    true: np.ndarray
    events: list[tuple[int, int, str]]
    looks: list[tuple[int, np.ndarray]]
    fps: float
