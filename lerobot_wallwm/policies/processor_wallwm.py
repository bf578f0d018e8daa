# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pre- and post-processing pipelines of the `wallwm` policy.

State and images enter in their own units: the network keeps the statistics that it was trained with. Actions leave
normalised to the dataset's minimum and maximum, so that a clamp to [-1, 1] is a clamp to what the data has seen, and
stays one after fine-tuning on another arm (LeRobot then replaces the unnormaliser's statistics).

These steps are the last line of defence. The guards that need the pose, the pictures or the data's limits are the
policy's (`safety`, which says why).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lerobot.configs import PipelineFeatureType, PolicyFeature
from lerobot.processor import (
    EnvTransition,
    PolicyAction,
    PolicyActionProcessorStep,
    PolicyProcessorPipeline,
    ProcessorStep,
    ProcessorStepRegistry,
    TransitionKey,
)
from lerobot.processor.factory import make_default_policy_processor_steps, make_policy_processor_pipelines
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.safety.guards import MARK
from lerobot_wallwm.policies.safety.interventions import MAX_BAD_GOALS, SafetyError


@ProcessorStepRegistry.register("wallwm_hold_bad_goals")
@dataclass
class HoldBadGoalsStep(PolicyActionProcessorStep):
    """The last step in the robot's units: a goal that is not finite never leaves; the last good one is sent instead.

    What the policy's guards let through is finite, and so is what this gets, unless the unnormaliser's statistics are
    broken.
    """

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new rollout: nothing to hold yet."""
        self._last: Tensor | None = None
        self._bad = 0

    def action(self, action: PolicyAction) -> PolicyAction:
        """Finite goals ``(B, A)`` or ``(A,)``, which are remembered; a chunk ``(B, T, A)`` is sound or refused.

        Raises:
            SafetyError: There is nothing to hold, a chunk is not finite, or nothing sound came for a while.
        """
        sound = torch.isfinite(action).all(-1, keepdim=True)
        self._bad = 0 if bool(sound.all()) else self._bad + 1
        if self._bad:
            known = self._last is not None and self._last.shape == action.shape and action.ndim < 3
            if not known or self._bad >= MAX_BAD_GOALS:
                raise SafetyError(
                    "The policy's postprocessor got goals that are not finite (NaN or infinite)"
                    + (f" {MAX_BAD_GOALS} times in a row" if known else ", and none before to hold")
                    + ": nothing was sent. Fix: use a checkpoint with sound weights and statistics."
                )
            assert self._last is not None
            action = torch.where(sound, action, self._last.to(action))
        if action.ndim < 3:
            self._last = action.detach().clone()
        return action

    def transform_features(
        self, features: dict[PipelineFeatureType, dict[str, PolicyFeature]]
    ) -> dict[PipelineFeatureType, dict[str, PolicyFeature]]:
        """Features are unchanged."""
        return features


@ProcessorStepRegistry.register("wallwm_clamp_actions")
@dataclass
class ClampNormalizedActionsStep(HoldBadGoalsStep):
    """Clamps min-max normalised actions to the range that the data has seen, plus a margin.

    LeRobot's degree mode does not clip targets, and one exploding output reaches the servos otherwise.

    Attributes:
        margin: Fraction of the half range allowed beyond it on either side.
    """

    margin: float = 0.0

    def action(self, action: PolicyAction) -> PolicyAction:
        """Clamps ``(..., A)`` normalised actions; what is NaN is replaced by the last goal that was not.

        An action straight from the policy has passed its guards and is left alone: an arm that stands outside the
        range comes in slowly there, and would jump here.

        Raises:
            SafetyError: There is no such goal.
        """
        if not getattr(action, MARK, False):
            bound = 1.0 + self.margin
            action = action.clamp(-bound, bound)  # which keeps NaN
        return super().action(action)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for the checkpoint."""
        return {"margin": self.margin}


@ProcessorStepRegistry.register("wallwm_exact_numbers")
class ExactNumbersStep(ProcessorStep):
    """Hands poses and actions to several training processes as complex numbers, of which they read the real part.

    FSDP with mixed precision rounds all floating-point inputs of a policy: in bfloat16 100 degrees are off by up to a quarter.
    """

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        """A transition; only those with actions are trained on."""
        if transition.get(TransitionKey.ACTION) is None or not (
            dist.is_available() and dist.is_initialized()
        ):
            return transition
        seen = {**transition[TransitionKey.OBSERVATION]}
        seen[OBS_STATE] = seen[OBS_STATE].to(torch.complex64)
        actions = transition[TransitionKey.ACTION].to(torch.complex64)
        return {**transition, TransitionKey.OBSERVATION: seen, TransitionKey.ACTION: actions}

    transform_features = HoldBadGoalsStep.transform_features


def make_wallwm_pre_post_processors(
    config: WallwmConfig, dataset_stats: dict[str, dict[str, torch.Tensor]] | None = None
) -> tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]],
    PolicyProcessorPipeline[PolicyAction, PolicyAction],
]:
    """Builds the two pipelines; LeRobot finds this function by its name.

    Args:
        config: The policy's configuration.
        dataset_stats: Statistics of the training data; ``action`` needs ``min`` and ``max``.
    """
    steps = make_default_policy_processor_steps(config, dataset_stats)
    return make_policy_processor_pipelines(
        input_steps=[
            *(steps.rename_observations, steps.add_batch_dim, steps.to_device, steps.normalize),
            ExactNumbersStep(),
        ],
        output_steps=[
            ClampNormalizedActionsStep(config.action_clamp_margin),
            steps.unnormalize,
            HoldBadGoalsStep(),
            steps.to_cpu,
        ],
    )
