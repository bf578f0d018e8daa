# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The numbers of each backbone, of the event it is costed on, and the published parameter counts. Plain data.

Wan's numbers: the config.json files of Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Wan2.2-TI2V-5B-Diffusers. Event: three
cameras of 192 x 224, 65 sampled frames at stride 2 (paper.md 2.2, 2.3), horizon 128, 50 denoising steps, K = 6.
The action tower's width is our choice, as is everything of `nano`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lerobot_wallwm.hub.files.backbones import WanShape


@dataclass(frozen=True)
class Sizes:
    """One backbone and one event.

    Attributes:
        video: The video tower.
        grid: Tokens (h, w) of one camera at one latent frame.
        views: V.
        latents: T, the keyframe's included.
        text_tokens: L.
        still_channels: Channels of a keyframe's latent that are not zero.
        action_width: Width of the action tower; its depth is the video tower's.
        action_heads: Its heads.
        action_ffn_width: Its gated feed-forward.
        action_dim: A.
        state_dim: Dimensions of the state.
        horizon: H.
        steps: Denoising steps.
        draws: K, action draws of a training step.
    """

    video: WanShape
    grid: tuple[int, int]
    views: int
    latents: int
    text_tokens: int
    still_channels: int
    action_width: int
    action_heads: int
    action_ffn_width: int
    action_dim: int
    state_dim: int
    horizon: int
    steps: int
    draws: int

    @property
    def tokens(self) -> int:
        """N, of one camera at one latent frame."""
        return self.grid[0] * self.grid[1]


_ROBOT: dict[str, Any] = {
    "views": 3,
    "latents": 17,
    "text_tokens": 512,
    "action_width": 1024,
    "action_heads": 16,
    "action_ffn_width": 4096,
    "action_dim": 20,
    "state_dim": 20,
    "horizon": 128,
    "steps": 50,
    "draws": 6,
}
SIZES = {
    "nano": Sizes(
        video=WanShape(width=128, depth=4, heads=4, ffn_width=384, latent_channels=768, text_dim=64),
        grid=(6, 6),
        views=2,
        latents=3,
        text_tokens=16,
        still_channels=192,
        action_width=96,
        action_heads=4,
        action_ffn_width=192,
        action_dim=6,
        state_dim=6,
        horizon=32,
        steps=5,
        draws=2,
    ),
    "wan2.1-1.3b": Sizes(
        video=WanShape(width=1536, depth=30, heads=12, ffn_width=8960, latent_channels=16, text_dim=4096),
        grid=(12, 14),
        still_channels=16,
        **_ROBOT,
    ),
    "wan2.2-5b": Sizes(
        video=WanShape(width=3072, depth=30, heads=24, ffn_width=14336, latent_channels=48, text_dim=4096),
        grid=(6, 7),
        still_channels=48,
        **_ROBOT,
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
