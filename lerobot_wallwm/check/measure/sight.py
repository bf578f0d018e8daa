# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does it look, does it read? What the policy does with its own inputs and with exchanged ones.

`measure_changes` says how far the predicted motion moves when one input is exchanged and all else stays, beside how far
the recorded motions of the same pairs differ. A policy that follows an input fully would come near that; one that ignores
it stays at zero. A motion is the actions minus those that would stay where the robot is.

`measure_sight` says how far it ends from where an event ended. The mean error over an event hides a policy that does not
look: most of the way follows from the pose and the caption. Where an event ends does not. Equal errors with its own
pictures and with those of another scene mean that it is blind.

Shapes: N observations, H horizon, D joints.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import Observations, Policy, Prediction, mean_absolute, predict
from lerobot_wallwm.check.thresholds import NEEDS_EYES

IMAGES, CAPTION, STATE, NOISE = "other_images", "other_caption", "other_state", "other_noise"
OWN, HOLD = "its own", "holding the pose"
OTHER_SCENE, BLANK, OTHER_CAPTION = "another scene", "blank pictures", "another caption"
IMAGINED, SHUFFLED = "imagined future", "another event's imagined future"

# Observations of `sight_where_needed`. Our choice: two batches, which make a check a tenth longer.
AT_MOST = 32
# By camera, whose pictures it shows to each of the N observations; None for grey ones.
Pictures = Mapping[str, Sequence[int] | None]


@dataclass
class InputChanges:
    """Changes of the predicted motion, mean absolute, as a part of each dimension's range."""

    change: dict[str, float]  # by input; NaN where it could not be exchanged (all captions equal)
    natural: dict[str, float]  # by input: how far the recorded motions of the same pairs differ

    def share(self, name: str) -> float:
        """The change as a part of what the data would have; NaN where unknown."""
        natural = self.natural.get(name, float("nan"))
        return self.change[name] / natural if natural > 0 else float("nan")


def measure_changes(
    checkpoint: Policy,
    observations: Observations,
    base: Prediction,
    events: Sequence[EventRows],
    seed: int,
    bar: str | None = None,
    scale: np.ndarray | None = None,
) -> InputChanges:
    """Exchanges images, captions, states and noise; ``base`` is what the policy does without, with the same seed."""
    rng = np.random.default_rng(seed)
    chosen, captions = [events[anchor.event] for anchor in observations.anchors], observations.captions
    kinds = [e.kind_at(a.offset) or e.caption for e, a in zip(chosen, observations.anchors, strict=True)]
    elsewhere = partners([event.source for event in chosen], captions, kinds, rng)
    worded = with_other_captions(captions, kinds, rng)
    stay = observations.stay
    recorded, own = _motion(observations.true, stay), _motion(base.actions, stay)
    change, natural = {CAPTION: float("nan")}, {CAPTION: float("nan"), NOISE: float("nan")}

    def exchange(name: str, rows: Sequence[int], felt: np.ndarray, **inputs: Any) -> None:
        there = predict(checkpoint, observations, seed, bar=bar, **inputs)
        both = observations.valid & observations.valid[rows]
        change[name] = mean_absolute(_motion(there.actions, felt) - own, both, scale)
        natural[name] = mean_absolute(recorded[rows] - recorded, both, scale)

    exchange(IMAGES, elsewhere, stay, images_from=elsewhere)
    if worded is not None:
        exchange(CAPTION, worded, stay, captions=[captions[i] for i in worded])
    exchange(STATE, elsewhere, stay[elsewhere], states_from=elsewhere)
    again = predict(checkpoint, observations, seed + 1, bar=bar)
    change[NOISE] = mean_absolute(again.actions - base.actions, observations.valid, scale)
    return InputChanges(change, natural)


def _motion(actions_NHD: np.ndarray, stay_ND: np.ndarray) -> np.ndarray:
    """Actions relative to those that would stay."""
    return actions_NHD - stay_ND[:, None]


def _kind(event: EventRows) -> str:
    return event.kind or event.caption


def partners(
    sources: Sequence[int], captions: Sequence[str], kinds: Sequence[str], rng: np.random.Generator
) -> list[int]:
    """For each observation one of another episode, with the same caption if there is one, else of the same kind.

    Where there is but one episode, one with another caption, or else any other.
    """
    source, caption, kind = map(np.array, (sources, captions, kinds))
    out = []
    for i in range(len(source)):
        elsewhere, others = source != source[i], np.arange(len(source)) != i
        choices = [elsewhere & (caption == caption[i]), elsewhere & (kind == kind[i]), elsewhere]
        choices += [caption != caption[i], others, ~others]
        out.append(_any_of(choices, rng))
    return out


def with_other_captions(
    captions: Sequence[str], kinds: Sequence[str], rng: np.random.Generator
) -> list[int] | None:
    """For each observation one with another caption, of the same kind of event if there is one; None if all are equal."""
    caption, kind = np.array(captions), np.array(kinds)
    if len(set(captions)) < 2:
        return None
    others = [caption != own for own in caption]
    return [_any_of([other & (kind == own), other], rng) for other, own in zip(others, kind, strict=True)]


def _any_of(choices: Sequence[np.ndarray], rng: np.random.Generator) -> int:
    """One of the observations that the first choice with any marks."""
    return int(rng.choice(next(rows for rows in map(np.flatnonzero, choices) if len(rows))))


@dataclass
class Sight:
    """Where the policy ends, by what was exchanged.

    Attributes:
        ends: Predicted last actions ``(N, D)`` by the name of the exchange; ``OWN`` is none.
        true: ``(N, D)`` recorded last actions.
        kinds: N kinds of events.
        events: ``(N,)`` which events.
        arm: Indices of the joints that are compared; a gripper's end follows from the caption.
        scale: ``(D,)`` what the errors are measured in; NaN for joints that are left out, None for the dataset's units.
    """

    ends: dict[str, np.ndarray]
    true: np.ndarray
    kinds: np.ndarray
    events: np.ndarray
    arm: list[int]
    scale: np.ndarray | None = None

    def counts(self) -> dict[str, int]:
        """Events by their kind."""
        return {str(k): len(set(self.events[self.kinds == k].tolist())) for k in dict.fromkeys(self.kinds)}

    def errors(self, name: str) -> np.ndarray:
        """``(N,)`` mean absolute error of the arm's joints at the end."""
        off = np.abs(self.ends[name] - self.true)
        return np.nanmean((off if self.scale is None else off / self.scale)[:, self.arm], axis=1)

    def mean(self, name: str, kind: str | None = None) -> float:
        """Mean error; of one kind of event, or of all kinds alike."""
        if kind is not None:
            return float(self.errors(name)[self.kinds == kind].mean())
        return float(np.mean([self.mean(name, kind) for kind in self.counts()]))

    def times(self, name: str) -> float:
        """The error with that exchange, as a multiple of that without."""
        own = self.mean(OWN)
        return self.mean(name) / own if own > 0 else float("inf")

    def summary(self) -> dict[str, Any]:
        """The figures by exchange, as `hub.card.check_report.Sight` has them."""
        return {
            "observations": len(self.true),
            "events": self.counts(),
            "error": {name: self.mean(name) for name in self.ends},
            "times": {name: self.times(name) for name in self.ends},
            "by_event": {name: {k: self.mean(name, k) for k in self.counts()} for name in self.ends},
        }


def arm_of(joints: Sequence[str]) -> list[int]:
    """Indices of the joints that are no gripper; all of them if there is nothing else."""
    return [d for d, name in enumerate(joints) if "gripper" not in name] or list(range(len(joints)))


def kinds_that_need_eyes(
    observations: Observations,
    events: Sequence[EventRows],
    guesses: Mapping[str, np.ndarray],
    joints: Sequence[str],
) -> list[str]:
    """Kinds of events whose ends neither the pose nor the caption tells, and that more than one episode shows.

    Where other episodes' events of that caption, or else of that kind, end on average is a guess, too.

    Args:
        observations: Held-out ones.
        events: Those that the observations' anchors name.
        guesses: What one would do without looking, ``(N, H, D)`` by name, as `errors.baseline_actions` has it.
        joints: Names of the D action dimensions.
    """
    arm, horizon = arm_of(joints), observations.true.shape[1]
    rows = np.flatnonzero(observations.remaining <= horizon)
    if not len(rows):
        return []
    chosen = [events[observations.anchors[i].event] for i in rows]
    kinds, sources = np.array(list(map(_kind, chosen))), np.array([e.source for e in chosen])
    last = observations.remaining[rows].astype(int) - 1
    true = observations.true[rows, last][:, arm]
    apart = np.abs(true[:, None] - true).mean()
    ends = [guess[rows, last] for guess in guesses.values()]
    ends.append(np.stack([_usual_end(event, events) for event in chosen]))
    off = [np.abs(end[:, arm] - true).mean(1) for end in ends]

    def needs(kind: str) -> bool:
        of = kinds == kind
        return len(set(sources[of])) > 1 and min(error[of].mean() for error in off) > NEEDS_EYES * apart

    return [kind for kind in dict.fromkeys(kinds.tolist()) if needs(kind)]


def _usual_end(event: EventRows, events: Sequence[EventRows]) -> np.ndarray:
    others = [other for other in events if other.source != event.source and other.kind == event.kind]
    others = [other for other in others if other.caption == event.caption] or others or [event]
    return np.mean([other.action[-1] for other in others], axis=0)


def sight_where_needed(
    checkpoint: Checkpoint,
    observations: Observations,
    events: Sequence[EventRows],
    guesses: Mapping[str, np.ndarray],
    joints: Sequence[str],
    seed: int = 0,
    scale: np.ndarray | None = None,
) -> Sight | None:
    """`measure_sight` of the `kinds_that_need_eyes`; None if there are none."""
    kinds = kinds_that_need_eyes(observations, events, guesses, joints)
    if not kinds:
        return None
    found = measure_sight(checkpoint, observations, events, joints, seed, kinds=kinds, at_most=AT_MOST)
    found.scale = scale
    return found


def measure_sight(
    checkpoint: Checkpoint,
    observations: Observations,
    events: Sequence[EventRows],
    joints: Sequence[str],
    seed: int = 0,
    imagination: bool = False,
    kinds: Collection[str] | None = None,
    at_most: int | None = None,
) -> Sight:
    """Exchanges pictures, whole and by camera and by path, captions and, on demand, imagined futures.

    Args:
        checkpoint: The policy; it is told how long each event still lasts, so that only the way there is judged.
        observations: At most a horizon from the end of their events; others are left out.
        events: Those that the observations' anchors name.
        joints: Names of the D action dimensions.
        seed: Of noise and partners.
        imagination: Whether to compare imagined futures, too.
        kinds: Only events of these kinds; None for all.
        at_most: Observations at most, evenly spaced; None for all.

    Raises:
        ValueError: No event ends within the horizon of an observation.
    """
    horizon = observations.true.shape[1]
    rows = []
    for i in np.flatnonzero(observations.remaining <= horizon).tolist():
        event = events[observations.anchors[i].event]
        if kinds is None or _kind(event) in kinds:
            rows.append(i)
    if not rows:
        raise ValueError(f"no observation lies within {horizon} frames of its event's end")
    if at_most is not None and len(rows) > at_most:
        rows = [rows[k * len(rows) // at_most] for k in range(at_most)]
    numbers = [observations.anchors[i].event for i in rows]
    chosen, captions = [events[n] for n in numbers], [observations.captions[i] for i in rows]
    sources, named = [e.source for e in chosen], list(map(_kind, chosen))
    true = observations.true[rows, observations.remaining[rows].astype(int) - 1]
    rng = np.random.default_rng(seed)
    others = [rows[i] for i in partners(sources, captions, named, rng)]
    worded = with_other_captions(captions, named, rng)
    look = _Look(checkpoint, observations, rows, seed)
    cameras = list(checkpoint.policy.rollout.images.present(observations.seen(checkpoint, rows[:1])))
    own, other = dict.fromkeys(cameras, rows), dict.fromkeys(cameras, others)

    ends = {OWN: look(own), OTHER_SCENE: look(other), BLANK: look(dict.fromkeys(cameras))}
    if len(cameras) > 1:
        for camera in cameras:
            short = camera.removeprefix("observation.images.")
            ends[f"another scene but for {short}"] = look({**other, camera: rows})
    if checkpoint.policy.model.landmarks is not None:
        ends["another scene, for the landmarks alone"] = look(own, found_in=other)
        ends["another scene, but not for the landmarks"] = look(other, found_in=own)
    if worded is not None:
        ends[OTHER_CAPTION] = look(own, [captions[i] for i in worded])
    if imagination:
        films: list[Any] = []

        def record(future: Any) -> Any:
            films.append(future.clone())
            return future

        ends[IMAGINED] = look(own, futures=record)
        kept = iter(films)
        # Each event gets another one's of its batch.
        ends[SHUFFLED] = look(own, futures=lambda z: next(kept).roll(max(1, len(z) // 2), 0))
    ends[HOLD] = observations.stay[rows]
    return Sight(ends, true, np.array(named), np.array(numbers), arm_of(joints))


class _Look:
    """Asks the policy for the last action of each of N events, with the same noise at every look."""

    def __init__(self, checkpoint: Checkpoint, observations: Observations, rows: list[int], seed: int):
        self.checkpoint, self.observations, self.rows, self.seed = checkpoint, observations, rows, seed

    def __call__(
        self,
        pictures: Pictures,
        captions: Sequence[str] | None = None,
        found_in: Pictures | None = None,
        futures: Callable[[Any], Any] | None = None,
    ) -> np.ndarray:
        """Last actions ``(N, D)``.

        Args:
            pictures: What it sees.
            captions: N of them; None for its own.
            found_in: In which the landmarks are found instead.
            futures: Makes of each imagined future the one that the video tower sees; None leaves the imagination as
                configured.
        """
        import torch

        out, model = [], self.checkpoint.policy.model
        size = self.observations.at_once
        for start in range(0, len(self.rows), size):
            part = slice(start, start + size)
            seen = self._seen(pictures, part)
            if captions is not None:
                seen["task"] = list(captions[part])
            remaining = self.observations.remaining[self.rows[part]]
            length = torch.as_tensor(remaining).to(seen["observation.state"].device)
            with ExitStack() as changes:
                if found_in is not None and model.landmarks is not None:
                    shown = self.checkpoint.policy.rollout.images(self._seen(found_in, part))
                    hook = model.landmarks.register_forward_pre_hook(lambda _, args, s=shown: (s, *args[1:]))
                    changes.enter_context(hook)
                if futures is not None:
                    changes.enter_context(_seeing(model, futures))
                imagination = None if futures is None else "anchor"
                actions, _ = self.checkpoint.plan(seen, self.seed * 10_000 + start, imagination, length)
            out.append(actions[np.arange(len(remaining)), remaining.astype(int) - 1])
        return np.concatenate(out)

    def _seen(self, pictures: Pictures, part: slice) -> dict[str, Any]:
        rows = self.rows[part]
        seen = self.observations.seen(self.checkpoint, rows)
        for camera, shown in pictures.items():
            if shown is None:
                seen[camera] = seen[camera] * 0 + 0.5
            elif (other := list(shown[part])) != rows:
                seen[camera] = self.observations.seen(self.checkpoint, rows, other)[camera]
        return seen


def _seeing(model: Any, change: Callable[[Any], Any]) -> Any:
    """Within it, the video tower sees what ``change`` makes of each future ``(B, V, C, T, h, w)`` that it is given."""
    import torch

    def hook(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        key, future = args[0][:, :, :, :1], args[0][:, :, :, 1:]
        return (torch.cat((key, change(future)), dim=3), *args[1:]) if future.shape[3] else None

    return model.video.register_forward_pre_hook(hook)
