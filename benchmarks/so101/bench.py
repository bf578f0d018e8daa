# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""wallwm on carved events against LeRobot's ACT and Diffusion Policy on the uncarved source, at equal wall-clock.

Trains each with the unmodified lerobot-train on the same episodes, evaluates each with the unmodified lerobot-eval on
seen and on left-out colour pairs at the same seeds: success and Task Progress with 95 % intervals. What is done is not
redone: an interrupted run goes on from its last checkpoint.
"""

import os
import re
import shlex
import shutil
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from so101_demo.collect import read_progress_log
from so101_demo.commands import CommandError, executable, run_command
from so101_demo.stages import Stages, fingerprint_path
from so101_demo.training_log import last_step, parse_training_log

from benchmarks.harness.repo import DATASET, REPO
from benchmarks.harness.rows import CannotRunError, Mean, Row, Share
from benchmarks.learning.sight import BASE
from lerobot_wallwm.check.measure.views import source_episodes

ENV = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
MILESTONES = ("reached", "grasped", "lifted", "above_target", "released", "retreated")
NONE_FAILED = "none"
PROBE_STEPS = 25
PROBE_LOG_FREQ = 5
LOG_FREQ = 25
# Seeds of the simulated episodes; the demonstrations were recorded at seeds far below.
FIRST_SEED = 200_000
SPLITS = ("seen", "left_out")
# `base` is wallwm from the base weights.
POLICIES = ("wallwm", "base", "act", "diffusion")
# Several simulators share one forward of the policy; they run in processes of their own.
ENVIRONMENTS = 5
QUICK = {"minutes": 0.01, "episodes": 1, "policies": ["wallwm"], "splits": ["seen"]}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=60, help="training time of each policy")
    parser.add_argument("--episodes", type=int, default=50, help="of each policy on each split")
    parser.add_argument("--policies", nargs="+", default=POLICIES, choices=POLICIES)
    parser.add_argument("--splits", nargs="+", default=SPLITS, choices=SPLITS)
    parser.add_argument("--dataset", type=Path, default=DATASET, help="demonstrations, a LeRobotDataset v3")
    parser.add_argument("--more", default="", help="more lerobot-train arguments for each policy, quoted")
    parser.add_argument("--fresh", action="store_true", help="redo everything")


@dataclass(frozen=True)
class Contender:
    """A policy and how it trains."""

    name: str
    data: tuple[str, ...]  # arguments that name the dataset
    policy: tuple[str, ...]  # arguments that configure the policy
    batch_size: int


def contenders(view: Path, source: Path) -> list[Contender]:
    """wallwm on the carved view, from random and from base weights; LeRobot's policies on the same episodes uncarved.

    ACT and Diffusion Policy keep their default architecture. Our choices for minutes on a CPU: no pretrained backbone
    (nothing may be downloaded); ACT has chunks of 32 steps (1.6 s at 20 Hz) of which 16 are executed, and a learning rate
    of 1e-4 instead of 1e-5, which is meant for a hundred thousand steps; Diffusion Policy denoises in 10 steps of DDIM,
    as its authors do on robots.
    """
    carved = ("--dataset.repo_id=local/so101_events", f"--dataset.root={view}")
    episodes = ",".join(map(str, source_episodes(view)))
    whole = (
        "--dataset.repo_id=local/so101_source",
        f"--dataset.root={source}",
        f"--dataset.episodes=[{episodes}]",
    )
    # Out of events, it starts over until the time is up, as the others never stop either.
    again, plain = "--policy.on_plan_end=repeat", "--policy.pretrained_backbone_weights=null"
    lengths = ("--policy.chunk_size=32", "--policy.n_action_steps=16")
    rates = ("--policy.optimizer_lr=1e-4", "--policy.optimizer_lr_backbone=1e-4")
    denoising = ("--policy.noise_scheduler_type=DDIM", "--policy.num_inference_steps=10")
    return [
        Contender("wallwm", carved, ("--policy.type=wallwm", again), 16),
        Contender("base", carved, (f"--policy.path={BASE}", again), 8),
        Contender("act", whole, ("--policy.type=act", plain, *lengths, *rates), 8),
        Contender("diffusion", whole, ("--policy.type=diffusion", plain, *denoising), 8),
    ]


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


def probe(contender: Contender, out: Path, log: Path) -> dict[str, Any]:
    """Seconds per step of the real trainer, data loading included, without its first lines."""
    shutil.rmtree(out, ignore_errors=True)  # lerobot-train refuses an output folder that exists
    argv = [*train_argv(contender, PROBE_STEPS, 10**9, PROBE_LOG_FREQ, out), "--save_checkpoint=false"]
    result = run_command(argv, log, env=ENV)
    curves = parse_training_log(log.read_text(errors="replace"), PROBE_LOG_FREQ)
    seconds = curves.mean("updt_s", skip=2) + curves.mean("data_s", skip=2)
    if not seconds > 0:
        raise ValueError(f"{log}: holds no step times. Fix: look for an error in it, then rerun")
    return {"seconds_per_step": seconds, "command": result.command}


def steps_in(minutes: float, seconds_per_step: float) -> int:
    """Steps that fill some minutes, in multiples of 10, at least 10."""
    return max(10, int(60 * minutes / seconds_per_step) // 10 * 10)


def train(
    contender: Contender, steps: int, out: Path, log: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Trains, or goes on from an interrupted run's last checkpoint; minutes are those in steps, over all runs of the log."""
    config = out / "checkpoints/last/pretrained_model/train_config.json"
    resumed = config.exists()
    log_freq = min(LOG_FREQ, steps)
    # A checkpoint of Diffusion Policy is 4 GB, and six of a training that has ten steps are no use.
    argv = train_argv(contender, steps, max(steps // 6, PROBE_STEPS), log_freq, out)
    if resumed:
        argv = [executable("lerobot-train"), "--resume=true", f"--config_path={config}"]

    def progress(tail: str, seconds: float) -> None:
        say(f"  {contender.name}: step {last_step(tail) or '(starting)'}")

    result = run_command(argv, log, progress, every=120, env=ENV, append=resumed)
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
    say: Callable[[str], None],
    task: str = "PickPlace-v0",
    seed: int = FIRST_SEED,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """Simulated episodes at fixed seeds: ``{"command", "seconds", "progress_log"}``."""
    progress_log = out / "progress.jsonl"
    argv = [
        executable("lerobot-eval"),
        f"--policy.path={checkpoint}",
        "--policy.device=cpu",
        "--env.type=so101_sim",
        f"--env.task={task}",
        f"--env.split={split}",
        f"--env.progress_log={progress_log}",
        f"--eval.n_episodes={episodes}",
        f"--eval.batch_size={min(ENVIRONMENTS, episodes)}",
        f"--seed={seed}",
        f"--output_dir={out}",
        *more,
    ]

    def progress(tail: str, seconds: float) -> None:
        done = len(progress_log.read_text().splitlines()) if progress_log.exists() else 0
        say(f"  {split}: {done} of {episodes} episodes")

    began = time.monotonic()
    result = run_command(argv, log, progress, every=120, env=ENV)
    return {"command": result.command, "seconds": time.monotonic() - began, "progress_log": str(progress_log)}


def first_failing_phase(episode: Mapping[str, Any]) -> str:
    """The first milestone that an episode missed, or `NONE_FAILED`."""
    return next((name for name in MILESTONES if not episode[name]), NONE_FAILED)


def summarise(policy: str, split: str, episodes: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Counts, means and intervals of one policy on one split, from the lines of a progress log.

    Raises:
        CannotRunError: No episodes.
    """
    if not episodes:
        raise CannotRunError("no episodes to summarise. Fix: rerun the evaluation")
    names = {"policy": policy, "colour pairs": split.replace("_", " ")}
    success = Share(sum(bool(e["success"]) for e in episodes), len(episodes))
    progress = Mean.of(e["task_progress"] for e in episodes)
    low, high = progress.interval or (progress.mean, progress.mean)
    cells = {**names, "success": success, "Task Progress": progress.mean}
    yield Row("episodes", {**cells, "95 %": f"{low:.1f} to {high:.1f}"})
    failures = Counter(first_failing_phase(e) for e in episodes)
    missed = {name: failures[name] for name in (*MILESTONES, NONE_FAILED)}
    yield Row("first phase that failed", names | missed)


def rows(args: Namespace) -> Iterator[Row]:
    if args.minutes <= 0 or args.episodes < 1:
        raise CannotRunError("--minutes must be above 0 and --episodes at least 1")
    os.chdir(REPO)
    try:
        dataset, out = (Path(os.path.relpath(path.resolve())) for path in (args.dataset, args.out))
        yield from stages(args, dataset, out)
    except CommandError as error:
        raise CannotRunError(str(error)) from error


def stages(args: Namespace, dataset: Path, out: Path) -> Iterator[Row]:
    """Prepare, then probe, train and evaluate each policy."""
    stages = Stages(out, args.fresh)

    def say(line: str) -> None:
        print(f"{stages.clock()} {line}")

    package, rooms = REPO / "lerobot_wallwm", ("processors", "policies")
    code = {room: fingerprint_path(package / room, suffixes=(".py",)) for room in rooms}
    simulator = fingerprint_path(REPO / "examples/so101_sim/lerobot_env_so101_sim", suffixes=(".py",))
    events, logs = out / "events", out / "logs"

    def prepare() -> dict[str, Any]:
        places = [f"--dataset.root={dataset}", f"--out.root={events}"]
        argv = [executable("wallwm"), "prepare", *places, "--quiet=true"]
        return {"command": run_command(argv, logs / "prepare.log", env=ENV).command}

    made_of = {"dataset": fingerprint_path(dataset), "code": code["processors"]}
    prepared = stages.run("prepare", made_of, [events], prepare)
    for contender in contenders(events / "train", dataset):
        contender = replace(contender, policy=(*contender.policy, *shlex.split(args.more)))
        name, folder = contender.name, out / contender.name
        if name not in args.policies:
            continue
        inputs = {
            "after": prepared.fingerprint,
            "policy": contender.policy,
            "batch": contender.batch_size,
            "code": code["policies"] if name in ("wallwm", "base") else "",
        }
        log = logs / f"{name}_probe.log"
        probing = partial(probe, contender, folder / "probe", log)
        probed = stages.run(f"{name}_probe", inputs, [log], probing)
        steps = steps_in(args.minutes, probed.values["seconds_per_step"])
        training = partial(train, contender, steps, folder / "train", logs / f"{name}_train.log", say)
        inputs |= {"minutes": args.minutes, "steps": steps}
        trained = stages.run(f"{name}_train", inputs, [folder / "train"], training, resumable=True)
        figures = {key: trained.values[key] for key in ("minutes", "steps", "samples", "parameters")}
        yield Row("training", {"policy": name, **figures})
        for split in args.splits:
            target, log = folder / f"eval_{split}", logs / f"{name}_{split}.log"
            checkpoint = folder / "train/checkpoints/last/pretrained_model"
            evaluation = partial(evaluate, checkpoint, split, args.episodes, target, log, say)
            inputs_of_eval = {"after": trained.fingerprint, "episodes": args.episodes, "simulator": simulator}
            evaluated = stages.run(f"{name}_{split}", inputs_of_eval, [target], evaluation)
            # A last batch that is not full simulates more episodes than asked for.
            wanted = range(FIRST_SEED, FIRST_SEED + args.episodes)
            progress = read_progress_log(evaluated.values["progress_log"])
            yield from summarise(name, split, [row for row in progress if row["seed"] in wanted])
