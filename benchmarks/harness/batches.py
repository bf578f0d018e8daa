# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A `nano` policy for two 96 x 96 cameras and six joints, and random batches for it."""

from collections.abc import Callable
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.pretrained import PreTrainedPolicy

from lerobot_wallwm import WallwmConfig
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

CAMERAS = ("observation.images.overhead", "observation.images.wrist")
JOINTS = 6
CAPTION = "move the red cube to the blue disc"


def nano(**fields: Any) -> WallwmPolicy:
    """The default policy, or one with other fields, that plans events as long as its window: the most work of a look."""
    visual = {key: PolicyFeature(FeatureType.VISUAL, (3, 96, 96)) for key in CAMERAS}
    config = WallwmConfig(
        input_features={**visual, "observation.state": PolicyFeature(FeatureType.STATE, (JOINTS,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        **{"planner": "instruction", "device": "cpu", "push_to_hub": False, **fields},
    )
    torch.manual_seed(0)
    policy = WallwmPolicy(config).eval()
    head = policy.model.action.remaining_head[-1]
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, float(torch.tensor(float(config.horizon)).log()))
    return policy


def observation(config: WallwmConfig) -> dict[str, Any]:
    """One robot's inference batch."""
    frames = {key: torch.rand(1, *feature.shape) for key, feature in config.image_features.items()}
    return {**frames, "observation.state": torch.zeros(1, JOINTS), "task": [CAPTION]}


def training_batch(config: WallwmConfig, batch: int, lengths: torch.Tensor | None = None) -> dict[str, Any]:
    """A batch of windows, each of an event with so many frames left; whole windows without ``lengths`` (batch,)."""
    offsets = torch.tensor(config.observation_delta_indices)
    images = {key: torch.rand(batch, len(offsets), *f.shape) for key, f in config.image_features.items()}
    left = torch.full((batch,), 10**6) if lengths is None else lengths
    return {
        **images,
        **{f"{key}_is_pad": offsets >= left[:, None] for key in images},
        "observation.state": torch.randn(batch, len(offsets), JOINTS),
        "action": torch.rand(batch, config.horizon, JOINTS) * 2 - 1,
        "action_is_pad": torch.arange(config.horizon) >= left[:, None],
        "task": [CAPTION] * batch,
    }


def training_step(policy: PreTrainedPolicy, batch: dict[str, Any]) -> Callable[[], object]:
    """Forward, backward, clip and step of the policy's own optimiser, as LeRobot's trainer does them."""
    preset = policy.config.get_optimizer_preset()
    optimizer = preset.build(policy.get_optim_params())

    def step() -> None:
        policy.train()
        loss, _ = policy(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    return step
