# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What each backbone weighs: parameters of its parts. `python -m benchmarks speed memory` has what they need in memory.

Parameters are counted on models built without memory (the meta device) by diffusers, transformers and this package, and
must equal the published counts. Wan's numbers: the config.json files of Wan-AI/Wan2.1-T2V-1.3B-Diffusers and
Wan2.2-TI2V-5B-Diffusers, with three cameras of 192 x 224, 65 sampled frames at stride 2 (paper p. 19) and a horizon of 128.
The action tower's width is our choice, as is everything of `nano`.
"""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.harness.rows import CannotRunError, Row
from lerobot_wallwm.hub.files.backbones import BACKBONES, WanShape
from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder
from lerobot_wallwm.policies.towers.action_tower import ActionTower
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower


@dataclass(frozen=True)
class Sizes:
    """One backbone and one event."""

    video: WanShape
    grid: tuple[int, int]  # tokens (h, w) of one camera at one latent frame
    views: int
    latents: int  # the keyframe's included
    text_tokens: int
    action_width: int  # of the action tower, whose depth is the video tower's
    action_heads: int
    action_ffn_width: int
    action_dim: int
    state_dim: int
    horizon: int

    @property
    def tokens(self) -> int:
        """N, of one camera at one latent frame."""
        return self.grid[0] * self.grid[1]


_DIMS = {"views": 3, "latents": 17, "text_tokens": 512, "action_dim": 20, "state_dim": 20, "horizon": 128}
SIZES = {
    "nano": Sizes(
        video=WanShape(width=128, depth=4, heads=4, ffn_width=384, latent_channels=768, text_dim=64),
        grid=(6, 6),
        views=2,
        latents=3,
        text_tokens=16,
        action_width=96,
        action_heads=4,
        action_ffn_width=192,
        action_dim=6,
        state_dim=6,
        horizon=32,
    ),
    "wan2.1-1.3b": Sizes(
        video=BACKBONES["wan2.1-1.3b"].video, grid=(12, 14), **BACKBONES["wan2.1-1.3b"].policy, **_DIMS
    ),
    "wan2.2-5b": Sizes(
        video=BACKBONES["wan2.2-5b"].video, grid=(6, 7), **BACKBONES["wan2.2-5b"].policy, **_DIMS
    ),
}

UMT5_XXL: dict[str, Any] = {
    "vocab_size": 256384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
# Arguments of diffusers' AutoencoderKLWan that differ from its defaults, which are Wan2.1's.
VAES: dict[str, dict[str, Any]] = {
    "wan2.1-1.3b": {},
    "wan2.2-5b": {
        "base_dim": 160,
        "decoder_base_dim": 256,
        "z_dim": 48,
        "is_residual": True,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
        "latents_mean": [0.0] * 48,
        "latents_std": [1.0] * 48,
    },
}
# 5B: `total_size` 19,999,150,848 bytes of float32 in diffusion_pytorch_model.safetensors.index.json. 1.3B: the count in
# the Hub's metadata; its float32 file has 5,676,070,424 bytes, header included. Encoders: counts of the loaded files, as
# several public reports give them. Read at second hand, in public repositories' notes: the Hub was out of reach.
PUBLISHED = {
    ("wan2.1-1.3b", "transformer"): 1_418_996_800,
    ("wan2.2-5b", "transformer"): 19_999_150_848 // 4,
    ("wan2.1-1.3b", "VAE"): 126_892_531,
    ("wan2.2-5b", "VAE"): 704_688_668,
    ("wan2.1-1.3b", "umT5"): 5_680_910_336,
    ("wan2.2-5b", "umT5"): 5_680_910_336,
}


def action_tower(size: Sizes) -> ActionTower:
    """The action tower of a backbone, on the current device."""
    frames_per_latent = -(-size.horizon // (size.latents - 1))
    widths = size.action_width, size.video.depth, size.action_heads, size.action_ffn_width, size.video.width
    dims = size.action_dim, size.state_dim, size.horizon, frames_per_latent, size.views, size.tokens
    return ActionTower(*widths, *dims)


def parameters(name: str, size: Sizes) -> dict[str, int]:
    """Parameters of each part, in the order in which they are printed."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        video = MultiViewVideoTower(size.video, size.views, size.grid)
        cross = sum(count(block.cross_view) for block in video.blocks)
        parts = {
            "transformer": count(WanTransformer3DModel(**size.video.wan_kwargs())),
            "cross-view": cross,
            "video tower": count(video),
            "action tower": count(action_tower(size)),
        }
        if name in VAES:
            parts["VAE"] = count(AutoencoderKLWan(**VAES[name]))
            parts["umT5"] = count(UMT5EncoderModel(UMT5Config(**UMT5_XXL)))
        else:
            parts["VAE"] = 0  # the wavelet codec has no weights
            parts["umT5"] = count(HashedTextEncoder(size.video.text_dim, size.text_tokens))
    return parts


def rows(args: Namespace) -> Iterator[Row]:
    for name, size in SIZES.items():
        counts = parameters(name, size)
        for part, count in counts.items():
            published = PUBLISHED.get((name, part))
            if published not in (None, count):
                raise CannotRunError(f"{name} {part}: {count:,} parameters, published are {published:,}.")
            same = None if published is None else "the same"
            yield Row("parameters", {"backbone": name, "part": part, "count": count, "published": same})
