# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Tiny towers and random windows for tests of the maths, below LeRobot."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.policies.model.windows import EventWindows
from lerobot_wallwm.policies.model.world_action_model import ModelShape, WorldActionModel
from lerobot_wallwm.policies.training.stages import STAGES, Stage

WAN = WanShape(width=24, depth=2, heads=2, ffn_width=32, latent_channels=12, text_dim=16)

SHAPE = ModelShape(
    video=replace(WAN, latent_channels=3 * 4**2 * 4),
    image_size=(16, 16),
    max_views=2,
    max_text_tokens=8,
    action_width=16,
    action_heads=2,
    action_ffn_width=24,
    landmarks=3,
    action_dim=3,
    state_dim=4,
    num_future_latents=2,
    actions_per_latent=4,
    video_shift=5.0,
    stage=replace(STAGES["joint"], future_fraction=0.5),
    codec_levels=2,
)


def changed(shape: ModelShape = SHAPE, **changes: Any) -> ModelShape:
    """A shape with some of its numbers, or of its stage's, replaced."""
    stage = {f.name: changes.pop(f.name) for f in fields(Stage) if f.name in changes}
    shape = replace(shape, **changes)
    return replace(shape, stage=replace(shape.stage, **stage))


def shake(module: nn.Module, size: float = 0.2, seed: int = 0) -> None:
    """Moves every parameter off its start, zero-initialised ones too, so that each input reaches the output."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * size)


def tiny_model(seed: int = 0, shaken: bool = True, **changes: Any) -> WorldActionModel:
    """A world action model of a few thousand parameters."""
    torch.manual_seed(seed)
    model = WorldActionModel(changed(**changes))
    if shaken:
        shake(model, seed=seed)
    return model.eval()


def random_event(
    shape: ModelShape = SHAPE, lengths: tuple[int, ...] = (8, 8, 5, 2), views: int = 2, seed: int = 0
) -> EventWindows:
    """Windows of events that last ``lengths`` frames from their keyframe (one source frame per sampled frame)."""
    g = torch.Generator().manual_seed(seed)
    batch, frames, horizon = len(lengths), 1 + 4 * shape.num_future_latents, shape.horizon
    stride = shape.actions_per_latent // 4
    last = torch.tensor(lengths)[:, None]
    images = torch.rand(batch, views, frames, 3, *shape.image_size, generator=g) * 2 - 1
    return EventWindows(
        keyframes=images[:, :, 0],
        future=images[:, :, 1:],
        frame_valid=torch.arange(frames)[None] * stride < last,
        state=torch.randn(batch, shape.state_dim, generator=g),
        actions=torch.randn(batch, horizon, shape.action_dim, generator=g),
        action_valid=torch.arange(horizon)[None] < last,
        remaining=last[:, 0].float(),
        here=torch.randn(batch, shape.action_dim, generator=g),
        goal=torch.randn(batch, shape.action_dim, generator=g),
        has_goal=torch.ones(batch, dtype=torch.bool),
        captions=[("reach for the cube", "close the gripper")[i % 2] for i in range(batch)],
    )
