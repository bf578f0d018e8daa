# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Episodes of the simulated SO-101 under a checkpoint, tick by tick, with inference delays that can be chosen.

`sync` is what LeRobot's sync engine does. `background` is `--policy.background_inference=true` and `rtc` LeRobot's RTC
queue, each with a look that takes exactly so many ticks: the simulator waits for slow machines, an arm does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.rtc import ActionQueue
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.utils import prepare_observation_for_inference

from lerobot_wallwm.policies.acting.lookahead import BackgroundRollout
from lerobot_wallwm.policies.model.sampling import Plan
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


class DelayedWorker:
    """Gives a look's result exactly `delay` ticks after it was asked for."""

    def __init__(self, delay: int):
        self.delay, self.left = delay, 0
        self.plan: Plan | None = None

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return self.plan is not None

    def submit(self, job: Any) -> None:
        """Computes at once, tells later."""
        self.plan, self.left = job(), self.delay

    def take(self) -> Plan | None:
        """The result when its time has come."""
        if self.plan is None:
            return None
        self.left -= 1
        if self.left > 0:
            return None
        plan, self.plan = self.plan, None
        return plan

    def drop(self) -> None:
        """Forgets it."""
        self.plan = None


@dataclass(frozen=True)
class Variant:
    """How a checkpoint acts.

    Attributes:
        name: In tables.
        engine: ``sync``, ``background`` or ``rtc``.
        delay: Ticks that a look takes.
        fields: Fields of the configuration.
    """

    name: str
    engine: str = "sync"
    delay: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Episode:
    """What happened.

    Attributes:
        commands: ``(T, A)`` in the dataset's units, as the arm was told.
        begins: Ticks at which an event began, without the first.
        captions: One a tick.
        success: The simulator's verdict.
        progress: Task Progress, 0 to 100.
    """

    commands: np.ndarray
    begins: list[int]
    captions: list[str | None]
    success: bool
    progress: float
    counts: dict[str, int]
    late: int


class Agent:
    """A checkpoint with its pipelines, under a variant."""

    def __init__(self, checkpoint: Path, variant: Variant):
        config = PreTrainedConfig.from_pretrained(checkpoint)
        config.pretrained_path, config.device = checkpoint, "cpu"
        config.guards = "simulation"  # which waits for the policy
        for name, value in variant.fields.items():
            setattr(config, name, value)
        config.__post_init__()
        self.policy = WallwmPolicy.from_pretrained(checkpoint, config=config).eval()
        self.pre, self.post = make_pre_post_processors(config, pretrained_path=str(checkpoint))
        self.variant = variant
        if variant.engine == "rtc":
            self.policy.config.rtc_config = RTCConfig()
            self.policy.init_rtc_processor()

    def batch(self, observation: dict[str, Any], task: str) -> dict[str, Any]:
        """An observation of the environment through the pipeline, as LeRobot's engines prepare it."""
        frame = {f"observation.images.{name}": image for name, image in observation["pixels"].items()}
        frame["observation.state"] = observation["agent_pos"]
        return self.pre(prepare_observation_for_inference(frame, torch.device("cpu"), task, "so101"))

    def reset(self) -> None:
        """Before an episode."""
        policy = self.policy
        policy.reset()
        if self.variant.engine == "background":
            parts = policy.config, policy.model, policy.action_space, policy._images, policy._log
            policy.rollout = BackgroundRollout(*parts, worker=DelayedWorker(self.variant.delay))
        policy._log.counts.clear()

    def commands(self, task: str) -> Iterator[np.ndarray]:
        """One command a tick; send the tick's observation in."""
        if self.variant.engine == "rtc":
            yield from self._chunks(task)
            return
        observation = yield np.zeros(0)
        while True:
            with torch.inference_mode():
                action = self.post(self.policy.select_action(self.batch(observation, task)))
            observation = yield action[0].numpy()

    def _chunks(self, task: str) -> Iterator[np.ndarray]:
        """`RTCInferenceEngine`, whose thread takes `delay` ticks."""
        config, delay = RTCConfig(), self.variant.delay
        queue = ActionQueue(config)
        observation = yield np.zeros(0)
        last = observation["agent_pos"]
        while True:
            index, left = queue.get_action_index(), queue.get_left_over()
            first = left is None
            if left is not None:
                padded = torch.zeros(config.execution_horizon, left.shape[1])
                padded[: len(left)] = left[: config.execution_horizon]
                left = padded
            chunk = self.policy.predict_action_chunk(
                self.batch(observation, task),
                inference_delay=0 if first else delay,
                prev_chunk_left_over=left,
            )
            original, processed = chunk[0].clone(), self.post(chunk)[0]
            for _ in range(0 if first else delay):
                action = queue.get()
                last = last if action is None else action.numpy()
                observation = yield last
            queue.merge(original, processed, 0 if first else delay, None if first else index)
            if first:
                action = queue.get()
                observation = yield action.numpy()  # type: ignore[union-attr]


def run_episode(env: Any, agent: Agent, seed: int, most: int | None = None) -> Episode:
    """One episode from a seed, of at most so many ticks."""
    observation, _ = env.reset(seed=seed)
    agent.reset()
    steps = agent.commands(env.task_description)
    next(steps)
    commands, captions, begins, seen, done = [], [], [], 0, False
    while not done:
        command = steps.send(observation)  # type: ignore[attr-defined]
        began = agent.policy._log.counts.get("begin", 0)
        if began > seen and commands:
            begins.append(len(commands))
        seen = began
        commands.append(command)
        captions.append(agent.policy.rollout.cursors[0].caption)
        observation, _, terminated, truncated, info = env.step(command)
        done = terminated or truncated or len(commands) == most
    return Episode(
        np.stack(commands),
        begins,
        captions,
        bool(info["is_success"]) or env._succeeded,
        float(info["task_progress"]),
        dict(agent.policy._log.counts),
        getattr(agent.policy.rollout, "late", 0),
    )
