# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Recorded observations, decoded when they are asked for, and what the policy predicts from them.

What was recorded (actions, states) is small and kept; pictures are not, so that memory does not grow with their size.

Shapes: N observations, H horizon, D dimensions of an action, S of a state.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.views import Anchor
from lerobot_wallwm.storage.errors import DataError

# Observations that the policy is asked about at once, fewer where their pictures are large (our choice): as many as have
# so many bytes in float32. A network's own intermediate results come to some tens of times that.
BATCH, BATCH_BYTES = 16, 8_000_000


class Pictures:
    """Items of a view, decoded whenever they are asked for and never kept.

    Args:
        view: Items with pictures in [0, 1], by row.
        rows: The rows, in the order of the observations.
        shown: Name of the data, for messages.
    """

    def __init__(self, view: Any, rows: Sequence[int], shown: str = "the dataset"):
        self.view, self.rows, self.shown = view, list(rows), shown

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One observation as its dataset has it. DataError where its pictures cannot be decoded."""
        try:
            return self.view[self.rows[number]]
        except (RuntimeError, OSError, IndexError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            problem, fix = f"cannot be decoded ({reason})", "copy the dataset again"
            raise DataError(self.shown, "videos", problem, fix) from error

    @cached_property
    def at_once(self) -> int:
        """How many the policy is asked about at once."""
        if not self.rows:
            return BATCH
        size = sum(v.numel() * 4 for v in self[0].values() if hasattr(v, "ndim") and v.ndim > 2)
        return max(1, min(BATCH, BATCH_BYTES // max(size, 1)))


class Policy(Protocol):
    """What `predict` asks of a checkpoint."""

    config: Any

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint's own pipeline."""

    def observation(
        self, shown: Sequence[dict[str, Any]], felt: Sequence[dict[str, Any]], tasks: list[str]
    ) -> dict[str, Any]:
        """Items as a robot's observations, preprocessed: pictures of ``shown``, states of ``felt``."""

    def chunk(self, own: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]]) -> Any | None:
        """The past of items ``own`` with the pictures of ``shown``, for a policy that has one."""

    def predict(self, observation: dict[str, Any], seed: int, chunk: Any | None = None) -> Prediction:
        """What it would do."""


@dataclass
class Observations:
    """Held-out observations, ready for the policy."""

    anchors: list[Anchor]  # where each is from
    items: Pictures | Sequence[dict[str, Any]]  # N items of the dataset, `Pictures`
    captions: list[str]  # N strings
    true: np.ndarray  # ``(N, H, D)`` recorded actions
    valid: np.ndarray  # ``(N, H)``, False beyond the event's end
    state: np.ndarray  # ``(N, S)``
    remaining: np.ndarray  # ``(N,)`` frames to the event's end
    stay: np.ndarray = None  # type: ignore[assignment]  # ``(N, D)`` actions that stay; None for the states
    preprocess: Callable[[dict[str, Any]], dict[str, Any]] | None = None  # the checkpoint's

    def __post_init__(self) -> None:
        self.stay = self.state if self.stay is None else self.stay

    @property
    def at_once(self) -> int:
        """How many the policy is asked about at once."""
        return getattr(self.items, "at_once", BATCH)

    @property
    def parts(self) -> list[list[int]]:
        """The numbers of all observations, as many together as the policy is asked about at once."""
        size, count = self.at_once, len(self.anchors)
        return [list(range(start, min(start + size, count))) for start in range(0, count, size)]

    def batch(self, rows: Sequence[int]) -> dict[str, Any]:
        """The items ``rows``, windows and all, preprocessed."""
        from torch.utils.data import default_collate

        assert self.preprocess is not None
        return self.preprocess(default_collate([self.items[i] for i in rows]))

    def seen(
        self,
        checkpoint: Policy,
        rows: Sequence[int],
        images_from: Sequence[int] | None = None,
        states_from: Sequence[int] | None = None,
        captions: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Observations ``rows`` as a robot has them, without the future, for the policy.

        ``images_from`` and ``states_from`` say which ones' images and states they get instead of their own, ``captions``
        what all N are told instead.
        """
        shown = [self.items[i] for i in images_from or rows]
        felt = [self.items[i] for i in states_from or rows]
        return checkpoint.observation(shown, felt, [(captions or self.captions)[i] for i in rows])


def steps(numbers: Sequence[Any] | range, bar: str | None) -> Iterable[Any]:
    """A loop with a progress bar of this text; without one for None."""
    return tqdm(numbers, desc=bar, disable=bar is None, file=sys.stderr, leave=False)


def load_observations(
    checkpoint: Any,
    view: Any,
    events: Sequence[EventRows],
    anchors: Sequence[Anchor],
    shown: str = "the dataset",
) -> Observations:
    """Observations of a view (`views.open_view`) with these events; ``shown`` is the view's name, for messages."""
    horizon = checkpoint.horizon
    true = np.zeros((len(anchors), horizon, events[0].action.shape[1]))
    valid = np.zeros((len(anchors), horizon), dtype=bool)
    for i, anchor in enumerate(anchors):
        ahead = events[anchor.event].action[anchor.offset : anchor.offset + horizon]
        true[i, : len(ahead)], true[i, len(ahead) :] = ahead, ahead[-1]
        valid[i, : len(ahead)] = True
    return Observations(
        list(anchors),
        Pictures(view, [anchor.row for anchor in anchors], shown),
        [events[anchor.event].task_at(anchor.offset) for anchor in anchors],
        true,
        valid,
        np.stack([events[anchor.event].state[anchor.offset] for anchor in anchors]),
        np.array([len(events[anchor.event].action) - anchor.offset for anchor in anchors], dtype=np.float64),
        np.stack([events[anchor.event].stay[anchor.offset] for anchor in anchors]),
        checkpoint.preprocess,
    )


@dataclass
class Prediction:
    """What the policy would do from N observations."""

    actions: np.ndarray  # ``(N, H, D)`` in dataset units, past the predicted end the last one
    remaining: np.ndarray  # ``(N,)`` predicted frames to the event's end; H where the policy knows no events
    # ``(N, H, D)`` where -1 and 1 are the ends of the training data's range, as they enter the postprocessor.
    normalized: np.ndarray


def predict(
    checkpoint: Policy,
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
    parts, items = [], observations.items
    for number, rows in enumerate(steps(observations.parts, bar)):
        shown, felt = (
            rows if other is None else [other[i] for i in rows] for other in (images_from, states_from)
        )
        chunk = checkpoint.chunk([items[i] for i in rows], [items[i] for i in shown])
        seen = observations.seen(checkpoint, rows, shown, felt, captions)
        parts.append(checkpoint.predict(seen, seed * 10_000 + number, chunk))
    return Prediction(
        *(np.concatenate([getattr(p, f) for p in parts]) for f in ("actions", "remaining", "normalized"))
    )


def mean_absolute(difference: np.ndarray, valid: np.ndarray, scale: np.ndarray | None = None) -> float:
    """Mean absolute value of ``(N, H, D)`` over all valid steps and dimensions; see `errors.relative` for ``scale``."""
    values = np.abs(difference)[valid]
    return float(values.mean() if scale is None else np.nanmean(values / scale))


@dataclass
class WholeEpisode:
    """One source episode with every look into it."""

    index: int
    instruction: str
    true: np.ndarray  # ``(T, D)`` recorded actions; NaN where the view left frames out
    events: list[tuple[int, int, str]]  # ``(start, end, kind)`` in frames
    looks: list[tuple[int, np.ndarray]]  # ``(frame, actions (L, D))`` up to each look's predicted end
    fps: float  # of the data
