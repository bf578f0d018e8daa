# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Imagined and real frames of held-out events: clips for the eye, PSNR against repeating the keyframe.

Shapes: N events, V cameras, F frames, frame 0 being the keyframe that the model is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import Observations

# A repeated keyframe can equal the real frame exactly; this keeps its PSNR finite (60 dB).
MSE_FLOOR = 1e-6
# Our choice: a pixel has moved if it differs from the keyframe by more than this, in [0, 1].
MOVED = 0.1


@dataclass
class Clips:
    """Imagined and real frames."""

    imagined: np.ndarray  # ``(N, V, F, H, W, 3)`` uint8
    real: np.ndarray  # the same
    valid: np.ndarray  # ``(N, F)``, False beyond the event's end
    captions: list[str]  # N strings
    seconds: list[float]  # ``(F,)`` since the keyframe
    metrics: dict[str, Any]

    def part(self, chosen: Sequence[int]) -> Clips:
        """Some of the clips, with the metrics of all."""
        index = list(chosen)
        captions = [self.captions[i] for i in index]
        return Clips(
            self.imagined[index], self.real[index], self.valid[index], captions, self.seconds, self.metrics
        )


def imagine(
    checkpoint: Checkpoint, observations: Observations, fps: float, seed: int = 0, told_length: bool = False
) -> Clips:
    """Lets the model imagine the future of each observation, best a keyframe, in full.

    With ``told_length`` it is told how long each event lasts, as one that was trained on video alone must be.
    """
    import torch

    imagined, real, now = [], [], checkpoint.now
    for number, rows in enumerate(observations.parts):
        seen, batch = observations.seen(checkpoint, rows), observations.batch(rows)
        chunk = checkpoint.policy.windows_from_batch(batch).chunk if checkpoint.config.chunked else None
        length = None
        if told_length:
            length = torch.as_tensor(observations.remaining[rows]).to(seen["observation.state"].device)
        _, plan = checkpoint.plan(seen, seed * 10_000 + number, "full", length, chunk)
        with torch.no_grad():
            frames = checkpoint.policy.model.decode(plan.latents.float())
        imagined.append(_to_uint8(frames))
        real.append(_to_uint8(checkpoint.policy.rollout.images(batch, slice(now, None))))
        del batch  # before the next one is decoded: it holds whole windows of pictures
    ahead = np.array(checkpoint.config.observation_delta_indices[now:])
    clips = Clips(
        np.concatenate(imagined),
        np.concatenate(real),
        ahead < observations.remaining[:, None],
        list(observations.captions),
        (ahead / fps).tolist(),
        {},
    )
    clips.metrics = video_metrics(clips.imagined, clips.real, clips.valid)
    return clips


def _to_uint8(frames: Any) -> np.ndarray:
    """``(B, V, F, 3, H, W)`` in [-1, 1] to ``(B, V, F, H, W, 3)`` uint8."""
    return ((frames + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 1, 2, 4, 5, 3).cpu().numpy()


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of two uint8 images ``(H, W, 3)`` in dB, at most 60; of the pixels ``where`` ``(H, W)``."""
    error = np.square((a.astype(np.float64) - b) / 255)
    error = error if where is None else error[where]
    return float(-10 * np.log10(max(float(error.mean()), MSE_FLOOR)))


def video_metrics(imagined: np.ndarray, real: np.ndarray, valid: np.ndarray) -> dict[str, Any]:
    """Means over all future frames inside their events, of all cameras; shapes as in `Clips`.

    Returns:
        ``{"frames", "imagined": {"psnr", "psnr_moved"}, "repeat_keyframe": {...}}``. ``psnr_moved`` looks
        only at pixels that differ from the keyframe, where repeating it is no answer; None if nothing ever moved.
    """
    kinds = ("psnr", "psnr_moved")
    scores: dict[str, dict[str, list[float]]] = {
        name: {kind: [] for kind in kinds} for name in ("imagined", "repeat_keyframe")
    }
    shown = [(n, v, f) for n, v, f in np.ndindex(*real.shape[:3]) if f and valid[n, f]]
    for n, v, f in shown:
        truth, keyframe = real[n, v, f], real[n, v, 0]
        moved = np.abs(truth.astype(int) - keyframe).max(axis=-1) > MOVED * 255
        for name, guess in (("imagined", imagined[n, v, f]), ("repeat_keyframe", keyframe)):
            scores[name]["psnr"].append(psnr(guess, truth))
            if moved.any():
                scores[name]["psnr_moved"].append(psnr(guess, truth, moved))
    return {"frames": len(shown)} | {
        name: {metric: float(np.mean(values)) if values else None for metric, values in by_metric.items()}
        for name, by_metric in scores.items()
    }


def side_by_side(frames: np.ndarray) -> np.ndarray:
    """Cameras ``(V, H, W, 3)`` in one row ``(H, V W, 3)``."""
    return np.concatenate(list(frames), axis=1)


def comparison_film(clips: Clips, scale: int = 2) -> np.ndarray:
    """All clips one after the other, real above imagined, ``(frames, 2 H, V W, 3)``; the last frame lingers."""
    film = []
    for n in range(len(clips.captions)):
        frames = [f for f in range(clips.real.shape[2]) if clips.valid[n, f]]
        for f in [*frames, frames[-1], frames[-1]]:
            rows = [side_by_side(side[n, :, f]) for side in (clips.real, clips.imagined)]
            film.append(np.concatenate(rows))
    return np.stack(film).repeat(scale, axis=1).repeat(scale, axis=2)
