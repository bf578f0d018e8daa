# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""All that a `wallwm` checkpoint remembers, one reason per field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, OptimizerConfig
from lerobot.optim.schedulers import CosineAnnealingWithWarmupSchedulerConfig, LRSchedulerConfig

from lerobot_wallwm.policies.config.acting_fields import EventModeConfig, check_event_mode
from lerobot_wallwm.policies.config.backbone_defaults import defaults_of
from lerobot_wallwm.policies.config.model_fields import check_backbone, check_features, check_fields
from lerobot_wallwm.policies.config.safety_fields import SafetyFields
from lerobot_wallwm.policies.training.caption_drop import CaptionDrop
from lerobot_wallwm.policies.training.muon import MuonAdamWConfig
from lerobot_wallwm.policies.training.stages import STAGES

# Stands for "as it suits the backbone"; `__post_init__` puts the number in its place.
_BY_BACKBONE: Any = None


@PreTrainedConfig.register_subclass("wallwm")
@dataclass
class WallwmConfig(SafetyFields, EventModeConfig, PreTrainedConfig):
    """Configuration of the WALL-WM policy.

    Defaults are the `nano` model: two CPU cores, no download. "our choice" marks what the paper leaves open.
    """

    # --- what is built and trained
    # Video tower, codec and text encoder. `nano` starts from random weights; the Wan backbones from the Hub's.
    backbone: str = "nano"
    # Local folder in diffusers' layout (transformer/, vae/, text_encoder/, tokenizer/) instead of the Hub. A checkpoint
    # finds its frozen VAE and umT5 there again; set it anew where they lie elsewhere.
    backbone_path: str | None = None
    # Branch, tag or commit of the backbone on the Hub; the commit that was used is filled in.
    backbone_revision: str | None = None
    # Filled in from the backbone: numbers of its transformer, and a fingerprint of its umT5. With these, a checkpoint
    # loads without the former and acts without the latter as long as it knows the captions.
    backbone_shape: dict[str, int] = field(default_factory=dict)
    text_encoder_id: str | None = None
    # Folder of umT5's features on disk; None: wallwm/text_features in Hugging Face's home.
    text_cache: str | None = None
    # Dtype of autocast in training (LeRobot reads it, and no longer `use_amp`) and acting, and of the frozen encoders
    # on CUDA. Weights stay in float32.
    dtype: str = "float32"
    # What is trained and on which losses, a row of stages.py: `joint` trains both towers at once, the paper's
    # small-data setting (p. 10); `video`, then `action` are its recipe (p. 19-20), each from the last by --policy.path.
    # Fields that are None have the stage's own number.
    stage: str = "joint"

    # --- the window (an event, seen from its keyframe)
    # Frames are resized to (height, width) before the codec. Must be a multiple of 16 (wan2.2-5b: 32). By backbone:
    # nano 96 x 96, Wan 192 x 224 (WALL-WM's README).
    image_size: tuple[int, int] = _BY_BACKBONE
    # How: `stretch` fills the frame, `pad` keeps each camera's proportions between black borders, which no loss sees.
    resize: str = "stretch"
    # Future latents N; each stands for 4 sampled frames (paper p. 10; at most 16 there).
    num_future_latents: int = 2
    # Source frames between two sampled frames. The horizon is 4 * video_stride * num_future_latents actions.
    video_stride: int = 4

    # History latents M of stage=next_chunk, whose windows are centred on the observation (paper p. 10; it gives no M).
    history_latents: int = 1
    # Actions H_a executed of each chunk, and the unit in which E_abs counts a rollout; 0 is the whole horizon.
    chunk_steps: int = 0
    # Rows of E_abs; chunks beyond share the last (our choice).
    max_chunks: int = 128

    # --- video tower, nano only (our choice)
    video_width: int = 128
    video_depth: int = 4
    video_heads: int = 4
    video_ffn_width: int = 384
    codec_levels: int = 3
    patch: int = 2
    text_dim: int = 64
    # Tokens of a caption, padding included. By backbone: nano 16, Wan 512 (as it was trained; fewer are faster).
    max_text_tokens: int = _BY_BACKBONE
    # Rows of the Camera RoPE table. More cameras than this need another checkpoint.
    max_views: int = 4
    # How the video tower brings cameras together: `cross` is the paper's; `tile` (one canvas) and `none` are what it is
    # compared with (see view_fusion.py).
    view_fusion: str = "cross"
    # Leave out the view of a camera that the dataset or robot does not have. Otherwise a missing camera is an error.
    allow_missing_cameras: bool = False
    # Cameras of the dataset to learn besides those of the checkpoint; each takes a free row of the view tables.
    new_cameras: list[str] = field(default_factory=list)
    # Filled in: the camera that each row of the view tables belongs to (see view_table.py).
    camera_rows: list[str] = field(default_factory=list)

    # Calibration file (see calibration.py) from which training masks cross-view attention to what two cameras can both
    # see (paper p. 7-8); None lets all tokens of a latent frame see each other. Inference never reads it.
    calibration: str | None = None
    # The paper's scale l >= 1 on the cones' half angle; it gives no value.
    sight_cone_widen: float = 1.0

    # Tube masks (paper p. 8-9, see tube_masks.py): the share of training samples of which one view loses a window. 0 is
    # off, as in the paper's main recipe. It gives none of the numbers below: our choice.
    tube_probability: float = 0.0
    # Of those, the share that loses the window in the keyframe, too.
    tube_condition_probability: float = 0.5
    # Side of the window in tokens.
    tube_min: int = 1
    tube_max: int = 3
    # Weight of hidden tokens in the video loss, lambda_mask.
    tube_loss_weight: float = 1.0

    # --- action tower (paper gives no width; our choice). Its depth always equals the video tower's. By backbone: nano
    # 96, 4 and 192; the Wan ones in hub/backbones.py.
    action_width: int = _BY_BACKBONE
    action_heads: int = _BY_BACKBONE
    action_ffn_width: int = _BY_BACKBONE
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
    # K independent action noise levels on one video forward (paper p. 11, where K = 6). joint 2, action 6.
    action_draws: int | None = None
    # `v` predicts the velocity, the paper's default; `x` the actions, its option for contact-heavy data (p. 11). Ours
    # is `x`: its zero is "stay", which a short training run need not learn first.
    action_prediction: str = "x"
    # w_DCT of the paper's frequency term on the actions that either prediction recovers (p. 11; 0 in its main runs).
    dct_loss_weight: float = 0.0
    # Part of each batch that carries the future video; the rest trains on keyframes alone, as inference without
    # imagination sees them (our choice). joint 0.125, action 0.5, video 1. With 1, which is the paper's, stage `action`
    # never learns the remaining time.
    future_fraction: float | None = None
    # Part of those that hold the video at s* (paper's asymmetric mapping) instead of t_A = t_V (0: the symmetric one).
    # joint 0.5 (our choice), action 1.
    anchored_fraction: float | None = None
    video_loss_weight: float = 2.0
    remaining_loss_weight: float = 0.2
    goal_loss_weight: float = 1.0
    # s* = 45 on a 50-step schedule (paper p. 20), counted from noise; a little jitter in noise level (our choice).
    anchor_step: int = 45
    anchor_steps: int = 50
    anchor_jitter: float = 0.02
    # Timestep shift of the video schedule. By backbone: 5, Wan's default; 3 for wan2.1-1.3b.
    video_shift: float = _BY_BACKBONE
    # The same for the levels that training draws. None: 1 in stage `video`, which makes t uniform in [0, 1] as the paper
    # has it there (p. 20), and `video_shift` elsewhere. s* is always on the sampler's schedule.
    video_train_shift: float | None = None
    # Computes training losses on the frames and actions that lie inside their events; false computes the padding too
    # and masks it (the same losses, for comparison). Chunks and view_fusion=tile are always padded.
    packing: bool = True
    # Keeps only what enters each block of both towers and computes the rest again in the backward pass: less memory for
    # more time (benchmarks/bench_packing.py).
    gradient_checkpointing: bool = False
    # Share of captions dropped for short and for long events (paper p. 19-20: 0.1 and 0.9 in stage `video`; else 0),
    # and the frames that count as short and long. None: the window's length and 220/129 of it, as in the paper.
    caption_drop_min: float | None = None
    caption_drop_max: float | None = None
    caption_drop_frames: tuple[int, int] | None = None
    # Averages the trained weights after every step (paper p. 20: 0.9999 in stage `video`; else 0, which keeps none).
    # Inference and the next stage use the average.
    ema_decay: float | None = None

    # --- inference
    # What the video tower does before acting: none, anchor (to s*, then held) or full (in step with the actions).
    imagination: str = "none"
    num_inference_steps: int = 5
    # Noise of every rollout starts from this seed, so that a rollout can be repeated. None draws fresh noise.
    inference_seed: int | None = 0
    # Where event captions come from: `grammar` learned from the data, `script` given below, the `instruction`, a `human`
    # or a `vlm` (configuration_event_mode.py).
    planner: str = "grammar"
    # Captions for planner=script, in order, each with its duration where the plan gives one: "lift the cup | 1.5 s".
    script: list[str] = field(default_factory=list)
    # After the last event: `hold` the pose, or `repeat` the plan from its start.
    on_plan_end: str = "hold"
    # Actions executed before looking again inside an event; 0 runs each event open loop, as the paper does.
    replan_steps: int = 4
    # An event is left once this many predicted frames remain.
    end_threshold: float = 1.5
    # An event is left after this multiple of the longest one in the data, whatever the model predicts.
    max_event_stretch: float = 1.5
    # Extra room, in half ranges, beyond the actions that the data has seen (more guards: safety_fields.py).
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
    # `adamw`, or `muon`: Muon for the blocks' matrices and AdamW for the rest (the paper's optimiser). One learning rate
    # serves both.
    optimizer: str = "adamw"
    # By backbone: 1e-3 from random weights, 1e-4 from Wan's (paper.md: the rate of a sibling's public code).
    optimizer_lr: float = _BY_BACKBONE
    optimizer_weight_decay: float = 0.01
    optimizer_betas: tuple[float, float] = (0.9, 0.95)
    optimizer_grad_clip_norm: float = 1.0
    optimizer_momentum: float = 0.95  # of Muon
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
        check_backbone(self)
        for name, value in defaults_of(self.backbone).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        self.image_size = (int(self.image_size[0]), int(self.image_size[1]))
        if self.caption_drop_frames is not None:
            self.caption_drop_frames = (int(self.caption_drop_frames[0]), int(self.caption_drop_frames[1]))
        check_fields(self)
        self.check_safety()
        check_event_mode(self)
        self._own_output_features = self.output_features

    def validate_features(self) -> None:
        """Raises ValueError for a dataset or robot that the policy cannot be built for."""
        check_features(self)

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

    def by_stage(self, name: str) -> Any:
        """A field, or where that is None the stage's number for it (`stages.Stage`)."""
        value = getattr(self, name)
        return getattr(STAGES[self.stage], name) if value is None else value

    def caption_drop(self) -> CaptionDrop:
        """How often training drops captions."""
        window = 1 + self.horizon
        # Paper p. 20: a window of 129 frames, and 220.
        short, long = self.caption_drop_frames or (window, round(window * 220 / 129))
        least, most = STAGES[self.stage].caption_drop
        return CaptionDrop(
            least if self.caption_drop_min is None else self.caption_drop_min,
            most if self.caption_drop_max is None else self.caption_drop_max,
            short,
            long,
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
    def chunked(self) -> bool:
        """Whether windows are centred on the observation, with chunks of fixed length, instead of on events."""
        return self.stage == "next_chunk"

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

    @property
    def observation_delta_indices(self) -> list[int]:
        """The keyframe, the 4 N sampled future frames and, in chunks, the 4 M sampled frames before."""
        sampled = range(-4 * self.past_latents, 1 + 4 * self.num_future_latents)
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

    @property
    def same_joints(self) -> bool:
        """Whether actions are targets of the very joints that the state measures, in the same order."""
        action, state = self.action_feature, self.robot_state_feature
        names = self.action_feature_names
        same_size = action is not None and state is not None and state.shape[-1] == action.shape[-1]
        return same_size and names is not None and names == self.state_feature_names

    def relative_mask(self) -> list[bool]:
        """Which action dimensions are learned relative to the observed pose."""
        action = self.action_feature
        assert action is not None
        names = self.action_feature_names
        if not self.relative_actions or not self.same_joints or names is None:
            return [False] * action.shape[-1]
        excluded = [word.lower() for word in self.relative_exclude_joints]
        return [not any(word in str(name).lower() for word in excluded) for name in names]
