# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Recorded observations, ready for the policy, and what it predicts from them.

Shapes: N observations, H horizon, D joints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.views import Anchor

BATCH = 16


@dataclass
class Observations:
    """Held-out observations, ready for the policy."""

    anchors: list[Anchor]  # where each is from
    batches: list[dict[str, Any]]  # preprocessed batches of at most `BATCH` observations
    captions: list[str]  # N strings
    true: np.ndarray  # ``(N, H, D)`` recorded actions
    valid: np.ndarray  # ``(N, H)``, False beyond the event's end
    state: np.ndarray  # ``(N, D)``
    remaining: np.ndarray  # ``(N,)`` frames to the event's end

    def seen(
        self,
        checkpoint: Checkpoint,
        rows: Sequence[int],
        images_from: Sequence[int] | None = None,
        states_from: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Observations ``rows`` as a robot has them, without past or future, for `Checkpoint.plan`.

        ``images_from`` and ``states_from`` say which ones' images and states they get instead of their own.
        """
        import torch

        shown, felt = images_from or rows, states_from or rows
        places = [divmod(i, BATCH) for i in shown]
        device = self.batches[0]["observation.state"].device
        pictures = {
            key: torch.stack([self.batches[part][key][row, checkpoint.now] for part, row in places])
            for key in checkpoint.policy.rollout.images.present(self.batches[0])
        }
        state = torch.as_tensor(self.state[list(felt)], dtype=torch.float32, device=device)
        return {**pictures, "observation.state": state, "task": [self.captions[i] for i in rows]}


def steps(numbers: range, bar: str | None) -> Iterable[int]:
    """A loop with a progress bar of this text; without one for None."""
    return tqdm(numbers, desc=bar, disable=bar is None, file=sys.stderr, leave=False)


def load_observations(
    checkpoint: Checkpoint,
    view: Any,
    events: Sequence[EventRows],
    anchors: Sequence[Anchor],
    bar: str | None = None,
) -> Observations:
    """Decodes and preprocesses observations of a view (`views.open_view`) with these events; ``bar`` as in `steps`."""
    import torch
    from torch.utils.data import default_collate

    config = checkpoint.config
    now = checkpoint.now if config.chunked else 0  # of the states: see `views.open_view`
    batches, true, valid, state = [], [], [], []
    for start in steps(range(0, len(anchors), BATCH), bar):
        raw = default_collate([view[anchor.row] for anchor in anchors[start : start + BATCH]])
        true.append(raw["action"][:, -config.horizon :].double().numpy().copy())
        valid.append(~raw["action_is_pad"][:, -config.horizon :].numpy())
        state.append(raw["observation.state"][:, now].double().numpy().copy())
        with torch.no_grad():
            batches.append(checkpoint.preprocess(raw))
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
    """What the policy would do from N observations."""

    actions: np.ndarray  # ``(N, H, D)`` in dataset units, past the predicted end the last one
    remaining: np.ndarray  # ``(N,)`` predicted frames to the event's end
    # ``(N, H, D)`` as they enter the postprocessor, where -1 and 1 are the ends of the data's range.
    normalized: np.ndarray


def predict(
    checkpoint: Checkpoint,
    observations: Observations,
    seed: int = 0,
    captions: Sequence[str] | None = None,
    images_from: Sequence[int] | None = None,
    states_from: Sequence[int] | None = None,
    bar: str | None = None,
) -> Prediction:
    """What the policy would do.

    Args:
        checkpoint: The policy.
        observations: What it sees.
        seed: Of the sampling noise; the same seed gives each observation the same noise.
        captions: Replace the observations' own.
        images_from: Observation ``i`` sees the images of observation ``images_from[i]``; ``states_from`` likewise.
        states_from: See ``images_from``.
        bar: As in `steps`.
    """
    import torch

    batches, pasts, parts, done = observations.batches, None, [], 0
    chunks: list[Any] = [None] * len(batches)
    if checkpoint.config.chunked:
        chunks = [checkpoint.policy.windows_from_batch(batch).chunk for batch in batches]
        pasts = torch.cat([chunk.past for chunk in chunks])
    for number in steps(range(len(batches)), bar):
        batch, chunk = batches[number], chunks[number]
        rows = list(range(done, done + len(batch["task"])))
        done += len(rows)
        shown, felt = (
            rows if other is None else [other[i] for i in rows] for other in (images_from, states_from)
        )
        seen = observations.seen(checkpoint, rows, shown, felt)
        if captions is not None:
            seen["task"] = [captions[i] for i in rows]
        if chunk is not None and pasts is not None:
            chunk.past = pasts[shown]
        actions, plan = checkpoint.plan(seen, seed * 10_000 + number, chunk=chunk)
        parts.append((actions, plan.remaining.float().cpu().numpy(), plan.actions.cpu().numpy()))
    return Prediction(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def mean_absolute(difference: np.ndarray, valid: np.ndarray) -> float:
    """Mean absolute value of ``(N, H, D)`` over all valid steps and joints."""
    return float(np.abs(difference)[valid].mean())


@dataclass
class WholeEpisode:
    """One source episode with every look into it."""

    index: int
    instruction: str
    true: np.ndarray  # ``(T, D)`` recorded actions; NaN where the view left frames out
    events: list[tuple[int, int, str]]  # ``(start, end, kind)`` in frames
    looks: list[tuple[int, np.ndarray]]  # ``(frame, actions (L, D))`` up to each look's predicted end
    fps: float  # of the data
