# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The demo: prepare, train, roll out, evaluate, report. `make demo` runs it.

Every step is a command that a user would type (`wallwm prepare`, `lerobot-train`, `lerobot-eval`); the report lists
them. A second run reuses what is there, and redoes what has changed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "examples"))

from so101_demo.budget import StepTime, steps_for  # noqa: E402
from so101_demo.commands import CommandError, executable, run_command  # noqa: E402
from so101_demo.stages import Stages, fingerprint_path  # noqa: E402
from so101_demo.training_log import last_step, parse_training_log  # noqa: E402

DATASET = REPO / "examples/so101_sim/data/so101_pick_place"
BASE = REPO / "weights/nano-base"
BATCH_SIZE = 8
# Seeds of simulated episodes; the demonstrations were recorded at seeds far below.
FIRST_SEED = 100_000
# Seconds before lerobot-train's first step, with and without a spawned data worker (measured on two cores).
START_UP = {0: 30.0, 1: 55.0}
# Held-out observations per event, and events whose video is imagined.
PER_EVENT = 3
CLIPS = 32


def main() -> int:
    """Returns 0 when the report is written, 1 if a command failed, 2 on bad input."""
    arguments = _parse()
    out = arguments.out.resolve()
    dataset = arguments.dataset.resolve()
    # The commands are shown in the report: as one types them in the repository, without this machine's paths.
    os.chdir(REPO)
    if not (dataset / "meta/info.json").is_file():
        print(
            f"error: {_shown(dataset)}/meta/info.json is missing. Fix: --dataset=<a LeRobotDataset v3 folder>"
        )
        return 2
    try:
        demo = Demo(arguments, dataset, out)
        # What the libraries have to say goes where the commands' own output goes.
        (out / "logs").mkdir(parents=True, exist_ok=True)
        logging.basicConfig(filename=out / "logs/demo.log", level=logging.WARNING, force=True)
        demo.run()
    except (CommandError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, default=DATASET, help="demonstrations, a LeRobotDataset v3")
    parser.add_argument("--out", type=Path, default=REPO / "outputs/demo", help="where everything goes")
    parser.add_argument("--train_minutes", type=float, default=6.5, help="wall-clock for lerobot-train")
    parser.add_argument("--steps", type=int, help="training steps, instead of a time")
    parser.add_argument("--episodes", type=int, default=4, help="simulated episodes; 0 for none")
    parser.add_argument("--fresh", action="store_true", help="redo everything")
    arguments = parser.parse_args()
    for name in ("steps", "train_minutes"):
        if getattr(arguments, name) is not None and getattr(arguments, name) <= 0:
            parser.error(f"--{name} must be above 0")
    return arguments


def _shown(path: Path) -> str:
    return os.path.relpath(path, REPO)


class Demo:
    """One run of the demo.

    Args:
        arguments: See `_parse`.
        dataset: The demonstrations.
        out: The output folder.
    """

    def __init__(self, arguments: argparse.Namespace, dataset: Path, out: Path):
        self.arguments, self.dataset, self.out = arguments, dataset, out
        self.stages = Stages(out, arguments.fresh)
        self.events, self.train_dir, self.rollout_dir = out / "events", out / "train", out / "rollouts"
        self.checkpoint = self.train_dir / "checkpoints/last/pretrained_model"
        self.package = REPO / "lerobot_wallwm"
        self.env = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
        # OpenMP threads that wait by spinning slow each other down on a machine that does other work as well.
        self.env["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", "10000")
        os.environ.update(self.env)

    def run(self) -> None:
        """All stages."""
        prepared = self.stages.run(
            "prepare",
            {"dataset": fingerprint_path(self.dataset), "code": self._code("processors")},
            [self.events],
            self._prepare,
        )
        wanted = {
            "steps": self.arguments.steps,
            "minutes": None if self.arguments.steps else self.arguments.train_minutes,
        }
        trained = self.stages.run(
            "train",
            {
                "after": prepared.fingerprint,
                **wanted,
                "base": fingerprint_path(BASE),
                "batch": BATCH_SIZE,
                "code": self._code("policies"),
            },
            [self.train_dir],
            self._train,
        )
        simulator = fingerprint_path(REPO / "examples/so101_sim/lerobot_env_so101_sim", suffixes=(".py",))
        rolled = None
        note = "" if self.arguments.episodes else "Simulated episodes were not asked for (--episodes 0)."
        if self.arguments.episodes and not _can_render():
            note = (
                "Simulated episodes were skipped: MuJoCo cannot render off screen on this machine. Fix: apt-get install -y "
                "libosmesa6 libegl1 libegl-mesa0 libgl1-mesa-dri, then run make demo again; everything else is reused."
            )
            print(f"{self.stages.clock()} rollouts: skipped. {note}")
        elif self.arguments.episodes:
            rolled = self.stages.run(
                "rollouts",
                {"after": trained.fingerprint, "episodes": self.arguments.episodes, "simulator": simulator},
                [self.rollout_dir],
                self._roll_out,
            )
        evaluated = self.stages.run(
            "open_loop",
            {"after": trained.fingerprint, "per_event": PER_EVENT, "code": self._demo_code()},
            [self.out / "open_loop.json", self.out / "open_loop.npz"],
            self._open_loop,
        )
        results = [r for r in (prepared, trained, rolled, evaluated) if r is not None]
        report = self.out / "report.html"
        self.stages.run(
            "report",
            {"after": [r.fingerprint for r in results], "note": note, "code": self._demo_code()},
            [report],
            lambda: self._report(report, results, note),
        )
        self._print_figures(report, results)

    def _code(self, room: str) -> str:
        return fingerprint_path(self.package / room, suffixes=(".py",))

    def _demo_code(self) -> str:
        return fingerprint_path(Path(__file__).parent, suffixes=(".py",))

    def _prepare(self) -> dict[str, Any]:
        argv = [
            executable("wallwm"),
            "prepare",
            f"--dataset.root={_shown(self.dataset)}",
            f"--out.root={_shown(self.events)}",
            "--quiet=true",
        ]
        result = run_command(argv, self.out / "logs/prepare.log", env=self.env)
        return {"command": result.command, "peak_gb": result.peak_gb}

    def _train(self) -> dict[str, Any]:
        steps, workers, env = self.arguments.steps, 0, dict(self.env)
        if steps is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            times = self._time_steps(cores)
            steps, workers, step = _best(self.arguments.train_minutes, times, cores)
            env["OMP_NUM_THREADS"] = str(step.threads)
            print(
                f"{self.stages.clock()}   a step takes {step.compute:.2f} s and its data {step.load:.2f} s: "
                f"{steps} steps, {workers} data worker(s), {step.threads} thread(s)"
            )
        log, log_freq = self.out / "logs/train.log", min(10, steps)
        argv = [
            executable("lerobot-train"),
            f"--policy.path={_shown(BASE)}",
            "--policy.device=cpu",
            "--policy.push_to_hub=false",
            "--dataset.repo_id=local/so101_events",
            f"--dataset.root={_shown(self.events / 'train')}",
            f"--batch_size={BATCH_SIZE}",
            f"--steps={steps}",
            f"--save_freq={steps}",
            f"--log_freq={log_freq}",
            f"--num_workers={workers}",
            "--env_eval_freq=0",
            "--seed=1000",
            f"--output_dir={_shown(self.train_dir)}",
        ]

        def progress(tail: str, seconds: float) -> None:
            print(f"{self.stages.clock()}   training, step {last_step(tail) or '(starting)'}")

        result = run_command(argv, log, progress, env=env)
        return {
            "command": result.command,
            "peak_gb": result.peak_gb,
            "steps": steps,
            "batch_size": BATCH_SIZE,
            "log_freq": log_freq,
            "minutes": result.seconds / 60,
        }

    def _time_steps(self, cores: int) -> list[StepTime]:
        log = self.out / "logs/step_time.log"
        threads = [str(number) for number in sorted({1, cores})]
        argv = [
            sys.executable,
            "-m",
            "so101_demo.budget",
            str(self.events / "train"),
            str(BATCH_SIZE),
            *threads,
        ]
        run_command(argv, log, env={**self.env, "PYTHONPATH": str(REPO / "examples")})
        return [StepTime(**times) for times in json.loads(log.read_text().splitlines()[-1])]

    def _roll_out(self) -> dict[str, Any]:
        argv = [
            executable("lerobot-eval"),
            f"--policy.path={_shown(self.checkpoint)}",
            "--policy.device=cpu",
            "--policy.save_predicted_video=true",
            "--env.type=so101_sim",
            "--env.split=seen",
            f"--env.progress_log={_shown(self.rollout_dir / 'progress.jsonl')}",
            f"--eval.n_episodes={self.arguments.episodes}",
            "--eval.batch_size=1",
            "--eval.use_async_envs=false",
            f"--seed={FIRST_SEED}",
            f"--output_dir={_shown(self.rollout_dir)}",
        ]

        def progress(tail: str, seconds: float) -> None:
            done = self.rollout_dir / "progress.jsonl"
            count = len(done.read_text().splitlines()) if done.exists() else 0
            print(f"{self.stages.clock()}   simulating, {count} of {self.arguments.episodes} episodes done")

        result = run_command(argv, self.out / "logs/rollouts.log", progress, env=self.env)
        return {"command": result.command, "peak_gb": result.peak_gb}

    def _open_loop(self) -> dict[str, Any]:
        from lerobot_wallwm.check.measure.observations import load_observations
        from lerobot_wallwm.check.measure.video import imagine
        from lerobot_wallwm.check.measure.views import open_view, read_event_rows, spread_anchors, thin
        from so101_demo.collect import choose_clips, choose_examples, save_open_loop
        from so101_demo.open_loop import evaluate

        heldout = self.events / "heldout"
        figures, checkpoint, observations, predicted = evaluate(
            self.checkpoint, self.events / "train", heldout, per_event=PER_EVENT
        )
        events = read_event_rows(heldout)
        view = open_view(heldout, checkpoint.config)
        keyframes = load_observations(checkpoint, view, events, thin(spread_anchors(events, 1), CLIPS))
        clips = imagine(checkpoint, keyframes, view.meta.fps)
        save_open_loop(
            self.out / "open_loop", figures, choose_examples(observations, predicted), choose_clips(clips)
        )
        unit = 1 if sys.platform == "darwin" else 1024
        return {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}

    def _report(self, path: Path, results: list[Any], note: str) -> dict[str, Any]:
        from lerobot_wallwm.storage.atomic import write_text
        from so101_demo.collect import load_episode_views, load_open_loop, load_rollouts
        from so101_demo.report import build_report
        from so101_demo.report_inputs import ReportInputs

        figures, examples, clips = load_open_loop(self.out / "open_loop")
        training = next(r.values for r in results if r.name == "train")
        log = parse_training_log(
            (self.out / "logs/train.log").read_text(errors="replace"), training["log_freq"]
        )
        episodes = load_episode_views(self.dataset, self.events / "events.parquet")
        has_rollouts = any(r.name == "rollouts" for r in results)
        rollouts = (
            load_rollouts(self.rollout_dir, self.rollout_dir / "progress.jsonl") if has_rollouts else []
        )
        inputs = ReportInputs(
            summary=json.loads((self.events / "summary.json").read_text()),
            episodes=episodes,
            log=log,
            training=training,
            figures=figures,
            examples=examples,
            clips=clips,
            rollouts=rollouts,
            rollout_note=note,
            stages=results,
            commands=[r.values["command"] for r in results if "command" in r.values],
            machine=f"{os.cpu_count()} CPU cores ({platform.machine()}), Python {platform.python_version()}",
            peak_gb=max(r.values.get("peak_gb", 0.0) for r in results),
            joints=episodes[0].joints if episodes else [],
        )
        html = build_report(inputs)
        write_text(path, html)
        return {"megabytes": len(html) / 1e6}

    def _print_figures(self, report: Path, results: list[Any]) -> None:
        from so101_demo.collect import load_open_loop

        figures, _, clips = load_open_loop(self.out / "open_loop")
        actions, move = figures["actions"], figures["sensitivity"]
        print(
            f"\nopen-loop error {actions['policy']:.2f}: {100 * actions['below_hold']:.0f} % below holding the pose "
            f"({actions['hold']:.2f}), {100 * actions['below_caption_mean']:.0f} % below the caption's mean motion "
            f"({actions['caption_mean']:.2f})\n"
            f"change by other images {move['images_shuffled']:.2f}, by another caption {move['caption_swapped']:.2f}, "
            f"by noise {move['noise']:.2f}\n{_sight_line(figures['sight'])}"
            f"imagined video {clips.metrics['imagined']['psnr']:.1f} dB, repeated keyframe "
            f"{clips.metrics['repeat_keyframe']['psnr']:.1f} dB; latency {figures['latency_ms']:.0f} ms; peak memory "
            f"{max(r.values.get('peak_gb', 0.0) for r in results):.1f} GB"
        )
        print(f"{self.stages.clock()} report: {_shown(report)} ({report.stat().st_size / 1e6:.1f} MB)")


def _sight_line(sight: dict[str, Any] | None) -> str:
    if sight is None:
        return ""
    own, other = (sight["error"][name] for name in ("its own", "another scene"))
    return f"distance from where events ended {own:.2f}, with another scene's pictures {other:.2f}\n"


def _best(minutes: float, steps: list[StepTime], cores: int) -> tuple[int, int, StepTime]:
    """Steps, data workers and threads: a worker where its start-up pays, one thread where others want the cores."""
    choices = [
        (steps_for(minutes, step, START_UP[workers], workers, cores), workers, step)
        for step in steps
        for workers in START_UP
    ]
    return max(choices, key=lambda choice: choice[0])


def _can_render() -> bool:
    probe = "from lerobot_env_so101_sim.rendering import choose_backend; choose_backend()"
    return (
        subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, stdin=subprocess.DEVNULL
        ).returncode
        == 0
    )


if __name__ == "__main__":
    sys.exit(main())
