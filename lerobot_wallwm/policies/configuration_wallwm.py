# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The policy's configuration: the groups in `config/`, and what LeRobot asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lerobot.configs import FeatureType, NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, OptimizerConfig
from lerobot.optim.schedulers import CosineAnnealingWithWarmupSchedulerConfig, LRSchedulerConfig

from lerobot_wallwm.embodiment.description import Embodiment
from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.policies.config.safety_fields import SafetyFields
from lerobot_wallwm.policies.training.caption_drop import CaptionDrop
from lerobot_wallwm.policies.training.muon import MuonAdamWConfig

# Our choice; Muon's momentum is its config's.
WEIGHT_DECAY, BETAS, GRAD_CLIP_NORM = 0.01, (0.9, 0.95), 1.0


@PreTrainedConfig.register_subclass("wallwm")
@dataclass
class WallwmConfig(SafetyFields, PreTrainedConfig):
    """What a person chose for a WALL-WM policy.

    The fields are in four groups in `config/`, for the model, training, acting and safety, each with its reason; each
    group inherits the one before, for draccus finds help texts along one line of bases only.

    Defaults are the `nano` model: two CPU cores, no download. What training learned from its data is in ``learned``,
    which is no field: no flag sets it, and a checkpoint holds it in `learned.json` beside `config.json`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.learned = Learned()
        self.fill()
        if self.optimizer_lr is None:
            self.optimizer_lr = 1e-3 if self.backbone == "nano" else 1e-4
        self.check()
        self._own_output_features = self.output_features

    def _save_pretrained(self, save_directory: Path) -> None:
        """LeRobot's hook: what a person chose, and what was learned; LeRobot calls it for an adapter, too."""
        super()._save_pretrained(save_directory)
        self.learned.write(save_directory)

    def validate_features(self) -> None:
        """Raises ValueError for a dataset or robot that the policy cannot be built for."""
        if not self.image_features:
            raise ValueError(
                "wallwm needs at least one camera: the dataset's meta/info.json has no feature named "
                "'observation.images.*' of dtype 'video' or 'image'."
            )
        if self.robot_state_feature is None:
            raise ValueError(
                "wallwm needs 'observation.state': add the joint positions to the dataset's features."
            )
        if self.action_feature is None:
            raise ValueError("wallwm needs 'action': the dataset's meta/info.json has no such feature.")
        if len(self.image_features) > self.max_views:
            raise ValueError(
                f"{len(self.image_features)} cameras exceed --policy.max_views={self.max_views}; raise it."
            )
        for key, feature in self.image_features.items():
            if feature.type is not FeatureType.VISUAL or len(feature.shape) != 3:
                raise ValueError(
                    f"'{key}' must be an image of shape (3, height, width), got {feature.shape}."
                )

    # Not a field: `lerobot-rollout` sets it on every config that has it, and no other command of LeRobot's does.
    compile_model = None

    @property
    def drives_an_arm(self) -> bool:
        """Whether guards may hold and stop: `guards`, or for `auto` what LeRobot has handed in.

        `make_policy`, which lerobot-train and lerobot-eval call, puts the features of the dataset or environment in the
        place of the checkpoint's own, and lerobot-rollout does not. Where nobody is known to wait for the policy, an arm
        is assumed.
        """
        if self.guards != "auto":
            return self.guards == "arm"
        return self.compile_model is not None or self.output_features is self._own_output_features

    # --- the stage

    def caption_drop(self) -> CaptionDrop:
        """How often training drops captions; the lengths are the paper's 129 and 220 (p. 20) for its window of 129."""
        window = 1 + self.horizon
        return CaptionDrop(*self.training_stage.caption_drop, window, round(window * 220 / 129))

    # --- the window, as LeRobot asks for it

    @property
    def chunked(self) -> bool:
        """Whether windows are centred on the observation, with chunks of fixed length, instead of on events."""
        return self.window == "chunk"

    @property
    def past_latents(self) -> int:
        """M; events have no history."""
        return self.history_latents if self.chunked else 0

    @property
    def past_steps(self) -> int:
        """Action tokens of the history, without the anchor's."""
        return self.past_latents * self.actions_per_latent

    @property
    def chunk_length(self) -> int:
        """H_a, actions executed of each chunk."""
        return self.chunk_steps or self.horizon

    # What LeRobot after 0.6.1 asks for; 0.6.1 reads none of these.

    @property
    def chunk_size(self) -> int:
        """Actions of each answer of `predict_action_chunk`."""
        return self.horizon

    @property
    def n_action_steps(self) -> int:
        """How many of them are carried out before the next look."""
        return self.chunk_length if self.chunked else min(self.replan_steps or self.horizon, self.horizon)

    @property
    def image_observation_delta_indices(self) -> list[int]:
        """As `observation_delta_indices`: the frames of a window."""
        return self.observation_delta_indices

    @property
    def state_observation_delta_indices(self) -> list[int]:
        """The keyframe's state; all of a window's for sight cones, which move with the joints, and for chunks."""
        return self.observation_delta_indices if self.calibration or self.chunked else [0]

    @property
    def observation_delta_indices(self) -> list[int]:
        """The keyframe, the 4 N sampled future frames where the stage looks at any and, in chunks, the 4 M before."""
        future = 4 * self.num_future_latents if self.training_stage.future_fraction else 0
        sampled = range(-4 * self.past_latents, 1 + future)
        return [i * self.video_stride for i in sampled]

    @property
    def action_delta_indices(self) -> list[int]:
        """Every action from the keyframe on and, in chunks with history, those that led to its poses (chunk_window.py)."""
        past = self.past_steps + 1 if self.past_steps else 0
        return list(range(-past, self.horizon))

    @property
    def reward_delta_indices(self) -> None:
        """Rewards are not used."""
        return None

    def get_optimizer_preset(self) -> OptimizerConfig:
        """AdamW over all parameters, or Muon and AdamW."""
        kind = MuonAdamWConfig if self.optimizer == "muon" else AdamWConfig
        return kind(
            lr=self.optimizer_lr, betas=BETAS, weight_decay=WEIGHT_DECAY, grad_clip_norm=GRAD_CLIP_NORM
        )

    def get_scheduler_preset(self) -> LRSchedulerConfig:
        """Linear warm-up, then cosine to zero over the steps of the run."""
        return CosineAnnealingWithWarmupSchedulerConfig(num_warmup_steps=self.scheduler_warmup_steps)

    @property
    def normalization_mapping(self) -> dict[str, NormalizationMode]:
        """State and pictures enter raw (the network keeps its own statistics); see processor_wallwm.py for actions."""
        raw = dict.fromkeys(("VISUAL", "STATE", "ENV"), NormalizationMode.IDENTITY)
        return {**raw, "ACTION": NormalizationMode.MIN_MAX}

    # --- joints

    @property
    def action_feature_names(self) -> list[str] | None:
        """Names of the action's dimensions, which LeRobot asks for and sets under this name."""
        return self.learned.action_feature_names

    @action_feature_names.setter
    def action_feature_names(self, names: list[str] | None) -> None:
        self.learned.action_feature_names = names

    @property
    def what(self) -> Embodiment:
        """What action and state are: as learned, or as their names tell where nothing was."""
        action, state, learned = self.action_feature, self.robot_state_feature, self.learned
        assert action is not None and state is not None
        widths = action.shape[-1], state.shape[-1]
        found = learned.embodiment
        if found is None or (len(found.action), len(found.state)) != widths:
            names = (learned.action_feature_names, learned.state_feature_names)
            own = [n if n is not None and len(n) == w else None for n, w in zip(names, widths, strict=True)]
            found = recognise(own[0], own[1], widths, None)
        return found

    def relative_mask(self) -> list[bool]:
        """Which action dimensions are learned relative to the observed pose: positions that the state measures."""
        what = self.what
        turning = {d for turn, _ in what.turns for d in turn.dims}
        excluded = [word.lower() for word in self.relative_exclude_joints]
        return [
            self.relative_actions
            and dim.kind == "position"
            and (dim.follows >= 0 or d in turning)
            and not any(word in dim.name.lower() or word == dim.quantity for word in excluded)
            for d, dim in enumerate(what.action)
        ]
