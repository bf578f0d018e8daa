# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A trained wallwm checkpoint with its pipelines, asked for whole plans; `other_policy` has those of other types.

Shapes: B batch, H horizon, D joints.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.observations import Prediction

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
    def horizon(self) -> int:
        """Steps of a plan."""
        return int(self.config.horizon)

    @property
    def rename(self) -> dict[str, str]:
        """What the pipeline calls a dataset's features otherwise, from `lerobot-train --rename_map`."""
        return rename_map(self.preprocess)

    def action_range(self) -> np.ndarray | None:
        """Lowest and highest actions of the training data ``(2, D)``."""
        space = self.policy.action_space
        return np.stack([space.range_low.cpu().numpy(), space.range_high.cpu().numpy()])

    def observation(
        self, shown: Sequence[dict[str, Any]], felt: Sequence[dict[str, Any]], tasks: list[str]
    ) -> dict[str, Any]:
        """See `observations.Policy`."""
        import torch

        with torch.no_grad():
            return self.preprocess(self.raw(shown, felt, tasks))

    def raw(
        self, shown: Sequence[dict[str, Any]], felt: Sequence[dict[str, Any]], tasks: list[str]
    ) -> dict[str, Any]:
        """Items as a robot's observations, before the pipeline."""
        import torch

        there = {self.rename.get(key, key): key for key in shown[0]}
        keys = [there[key] for key in self.policy.rollout.images.present(dict.fromkeys(there))]
        state = there["observation.state"]
        raw: dict[str, Any] = {
            key: torch.stack([self._present(item[key], 4) for item in shown]) for key in keys
        }
        raw[state] = torch.stack([self._present(item[state], 2) for item in felt])
        return raw | {"task": tasks}

    def _present(self, value: Any, windowed: int) -> Any:
        """What a feature is at the observation; ``windowed`` is its number of axes where it has one of time."""
        if value.ndim < windowed:
            return value
        return value[self.now] if len(value) > self.now else value[0]

    def chunk(self, own: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]]) -> Any | None:
        """See `observations.Policy`."""
        from torch.utils.data import default_collate

        if not self.config.chunked:
            return None
        windows = [
            self.policy.windows_from_batch(self.preprocess(default_collate(list(items)))).chunk
            for items in (own, shown)
        ]
        assert windows[0] is not None and windows[1] is not None
        return replace(windows[0], past=windows[1].past)

    def predict(self, observation: dict[str, Any], seed: int, chunk: Any | None = None) -> Prediction:
        """See `observations.Policy`."""
        actions, plan = self.plan(observation, seed, chunk=chunk)
        return Prediction(actions, plan.remaining.float().cpu().numpy(), plan.actions.cpu().numpy())

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


def rename_map(pipeline: Any) -> dict[str, str]:
    """What a saved pipeline calls a dataset's features otherwise."""
    maps = [getattr(step, "rename_map", None) or {} for step in pipeline.steps]
    return {old: new for names in maps for old, new in names.items()}


def trained_range(pipeline: Any, feature: str) -> np.ndarray | None:
    """Lowest and highest values of a feature in the training data ``(2, D)``, where a saved pipeline keeps them."""
    for step in pipeline.steps:
        stats = (getattr(step, "stats", None) or {}).get(feature, {})
        if "min" in stats and "max" in stats:
            return np.stack([np.asarray(stats[key], dtype=np.float64).reshape(-1) for key in ("min", "max")])
    return None
