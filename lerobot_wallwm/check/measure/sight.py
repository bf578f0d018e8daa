# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the policy looks at: how far it ends from where an event ended, with its own inputs and with exchanged ones.

The mean error over an event hides a policy that does not look: most of the way follows from the pose and the caption.
Where an event ends does not. So only the last action of each event is compared. Equal errors with its own pictures and
with those of another scene mean that it is blind.

Shapes: N observations, D joints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import BATCH, Observations

OWN, HOLD = "its own", "holding the pose"
OTHER_SCENE, BLANK, OTHER_CAPTION = "another scene", "blank pictures", "another caption"
IMAGINED, SHUFFLED = "imagined future", "another event's imagined future"


@dataclass
class Sight:
    """Where the policy ends, by what was exchanged.

    Attributes:
        ends: Predicted last actions ``(N, D)`` by the name of the exchange; ``OWN`` is none.
        true: ``(N, D)`` recorded last actions.
        kinds: N kinds of events.
        sources: ``(N,)`` source episodes.
        arm: Indices of the joints that are compared; a gripper's end follows from the caption.
    """

    ends: dict[str, np.ndarray]
    true: np.ndarray
    kinds: np.ndarray
    sources: np.ndarray
    arm: list[int] = field(default_factory=list)

    def errors(self, name: str) -> np.ndarray:
        """``(N,)`` mean absolute error of the arm's joints at the end."""
        return np.abs(self.ends[name] - self.true)[:, self.arm].mean(1)

    def mean(self, name: str, kind: str | None = None) -> float:
        """Mean error; of one kind of event, or of all kinds alike."""
        if kind is not None:
            return float(self.errors(name)[self.kinds == kind].mean())
        return float(np.mean([self.mean(name, kind) for kind in dict.fromkeys(self.kinds)]))

    def times(self, name: str) -> float:
        """The error with that exchange, as a multiple of that without."""
        own = self.mean(OWN)
        return self.mean(name) / own if own > 0 else float("inf")


def partners(
    sources: Sequence[int], captions: Sequence[str], kinds: Sequence[str], rng: np.random.Generator
) -> list[int]:
    """For each observation one of another episode, with the same caption if there is one, else of the same kind."""
    source, caption, kind = map(np.array, (sources, captions, kinds))
    out = []
    for i in range(len(source)):
        elsewhere = source != source[i]
        choices = [elsewhere & (caption == caption[i]), elsewhere & (kind == kind[i]), elsewhere]
        found = next((rows for rows in map(np.flatnonzero, choices) if len(rows)), np.array([i]))
        out.append(int(rng.choice(found)))
    return out


def other_captions(
    captions: Sequence[str], kinds: Sequence[str], rng: np.random.Generator
) -> list[str] | None:
    """For each observation another caption, of the same kind of event if there is one; None if all are equal."""
    caption, kind = np.array(captions), np.array(kinds)
    if len(set(captions)) < 2:
        return None
    out = []
    for i in range(len(caption)):
        other = caption != caption[i]
        same_kind = np.flatnonzero(other & (kind == kind[i]))
        out.append(str(caption[rng.choice(same_kind if len(same_kind) else np.flatnonzero(other))]))
    return out


def measure_sight(
    checkpoint: Checkpoint,
    observations: Observations,
    events: Sequence[EventRows],
    joints: Sequence[str],
    seed: int = 0,
    imagination: bool = False,
) -> Sight:
    """Exchanges pictures, whole and by camera and by path, captions and, on demand, imagined futures.

    Args:
        checkpoint: The policy; it is told how long each event still lasts, so that only the way there is judged.
        observations: At most a horizon from the end of their events; others are left out.
        events: Those that the observations' anchors name.
        joints: Names of the D action dimensions.
        seed: Of noise and partners.
        imagination: Whether to compare imagined futures, too.

    Raises:
        ValueError: No event ends within the horizon of an observation.
    """
    horizon = observations.true.shape[1]
    rows = [int(i) for i in np.flatnonzero(observations.remaining <= horizon)]
    if not rows:
        raise ValueError(f"no observation lies within {horizon} frames of its event's end")
    chosen = [events[observations.anchors[i].event] for i in rows]
    sources, kinds = [e.source for e in chosen], [e.kind or e.caption for e in chosen]
    captions = [observations.captions[i] for i in rows]
    last = observations.remaining[rows].astype(int) - 1
    true = observations.true[rows, last]
    rng = np.random.default_rng(seed)
    others = [rows[i] for i in partners(sources, captions, kinds, rng)]
    worded = other_captions(captions, kinds, rng)
    look = _Look(checkpoint, observations, rows, seed)
    cameras = list(checkpoint.policy.rollout.images.present(observations.batches[0]))

    ends = {OWN: look(), OTHER_SCENE: look(shown=others), BLANK: look(shown=None)}
    if len(cameras) > 1:
        for camera in cameras:
            rest = [name for name in cameras if name != camera]
            ends[f"another scene but for {_short(camera)}"] = look(shown=others, exchanged=rest)
    for path, reader in checkpoint.policy.model.picture_readers().items():
        ends[f"another scene, for the {path} alone"] = look(shown=others, reader=reader, through=True)
        ends[f"another scene, but not for the {path}"] = look(shown=others, reader=reader, through=False)
    if worded is not None:
        ends[OTHER_CAPTION] = look(captions=worded)
    if imagination:
        films: list[list[Any]] = []
        ends[IMAGINED] = look(imagination="anchor", record=films)
        ends[SHUFFLED] = look(imagination="anchor", replay=films)
    ends[HOLD] = observations.state[rows] if observations.state.shape[1] == true.shape[1] else 0 * true
    arm = [d for d, name in enumerate(joints) if "gripper" not in name] or list(range(len(joints)))
    return Sight(ends, true, np.array(kinds), np.array(sources), arm)


def _short(camera: str) -> str:
    return camera.removeprefix("observation.images.")


class _Look:
    """Asks the policy for the last action of each of its events.

    Args:
        checkpoint: The policy.
        observations: What it sees.
        rows: Which of them.
        seed: Of the noise; the same for every look.
    """

    def __init__(self, checkpoint: Checkpoint, observations: Observations, rows: list[int], seed: int):
        self.checkpoint, self.observations, self.rows, self.seed = checkpoint, observations, rows, seed

    def __call__(
        self,
        shown: Sequence[int] | None = (),
        exchanged: Sequence[str] | None = None,
        reader: Any = None,
        through: bool = False,
        captions: Sequence[str] | None = None,
        imagination: str | None = None,
        record: list[list[Any]] | None = None,
        replay: list[list[Any]] | None = None,
    ) -> np.ndarray:
        """Last actions ``(N, D)``.

        Args:
            shown: Whose pictures are seen; () for its own, None for grey ones.
            exchanged: The cameras that show them; None for all.
            reader: A module that reads pictures by itself, see `WorldActionModel.picture_readers`.
            through: Whether it alone is shown the exchanged pictures, or all but it.
            captions: Instead of its own.
            imagination: Instead of the configured one.
            record: Gets what the video tower was given to see, look by look.
            replay: What an earlier look recorded; each event gets another one's of its batch.
        """
        import torch

        out = []
        model = self.checkpoint.policy.model
        for start in range(0, len(self.rows), BATCH):
            part = slice(start, start + BATCH)
            rows = self.rows[part]
            own = self.observations.seen(self.checkpoint, rows)
            seen = self._exchanged(own, shown if not shown else shown[part], exchanged)
            if captions is not None:
                seen["task"] = list(captions[part])
            images = self.checkpoint.policy.rollout.images
            with_reader = [] if reader is None else [(reader, images(seen if through else own))]
            if reader is not None and through:
                seen = {**own, "task": seen["task"]}
            length = torch.as_tensor(self.observations.remaining[rows]).to(seen["observation.state"].device)
            with _showing(with_reader), _futures(model, record, replay, start // BATCH):
                actions, _ = self.checkpoint.plan(seen, self.seed * 10_000 + start, imagination, length)
            out.append(actions[np.arange(len(rows)), self.observations.remaining[rows].astype(int) - 1])
        return np.concatenate(out)

    def _exchanged(
        self, own: Mapping[str, Any], shown: Sequence[int] | None, cameras: Sequence[str] | None
    ) -> dict[str, Any]:
        seen = dict(own)
        pictures = self.checkpoint.policy.rollout.images.present(own)
        if shown is None:
            seen.update({key: own[key] * 0 + 0.5 for key in pictures})
        elif len(shown):
            other = self.observations.seen(self.checkpoint, shown)
            seen.update({key: other[key] for key in (pictures if cameras is None else cameras)})
        return seen


@contextmanager
def _showing(readers: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Within it, each reader's first argument is the pictures given here."""
    hooks = [
        reader.register_forward_pre_hook(lambda _, args, pictures=pictures: (pictures, *args[1:]))
        for reader, pictures in readers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _futures(
    model: Any, record: list[list[Any]] | None, replay: list[list[Any]] | None, batch: int
) -> Iterator[None]:
    """Records the futures that the video tower is given, or gives it the recorded ones of another event."""
    count = 0

    def hook(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal count
        z = args[0]
        if z.shape[3] < 2:
            return None
        count += 1
        if record is not None:
            if count == 1:
                record.append([])
            record[batch].append(z[:, :, :, 1:].clone())
            return None
        assert replay is not None
        z = z.clone()
        z[:, :, :, 1:] = replay[batch][count - 1].roll(max(1, len(z) // 2), 0)
        return (z, *args[1:])

    if record is None and replay is None:
        yield
        return
    handle = model.video.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
