# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The flags of `wallwm check`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lerobot_wallwm.storage.places import DatasetConfig, FolderConfig


@dataclass
class PolicyChoice:
    """The checkpoint to check."""

    # Its folder, as lerobot-train wrote it (.../checkpoints/last/pretrained_model), or its name on the Hub.
    path: str | None = None
    # Branch, tag or commit on the Hub.
    revision: str | None = None


@dataclass
class CheckedData(DatasetConfig):
    """The data to check on."""

    # Only these episodes; by default those that the checkpoint was not trained on, where it says which.
    episodes: list[int] | None = None


@dataclass
class CheckConfig:
    """`wallwm check`: of any LeRobot policy (ACT, Diffusion, SmolVLA, pi0, wallwm ...)."""

    policy: PolicyChoice = field(default_factory=PolicyChoice)
    # What the checkpoint has not been trained on: the `heldout` view of `wallwm prepare`, or whole episodes.
    dataset: CheckedData = field(default_factory=CheckedData)
    # The events that the checkpoint was trained on, for the captions' mean motion as a baseline; without it the `train`
    # beside a `heldout`, or the other episodes of the data that is checked.
    train: FolderConfig = field(default_factory=FolderConfig)
    # The folder to write: check.html, check.json and the figures.
    out: Path | None = None
    # Replace what an earlier check left in that folder.
    overwrite: bool = False
    # Observations that errors and sensitivity are measured on (our choice: a minute on two cores).
    observations: int = 120
    # Held-out episodes that are drawn whole.
    episodes_shown: int = 2
    # Events whose imagined video is scored.
    clips: int = 16
    # Looks and ticks that are timed for each figure of the latency.
    timings: int = 40
    # Control rate of the arm, Hz; the dataset's where not given.
    fps: float | None = None
    # Where the policy computes (cpu, cuda, mps); where it was trained, if that is there, unless given.
    device: str | None = None
    # Chooses the observations, the exchanged inputs and the sampling noise.
    seed: int = 0
    # No progress bars.
    quiet: bool = False


def check_config(config: CheckConfig) -> None:
    """Raises ValueError for flags that make no sense, naming the flag and the way out."""
    if not config.policy.path:
        raise ValueError("no checkpoint. Fix: pass --policy.path=<.../pretrained_model or a name on the Hub>")
    if config.out is None:
        raise ValueError("no output folder. Fix: pass --out=<folder>")
    for name, least in {"observations": 8, "episodes_shown": 1, "clips": 1, "timings": 5, "seed": 0}.items():
        if (given := getattr(config, name)) < least:
            raise ValueError(f"--{name} must be at least {least}, got {given}. Fix: leave it out")
    if config.fps is not None and not 0 < config.fps < 1000:
        raise ValueError(f"--fps must lie between 0 and 1000, got {config.fps}. Fix: leave it out")
    if config.device is not None:
        from lerobot.utils.device_utils import is_torch_device_available

        try:
            there = is_torch_device_available(config.device)
        except ValueError:  # no name of a device
            there = False
        if not there:
            fix = "leave it out, or pass --device=cpu"
            raise ValueError(f"--device={config.device} is not there. Fix: {fix}")
