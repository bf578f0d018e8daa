# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What is built: backbone, window, cameras, sizes. A checkpoint's own values are needed to load it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lerobot_wallwm.hub.files.backbones import BACKBONES
from lerobot_wallwm.policies.reasoning.shape import ReasonerShape, entry_depths
from lerobot_wallwm.policies.training.recipes import PARTS, fill_recipe

# Stand for "as it suits the recipe, the backbone, or the stage"; `fill` puts the value in its place.
BY_RECIPE: Any = None
BY_BACKBONE: Any = None

# Our choice, for two CPU cores; of the Wan backbones, see also hub/files/backbones.py.
_NANO = {
    "image_size": (96, 96),
    "max_text_tokens": 16,
    "num_inference_steps": 1,
    "action_width": 96,
    "action_heads": 4,
    "action_ffn_width": 192,
}


@dataclass
class ModelFields:
    """The network. The paper gives no size of its action tower and no nano model: where no page stands, our choice."""

    # `nano`: for minutes of training on a CPU; `paper`: window, prediction, stages, optimiser and execution of the paper (docs/train/options.md, at the end).
    recipe: str = "nano"
    # Video tower, codec and text encoder: `nano` (random weights), or Wan's `wan2.2-5b` (paper p. 6, recipe paper) or `wan2.1-1.3b`.
    backbone: str = BY_RECIPE
    # Folder of a Wan backbone in diffusers' layout instead of the Hub's; a checkpoint finds its frozen parts there.
    backbone_path: str | None = None
    # Branch, tag or commit of the backbone on the Hub; training fills in the commit that it used.
    backbone_revision: str | None = None
    # (height, width) in pixels that frames are resized to, multiples of 16 (wan2.2-5b: 32). nano 96 x 96, Wan 192 x 224.
    image_size: tuple[int, int] = BY_BACKBONE
    # `stretch` fills that frame; `pad` keeps each camera's proportions between black borders, which no loss sees.
    resize: str = "stretch"
    # Future latents N of a window, 4 sampled frames each: recipe nano 2, paper 16 (p. 19).
    num_future_latents: int = BY_RECIPE
    # Source frames between two sampled frames: recipe nano 4, paper 2; the horizon is 4 * video_stride * num_future_latents actions.
    video_stride: int = BY_RECIPE
    # History latents M of stage=next_chunk, whose windows begin before the observation (paper p. 10 gives no number).
    history_latents: int = 1
    # Actions H_a executed of each chunk of stage=next_chunk, the unit of its E_abs; 0: the whole horizon.
    chunk_steps: int = 0
    # Width of nano's video tower.
    video_width: int = 128
    # Blocks of nano's video tower; the action tower has as many as the video tower.
    video_depth: int = 4
    # Attention heads of nano's video tower.
    video_heads: int = 4
    # Feed-forward width of nano's video tower.
    video_ffn_width: int = 384
    # Width of nano's word vectors.
    text_dim: int = 64
    # Tokens of a caption, padding included: nano 16, Wan 512 as it was trained (fewer are faster).
    max_text_tokens: int = BY_BACKBONE
    # Rows of the view tables: the most cameras that this model and its fine-tunings can ever have.
    max_views: int = 4
    # Leave out the view of a camera that the dataset or robot lacks; otherwise a missing camera is an error.
    allow_missing_cameras: bool = False
    # Cameras of the dataset to learn besides those of the checkpoint; each takes a free row of the view tables.
    new_cameras: list[str] = field(default_factory=list)
    # Width of the action tower: nano 96, wan2.1-1.3b 768, wan2.2-5b 1024.
    action_width: int = BY_BACKBONE
    # Attention heads of the action tower: nano 4, wan2.1-1.3b 6, wan2.2-5b 8.
    action_heads: int = BY_BACKBONE
    # Feed-forward width of the action tower: nano 192, wan2.1-1.3b 2048, wan2.2-5b 2816.
    action_ffn_width: int = BY_BACKBONE
    # Landmarks per camera that the video tower reads beside its patches (see landmarks.py): recipe nano 8, paper 0.
    landmarks: int = BY_RECIPE
    # What a window is: `event`, or `chunk` (paper p. 10). The stage next_chunk sets it, and later language stages keep it.
    window: str = "event"
    # The vision-language model of the language half: `none`, or `nano`, which lies in the checkpoint; stage=vlm adds it.
    vlm: str = "none"
    # K_c, latents that stand in for a caption (paper p. 11-13; no number there); stage=staircase adds 8.
    latents: int = 0
    # At which depth of the decoder each latent enters: `relay=R` (the paper's text), `stagger=N` (its figure), `queries`.
    staircase: str = "relay=3"
    # Learn actions relative to the observed pose where the state measures what the action commands (paper p. 10).
    relative_actions: bool = True
    # Dimensions whose name contains one of these stay absolute: a gripper's target is a state, not a way.
    relative_exclude_joints: list[str] = field(default_factory=lambda: ["gripper"])

    def fill(self) -> None:
        """Fills in what follows the recipe, and then the backbone, unless it is set.

        Raises:
            ValueError: An unknown recipe or backbone.
        """
        check_choice("recipe", self.recipe, tuple(PARTS))
        fill_recipe(self)
        check_choice("backbone", self.backbone, ("nano", *BACKBONES))
        defaults: dict[str, Any] = _NANO
        if self.backbone != "nano":
            wan = BACKBONES[self.backbone]
            # The size is that of WALL-WM's README.
            defaults = {
                "image_size": (192, 224),
                "num_inference_steps": 5,
                "max_text_tokens": wan.max_text_tokens,
                **wan.policy,
            }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        self.image_size = (int(self.image_size[0]), int(self.image_size[1]))

    def check(self) -> None:
        """Raises ValueError for values out of range, or fields that contradict each other."""
        if self.backbone == "nano" and (self.backbone_path or self.backbone_revision):
            raise ValueError(
                "--policy.backbone_path and --policy.backbone_revision are for the Wan backbones; nano has no weights "
                f"to start from. Add --policy.backbone={' or '.join(BACKBONES)}."
            )
        check_choice("resize", self.resize, ("stretch", "pad"))
        check_choice("window", self.window, ("event", "chunk"))
        check_choice("vlm", self.vlm, ("none", "nano"))
        if self.vlm == "nano" and self.backbone != "nano":
            raise ValueError(
                f"--policy.vlm=nano speaks to the towers of nano alone, whose text is one token a word; {self.backbone} reads "
                "umT5's tokens. Fix: --policy.backbone=nano"
            )
        check_least(self, latents=0)
        if self.latents:
            entry_depths(self.staircase, self.latents, ReasonerShape.depth)
        check_least(self, num_future_latents=1, video_stride=1, max_views=1, history_latents=0, landmarks=0)
        if not 0 <= self.chunk_steps <= self.horizon:
            raise ValueError(
                f"--policy.chunk_steps must lie in [0, {self.horizon}], the horizon, got {self.chunk_steps}."
            )

    @property
    def actions_per_latent(self) -> int:
        """K_p, action steps per future latent (paper p. 10)."""
        return 4 * self.video_stride

    @property
    def horizon(self) -> int:
        """Actions in a window."""
        return self.actions_per_latent * self.num_future_latents


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises ValueError unless the field holds one of the choices."""
    if value not in choices:
        raise ValueError(f"--policy.{name}={value} is not available: choose one of {', '.join(choices)}.")


def check_least(group: object, **least: float) -> None:
    """Raises ValueError for a field that is no finite number of at least so much."""
    for name, smallest in least.items():
        value = getattr(group, name)
        if not smallest <= value < float("inf"):  # false for NaN, too
            raise ValueError(
                f"--policy.{name} must be a finite number of at least {smallest:g}, got {value}."
            )
