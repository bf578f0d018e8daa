# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Frames to latents and back through diffusers' Wan VAEs, frozen.

Shapes: B batch, F = 1 + 4 N frames, T = 1 + N latents, C channels, H W pixels, h w latent pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from lerobot_wallwm.hub.files.backbones import FIX
from lerobot_wallwm.hub.files.safe_files import read_object
from lerobot_wallwm.hub.files.tables import Tables
from lerobot_wallwm.hub.files.weights import WeightsError, check_fit, contents, load_weights, weight_files
from lerobot_wallwm.policies.encoders.frozen import Frozen
from lerobot_wallwm.policies.encoders.wavelet_codec import FRAMES_PER_LATENT, num_latents


class WanCodec(Tables):
    """Standardised latents of a Wan VAE: ``(mean of the posterior - latents_mean) / latents_std``.

    Both versions: Wan2.1's (stride 8, 16 channels) and Wan2.2's, which cuts 2 x 2 pixels into channels before its
    first convolution (stride 16, 48 channels). The VAE's weights belong to the backbone, not to the policy: they are
    in neither its parameters nor its state.

    Args:
        folder: ``vae/`` of a backbone.
        dtype: In which the VAE runs on CUDA.

    Attributes:
        spatial_stride: Pixels per latent pixel.
        channels: C.

    Raises:
        WeightsError: Damaged files, keys that do not fit, or a VAE of other strides in time.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.folder = folder
        config = read_object(folder / "config.json", FIX)
        with torch.device("meta"):
            empty = AutoencoderKLWan.from_config(config)
        # Found out now, from the headers alone, rather than at the first batch.
        check_fit(empty.state_dict(), contents(weight_files(folder, FIX), FIX), folder, FIX)
        numbers = empty.config
        if 2 ** sum(numbers.temperal_downsample) != FRAMES_PER_LATENT:
            reason = (
                f"'temperal_downsample' is {numbers.temperal_downsample}; a latent must stand for 4 frames."
            )
            raise WeightsError(folder / "config.json", reason, FIX, ["temperal_downsample"])
        self.spatial_stride = 2 ** (len(numbers.dim_mult) - 1) * (numbers.patch_size or 1)
        self.channels = numbers.z_dim
        for name in ("latents_mean", "latents_std"):
            if len(numbers[name]) != self.channels:
                reason = f"'{name}' has {len(numbers[name])} values for {self.channels} channels."
                raise WeightsError(folder / "config.json", reason, FIX, [name])
        self.keep(persistent=False, mean=_per_channel(numbers.latents_mean))
        self.keep(persistent=False, std=_per_channel(numbers.latents_std))
        self.vae = Frozen(self._load, dtype)

    def _load(self, dtype: torch.dtype) -> nn.Module:
        with torch.device("meta"):
            vae = AutoencoderKLWan.from_config(read_object(self.folder / "config.json", FIX))
        load_weights(vae, weight_files(self.folder, FIX), FIX, dtype=dtype)
        vae.enable_slicing()  # clip by clip: a batch of clips at full size would need as much memory as training
        return vae

    @torch.no_grad()
    def encode(self, frames_BFCHW: Tensor) -> Tensor:
        """Encodes RGB clips.

        Args:
            frames_BFCHW: ``(B, 1 + 4N, 3, H, W)`` in [-1, 1].

        Returns:
            Latents ``(B, C, 1 + N, h, w)``, of about unit variance, in the frames' dtype.
        """
        num_latents(frames_BFCHW.shape[1])
        vae = self.vae.on(frames_BFCHW.device)
        with torch.autocast(frames_BFCHW.device.type, enabled=False):
            latents = vae.encode(frames_BFCHW.transpose(1, 2).to(vae.dtype)).latent_dist.mode()
        return ((latents.float() - self.mean) / self.std).to(frames_BFCHW.dtype)

    def encode_still(self, frames_BCHW: Tensor) -> Tensor:
        """Latent 0 of single frames ``(B, 3, H, W)``: ``(B, C, 1, h, w)``."""
        return self.encode(frames_BCHW[:, None])

    @torch.no_grad()
    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        """Latents to frames ``(B, 1 + 4N, 3, H, W)`` in [-1, 1]."""
        vae = self.vae.on(latents_BCTHW.device)
        with torch.autocast(latents_BCTHW.device.type, enabled=False):
            latents = latents_BCTHW.float() * self.std + self.mean
            frames = vae.decode(latents.to(vae.dtype)).sample
        return frames.transpose(1, 2).to(latents_BCTHW.dtype)


def _per_channel(values: list[float]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)
