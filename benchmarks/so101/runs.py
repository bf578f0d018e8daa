# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Training and evaluation runs of the SO-101 benchmark, all through LeRobot's own commands."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so101_demo.commands import executable, run_command
from so101_demo.training_log import last_step, parse_training_log

import benchmarks.harness.repo  # noqa: F401
from lerobot_wallwm.check.measure.views import source_episodes

PROBE_STEPS = 25
PROBE_LOG_FREQ = 5
LOG_FREQ = 25
# Seeds of the simulated episodes; the demonstrations were recorded at seeds far below.
FIRST_SEED = 200_000
SPLITS = ("seen", "left_out")
# Several simulators share one forward of the policy; they run in processes of their own.
ENVIRONMENTS = 5


@dataclass(frozen=True)
class Contender:
    """A policy and how it trains.

    Attributes:
        name: In the table.
        data: Arguments that name the dataset.
        policy: Arguments that configure the policy.
        batch_size: Of training.
    """

    name: str
    data: tuple[str, ...]
    policy: tuple[str, ...]
    batch_size: int


def contenders(
    view: Path, source: Path, wallwm_args: Sequence[str] = (), act_args: Sequence[str] = ()
) -> list[Contender]:
    """wallwm on the carved view, and LeRobot's ACT on the same episodes uncarved.

    ACT keeps its default architecture. Our choices for minutes on a CPU: no pretrained backbone (nothing may be
    downloaded), chunks of 32 steps (1.6 s at 20 Hz) of which 16 are executed, and a learning rate of 1e-4 instead of
    1e-5, which is meant for a hundred thousand steps.

    Args:
        view: Training view of `wallwm prepare`.
        source: The dataset that it was carved from.
        wallwm_args: More arguments for wallwm's training.
        act_args: More arguments for ACT's training.
    """
    episodes = ",".join(map(str, source_episodes(view)))
    wallwm = Contender(
        "wallwm",
        ("--dataset.repo_id=local/so101_events", f"--dataset.root={view}"),
        # Out of events, it starts over until the time is up, as ACT never stops either.
        ("--policy.type=wallwm", "--policy.on_plan_end=repeat", *wallwm_args),
        16,
    )
    act = Contender(
        "act",
        (
            "--dataset.repo_id=local/so101_source",
            f"--dataset.root={source}",
            f"--dataset.episodes=[{episodes}]",
        ),
        (
            "--policy.type=act",
            "--policy.pretrained_backbone_weights=null",
            "--policy.chunk_size=32",
            "--policy.n_action_steps=16",
            "--policy.optimizer_lr=1e-4",
            "--policy.optimizer_lr_backbone=1e-4",
            *act_args,
        ),
        8,
    )
    return [wallwm, act]


def train_argv(contender: Contender, steps: int, save_freq: int, log_freq: int, out: Path) -> list[str]:
    """The lerobot-train command of a fresh run."""
    return [
        executable("lerobot-train"),
        *contender.policy,
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        *contender.data,
        f"--batch_size={contender.batch_size}",
        f"--steps={steps}",
        f"--save_freq={save_freq}",
        f"--log_freq={log_freq}",
        "--num_workers=1",
        "--env_eval_freq=0",
        "--seed=1000",
        f"--output_dir={out}",
    ]


def probe(contender: Contender, out: Path, log: Path, env: dict[str, str]) -> dict[str, Any]:
    """Seconds per step of the real trainer, data loading included, without its first lines."""
    shutil.rmtree(out, ignore_errors=True)  # lerobot-train refuses an output folder that exists
    argv = [*train_argv(contender, PROBE_STEPS, 10**9, PROBE_LOG_FREQ, out), "--save_checkpoint=false"]
    result = run_command(argv, log, env=env)
    curves = parse_training_log(log.read_text(errors="replace"), PROBE_LOG_FREQ)
    seconds = curves.mean("updt_s", skip=2) + curves.mean("data_s", skip=2)
    if not seconds > 0:
        raise ValueError(f"{log}: holds no step times. Fix: look for an error in it, then rerun")
    return {"seconds_per_step": seconds, "command": result.command}


def steps_in(minutes: float, seconds_per_step: float) -> int:
    """Steps that fill some minutes, in multiples of 10, at least 10."""
    return max(10, int(60 * minutes / seconds_per_step) // 10 * 10)


def train(
    contender: Contender, steps: int, out: Path, log: Path, env: dict[str, str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Trains, or goes on from the last checkpoint of an interrupted run.

    Returns:
        ``{"command", "steps", "samples", "parameters", "minutes", "resumed"}``; minutes are those spent in steps, over
        all runs that the log holds.
    """
    config = out / "checkpoints/last/pretrained_model/train_config.json"
    resumed = config.exists()
    log_freq = min(LOG_FREQ, steps)
    argv = train_argv(contender, steps, max(steps // 6, 1), log_freq, out)
    if resumed:
        argv = [executable("lerobot-train"), "--resume=true", f"--config_path={config}"]

    def progress(tail: str, seconds: float) -> None:
        say(f"  {contender.name}: step {last_step(tail) or '(starting)'}")

    result = run_command(argv, log, progress, every=120, env=env, append=resumed)
    text = log.read_text(errors="replace")
    curves = parse_training_log(text, log_freq).curves
    spent = sum(curves.get("updt_s", [])) + sum(curves.get("data_s", []))
    counted = re.search(r"num_learnable_params=(\d+)", text)
    return {
        "command": result.command,
        "steps": steps,
        "samples": steps * contender.batch_size,
        "parameters": int(counted.group(1)) if counted else 0,
        "minutes": spent * log_freq / 60,
        "resumed": resumed,
    }


def evaluate(
    checkpoint: Path,
    split: str,
    episodes: int,
    out: Path,
    log: Path,
    env: dict[str, str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Simulated episodes at fixed seeds.

    Returns:
        ``{"command", "seconds", "progress_log"}``.
    """
    progress_log = out / "progress.jsonl"
    argv = [
        executable("lerobot-eval"),
        f"--policy.path={checkpoint}",
        "--policy.device=cpu",
        "--env.type=so101_sim",
        f"--env.split={split}",
        f"--env.progress_log={progress_log}",
        f"--eval.n_episodes={episodes}",
        f"--eval.batch_size={min(ENVIRONMENTS, episodes)}",
        f"--seed={FIRST_SEED}",
        f"--output_dir={out}",
    ]

    def progress(tail: str, seconds: float) -> None:
        done = len(progress_log.read_text().splitlines()) if progress_log.exists() else 0
        say(f"  {split}: {done} of {episodes} episodes")

    began = time.monotonic()
    result = run_command(argv, log, progress, every=120, env=env)
    return {"command": result.command, "seconds": time.monotonic() - began, "progress_log": str(progress_log)}
