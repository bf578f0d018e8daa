# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Frames to latents and back, under the causal video VAE's rule of 1 + 4N frames to 1 + N latents.

Wan's VAEs are in `wan_codec`. `WaveletCodec` has no weights: an orthonormal Haar transform in space and time. It is
lossless, costs nothing to train and lets `nano` start without a download.

Shapes: B batch, V views, F frames, T latents, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lerobot_wallwm.hub.files.tables import Tables

FRAMES_PER_LATENT = 4  # temporal stride of the Wan VAEs (paper p. 10)


def num_latents(num_frames: int) -> int:
    """Latents of a clip, ``1 + (F - 1) / 4``.

    Raises:
        ValueError: ``num_frames`` is not of the form 1 + 4N.
    """
    if num_frames < 1 or (num_frames - 1) % FRAMES_PER_LATENT:
        raise ValueError(f"A clip must have 1 + 4N frames (1, 5, 9, ...), got {num_frames}.")
    return 1 + (num_frames - 1) // FRAMES_PER_LATENT


def check_frame_size(height: int, width: int, spatial_stride: int, patch: int) -> None:
    """Raises ValueError unless frames of this size split into whole patches of latents."""
    stride = spatial_stride * patch
    if height % stride or width % stride:
        raise ValueError(
            f"image_size=({height}, {width}) must be a multiple of {stride} in both directions "
            f"(codec stride {spatial_stride} x patch {patch})."
        )


def latent_error(
    prediction_BVCTHW: Tensor,
    target_BVCTHW: Tensor,
    weight_BVHW: Tensor | None = None,
    scale_C: Tensor | None = None,
) -> Tensor:
    """Mean squared error of each latent frame ``(B, T)``.

    Weights of latent pixels multiply the squares before the mean; each channel's error counts in units of its scale.
    """
    squared = F.mse_loss(prediction_BVCTHW, target_BVCTHW, reduction="none")
    if weight_BVHW is not None:
        squared = squared * weight_BVHW[:, :, None, None]
    by_channel = squared.mean(dim=(4, 5))  # (B, V, C, T): scaled here, not pixel by pixel
    if scale_C is not None:
        by_channel = by_channel / scale_C.square()[:, None]
    return by_channel.mean(dim=(1, 2))


def _in_float32(method: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """A transform that autocast leaves alone: its tables are exact, and it costs next to nothing."""

    @wraps(method)
    def exact(codec: Any, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return method(codec, x)

    return exact


class WaveletCodec(Tables):
    """Lossless latents by orthonormal Haar transforms in space and time.

    Our choice (the paper's codec is Wan's VAE). The first frame becomes latent 0 as if it stood still for four
    frames, so a static scene has equal latents at every time and "copy the keyframe" is the zero of a residual.
    Bands are scaled to about unit variance, as Wan standardises its latents: noise then hides coarse and fine
    detail alike, and the patch embedding sees edges from its first step. Gains are powers of two (our choice,
    after the spectrum of robot video): 4, 8, 16 for a high band at the coarsest, next and third level, multiplied
    over axes and capped at 16.

    Args:
        levels: Spatial Haar levels; the spatial stride is ``2^levels``.

    Attributes:
        still_channels: The channels that a still frame fills, which come first; its others are zero.
        scale: ``(C,)``; latents are orthonormal coefficients times this.
    """

    scale: Tensor
    in_time: Tensor
    in_space: Tensor
    still: Tensor
    gains: Tensor
    synthesis: Tensor

    def __init__(self, levels: int = 3):
        super().__init__()
        if levels < 1:
            raise ValueError(f"WaveletCodec needs at least one spatial level, got {levels}.")
        self.levels = levels
        self.spatial_stride = 2**levels
        self.channels = 3 * 4**levels * FRAMES_PER_LATENT
        self.still_channels = self.channels // FRAMES_PER_LATENT
        gains = self._band_gains() / 2**levels
        self.keep(persistent=False, scale=gains.repeat_interleave(3))
        # The transform of a block is one orthogonal matrix over its frames and one over its pixels: two products are
        # several times faster than all levels one by one.
        side, pixels = self.spatial_stride, self.spatial_stride**2
        frames = torch.eye(FRAMES_PER_LATENT).view(-1, FRAMES_PER_LATENT, 1, 1)
        self.keep(persistent=False, in_time=haar_block_transform(frames).T.contiguous())
        basis = torch.eye(FRAMES_PER_LATENT * pixels).view(-1, FRAMES_PER_LATENT, side, side)
        forward = haar_block_transform(basis)  # (pixels, bands)
        # What stands still fills the bands without motion, which come first, and no others.
        still = forward.view(FRAMES_PER_LATENT, pixels, -1).sum(0)[:, :pixels]
        self.keep(persistent=False, in_space=(still / FRAMES_PER_LATENT**0.5).T.contiguous())
        self.keep(persistent=False, still=still * gains[:pixels])
        self.keep(persistent=False, gains=gains.view(FRAMES_PER_LATENT, pixels, 1, 1, 1))
        self.keep(persistent=False, synthesis=(forward / gains).T.contiguous())

    def _band_gains(self) -> Tensor:
        """Gain of each band; bands count (coarse t, fine t, coarsest h, w, ..., finest h, w)."""
        gains = torch.ones(1)
        for high in (4.0, *(4.0, 8.0, *[16.0] * self.levels)[: self.levels]):
            band = torch.tensor([1.0, high])
            gains = (gains[:, None, None] * band[:, None] * band).flatten()
        return gains.clamp_max(16.0)

    def pixel_error(
        self, prediction_BVCTHW: Tensor, target_BVCTHW: Tensor, weight_BVHW: Tensor | None = None
    ) -> Tensor:
        """Mean squared pixel error, in [-1, 1] units, of predicted latents; ``(B, T)``.

        The transform is orthonormal, so the two are equal once the scale is undone. Weights of latent pixels multiply
        the squared error before the mean.
        """
        return latent_error(prediction_BVCTHW, target_BVCTHW, weight_BVHW, self.scale)

    @torch.no_grad()
    @_in_float32
    def encode(self, frames_BFCHW: Tensor) -> Tensor:
        """Encodes RGB clips; sends no gradient back.

        Args:
            frames_BFCHW: ``(B, 1 + 4N, 3, H, W)`` in [-1, 1].

        Returns:
            Latents ``(B, C, 1 + N, H / 2^levels, W / 2^levels)``.
        """
        latents = num_latents(frames_BFCHW.shape[1])
        still = self.encode_still(frames_BFCHW[:, 0])
        batch, used, _, height, width = still.shape
        z = still.new_empty(batch, self.channels, latents, height, width)
        z[:, :used, :1] = still
        z[:, used:, 0].zero_()
        if latents == 1:
            return z
        side = self.spatial_stride
        blocks = (
            frames_BFCHW[:, 1:].unflatten(-1, (-1, side)).unflatten(-3, (-1, side))
        )  # (B, 4 N, 3, h, s, w, s)
        pixels = blocks.permute(0, 1, 2, 4, 6, 3, 5).reshape(batch * (latents - 1), FRAMES_PER_LATENT, -1)
        bands = self.in_time.expand(len(pixels), -1, -1) @ pixels
        bands = self.in_space @ bands.view(-1, side * side, height * width)
        bands = bands.view(batch, latents - 1, FRAMES_PER_LATENT, 3, side * side, -1).permute(
            0, 2, 4, 3, 1, 5
        )
        future = z.view(batch, FRAMES_PER_LATENT, side * side, 3, latents, -1)[..., 1:, :]
        torch.mul(bands, self.gains, out=future)
        return z

    @_in_float32
    def encode_still(self, frames_BCHW: Tensor) -> Tensor:
        """Latent 0 of single frames ``(B, 3, H, W)`` without its empty channels: ``(B, C / 4, 1, h, w)``.

        Bands of motion come last among the channels and are zero for a frame that stands still.
        """
        bands = self._blocks(frames_BCHW[:, None]) @ self.still  # (B, 1, 3, h, w, side^2)
        return bands.permute(0, 5, 2, 1, 3, 4).flatten(1, 2)

    def _blocks(self, frames_BFCHW: Tensor) -> Tensor:
        """Blocks of side x side pixels, one row each: ``(B, F, 3, h, w, side * side)``."""
        side = self.spatial_stride
        blocks = frames_BFCHW.unflatten(-1, (-1, side)).unflatten(-3, (-1, side))
        return blocks.transpose(-3, -2).flatten(-2)

    @_in_float32
    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        """Inverse of `encode`; returns frames ``(B, 1 + 4N, 3, H, W)`` in about [-1, 1]."""
        side = self.spatial_stride
        bands = latents_BCTHW.unflatten(1, (-1, 3)).permute(0, 3, 2, 4, 5, 1)  # (B, T, 3, h, w, bands)
        clips = (bands @ self.synthesis).unflatten(-1, (FRAMES_PER_LATENT, side, side))
        frames = clips.permute(0, 1, 5, 2, 3, 6, 4, 7).flatten(1, 2)  # (B, 4 T, 3, h, side, w, side)
        return frames.flatten(-2).flatten(-3, -2)[:, FRAMES_PER_LATENT - 1 :]


def haar_block_transform(blocks_N4SS: Tensor) -> Tensor:
    """The transform of one block, level by level: the plain reference that `WaveletCodec` tabulates.

    Args:
        blocks_N4SS: ``(N, 4, S, S)``, four frames of ``S x S`` pixels with ``S`` a power of two.

    Returns:
        Orthonormal coefficients ``(N, 4 * S * S)``.
    """
    levels = blocks_N4SS.shape[-1].bit_length() - 1
    x = blocks_N4SS.flatten(0, 1)[:, None]  # (4 N, 1, S, S)
    for _ in range(levels):
        x = _haar_split(x, dim=-1)  # (2, 4 N, C, S, S / 2)
        x = _haar_split(x, dim=-2).permute(2, 0, 1, 3, 4, 5).flatten(1, 3)
    x = x.unflatten(0, (-1, FRAMES_PER_LATENT)).flatten(2)  # (N, 4, S * S)
    x = _haar_split(x, dim=1)  # (2, N, 2, S * S)
    x = _haar_split(x, dim=2)  # (2, 2, N, 1, S * S)
    return x.permute(2, 0, 1, 3, 4).flatten(1)


def _haar_split(x: Tensor, dim: int) -> Tensor:
    """One orthonormal Haar level along ``dim``; low and high halves are stacked on a new axis 0."""
    even, odd = x.unflatten(dim, (-1, 2)).unbind(dim + 1 if dim >= 0 else dim)
    return torch.stack((even + odd, even - odd)) * 0.5**0.5
