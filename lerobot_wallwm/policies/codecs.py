# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Frames to latents and back, under the causal video VAE's rule of 1 + 4N frames to 1 + N latents.

`WaveletCodec` has no weights: an orthonormal Haar transform in space and time. It is lossless, costs nothing to
train and lets `nano` start without a download. Shapes: B batch, V views, F frames, T latents, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FRAMES_PER_LATENT = 4  # temporal stride of the Wan VAEs (paper p. 10)


def num_latents(num_frames: int) -> int:
    """Latents of a clip, ``1 + (F - 1) / 4``.

    Raises:
        ValueError: ``num_frames`` is not of the form 1 + 4N.
    """
    if num_frames < 1 or (num_frames - 1) % FRAMES_PER_LATENT:
        raise ValueError(f"A clip must have 1 + 4N frames (1, 5, 9, ...), got {num_frames}.")
    return 1 + (num_frames - 1) // FRAMES_PER_LATENT


def _haar_split(x: Tensor, dim: int) -> Tensor:
    """One orthonormal Haar level along ``dim``; low and high halves are stacked on a new axis 0."""
    even, odd = x.unflatten(dim, (-1, 2)).unbind(dim + 1 if dim >= 0 else dim)
    return torch.stack((even + odd, even - odd)) * 0.5**0.5


def _haar_merge(low_high: Tensor, dim: int) -> Tensor:
    """Inverse of `_haar_split`."""
    low, high = low_high.unbind(0)
    merged = torch.stack((low + high, low - high), dim=dim + 1 if dim >= 0 else dim) * 0.5**0.5
    return merged.flatten(dim, dim + 1) if dim >= 0 else merged.flatten(dim - 1, dim)


def _split_all(x_NCHW: Tensor, levels: int) -> Tensor:
    """Packs a ``2^levels`` block of pixels into channels by a full (packet) Haar transform."""
    for _ in range(levels):
        x = _haar_split(x_NCHW, dim=-1)  # (2, N, C, H, W/2)
        x = _haar_split(x, dim=-2)  # (2, 2, N, C, H/2, W/2)
        x_NCHW = x.permute(2, 0, 1, 3, 4, 5).flatten(1, 3)
    return x_NCHW


def _merge_all(x_NCHW: Tensor, levels: int) -> Tensor:
    for _ in range(levels):
        x = x_NCHW.unflatten(1, (2, 2, -1)).permute(1, 2, 0, 3, 4, 5)
        x = _haar_merge(x, dim=-2)
        x_NCHW = _haar_merge(x, dim=-1)
    return x_NCHW


class WaveletCodec(nn.Module):
    """Lossless latents by orthonormal Haar transforms in space and time.

    Our choice (the paper's codec is Wan's VAE). The first frame becomes latent 0 as if it stood still for four
    frames, so a static scene has equal latents at every time and "copy the keyframe" is the zero of a residual.
    All latents are scaled by ``1 / 2^levels`` so that the low-pass band has about unit variance.

    Args:
        levels: Spatial Haar levels; the spatial stride is ``2^levels``.
    """

    def __init__(self, levels: int = 3):
        super().__init__()
        if levels < 1:
            raise ValueError(f"WaveletCodec needs at least one spatial level, got {levels}.")
        self.levels = levels
        self.spatial_stride = 2**levels
        self.channels = 3 * 4**levels * FRAMES_PER_LATENT
        self.scale = 1.0 / 2**levels

    def check_size(self, height: int, width: int, patch: int) -> None:
        """Raises ValueError unless frames of this size split into whole patches of latents."""
        stride = self.spatial_stride * patch
        if height % stride or width % stride:
            raise ValueError(
                f"image_size=({height}, {width}) must be a multiple of {stride} in both directions "
                f"(codec stride {self.spatial_stride} x patch {patch})."
            )

    def encode(self, frames_BFCHW: Tensor) -> Tensor:
        """Encodes RGB clips.

        Args:
            frames_BFCHW: ``(B, 1 + 4N, 3, H, W)`` in [-1, 1].

        Returns:
            Latents ``(B, C, 1 + N, H / 2^levels, W / 2^levels)``.
        """
        num_latents(frames_BFCHW.shape[1])
        first = frames_BFCHW[:, :1].expand(-1, FRAMES_PER_LATENT, -1, -1, -1)
        clips = torch.cat((first, frames_BFCHW[:, 1:]), dim=1).unflatten(1, (-1, FRAMES_PER_LATENT))
        batch, time = clips.shape[:2]
        x = clips.flatten(0, 1)  # (B T, 4, 3, H, W)
        x = _haar_split(x, dim=1)  # (2, B T, 2, 3, H, W)
        x = _haar_split(x, dim=2).permute(2, 0, 1, 3, 4, 5, 6)  # (B T, 2, 2, 1, 3, H, W)
        x = _split_all(x.flatten(1, 4), self.levels)
        return x.unflatten(0, (batch, time)).transpose(1, 2) * self.scale

    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        """Inverse of `encode`; returns frames ``(B, 1 + 4N, 3, H, W)`` in about [-1, 1]."""
        batch, _, time = latents_BCTHW.shape[:3]
        x = (latents_BCTHW / self.scale).transpose(1, 2).flatten(0, 1)
        x = _merge_all(x, self.levels).unflatten(1, (2, 2, 1, 3)).permute(1, 2, 0, 3, 4, 5, 6)
        x = _haar_merge(x, dim=2)
        x = _haar_merge(x, dim=1)
        clips = x.unflatten(0, (batch, time)).flatten(1, 2)  # (B, 4 T, 3, H, W)
        return clips[:, FRAMES_PER_LATENT - 1 :]
