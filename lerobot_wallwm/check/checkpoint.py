# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A trained checkpoint with its pipelines, asked for whole plans.

Shapes: B batch, H horizon, D joints.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np


class Checkpoint:
    """A trained wallwm policy with its pipelines.

    Args:
        path: ``pretrained_model`` folder of a lerobot-train checkpoint.
        stage: Loads it as this stage, as `lerobot-train --policy.path` would; None for its own.
        meta: Metadata of the data that it will see; says which chunk of its episode an observation is in.
    """

    def __init__(self, path: str | Path, stage: str | None = None, meta: Any | None = None):
        from lerobot.configs import PreTrainedConfig
        from lerobot.policies.factory import make_pre_post_processors

        import lerobot_policy_wallwm  # noqa: F401  registers the processor steps, as LeRobot's commands do
        from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

        config = PreTrainedConfig.from_pretrained(path)
        config.stage = stage or config.stage
        with contextlib.redirect_stdout(io.StringIO()):  # LeRobot prints where weights come from
            self.policy = WallwmPolicy.from_pretrained(path, config=config, dataset_meta=meta)
        self.policy.eval()
        self.config = self.policy.config
        device = {"device_processor": {"device": self.config.device}}
        self.preprocess, self.postprocess = make_pre_post_processors(
            self.config, str(path), preprocessor_overrides=device
        )

    def plan(
        self, event: Any, state: Any, seed: int, imagination: str | None = None, length: Any | None = None
    ) -> tuple[np.ndarray, Any]:
        """Actions ``(B, H, D)`` in dataset units, and the model's `Plan`.

        Args:
            event: From ``policy.event_from_batch``; only what is known at its keyframe is used, in chunks also its past.
            state: Raw state ``(B, D)``.
            seed: Of the sampling noise.
            imagination: Overrides the configuration's.
            length: ``(B,)`` frames to plan for; None lets the model predict them.
        """
        import torch

        plan = self.policy.model.plan(
            event.keyframes,
            event.state,
            event.captions,
            event.here,
            imagination=imagination or self.config.imagination,
            num_steps=self.config.num_inference_steps,
            generator=torch.Generator().manual_seed(seed),
            length=length,
            chunk=event.chunk,
        )
        actions = self.policy.action_space.decode_actions(plan.actions, state)
        # As in use: past the predicted end the last action is held.
        index = torch.minimum(torch.arange(actions.shape[1])[None], (plan.length - 1)[:, None])
        actions = actions.gather(1, index[..., None].expand_as(actions))
        return self.postprocess(actions).numpy().astype(np.float64), plan
