# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""AdamW against Muon on the committed demonstrations: held-out losses after equal steps and after equal seconds.

    python benchmarks/compare_optimizers.py [--steps 600] [--seeds 1000 1001 1002] [--sweep 3e-4 1e-3 3e-3]

Each run is an unmodified lerobot-train of `nano`. With --sweep the first seed tries these learning rates with each
optimiser, and the best on the held-out events (total loss) goes on to all seeds; so its choice has seen them, of both.
Equal seconds: Muon once more with fewer steps, as many as AdamW's time allows by the interleaved step times of both (those
of the runs also hold whatever else the machine did). Runs whose result is there are not repeated: take another --out
after a change of the code.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from so101_demo.commands import CommandError, executable, run_command
from so101_demo.stages import Stages, fingerprint_path, write_json
from so101_demo.training_log import parse_training_log

from benchmarks.harness.repo import DATASET, REPO
from benchmarks.so101 import runs

ENV = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
LOG_FREQ = 10
PER_EVENT = 3
# Draws of noise and noise level for the held-out losses; equal for all runs.
DRAWS = 4
MEASURES = ("loss", "loss_action", "loss_video", "loss_remaining", "loss_goal", "open_loop_error")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        optimizer: ``adamw`` or ``muon``.
        lr: Learning rate.
        seed: Of weights, data order and noise.
        steps: Training steps; the schedule ends with them.
        batch: Samples per step.
        more: More arguments of lerobot-train.
    """

    optimizer: str
    lr: float
    seed: int
    steps: int
    batch: int
    more: str

    @property
    def name(self) -> str:
        """Of its folder and its result."""
        more = f"-{zlib.crc32(self.more.encode()):08x}" if self.more else ""
        return f"{self.optimizer}-lr{self.lr:g}-seed{self.seed}-steps{self.steps}-batch{self.batch}{more}"


def main() -> int:
    """Returns 0 when the table is written, 1 if a command failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 1001, 1002])
    parser.add_argument("--adamw_lr", type=float, default=1e-3)
    parser.add_argument("--muon_lr", type=float, default=1e-3)
    parser.add_argument(
        "--sweep", type=float, nargs="*", default=[], help="learning rates to choose from, instead"
    )
    parser.add_argument("--train_args", default="", help="more lerobot-train arguments, quoted")
    parser.add_argument("--dataset", type=Path, default=DATASET, help="demonstrations, a LeRobotDataset v3")
    parser.add_argument("--out", type=Path, default=REPO / "outputs/compare_optimizers")
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.batch < 1:
        parser.error("--steps and --batch must be at least 1")
    arguments.out, arguments.dataset = arguments.out.resolve(), arguments.dataset.resolve()
    os.chdir(REPO)
    os.environ.update(ENV)
    try:
        Comparison(arguments).run()
    except (CommandError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


class Comparison:
    """All runs and the table.

    Args:
        arguments: See `main`.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.arguments, self.out = arguments, arguments.out
        self.events = self.out / "events"
        self.stages = Stages(self.out)

    def run(self) -> None:
        """Prepares, sweeps, trains and writes ``results.md``."""
        argv = [
            executable("wallwm"),
            "prepare",
            f"--dataset.root={self.arguments.dataset}",
            f"--out.root={self.events}",
            "--quiet=true",
        ]
        self.stages.run(
            "prepare",
            {"dataset": fingerprint_path(self.arguments.dataset)},
            [self.events],
            lambda: {"command": run_command(argv, self.out / "logs/prepare.log", env=ENV).command},
        )
        rates = {"adamw": self.arguments.adamw_lr, "muon": self.arguments.muon_lr}
        swept: list[dict[str, Any]] = []
        for optimizer in rates if self.arguments.sweep else ():
            tried = self._all(optimizer, self.arguments.sweep, self.arguments.seeds[:1], self.arguments.steps)
            rates[optimizer] = min(tried, key=lambda result: result["loss"])["lr"]
            swept += tried
        equal_steps = {
            optimizer: self._all(optimizer, [lr], self.arguments.seeds, self.arguments.steps)
            for optimizer, lr in rates.items()
        }
        times = self.stages.run(
            "step_time", {"batch": self.arguments.batch}, [], lambda: step_times(self.arguments.batch)
        ).values
        fewer = max(1, round(self.arguments.steps * min(1.0, times["adamw"] / times["muon"])))
        equal_seconds = self._all("muon", [rates["muon"]], self.arguments.seeds, fewer)
        text = "\n".join(
            [
                *_rows("equal steps: AdamW", equal_steps["adamw"], header=True),
                *_rows("equal steps: Muon", equal_steps["muon"]),
                *_rows("equal seconds: Muon", equal_seconds),
                "",
                "Mean and, in brackets, standard deviation over the seeds. Losses on held-out events; the open-loop error "
                "in degrees.",
                *(_rows("sweep, one seed", swept[:1], header=True) if swept else ()),
                *(row for result in swept[1:] for row in _rows("sweep, one seed", [result])),
                "",
            ]
        )
        (self.out / "results.md").write_text(text, encoding="utf-8")
        print(f"\n{text}\n{self.stages.clock()} {os.path.relpath(self.out / 'results.md')}")

    def _all(
        self, optimizer: str, rates: Sequence[float], seeds: Sequence[int], steps: int
    ) -> list[dict[str, Any]]:
        return [
            self._result(Run(optimizer, lr, seed, steps, self.arguments.batch, self.arguments.train_args))
            for lr in rates
            for seed in seeds
        ]

    def _result(self, run: Run) -> dict[str, Any]:
        """Trains and measures, unless its result is there."""
        path = self.out / "runs" / f"{run.name}.json"
        if not path.exists():
            print(f"{self.stages.clock()} {run.name}")
            folder, log = self.out / "runs" / run.name, self.out / "logs" / f"{run.name}.log"
            shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run
            contender = runs.Contender(
                run.name,
                ("--dataset.repo_id=local/so101_events", f"--dataset.root={self.events / 'train'}"),
                (
                    "--policy.type=wallwm",
                    f"--policy.optimizer={run.optimizer}",
                    f"--policy.optimizer_lr={run.lr}",
                    *shlex.split(run.more),
                ),
                run.batch,
            )
            log_freq = min(LOG_FREQ, run.steps)
            argv = runs.train_argv(contender, run.steps, run.steps, log_freq, folder)
            run_command([*argv, f"--seed={run.seed}"], log, env=ENV)
            curves = parse_training_log(log.read_text(errors="replace"), log_freq)
            per_step = statistics.median(curves.curves["updt_s"]) + statistics.median(curves.curves["data_s"])
            measured = held_out(folder / "checkpoints/last/pretrained_model", self.events / "heldout")
            shutil.rmtree(folder)
            write_json(path, {**asdict(run), "seconds_per_step": per_step, **measured})
        return json.loads(path.read_text(encoding="utf-8"))


def step_times(batch_size: int, repeats: int = 10) -> dict[str, float]:
    """Milliseconds of a training step of `nano` with either optimiser, without its data."""
    from benchmarks.speed.optimizer import interleaved, with_gradients
    from benchmarks.speed.policy import training_batch

    (_, adamw), (policy, muon) = with_gradients("adamw"), with_gradients("muon")
    batch = training_batch(policy.config, batch_size)
    medians = interleaved(
        {"both": lambda: policy(batch)[0].backward(), "adamw": adamw.step, "muon": muon.step}, repeats
    )
    return {name: medians["both"] + medians[name] for name in ("adamw", "muon")}


def held_out(checkpoint_path: Path, view_path: Path) -> dict[str, float]:
    """Losses and open-loop error of a checkpoint on held-out events.

    Args:
        checkpoint_path: ``pretrained_model`` folder.
        view_path: Held-out view.
    """
    import torch

    from lerobot_wallwm.check.measure import observations as seen, views
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint

    checkpoint = Checkpoint(checkpoint_path)
    events = views.read_event_rows(view_path)
    anchors = views.thin(views.spread_anchors(events, PER_EVENT), seen.MAX_OBSERVATIONS)
    view = views.open_view(view_path, checkpoint.config)
    observations = seen.load_observations(checkpoint, view, events, anchors)
    rows: list[dict[str, float]] = []
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(DRAWS):
            for batch in observations.batches:
                loss, parts = checkpoint.policy(batch)
                rows.append({"loss": float(loss), **parts})
    predicted = seen.predict(checkpoint, observations).actions
    losses = {name: statistics.mean(row[name] for row in rows) for name in MEASURES if name in rows[0]}
    error = seen.mean_absolute(predicted - observations.true, observations.valid)
    return {**losses, "open_loop_error": error}


def _rows(title: str, results: Sequence[dict[str, Any]], header: bool = False) -> list[str]:
    """A row of the table, with its head if wanted."""
    columns = ["runs", "optimiser", "lr", "seeds", "steps", "s/step", *MEASURES]
    lines = ["", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"] if header else []
    first = results[0]
    per_step = statistics.median(r["seconds_per_step"] for r in results)
    cells = [title, first["optimizer"], f"{first['lr']:g}", str(len(results)), str(first["steps"])]
    cells.append(f"{per_step:.2f}")
    for name in MEASURES:
        values = [r[name] for r in results]
        spread = f" ({statistics.stdev(values):.4f})" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    return [*lines, "| " + " | ".join(cells) + " |"]


if __name__ == "__main__":
    sys.exit(main())
