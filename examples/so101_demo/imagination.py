# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Imagined and real frames of held-out events: clips for the eye, PSNR and SSIM against repeating the keyframe.

Shapes: N events, V cameras, F frames, frame 0 being the keyframe that the model is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .open_loop import Checkpoint, Observations

# A repeated keyframe can equal the real frame exactly; this keeps its PSNR finite (60 dB).
MSE_FLOOR = 1e-6
# Our choice: a pixel has moved if it differs from the keyframe by more than this, in [0, 1].
MOVED = 0.1


@dataclass
class Clips:
    """Imagined and real frames.

    Attributes:
        imagined: ``(N, V, F, H, W, 3)`` uint8.
        real: The same.
        valid: ``(N, F)``, False beyond the event's end.
        captions: N strings.
        seconds: ``(F,)`` since the keyframe.
        metrics: See `video_metrics`.
    """

    imagined: np.ndarray
    real: np.ndarray
    valid: np.ndarray
    captions: list[str]
    seconds: list[float]
    metrics: dict[str, Any]


def imagine(
    checkpoint: Checkpoint,
    observations: Observations,
    fps: float,
    seed: int = 0,
    told_length: bool = False,
) -> Clips:
    """Lets the model imagine each observation's future in full.

    Args:
        checkpoint: The policy.
        observations: Best at keyframes.
        fps: Of the data.
        seed: Of the sampling noise.
        told_length: The model is told how long each event lasts, as one that was trained on video alone must be.
    """
    import torch

    imagined, real, valid = [], [], []
    done = 0
    for number, batch in enumerate(observations.batches):
        event = checkpoint.policy.event_from_batch(batch)
        rows = slice(done, done + len(event.captions))
        done = rows.stop
        state = torch.as_tensor(observations.state[rows], dtype=torch.float32)
        length = torch.as_tensor(observations.remaining[rows]) if told_length else None
        _, plan = checkpoint.plan(event, state, seed * 10_000 + number, imagination="full", length=length)
        with torch.no_grad():
            frames = checkpoint.policy.model.decode(plan.latents)
        imagined.append(_to_uint8(frames))
        real.append(_to_uint8(_recorded(batch, checkpoint)))
        valid.append(event.frame_valid.numpy())
    clips = Clips(
        np.concatenate(imagined),
        np.concatenate(real),
        np.concatenate(valid),
        list(observations.captions),
        [i / fps for i in checkpoint.config.observation_delta_indices],
        {},
    )
    clips.metrics = video_metrics(clips.imagined, clips.real, clips.valid)
    return clips


def _recorded(batch: dict[str, Any], checkpoint: Checkpoint) -> Any:
    """The recorded frames ``(B, V, F, 3, H, W)`` in [-1, 1] at the model's size."""
    import torch

    frames = torch.stack([batch[key] for key in checkpoint.policy.image_keys], dim=1).float()
    size = tuple(checkpoint.config.image_size)
    if tuple(frames.shape[-2:]) != size:
        flat = torch.nn.functional.interpolate(
            frames.flatten(0, 2), size, mode="bilinear", antialias=True, align_corners=False
        )
        frames = flat.unflatten(0, frames.shape[:3])
    return frames * 2 - 1


def _to_uint8(frames: Any) -> np.ndarray:
    """``(B, V, F, 3, H, W)`` in [-1, 1] to ``(B, V, F, H, W, 3)`` uint8."""
    return ((frames + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 1, 2, 4, 5, 3).numpy()


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of two uint8 images in dB, at most 60.

    Args:
        a: ``(H, W, 3)``.
        b: ``(H, W, 3)``.
        where: ``(H, W)``, the pixels that count; all by default.
    """
    error = np.square((a.astype(np.float64) - b) / 255)
    error = error if where is None else error[where]
    return float(-10 * np.log10(max(float(error.mean()), MSE_FLOOR)))


def video_metrics(imagined: np.ndarray, real: np.ndarray, valid: np.ndarray) -> dict[str, Any]:
    """Means over all future frames inside their events, of all cameras.

    Args:
        imagined: ``(N, V, F, H, W, 3)`` uint8.
        real: The same.
        valid: ``(N, F)``.

    Returns:
        ``{"frames", "imagined": {"psnr", "ssim", "psnr_moved"}, "repeat_keyframe": {...}}``. ``psnr_moved`` looks
        only at pixels that differ from the keyframe, where repeating it is no answer; None if nothing ever moved.
    """
    from skimage.metrics import structural_similarity

    scores: dict[str, dict[str, list[float]]] = {
        name: {"psnr": [], "ssim": [], "psnr_moved": []} for name in ("imagined", "repeat_keyframe")
    }
    frames = 0
    for n, v, f in np.ndindex(*real.shape[:3]):
        if f == 0 or not valid[n, f]:
            continue
        frames += 1
        truth, keyframe = real[n, v, f], real[n, v, 0]
        moved = np.abs(truth.astype(int) - keyframe).max(axis=-1) > MOVED * 255
        for name, guess in (("imagined", imagined[n, v, f]), ("repeat_keyframe", keyframe)):
            scores[name]["psnr"].append(psnr(guess, truth))
            scores[name]["ssim"].append(float(structural_similarity(guess, truth, channel_axis=-1)))
            if moved.any():
                scores[name]["psnr_moved"].append(psnr(guess, truth, moved))
    return {"frames": frames} | {
        name: {metric: float(np.mean(values)) if values else None for metric, values in by_metric.items()}
        for name, by_metric in scores.items()
    }
