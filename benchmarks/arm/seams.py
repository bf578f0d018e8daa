# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How hard commands accelerate where events meet, against inside them, and whether success suffers from the seams.

Acceleration is the second difference of the commands, per tick squared (degrees; percent for the gripper). At a boundary
it is that of the two windows of three commands that hold commands of both events; inside, that of all others. "Worst
joint": each joint in units of its own 99th percentile inside events. Writes seams.png. `--quick` takes a small random
checkpoint of its own.

Variants: `jump` and `seam` are LeRobot's sync engine without and with seams; `background` is
`--policy.background_inference=true` and `rtc` LeRobot's RTC queue, each with a look that takes exactly `--delay` ticks: the
simulator waits for slow machines, an arm does not.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.rtc import ActionQueue
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.utils import prepare_observation_for_inference

from benchmarks.arm.toy_checkpoint import make_simulator_checkpoint
from benchmarks.harness.rows import CannotRunError, Mean, Row, Share
from lerobot_env_so101_sim.env import So101PickPlaceEnv
from lerobot_wallwm.policies.acting.lookahead import BackgroundRollout
from lerobot_wallwm.policies.model.sampling import Plan
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

FIRST_SEED = 200_000


class DelayedWorker:
    """Gives a look's result exactly `delay` ticks after it was asked for."""

    def __init__(self, delay: int):
        self.delay, self.left = delay, 0
        self.plan: Plan | None = None

    @property
    def busy(self) -> bool:
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
        self.plan = None


@dataclass
class Episode:
    """What happened."""

    commands: np.ndarray  # (T, A) in the dataset's units, as the arm was told
    begins: list[int]  # ticks at which an event began, without the first
    success: bool  # the simulator's verdict
    progress: float  # Task Progress, 0 to 100
    late: int


class Agent:
    """A checkpoint with its pipelines: `sync`, `background` or `rtc`, looks of `delay` ticks, fields of its configuration."""

    def __init__(self, checkpoint: Path, engine: str, delay: int, **fields: Any):
        config = PreTrainedConfig.from_pretrained(checkpoint)
        config.pretrained_path, config.device = checkpoint, "cpu"
        config.guards = "simulation"  # which waits for the policy
        for name, value in fields.items():
            setattr(config, name, value)
        config.__post_init__()
        self.policy = WallwmPolicy.from_pretrained(checkpoint, config=config).eval()
        self.pre, self.post = make_pre_post_processors(config, pretrained_path=str(checkpoint))
        self.engine, self.delay = engine, delay
        if engine == "rtc":
            self.policy.config.rtc_config = RTCConfig()
            self.policy.init_rtc_processor()

    def batch(self, observation: dict[str, Any], task: str) -> dict[str, Any]:
        """An observation of the environment through the pipeline, as LeRobot's engines prepare it."""
        frame = {f"observation.images.{name}": image for name, image in observation["pixels"].items()}
        frame["observation.state"] = observation["agent_pos"]
        return self.pre(prepare_observation_for_inference(frame, torch.device("cpu"), task, "so101"))

    def reset(self) -> None:
        policy = self.policy
        policy.reset()
        if self.engine == "background":
            parts = policy.config, policy.model, policy.action_space, policy._images, policy._log
            policy.rollout = BackgroundRollout(*parts, worker=DelayedWorker(self.delay))
        policy._log.counts.clear()

    def commands(self, task: str) -> Iterator[np.ndarray]:
        """One command a tick; send the tick's observation in."""
        if self.engine == "rtc":
            yield from self._chunks(task)
            return
        observation = yield np.zeros(0)
        while True:
            with torch.inference_mode():
                action = self.post(self.policy.select_action(self.batch(observation, task)))
            observation = yield action[0].numpy()

    def _chunks(self, task: str) -> Iterator[np.ndarray]:
        """`RTCInferenceEngine`, whose thread takes `delay` ticks."""
        config, delay = RTCConfig(), self.delay
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
    commands, begins, seen, done = [], [], 0, False
    while not done:
        command = steps.send(observation)  # type: ignore[attr-defined]
        began = agent.policy._log.counts.get("begin", 0)
        if began > seen and commands:
            begins.append(len(commands))
        seen = began
        commands.append(command)
        observation, _, terminated, truncated, info = env.step(command)
        done = terminated or truncated or len(commands) == most
    return Episode(
        np.stack(commands),
        begins,
        bool(info["is_success"]) or env._succeeded,
        float(info["task_progress"]),
        getattr(agent.policy.rollout, "late", 0),
    )


def accelerations(episodes: list[Episode]) -> tuple[np.ndarray, np.ndarray]:
    """Absolute second differences ``(N, A)`` inside events, and ``(M, A)`` at their boundaries."""
    inside, between = [], []
    for episode in episodes:
        found = np.abs(np.diff(episode.commands, n=2, axis=0))  # row k holds commands k, k + 1, k + 2
        at = np.zeros(len(found), bool)
        for tick in episode.begins:
            at[max(0, tick - 2) : tick] = True
        inside.append(found[~at])
        between.append(found[at])
    return np.concatenate(inside), np.concatenate(between)


def report(variant: str, episodes: list[Episode]) -> dict[str, Any]:
    """Cells of one variant."""
    inside, between = accelerations(episodes)
    limit = np.maximum(np.percentile(inside, 99, axis=0), 1e-9)
    cells = {
        "variant": variant,
        "success": Share(sum(e.success for e in episodes), len(episodes)),
        "Task Progress": Mean.of(e.progress for e in episodes),
        "boundaries": sum(len(e.begins) for e in episodes),
        "late": sum(e.late for e in episodes),
        "inside, 99 %": float(np.percentile(inside[:, :5], 99)),
        "worst joint inside, 99 %": float(np.percentile((inside / limit).max(axis=1), 99)),
    }
    if len(between):
        cells |= {
            "boundary, 99 %": float(np.percentile(between[:, :5], 99)),
            "boundary, most": float(between[:, :5].max()),
            "worst joint at a boundary, 99 %": float(np.percentile((between / limit).max(axis=1), 99)),
        }
    return cells


def plot(runs: dict[str, list[Episode]], cells: list[dict[str, Any]], path: Path) -> None:
    """Commands of one episode around its events, and the distributions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, len(runs), figsize=(5.2 * len(runs), 9), squeeze=False, sharey="row")
    for column, (name, episodes) in enumerate(runs.items()):
        episode = episodes[0]
        axes[0, column].plot(episode.commands[:, 1:4], lw=1)
        axes[0, column].set_title(f"{name}: {cells[column]['success']} succeed")
        axes[1, column].plot(np.abs(np.diff(episode.commands, n=2, axis=0))[:, 1:4], lw=0.8)
        for axis in axes[:2, column]:
            for tick in episode.begins:
                axis.axvline(tick, color="0.7", lw=0.7, zorder=0)
            axis.set_xlabel("tick (20 Hz); grey: an event begins")
        inside, between = (part[:, :5] for part in accelerations(episodes))
        bins = np.geomspace(1e-3, 30, 60)
        for part, label in ((inside, "inside events"), (between, "at boundaries")):
            share = np.ones(part.size) / part.size
            axes[2, column].hist(part.ravel().clip(1e-3), bins, weights=share, alpha=0.6, label=label)
        axes[2, column].axvline(np.percentile(inside, 99), color="k", lw=1, label="99th percentile inside")
        axes[2, column].set_xscale("log")
        axes[2, column].set_xlabel("|second difference|, arm joints, degrees per tick²")
        axes[2, column].legend(fontsize=8)
    axes[0, 0].set_ylabel("commands, degrees (3 joints)")
    axes[1, 0].set_ylabel("|second difference|")
    axes[2, 0].set_ylabel("share")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


VARIANTS = ("jump", "seam", "background", "rtc")
QUICK = {"episodes": 1, "variants": ["seam"], "ticks": 30}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seam", type=float, default=1.0, help="seam_acceleration of all variants but jump")
    parser.add_argument("--delay", type=int, default=2, help="ticks that a look takes, of background and rtc")
    parser.add_argument("--replan", type=int, default=4)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--split", default="seen")
    parser.add_argument("--ticks", type=int, help="of an episode, at most")


def rows(args: Namespace) -> Iterator[Row]:
    if args.checkpoint is None and not args.quick:
        raise CannotRunError("--checkpoint is missing. Fix: name a wallwm policy's pretrained_model folder")
    checkpoint = args.checkpoint or make_simulator_checkpoint(args.out / "checkpoint")
    env = So101PickPlaceEnv(split=args.split)
    runs, cells = {}, []
    for name in args.variants:
        fields = {"replan_steps": args.replan, "on_plan_end": "repeat"}
        fields["seam_acceleration"] = 0.0 if name == "jump" else args.seam
        engine = name if name in ("background", "rtc") else "sync"
        agent = Agent(checkpoint, engine, 0 if engine == "sync" else args.delay, **fields)
        runs[name] = [run_episode(env, agent, args.seed + i, args.ticks) for i in range(args.episodes)]
        cells.append(report(name, runs[name]))
        yield Row("acceleration of the commands, a tick squared", cells[-1])
    env.close()
    plot(runs, cells, args.out / "seams.png")
