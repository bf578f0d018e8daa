# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LeRobot's FastWAM at the sizes of a `wallwm` policy, with random weights and nothing to download.

Width, depth, heads, feed-forward widths, latent channels, patch, text tokens and horizon are read from the wallwm
configuration. What FastWAM has instead of ours stays its own: all cameras in one picture, side by side; the state as
a token of text; one attention over video and actions together, which forces the video's heads on the action tower.

FastWAM downloads Wan's VAE and umT5, and accepts no other. Its core class takes any VAE by argument, so both
policies here encode pixels with the same `WaveletCodec`, and both are given the text features.
"""

from __future__ import annotations

from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.fastwam.configuration_fastwam import FastWAMConfig
from lerobot.policies.fastwam.modeling_fastwam import FastWAMPolicy
from lerobot.policies.fastwam.wan import ActionDiT, FastWAM, MoT, WanVideoDiT
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor, nn

from lerobot_wallwm.policies.encoders.wavelet_codec import FRAMES_PER_LATENT, WaveletCodec
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


class WaveletAsVae(nn.Module):
    """Our codec behind the interface of FastWAM's VAE."""

    temporal_downsample_factor = FRAMES_PER_LATENT

    def __init__(self, levels: int):
        super().__init__()
        self.codec = WaveletCodec(levels)

    def encode(self, videos: list[Tensor] | Tensor, **_: Any) -> Tensor:
        """Clips ``(B, 3, F, H, W)`` in [-1, 1] to latents ``(B, C, T, h, w)``."""
        clips = torch.stack(videos) if isinstance(videos, list) else videos
        return self.codec.encode(clips.transpose(1, 2))


class OfflineFastWAM(FastWAMPolicy):
    """LeRobot's policy around its own towers; only the pretrained VAE and text encoder are left out."""

    def _build_core_model(self, config: FastWAMConfig) -> FastWAM:
        assert config.video_dit_config is not None and config.action_dit_config is not None
        video, action = WanVideoDiT(**config.video_dit_config), ActionDiT(**config.action_dit_config)
        side = config.video_dit_config["in_dim"] // (3 * FRAMES_PER_LATENT)  # pixels of one latent
        return FastWAM(
            video_expert=video,
            action_expert=action,
            mot=MoT({"video": video, "action": action}, config.mot_checkpoint_mixed_attn),
            vae=WaveletAsVae(levels=(side.bit_length() - 1) // 2),
            text_dim=config.video_dit_config["text_dim"],
            proprio_dim=config.proprio_dim,
        )


def fastwam_config(like: WallwmPolicy, num_steps: int) -> FastWAMConfig:
    """FastWAM's configuration at the sizes of ours.

    Raises:
        ValueError: The cameras differ in size, or the policy resizes them.
    """
    ours, video = like.config, like.model.video.shape
    sizes = {tuple(feature.shape[1:]) for feature in ours.image_features.values()}
    if sizes != {ours.image_size}:
        raise ValueError(f"cameras of {sorted(sizes)} must all be {ours.image_size}, image_size.")
    assert ours.robot_state_feature is not None and ours.action_feature is not None
    (height, width), cameras = ours.image_size, len(ours.image_features)
    actions = ours.action_feature.shape[0]
    shared = {
        "num_heads": video.heads,
        "attn_head_dim": video.width // video.heads,
        "num_layers": video.depth,
        "text_dim": video.text_dim,
        "freq_dim": video.time_freq_dim,
        "eps": 1e-6,
    }
    return FastWAMConfig(
        action_dim=actions,
        proprio_dim=ours.robot_state_feature.shape[0],
        action_horizon=ours.horizon,
        n_action_steps=ours.horizon,
        num_video_frames=1 + FRAMES_PER_LATENT * ours.num_future_latents * ours.video_stride,
        action_video_freq_ratio=ours.video_stride,
        image_size=(height, width * cameras),
        context_len=ours.max_text_tokens,
        base_model_id=None,
        load_text_encoder=False,
        torch_dtype="float32",
        num_inference_steps=num_steps,
        video_dit_config={
            **shared,
            "patch_size": [1, video.patch, video.patch],
            "in_dim": video.latent_channels,
            "out_dim": video.latent_channels,
            "hidden_dim": video.width,
            "ffn_dim": video.ffn_width,
            "seperated_timestep": True,  # sic, LeRobot's spelling
            "video_attention_mask_mode": "first_frame_causal",
            "action_dim": actions,
        },
        action_dit_config={
            **shared,
            "action_dim": actions,
            "hidden_dim": ours.action_width,
            "ffn_dim": ours.action_ffn_width,
        },
        input_features={
            **{key: PolicyFeature(FeatureType.VISUAL, (3, height, width)) for key in ours.image_features},
            OBS_STATE: ours.robot_state_feature,
        },
        output_features={ACTION: ours.action_feature},
        device="cpu",
        push_to_hub=False,
    )


def build_fastwam(like: WallwmPolicy, num_steps: int = 5) -> FastWAMPolicy:
    """FastWAM with random weights, in float32 on the CPU."""
    torch.manual_seed(0)
    return OfflineFastWAM(fastwam_config(like, num_steps))
