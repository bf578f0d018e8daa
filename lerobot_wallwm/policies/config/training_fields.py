# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What is trained, on which losses, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lerobot_wallwm.policies.config.model_fields import (
    BY_BACKBONE,
    BY_RECIPE,
    ModelFields,
    check_choice,
    check_least,
)
from lerobot_wallwm.policies.training.stages import PAPER_STAGES, REASONED, STAGES, Stage


@dataclass
class TrainingFields(ModelFields):
    """The training. LeRobot discards --optimizer.* while its preset is on, so the optimiser's settings are fields."""

    # What is trained, on which losses: `joint` (paper p. 10), or `video`, then `action` (p. 19-20), or `next_chunk` (p. 21).
    stage: str = "joint"
    # Autocast's dtype, and where a frozen video tower, an acting policy and, on CUDA, VAE and umT5 lie; what learns is float32.
    dtype: str = "float32"
    # Chance of each sample to carry its future video, at any batch size: joint 0.125, action 0.5 (our choices), video 1, the paper's.
    future_fraction: float | None = None
    # K, action noise levels on one video forward (paper p. 11, where K = 6): joint 2, action 6.
    action_draws: int | None = None
    # Average of the trained weights, which inference and the next stage use: video 0.9999 (paper p. 20), else 0 (none).
    ema_decay: float | None = None
    # Calibration file that masks cross-view attention in training to what two cameras both see (paper p. 7-8); None: off.
    calibration: str | None = None
    # Share of training samples of which one view loses a window of tokens (paper p. 8-9; 0 in its main recipe).
    tube_probability: float = 0.0
    # Keep only what enters each block and compute the rest again in the backward pass: less memory, more time.
    gradient_checkpointing: bool = False
    # `adamw` (recipe nano), or `muon`: Muon for the blocks' matrices and AdamW for the rest (recipe paper, p. 22); one rate serves both.
    optimizer: str = BY_RECIPE
    # Learning rate: 1e-3 from nano's random weights, 1e-4 from Wan's (our choices; the paper gives none).
    optimizer_lr: float = BY_BACKBONE
    # Steps of linear warm-up, after which the rate falls to zero along a cosine over the run.
    scheduler_warmup_steps: int = 50

    def fill(self) -> None:
        """Fills in what follows the backbone and the stage."""
        super().fill()
        if self.stage not in REASONED:
            self.window = "chunk" if self.stage == "next_chunk" else "event"
            return
        self.vlm = "nano" if self.vlm == "none" else self.vlm
        if self.stage != "vlm":
            self.latents = self.latents or 8

    def check(self) -> None:
        """Raises ValueError for values out of range, or fields that contradict each other."""
        super().check()
        check_choice("stage", self.stage, tuple(STAGES))
        check_choice("dtype", self.dtype, ("float32", "bfloat16"))
        check_choice("optimizer", self.optimizer, ("adamw", "muon"))
        check_least(self, scheduler_warmup_steps=0)
        stage = self.training_stage
        if stage.action_draws < 1:
            raise ValueError(f"--policy.action_draws must be at least 1, got {self.action_draws}.")
        for name, value in (
            ("tube_probability", self.tube_probability),
            ("future_fraction", stage.future_fraction),
        ):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"--policy.{name} must lie in [0, 1], got {value}.")
        if not 0.0 <= stage.ema_decay < 1.0:
            raise ValueError(f"--policy.ema_decay must lie in [0, 1), got {self.ema_decay}.")
        if self.stage == "video" and stage.future_fraction < 1.0:
            raise ValueError(
                "--policy.stage=video learns from the future alone: --policy.future_fraction must be 1 there, got "
                f"{self.future_fraction}."
            )

    @property
    def training_stage(self) -> Stage:
        """The stage's row of the table, with the numbers that were set in the place of its own."""
        given = {name: getattr(self, name) for name in ("future_fraction", "action_draws", "ema_decay")}
        rows = PAPER_STAGES if self.recipe == "paper" else STAGES
        return replace(rows[self.stage], **{name: v for name, v in given.items() if v is not None})
