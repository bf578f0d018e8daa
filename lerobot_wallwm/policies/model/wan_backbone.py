# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The parts of a world action model that come from a Wan backbone: VAE, umT5, and the video tower's start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from lerobot_wallwm.hub.files.backbones import FIX, BackboneSource, WanShape
from lerobot_wallwm.hub.files.weights import WeightsError, load_weights, weight_files
from lerobot_wallwm.policies.encoders.umt5 import UMT5TextEncoder
from lerobot_wallwm.policies.encoders.wan_codec import WanCodec
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower


@dataclass
class WanBackbone:
    """What `WorldActionModel` takes from a backbone.

    Attributes:
        codec: Its VAE, frozen.
        text_encoder: Its umT5, frozen.
        transformer: Folder of the weights that the video tower starts from; None leaves the tower on the meta device,
            for a checkpoint that follows and would overwrite them.
    """

    codec: WanCodec
    text_encoder: UMT5TextEncoder
    transformer: Path | None

    @classmethod
    def find(
        cls,
        source: BackboneSource,
        video: WanShape,
        max_text_tokens: int,
        text_cache: Path,
        text_encoder_id: str | None = None,
        dtype: torch.dtype = torch.float32,
        empty: bool = False,
    ) -> WanBackbone:
        """Finds a backbone's parts and checks that they fit each other; for the text encoder's see `UMT5TextEncoder`.

        Args:
            video: Numbers of the transformer.
            dtype: In which VAE and umT5 run on CUDA.
            empty: Whether the video tower's weights come from a checkpoint instead.

        Raises:
            WeightsError: A part is missing, damaged, or of another backbone.
        """
        codec = WanCodec(source.part("vae"), dtype)
        if codec.channels != video.latent_channels:
            reason = f"'z_dim' is {codec.channels}; the transformer takes latents of {video.latent_channels} channels."
            raise WeightsError(codec.folder / "config.json", reason, FIX, ["z_dim"])
        text_encoder = UMT5TextEncoder(
            source.part, video.text_dim, max_text_tokens, text_cache, text_encoder_id, dtype
        )
        return cls(codec, text_encoder, None if empty else source.part("transformer"))

    def video_tower(self, shape: WanShape, max_views: int, grid: tuple[int, int]) -> MultiViewVideoTower:
        """The tower with Wan's weights in float32, computing what Wan computes; or an empty one on meta."""
        with torch.device("meta"):
            tower = MultiViewVideoTower(shape, max_views, grid)
            wan = WanTransformer3DModel(**shape.wan_kwargs())
        if self.transformer is not None:
            load_weights(tower, weight_files(self.transformer, FIX), FIX, keys=wan.state_dict())
            tower.add_views()
        return tower
