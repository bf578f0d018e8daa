# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does it look, does it read? How far the predicted motion moves when one input is exchanged and all else stays.

A motion is the actions minus the observed pose, where the two are the same joints. A change is meaningful only beside
what the data do: the same observations' recorded motions differ by so much from those of the observations that the
exchanged inputs come from. A policy that follows an input fully would come near that; one that ignores it stays at zero.

Shapes: N observations, H horizon, D joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import (
    Observations,
    Prediction,
    derangement,
    mean_absolute,
    predict,
)

IMAGES, CAPTION, STATE, NOISE = "other_images", "other_caption", "other_state", "other_noise"


@dataclass
class InputChanges:
    """Changes of the predicted motion, mean absolute in the dataset's units."""

    change: dict[str, float]  # by input; NaN where it could not be exchanged (all captions equal)
    natural: dict[str, float]  # by input: how far the recorded motions of the same pairs differ

    def share(self, name: str) -> float:
        """The change as a part of what the data would have; NaN where unknown."""
        natural = self.natural.get(name, float("nan"))
        return self.change[name] / natural if natural > 0 else float("nan")


def motion(actions: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Actions ``(N, H, D)`` relative to the poses ``(N, P)``, where these are the same joints."""
    return actions - state[:, None] if state.shape[1] == actions.shape[2] else actions


def partners_with_other_captions(captions: Sequence[str], rng: np.random.Generator) -> list[int] | None:
    """For each observation another one with a different caption, drawn at random; None if all captions are equal."""
    names = np.array(captions)
    if len(set(captions)) < 2:
        return None
    return [int(rng.choice(np.flatnonzero(names != name))) for name in captions]


def partners_elsewhere(
    sources: Sequence[int], captions: Sequence[str], rng: np.random.Generator
) -> list[int]:
    """For each observation one of another episode, or of another caption, or else any other."""
    if len(sources) < 2:
        return [0] * len(sources)
    episode, caption = np.array(sources), np.array(captions)
    others = derangement(len(sources), rng)
    out = []
    for i, fallback in enumerate(others):
        elsewhere = np.flatnonzero(episode != episode[i])
        if not len(elsewhere):
            elsewhere = np.flatnonzero(caption != caption[i])
        out.append(int(rng.choice(elsewhere)) if len(elsewhere) else fallback)
    return out


def measure_sensitivity(
    checkpoint: Checkpoint,
    observations: Observations,
    base: Prediction,
    events: Sequence[EventRows],
    seed: int,
    bar: str | None = None,
) -> InputChanges:
    """Exchanges images, captions, states and noise; ``base`` is what the policy does without, with the same seed."""
    rng = np.random.default_rng(seed)
    sources = [events[anchor.event].source for anchor in observations.anchors]
    elsewhere = partners_elsewhere(sources, observations.captions, rng)
    worded = partners_with_other_captions(observations.captions, rng)
    recorded = motion(observations.true, observations.state)
    own = motion(base.actions, observations.state)
    change, natural = {}, {}

    def exchange(name: str, partners: Sequence[int], state: np.ndarray, **inputs: object) -> None:
        there = predict(checkpoint, observations, seed, bar=bar, **inputs)  # type: ignore[arg-type]
        both = observations.valid & observations.valid[list(partners)]
        change[name] = mean_absolute(motion(there.actions, state) - own, both)
        natural[name] = mean_absolute(recorded[list(partners)] - recorded, both)

    exchange(IMAGES, elsewhere, observations.state, images_from=elsewhere)
    if worded is None:
        change[CAPTION] = natural[CAPTION] = float("nan")
    else:
        captions = [observations.captions[i] for i in worded]
        exchange(CAPTION, worded, observations.state, captions=captions)
    exchange(STATE, elsewhere, observations.state[elsewhere], states_from=elsewhere)
    again = predict(checkpoint, observations, seed + 1, bar=bar)
    change[NOISE] = mean_absolute(again.actions - base.actions, observations.valid)
    natural[NOISE] = float("nan")  # chance differs in no recording
    return InputChanges(change, natural)
