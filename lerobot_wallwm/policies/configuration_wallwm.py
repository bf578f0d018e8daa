# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""All that a `wallwm` checkpoint remembers, one reason per field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import FeatureType, NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, OptimizerConfig
from lerobot.optim.schedulers import CosineAnnealingWithWarmupSchedulerConfig, LRSchedulerConfig

from .model_shape import ModelShape, WanShape
from .optimization import MuonAdamWConfig

IMAGINATIONS = ("none", "anchor", "full")
PLANNERS = ("grammar", "script", "instruction")


@PreTrainedConfig.register_subclass("wallwm")
@dataclass
class WallwmConfig(PreTrainedConfig):
    """Configuration of the WALL-WM policy.

    Defaults are the `nano` model: two CPU cores, no download. "our choice" marks what the paper leaves open.
    """

    # --- what is built and trained
    # Video tower and codec. `nano` starts from random weights; the Wan backbones are not in this release.
    backbone: str = "nano"
    # `joint` trains both towers at once, the paper's small-data setting (p. 10). Its staged recipe is not here yet.
    stage: str = "joint"

    # --- the window (an event, seen from its keyframe)
    # Frames are resized to (height, width) before the codec. Must be a multiple of 16.
    image_size: tuple[int, int] = (96, 96)
    # Future latents N; each stands for 4 sampled frames (paper p. 10; at most 16 there).
    num_future_latents: int = 2
    # Source frames between two sampled frames. The horizon is 4 * video_stride * num_future_latents actions.
    video_stride: int = 4

    # --- video tower, nano only (our choice)
    video_width: int = 128
    video_depth: int = 4
    video_heads: int = 4
    video_ffn_width: int = 384
    codec_levels: int = 3
    patch: int = 2
    text_dim: int = 64
    max_text_tokens: int = 16
    # Rows of the Camera RoPE table. More cameras than this need another checkpoint.
    max_views: int = 4

    # Calibration file (see calibration.py) from which training masks cross-view attention to what two cameras can both
    # see (paper p. 7-8); None lets all tokens of a latent frame see each other. Inference never reads it.
    calibration: str | None = None
    # The paper's scale l >= 1 on the cones' half angle; it gives no value.
    sight_cone_widen: float = 1.0

    # --- action tower (paper gives no width; our choice). Its depth always equals the video tower's.
    action_width: int = 96
    action_heads: int = 4
    action_ffn_width: int = 192
    # Keypoints per camera from which the goal reader tells where the event will end; 0 builds none (not in the paper;
    # our choice, see goal_reader.py).
    keypoints: int = 16
    # Actions are learned relative to the observed pose where action and state are the same joints (paper p. 10).
    relative_actions: bool = True
    # Dimensions whose name contains one of these stay absolute: a gripper's target is a state, not a way.
    relative_exclude_joints: list[str] = field(default_factory=lambda: ["gripper"])
    # Filled in from the dataset.
    action_feature_names: list[str] | None = None
    state_feature_names: list[str] | None = None

    # --- losses
    # K independent action noise levels on one video forward (paper p. 11).
    action_draws: int = 2
    # `v` predicts the velocity, the paper's default; `x` the actions, its option for contact-heavy data (p. 11). Ours
    # is `x`: its zero is "stay", which a short training run need not learn first.
    action_prediction: str = "x"
    # Part of each batch that carries the future video; the rest trains on keyframes alone, as inference without
    # imagination sees them (our choice).
    future_fraction: float = 0.125
    # Part of those that hold the video at s* (paper's asymmetric mapping) instead of t_A = t_V (our choice).
    anchored_fraction: float = 0.5
    video_loss_weight: float = 2.0
    remaining_loss_weight: float = 0.2
    goal_loss_weight: float = 1.0
    # s* = 45 on a 50-step schedule (paper p. 20), counted from noise; a little jitter in noise level (our choice).
    anchor_step: int = 45
    anchor_steps: int = 50
    anchor_jitter: float = 0.02
    # Timestep shift of the video schedule; Wan's default.
    video_shift: float = 5.0

    # --- inference
    # What the video tower does before acting: none, anchor (to s*, then held) or full (in step with the actions).
    imagination: str = "none"
    num_inference_steps: int = 5
    # Noise of every rollout starts from this seed, so that a rollout can be repeated. None draws fresh noise.
    inference_seed: int | None = 0
    # Where event captions come from: `grammar` learned from the data, `script` given below, or the `instruction`.
    planner: str = "grammar"
    # Captions for planner=script, in order.
    script: list[str] = field(default_factory=list)
    # After the last event: `hold` the pose, or `repeat` the plan from its start.
    on_plan_end: str = "hold"
    # Actions executed before looking again inside an event; 0 runs each event open loop, as the paper does.
    replan_steps: int = 4
    # An event is left once this many predicted frames remain.
    end_threshold: float = 1.5
    # An event is left after this multiple of the longest one in the data, whatever the model predicts.
    max_event_stretch: float = 1.5
    # Extra room, in half ranges, beyond the actions that the data has seen.
    action_clamp_margin: float = 0.0
    # Collects imagined video for LeRobot's `pred_episode_N.mp4`; costs one imagination per event.
    save_predicted_video: bool = False

    # --- learned from the carved dataset, stored with the checkpoint
    # How events follow each other: context ("template" or "template || template") -> next template -> count.
    event_transitions: dict[str, dict[str, int]] = field(default_factory=dict)
    # Longest event per template, in frames.
    event_max_frames: dict[str, int] = field(default_factory=dict)
    # Frames per second of the training data; the unit of all step counts above.
    fps: float | None = None

    # --- optimiser (LeRobot discards --optimizer.* while the preset is on, so these are policy fields)
    # `adamw`, or `muon`: Muon for the blocks' matrices and AdamW for the rest (the paper's optimiser; see
    # optimization.py). One learning rate serves both.
    optimizer: str = "adamw"
    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 0.01
    optimizer_betas: tuple[float, float] = (0.9, 0.95)
    optimizer_grad_clip_norm: float = 1.0
    optimizer_momentum: float = 0.95  # of Muon
    # Muon orthogonalises each head's part of an attention matrix by itself: our choice. Off, the whole matrix, as in
    # DMuon, at twice the time. No resumed run may change it.
    optimizer_per_head: bool = True
    scheduler_warmup_steps: int = 50

    # State enters raw (the network keeps its own statistics); see processor_wallwm.py for the actions.
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {
            "VISUAL": NormalizationMode.IDENTITY,
            "STATE": NormalizationMode.IDENTITY,
            "ENV": NormalizationMode.IDENTITY,
            "ACTION": NormalizationMode.MIN_MAX,
        }
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.image_size = (int(self.image_size[0]), int(self.image_size[1]))
        _check_choice("backbone", self.backbone, ("nano",))
        _check_choice("stage", self.stage, ("joint",))
        _check_choice("action_prediction", self.action_prediction, ("x", "v"))
        _check_choice("imagination", self.imagination, IMAGINATIONS)
        _check_choice("planner", self.planner, PLANNERS)
        _check_choice("optimizer", self.optimizer, ("adamw", "muon"))
        _check_choice("on_plan_end", self.on_plan_end, ("hold", "repeat"))
        for name in (
            "num_future_latents",
            "video_stride",
            "action_draws",
            "num_inference_steps",
            "max_views",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"--policy.{name} must be at least 1, got {getattr(self, name)}.")
        if not 0.0 <= self.future_fraction <= 1.0 or not 0.0 <= self.anchored_fraction <= 1.0:
            raise ValueError("--policy.future_fraction and --policy.anchored_fraction must lie in [0, 1].")
        if self.sight_cone_widen < 1:
            raise ValueError(f"--policy.sight_cone_widen must be at least 1, got {self.sight_cone_widen}.")
        if self.keypoints < 0:
            raise ValueError(f"--policy.keypoints must be at least 0, got {self.keypoints}.")
        if self.planner == "script" and not self.script:
            raise ValueError(
                "--policy.planner=script needs --policy.script='[\"reach for the red cube\", ...]', got an empty list."
            )

    # --- the window, as LeRobot asks for it

    @property
    def horizon(self) -> int:
        """Actions in a window."""
        return self.actions_per_latent * self.num_future_latents

    @property
    def actions_per_latent(self) -> int:
        """K_p, action steps per future latent (paper p. 10)."""
        return 4 * self.video_stride

    @property
    def observation_delta_indices(self) -> list[int]:
        """The keyframe and the 4 N sampled future frames."""
        return [i * self.video_stride for i in range(1 + 4 * self.num_future_latents)]

    @property
    def action_delta_indices(self) -> list[int]:
        """Every action from the keyframe on."""
        return list(range(self.horizon))

    @property
    def reward_delta_indices(self) -> None:
        """Rewards are not used."""
        return None

    def get_optimizer_preset(self) -> OptimizerConfig:
        """AdamW over all parameters, or Muon and AdamW."""
        if self.optimizer == "muon":
            return MuonAdamWConfig(
                lr=self.optimizer_lr,
                betas=self.optimizer_betas,
                weight_decay=self.optimizer_weight_decay,
                grad_clip_norm=self.optimizer_grad_clip_norm,
                momentum=self.optimizer_momentum,
            )
        return AdamWConfig(
            lr=self.optimizer_lr,
            betas=self.optimizer_betas,
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> LRSchedulerConfig:
        """Linear warm-up, then cosine to zero over the steps of the run."""
        return CosineAnnealingWithWarmupSchedulerConfig(num_warmup_steps=self.scheduler_warmup_steps)

    def set_dataset_feature_metadata(self, features: dict[str, Any]) -> None:
        """Called by LeRobot's factory: remembers joint names, which decide what can be relative."""
        names = features.get("observation.state", {}).get("names")
        self.state_feature_names = list(names) if isinstance(names, (list, tuple)) else None

    def relative_mask(self) -> list[bool]:
        """Which action dimensions are learned relative to the observed pose."""
        action, state = self.action_feature, self.robot_state_feature
        assert action is not None
        dims = action.shape[-1]
        names, state_names = self.action_feature_names, self.state_feature_names
        same_joints = (
            state is not None and state.shape[-1] == dims and names is not None and names == state_names
        )
        if not self.relative_actions or not same_joints:
            return [False] * dims
        assert names is not None
        excluded = [word.lower() for word in self.relative_exclude_joints]
        return [not any(word in str(name).lower() for word in excluded) for name in names]

    def model_shape(self) -> ModelShape:
        """Sizes of the `nano` model."""
        assert self.robot_state_feature is not None and self.action_feature is not None
        channels = 3 * 4**self.codec_levels * 4
        return ModelShape(
            video=WanShape(
                width=self.video_width,
                depth=self.video_depth,
                heads=self.video_heads,
                ffn_width=self.video_ffn_width,
                latent_channels=channels,
                text_dim=self.text_dim,
                patch=self.patch,
            ),
            codec_levels=self.codec_levels,
            image_size=self.image_size,
            max_views=self.max_views,
            max_text_tokens=self.max_text_tokens,
            action_width=self.action_width,
            action_heads=self.action_heads,
            action_ffn_width=self.action_ffn_width,
            keypoints=self.keypoints,
            action_dim=self.action_feature.shape[-1],
            state_dim=self.robot_state_feature.shape[-1],
            num_future_latents=self.num_future_latents,
            actions_per_latent=self.actions_per_latent,
            action_draws=self.action_draws,
            action_prediction=self.action_prediction,
            future_fraction=self.future_fraction,
            anchored_fraction=self.anchored_fraction,
            anchor_step=self.anchor_step,
            anchor_steps=self.anchor_steps,
            anchor_jitter=self.anchor_jitter,
            video_shift=self.video_shift,
        )

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


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"--policy.{name}={value} is not available: choose one of {', '.join(choices)}.")
