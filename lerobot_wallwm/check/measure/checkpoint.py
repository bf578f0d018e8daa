# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A trained checkpoint with its pipelines, asked for whole plans.

Shapes: B batch, H horizon, D joints.
"""

from __future__ import annotations

import contextlib
import copy
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

# How a checkpoint is loaded: no arm can come to harm, no diary is of use, the calibration is read by training alone and
# may lie on another machine. Every look is one that a tick waits for, and recorded poses are no stalls.
AS_CHECKED: dict[str, Any] = {
    "guards": "simulation",
    "safety_log": None,
    "event_log": None,
    "calibration": None,
    "planner": "instruction",
    "on_plan_end": "repeat",
    "background_inference": False,
    "stall_s": 0.0,
}


class Checkpoint:
    """A trained wallwm policy with its pipelines.

    Args:
        path: ``pretrained_model`` folder of a lerobot-train checkpoint.
        stage: Loads it as this stage, as `lerobot-train --policy.path` would; None for its own.
        meta: Metadata of the data that it will see; says which chunk of its episode an observation is in.
        device: Where it computes; None for where it was trained, if that is there.

    Attributes:
        trained: Its configuration as it was saved.
    """

    def __init__(
        self, path: str | Path, stage: str | None = None, meta: Any | None = None, device: str | None = None
    ):
        from lerobot.configs import PreTrainedConfig
        from lerobot.policies.factory import make_pre_post_processors

        import lerobot_policy_wallwm  # noqa: F401  registers the processor steps, as LeRobot's commands do
        from lerobot_wallwm.hub.files.learned import Learned
        from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

        config = PreTrainedConfig.from_pretrained(path)
        self.trained = copy.deepcopy(config)
        self.trained.learned = Learned.read(
            Path(path)
        )  # metadata of other data would replace it in the policy
        if stage is not None:
            config.stage = stage
            config.fill()
        config.device = device or config.device
        for name, value in AS_CHECKED.items():
            setattr(config, name, value)
        with contextlib.redirect_stdout(io.StringIO()):  # LeRobot prints where weights come from
            self.policy = WallwmPolicy.from_pretrained(path, config=config, dataset_meta=meta)
        self.policy.eval()
        self.config = self.policy.config
        there: Any = {"device_processor": {"device": self.config.device}}
        self.preprocess, self.postprocess = make_pre_post_processors(
            self.config, str(path), preprocessor_overrides=there
        )

    @property
    def now(self) -> int:
        """Which frame of a window is the observation; chunks have a past."""
        return self.config.observation_delta_indices.index(0)

    def plan(
        self,
        observation: dict[str, Any],
        seed: int,
        imagination: str | None = None,
        length: Any | None = None,
        chunk: Any | None = None,
    ) -> tuple[np.ndarray, Any]:
        """Actions ``(B, H, D)`` in dataset units, and the model's `Plan` with its actions as they enter the pipeline.

        The latter are normalised and not yet clamped: what is not finite or out of range there shows nowhere else.

        Args:
            observation: Pictures ``(B, 3, H, W)``, states ``(B, D)`` and captions (``task``) after the preprocessor.
            seed: Of the sampling noise.
            imagination: Overrides the configuration's.
            length: ``(B,)`` frames to plan for; None lets the model predict them.
            chunk: The past, in chunks.
        """
        import torch

        with torch.no_grad():
            plan = self.policy.rollout.plan_and_decode(
                observation,
                observation["task"],
                imagination or self.config.imagination,
                torch.Generator().manual_seed(seed),
                length,
                chunk,
                self.config.text_source == "latents",
            )
        # As in use: past the predicted end the last action is held. A model that is not finite has no end.
        actions = plan.actions.float()
        last = (plan.length - 1).clamp(0, actions.shape[1] - 1)[:, None]
        index = torch.minimum(torch.arange(actions.shape[1], device=actions.device)[None], last)
        actions = actions.gather(1, index[..., None].expand_as(actions))
        # The pipeline may refuse what is not finite; the plan says it.
        sent = torch.nan_to_num(actions, nan=0.0)
        return self.postprocess(sent).cpu().numpy().astype(np.float64), replace(plan, actions=actions)
