# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How long the policy takes on this machine: one look with each imagination, and the ticks of a control loop."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import steps
from lerobot_wallwm.check.measure.other_policy import OtherPolicy

IMAGINATIONS = ("none", "anchor", "full")
PLAN = "plan"  # the one kind of look of a policy that imagines nothing
WITH_LOOK, WITHOUT_LOOK = "tick with a look", "tick without a look"
# Our choice: a slow model is timed for so many seconds and mode, but never less than so many times.
SECONDS, LEAST = 20.0, 3


@dataclass
class Times:
    """Milliseconds."""

    median: float
    p99: float
    n: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        """Of measured durations in seconds, at least one."""
        values = np.asarray(seconds) * 1000
        return cls(float(np.median(values)), float(np.quantile(values, 0.99)), len(values))


@dataclass
class Timings:
    """Times of looks by imagination (`PLAN` for a policy without), of ticks, and what they mean."""

    looks: dict[str, Times]  # by imagination: observation to a plan's actions, pipelines included
    # `WITH_LOOK` and `WITHOUT_LOOK`: `select_action` with its pipelines, as configured.
    ticks: dict[str, Times]
    imagination: str  # as configured
    steps_between_looks: float  # actions executed of each plan

    def named(self) -> dict[str, Times]:
        """Looks and ticks, by names for people."""
        names = {name: "a look" if name == PLAN else f"look, imagination={name}" for name in self.looks}
        return {names[name]: times for name, times in self.looks.items()} | self.ticks


def measure_latency(
    checkpoint: Checkpoint,
    observations: Sequence[dict[str, Any]],
    timings: int,
    mean_event: float,
    bar: str | None = None,
) -> Timings:
    """Times looks and ticks of one robot.

    Args:
        checkpoint: A policy that acts.
        observations: Items of one task: another one would begin a new plan at every tick.
        timings: Looks for each imagination, and looks within the ticks.
        mean_event: Frames of a mean event, for what runs each event open loop.
        bar: As in `observations.steps`.
    """
    policy, config = checkpoint.policy, checkpoint.config
    task = observations[0]["task"]
    observations = [checkpoint.raw([item], [item], [task]) for item in observations]
    policy.reset()
    # The guards in front of an arm work as in use, and are timed, but have nobody to warn here.
    logger = logging.getLogger("lerobot_wallwm.policies")
    loudness = logger.level
    logger.setLevel(logging.ERROR)
    try:
        looks = {name: _time_looks(checkpoint, observations, timings, name, bar) for name in IMAGINATIONS}
        ticks = _time_ticks(checkpoint, observations, timings, bar)
    finally:
        logger.setLevel(loudness)
    policy.guards.diary.forget()  # nothing of this left for an arm
    policy.reset()
    between = (
        config.chunk_length if config.chunked else config.replan_steps or min(mean_event, config.horizon)
    )
    return Timings(looks, ticks, config.imagination, float(between))


def measure_other_latency(
    checkpoint: OtherPolicy, observations: Sequence[dict[str, Any]], timings: int, bar: str | None = None
) -> Timings:
    """`measure_latency` for a policy that is not wallwm; every plan begins after as many actions as it hands out."""
    looks: list[float] = []
    seconds: dict[str, list[float]] = {WITH_LOOK: [], WITHOUT_LOOK: []}
    between, began = checkpoint.steps_between_looks, time.perf_counter()

    def slow(done: list[float]) -> bool:
        return len(done) > LEAST and time.perf_counter() - began > SECONDS

    for number in steps(range(timings + 1), bar):
        item = observations[number % len(observations)]
        with _timed(checkpoint, looks):
            checkpoint.predict(checkpoint.observation([item], [item], [item["task"]]), number)
        if slow(looks):
            break
    checkpoint.policy.reset()
    began = time.perf_counter()
    for tick in steps(range(between * (timings + 1)), bar):
        item = checkpoint.last(observations[tick % len(observations)])
        taken: list[float] = []
        with _timed(checkpoint, taken):
            batch = checkpoint.observation([item], [item], [item["task"]])
            checkpoint.postprocess(checkpoint.policy.select_action(batch))
        if tick:  # the first warms up
            seconds[WITHOUT_LOOK if tick % between else WITH_LOOK] += taken
        if slow(seconds[WITH_LOOK]):
            break
    checkpoint.policy.reset()
    ticks = {name: Times.of(values) for name, values in seconds.items() if values}
    return Timings({PLAN: Times.of(looks[1:])}, ticks, PLAN, float(between))


@contextmanager
def _timed(checkpoint: Checkpoint | OtherPolicy, seconds: list[float]) -> Iterator[None]:
    """Adds the time of what is within, once the device is done with it."""
    import torch

    start = time.perf_counter()
    with torch.no_grad():
        yield
    if str(checkpoint.config.device).startswith("cuda"):
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)


def _time_looks(
    checkpoint: Checkpoint,
    observations: Sequence[dict[str, Any]],
    timings: int,
    imagination: str,
    bar: str | None,
) -> Times:
    """From an observation to all actions of a plan."""
    rollout, began = checkpoint.policy.rollout, time.perf_counter()
    seconds: list[float] = []
    for number in steps(range(timings + 1), bar):
        item = dict(observations[number % len(observations)])
        with _timed(checkpoint, seconds):
            batch = checkpoint.preprocess(item)
            past = rollout.chunk_of_rows(batch, [0])
            plan = rollout.plan_and_decode(batch, batch["task"], imagination, None, chunk=past)
            checkpoint.postprocess(plan.actions)
        if number >= LEAST and time.perf_counter() - began > SECONDS:
            break
    return Times.of(seconds[1:])  # the first warms up


def _time_ticks(
    checkpoint: Checkpoint, observations: Sequence[dict[str, Any]], timings: int, bar: str | None
) -> dict[str, Times]:
    """From an observation to the action of a tick, with the ticks that plan apart from those that do not."""
    policy, began = checkpoint.policy, time.perf_counter()
    counts = policy.rollout.log.counts
    seconds: dict[str, list[float]] = {WITH_LOOK: [], WITHOUT_LOOK: []}
    for number in steps(range(200 * timings), bar):
        item, before = dict(observations[number % len(observations)]), counts.get("look", 0)
        taken: list[float] = []
        with _timed(checkpoint, taken):
            checkpoint.postprocess(policy.select_action(checkpoint.preprocess(item)))
        looked = counts.get("look", 0) > before
        if number:  # the first warms up
            seconds[WITH_LOOK if looked else WITHOUT_LOOK] += taken
        done = len(seconds[WITH_LOOK])
        if done >= timings or (done >= LEAST and time.perf_counter() - began > SECONDS):
            break
    return {name: Times.of(values) for name, values in seconds.items() if values}


def control_rate(latency: Timings, fps: float, room: float) -> dict[str, bool]:
    """Whether ``sync`` and ``background`` inference hold ``fps`` ticks a second.

    The policy may take the part ``room`` of the time; the rest is for the bus and the cameras.
    """
    allowed, look = room * 1000 / fps, latency.looks[latency.imagination].p99
    quick = WITHOUT_LOOK not in latency.ticks or latency.ticks[WITHOUT_LOOK].p99 <= allowed
    return {
        "sync": look <= allowed and all(times.p99 <= allowed for times in latency.ticks.values()),
        # The next plan must be there before the last one's actions are used up.
        "background": quick and look <= allowed * max(latency.steps_between_looks, 1),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def load_of_machine() -> tuple[float, int] | None:
    """Mean number of running processes over the last minute, and the cores; None where the system does not tell."""
    return (os.getloadavg()[0], cores()) if hasattr(os, "getloadavg") else None


def machine_facts(device: str) -> dict[str, Any]:
    """What `check_report.Machine` holds; ``device`` is where the policy computes."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "lerobot": importlib.metadata.version("lerobot"),
        "device": device,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.M)
    return named[1].strip() if named else platform.processor() or platform.machine()
