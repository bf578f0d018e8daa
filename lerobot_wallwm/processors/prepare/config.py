# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Flags of `wallwm prepare`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.processors.balance.balancer import BalancerConfig
from lerobot_wallwm.processors.balance.clusterer import ClusterConfig
from lerobot_wallwm.processors.clean.rules import CleanConfig
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.recover.sampler import RecoveryConfig
from lerobot_wallwm.processors.segment.segmenter import SegmenterConfig
from lerobot_wallwm.processors.source.events import LEVELS
from lerobot_wallwm.processors.synchronize.synchronizer import SynchronizerConfig
from lerobot_wallwm.storage.errors import check_fields
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

STEPS = ("all", "annotate", "merge")


@dataclass
class ScaleConfig:
    """Segmenting and captioning in shards of episodes under datatrove's executors."""

    # Shards; 0 works through the episodes in this process, without datatrove. Choose it once for a dataset.
    tasks: int = 0
    # Processes on this machine.
    workers: int = 1
    # Where the shards lie while they are made; default: <out.root>.shards. All machines must see it.
    root: Path | None = None
    # annotate (shards only), merge (shards to views) or all.
    step: str = "all"
    # First shard of this machine, and how many; -1: all from the first on.
    first: int = 0
    count: int = -1

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        check_fields(self, "scale", f"one of {', '.join(STEPS)}", STEPS.__contains__, "step")
        check_fields(self, "scale", "at least 0", lambda value: value >= 0, "tasks")
        check_fields(self, "scale", "at least 1", lambda value: value >= 1, "workers")
        if self.first < 0 or self.count < -1 or (self.tasks and self.first + max(self.count, 1) > self.tasks):
            raise ValueError(
                f"--scale.first={self.first} and --scale.count={self.count} must lie within "
                f"--scale.tasks={self.tasks}. Fix: leave them out to run all shards"
            )


@dataclass
class PrepareConfig:
    """`wallwm prepare`."""

    # What to read.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # Where to write.
    out: OutputConfig = field(default_factory=OutputConfig)
    # Which events become episodes: task, subtask, action or segment.
    level: str = "action"
    # Part of the source episodes that goes to the held-out view.
    heldout: float = 0.1
    # Of the split.
    seed: int = 0
    # What a robot could not have done, and what becomes of it.
    clean: CleanConfig = field(default_factory=CleanConfig)
    # Measures how far each camera lags behind the robot, mends it in the view, and leaves out episodes that contradict the
    # others (synchronize/rig.py; `wallwm sync` only looks). Off: it decodes every frame, and at deployment the camera is as
    # late as it was in the recording, so a policy that only reacts may be better off with the rows as they are.
    synchronize: bool = False
    # Parameters of --synchronize.
    synchronizer: SynchronizerConfig = field(default_factory=SynchronizerConfig)
    # Parameters of the cuts.
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    # What a dimension of the action is, where names and data say it wrong: {"x": "step metres", "5": "gripper",
    # "roll pitch yaw": "euler_xyz degrees", "state:qw": "other"} (embodiment/dataset.py). The summary prints what was found.
    embodiment: dict[str, str] = field(default_factory=dict)
    # How state and action are read.
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)
    # A JSON file of annotated spans, which win over the proposals (annotations.py). LeRobot's subtask rows need no flag.
    annotations: Path | None = None
    # What the task's object is called in captions, instead of what its sentence says; for a dataset of one task.
    object: str = ""
    # The same of the place that the object goes to.
    target: str = ""
    # A JSON file of what tasks mean, word for word, where they are not understood: {"task": [{"object": "red cube", "target":
    # "black disc"}]}, one entry for each step.
    instructions: Path | None = None
    # Who words the events: kinematic (no model needed) or vlm (a vision-language model behind --vlm.base_url).
    captioner: str = "kinematic"
    # The model, its server, and how it is asked.
    vlm: VlmConfig = field(default_factory=VlmConfig)
    # Corrections that `wallwm inspect` exported: a file, or a list of files in the order in which they were made.
    # They win over every other source of boundaries and captions (human_layer.py).
    human: Path | list[Path] | None = None
    # Leaves out frames of an event in which neither state nor action moves by this part of its range per second
    # (quasi_static.py); 0 keeps all. The paper prunes but gives no threshold; 0.02 is a start.
    prune_quasi_static: float = 0.0
    # Clusters the events, and writes rare ones more often into the training view (balance/).
    balance: bool = False
    # How events are clustered.
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    # How strongly clusters are balanced.
    balancer: BalancerConfig = field(default_factory=BalancerConfig)
    # Draws retries, re-grasps and corrections more often, in the training view alone; off by default.
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    # Writes LeRobot's language columns: `subtask` rows from this level's captions, and a `plan` of what is still to do.
    language: str | None = None
    # Copies videos instead of linking them: views that can be uploaded or moved on their own, at the price of disk space.
    copy_videos: bool = False
    # Segmenting and captioning in shards (scale_out.py).
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    # Replace an earlier output.
    overwrite: bool = False
    # No progress bar.
    quiet: bool = False

    def check(self) -> None:
        """Refuses values out of range, naming the flag."""
        check_fields(self, "", f"one of {', '.join(LEVELS)}", LEVELS.__contains__, "level")
        check_fields(self, "", f"one of {', '.join(LEVELS)}", (*LEVELS, None).__contains__, "language")
        check_fields(self, "", "in [0, 1)", lambda value: 0 <= value < 1, "heldout")
        check_fields(self, "", "at least 0", lambda value: 0 <= value < math.inf, "prune_quasi_static")
