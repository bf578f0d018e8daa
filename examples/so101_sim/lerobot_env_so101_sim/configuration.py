# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The environment as LeRobot's command line sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

from lerobot_env_so101_sim.colours import SPLITS
from lerobot_env_so101_sim.tables.splits import TABLE_SPLITS

FPS = 20
IMAGE_SIZE = 96
CAMERAS = ("wrist", "overhead")
TASK = "PickPlace-v0"
TABLE_TASK = "Table-v0"
GYM_ID = f"lerobot_env_so101_sim/{TASK}"
TABLE_GYM_ID = f"lerobot_env_so101_sim/{TABLE_TASK}"
SPLITS_OF = {TASK: tuple(SPLITS), TABLE_TASK: tuple(TABLE_SPLITS)}
DISTURBANCES = ("none", "moved", "taken")
# Steps after which an episode is cut off, for each step of its instruction. The expert needs about 120 for one.
EPISODE_LENGTH = 240


def _features() -> dict[str, PolicyFeature]:
    images = {
        f"pixels/{camera}": PolicyFeature(type=FeatureType.VISUAL, shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
        for camera in CAMERAS
    }
    return {
        "action": PolicyFeature(type=FeatureType.ACTION, shape=(6,)),
        "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(6,)),
        **images,
    }


def _features_map() -> dict[str, str]:
    images = {f"pixels/{camera}": f"observation.images.{camera}" for camera in CAMERAS}
    return {"action": "action", "agent_pos": "observation.state", **images}


@EnvConfig.register_subclass("so101_sim")
@dataclass
class So101SimEnvConfig(EnvConfig):
    """An SO-101 with a wrist and an overhead camera at one of two tasks.

    ``PickPlace-v0`` has one cube and one disc. ``Table-v0`` has several cubes, discs and bins, and instructions of one to
    three steps.

    The policy sees ``observation.images.wrist``, ``observation.images.overhead`` and ``observation.state``.

    Attributes:
        task: ``PickPlace-v0`` or ``Table-v0``.
        fps: Control rate in Hz; fixed, because the simulator's control period is compiled in.
        episode_length: Control steps after which an episode is cut off, for each step of its instruction. The expert needs
            about 120.
        split: What to draw from: ``seen``, ``left_out`` or ``all`` colour pairs, or one of ``tables.splits.TABLE_SPLITS``.
        progress_log: File that gets one JSON line per finished episode; none if unset.
        disturb: At ``PickPlace-v0``, the cube is ``moved`` 3 cm as the tool comes near, or ``taken`` out of the raised hand,
            once an episode; ``none`` leaves it alone.
    """

    task: str | None = TASK
    fps: int = FPS
    episode_length: int = EPISODE_LENGTH
    split: str = "seen"
    progress_log: str | None = None
    disturb: str = "none"
    features: dict[str, PolicyFeature] = field(default_factory=_features)
    features_map: dict[str, str] = field(default_factory=_features_map)

    def __post_init__(self) -> None:
        if self.task not in SPLITS_OF:
            raise ValueError(f"env.task={self.task!r} is unknown; choose one of {tuple(SPLITS_OF)}")
        if self.fps != FPS:
            raise ValueError(f"env.fps={self.fps} is not supported; so101_sim runs at {FPS} Hz only")
        if self.split not in SPLITS_OF[self.task]:
            raise ValueError(f"env.split={self.split!r} is unknown; {self.task} has {SPLITS_OF[self.task]}")
        if self.disturb not in DISTURBANCES or (self.disturb != "none" and self.task != TASK):
            raise ValueError(
                f"env.disturb={self.disturb!r} is unknown; {TASK} has {DISTURBANCES}, {TABLE_TASK} none"
            )
        if self.episode_length < 1:
            raise ValueError(f"env.episode_length={self.episode_length} must be at least 1")

    @property
    def package_name(self) -> str:
        """The module that registers the gymnasium id."""
        return "lerobot_env_so101_sim"

    @property
    def gym_kwargs(self) -> dict:
        """Keyword arguments of the environment's constructor."""
        own = {"disturb": self.disturb} if self.task == TASK else {}
        return {
            "split": self.split,
            "episode_length": self.episode_length,
            "progress_log": self.progress_log,
            **own,
        }
