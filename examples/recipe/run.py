# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The paper's stages at nano size: prepare, then one unmodified `lerobot-train` a stage, each from the last by --policy.path.

    python examples/recipe/run.py                                  # everything, into outputs/recipe
    python examples/recipe/run.py --video_steps 40 --action_steps 40

Prints each stage's own held-out figures before and after it, also into outputs/recipe/table.md. A second run reuses what is there, goes on where one was
interrupted, and redoes what has changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "examples"))

from so101_demo.commands import CommandError, executable, run_command, spelled  # noqa: E402
from so101_demo.stages import Stages, fingerprint_path, write_json, write_text  # noqa: E402
from so101_demo.training_log import last_step  # noqa: E402

from lerobot_wallwm.check.measure.views import source_episodes  # noqa: E402
from recipe.chunk_figures import measure_chunks  # noqa: E402
from recipe.figures import measure_events, measure_words, table  # noqa: E402

DATASET = REPO / "examples/so101_sim/data/so101_pick_place"
SEED = 1000


@dataclass(frozen=True)
class RecipeStage:
    """One training run.

    Attributes:
        name: Value of ``--policy.stage``.
        steps: Unless told otherwise.
        figures: Keys of `figures.FIGURES` that the stage is there to improve.
        carved: Learns events; otherwise the recordings that they were carved from, told the instruction.
        measured: What its figures are measured on: `events`, `chunks`, or the `words` of the language half.
        flags: More arguments of `lerobot-train`.
    """

    name: str
    steps: int
    figures: tuple[str, ...]
    carved: bool = True
    measured: str = "events"
    flags: tuple[str, ...] = ()


RECIPE = (
    RecipeStage("video", 600, ("video_loss", "psnr", "psnr_moved")),
    RecipeStage("action", 700, ("action_none", "action_anchor")),
    # Both towers go on from where they are: a third of the rate that starts them (our choice).
    RecipeStage("next_chunk", 400, ("chunk_action",), False, "chunks", ("--policy.optimizer_lr=3e-4",)),
    RecipeStage("vlm", 600, ("said",), measured="words"),
    RecipeStage("staircase", 400, ("read_back",), measured="words"),
    RecipeStage("unified", 300, ("chunk_latents",), False, "chunks", ("--policy.optimizer_lr=3e-4",)),
)


def main() -> int:
    """Returns 0 when the table is printed, 1 if a command failed, 2 on bad input."""
    arguments = _parse()
    # Terminated as on Ctrl-C: a trainer left behind would write into the folder that the next run goes on in.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    dataset, out = arguments.dataset.resolve(), arguments.out.resolve()
    # Commands are shown as one types them in the repository, without this machine's paths.
    os.chdir(REPO)
    if not (dataset / "meta/info.json").is_file():
        print(
            f"error: {_shown(dataset)}/meta/info.json is missing. Fix: --dataset=<a LeRobotDataset v3 folder>"
        )
        return 2
    try:
        Recipe(arguments, dataset, out).run()
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
    parser.add_argument("--out", type=Path, default=REPO / "outputs/recipe", help="where everything goes")
    for stage in RECIPE:
        parser.add_argument(
            f"--{stage.name}_steps", type=int, default=stage.steps, help="steps of that stage"
        )
    parser.add_argument("--batch_size", type=int, default=8, help="of training")
    parser.add_argument("--num_workers", type=int, default=1, help="data workers of lerobot-train")
    parser.add_argument(
        "--observations", type=int, default=120, help="held-out observations for action errors"
    )
    parser.add_argument("--clips", type=int, default=32, help="held-out events for video figures")
    parser.add_argument("--fresh", action="store_true", help="redo everything")
    arguments = parser.parse_args()
    counts = [f"{stage.name}_steps" for stage in RECIPE] + ["batch_size", "observations", "clips"]
    for name in counts:
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be above 0")
    return arguments


def _shown(path: Path) -> str:
    return os.path.relpath(path, REPO)


class Recipe:
    """One run of the recipe.

    Args:
        arguments: See `_parse`.
        dataset: The demonstrations.
        out: The output folder.
    """

    def __init__(self, arguments: argparse.Namespace, dataset: Path, out: Path):
        self.arguments, self.dataset, self.out = arguments, dataset, out
        self.stages = Stages(out, arguments.fresh)
        self.events = out / "events"
        self.env = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
        os.environ.update(self.env)

    def run(self) -> None:
        """Prepares, makes the untrained start, then trains and measures stage by stage."""
        package = REPO / "lerobot_wallwm"
        processors, policies = (
            fingerprint_path(package / room, suffixes=(".py",)) for room in ("processors", "policies")
        )
        inputs = {"dataset": fingerprint_path(self.dataset), "code": processors}
        last = self.stages.run("prepare", inputs, [self.events], self._prepare)
        checkpoint = self.out / "start"
        last = self.stages.run(
            "start",
            {"after": last.fingerprint, "code": policies},
            [checkpoint],
            lambda: self._start(checkpoint),
        )
        name, measured = "start", {"start": {}}
        for stage in RECIPE:
            if not set(stage.figures) <= measured[name].keys():
                measured[name] |= self._measured(name, checkpoint, last.fingerprint, stage.measured)
            folder, start = self.out / stage.name, checkpoint
            settings = {
                "steps": getattr(self.arguments, f"{stage.name}_steps"),
                "batch_size": self.arguments.batch_size,
            }
            last = self.stages.run(
                stage.name,
                {"after": last.fingerprint, "flags": stage.flags, "carved": stage.carved, **settings},
                [folder],
                lambda stage=stage, start=start, folder=folder, steps=settings["steps"]: self._train(
                    stage, steps, start, folder
                ),
                resumable=True,
            )
            checkpoint = folder / "checkpoints/last/pretrained_model"
            name = stage.name
            measured[name] = self._measured(name, checkpoint, last.fingerprint, stage.measured)
        write_json(self.out / "figures.json", measured)
        lines = "\n".join(table([(stage.name, stage.figures) for stage in RECIPE], measured))
        write_text(self.out / "table.md", lines + "\n")
        print(f"\n{lines}")
        print("\ncommands:")
        for result in self.stages.results:
            if "command" in result.values:
                print(f"  {result.values['command']}")

    def _prepare(self) -> dict[str, Any]:
        argv = [
            executable("wallwm"),
            "prepare",
            f"--dataset.root={_shown(self.dataset)}",
            f"--out.root={_shown(self.events)}",
            "--quiet=true",
        ]
        return {"command": run_command(argv, self.out / "logs/prepare.log", env=self.env).command}

    def _start(self, folder: Path) -> dict[str, Any]:
        """An untrained policy, so that the first stage too has a figure before it."""
        import torch
        from lerobot.datasets import LeRobotDatasetMetadata
        from lerobot.policies.factory import make_policy, make_pre_post_processors

        from lerobot_wallwm import WallwmConfig

        meta = LeRobotDatasetMetadata("local/so101_events", root=self.events / "train")
        torch.manual_seed(SEED)
        config = WallwmConfig(stage=RECIPE[0].name, device="cpu", push_to_hub=False)
        policy = make_policy(config, ds_meta=meta)
        for part in (policy, *make_pre_post_processors(config, dataset_stats=meta.stats)):
            part.save_pretrained(folder)
        return {}

    def _train(self, stage: RecipeStage, steps: int, start: Path, folder: Path) -> dict[str, Any]:
        """Trains, or goes on from the last checkpoint of an interrupted run."""
        argv = [
            executable("lerobot-train"),
            f"--policy.path={_shown(start)}",
            f"--policy.stage={stage.name}",
            "--policy.device=cpu",
            "--policy.push_to_hub=false",
            *self._data(stage),
            f"--batch_size={self.arguments.batch_size}",
            f"--steps={steps}",
            f"--save_freq={max(steps // 4, 1)}",
            f"--log_freq={min(10, steps)}",
            f"--num_workers={self.arguments.num_workers}",
            "--env_eval_freq=0",
            f"--seed={SEED}",
            f"--output_dir={_shown(folder)}",
            *stage.flags,
        ]
        command = argv
        config = folder / "checkpoints/last/pretrained_model/train_config.json"
        resumed = config.exists()
        if resumed:
            argv = [executable("lerobot-train"), f"--config_path={_shown(config)}", "--resume=true"]
        else:
            shutil.rmtree(folder, ignore_errors=True)  # lerobot-train refuses an output folder that exists

        def progress(tail: str, seconds: float) -> None:
            print(f"{self.stages.clock()}   stage {stage.name}, step {last_step(tail) or '(starting)'}")

        log = self.out / f"logs/{stage.name}.log"
        result = run_command(argv, log, progress, env=self.env, append=resumed)
        return {"command": spelled(command), "minutes": result.seconds / 60, "peak_gb": result.peak_gb}

    def _data(self, stage: RecipeStage) -> list[str]:
        """Arguments that name the training data; held-out episodes are in neither."""
        train = self.events / "train"
        if stage.carved:
            return ["--dataset.repo_id=local/so101_events", f"--dataset.root={_shown(train)}"]
        episodes = ",".join(map(str, source_episodes(train)))
        return [
            "--dataset.repo_id=local/so101_source",
            f"--dataset.root={_shown(self.dataset)}",
            f"--dataset.episodes=[{episodes}]",
        ]

    def _measured(self, name: str, checkpoint: Path, after: str, kind: str) -> dict[str, float]:
        """Held-out figures on events, on the recordings that they were carved from, or of what is said."""
        observations, clips = self.arguments.observations, self.arguments.clips
        chosen = {"events": {"observations": observations, "clips": clips}, "words": {"clips": clips}}.get(
            kind, {"observations": observations}
        )
        code = [
            fingerprint_path(REPO / "examples" / room, suffixes=(".py",)) for room in ("recipe", "so101_demo")
        ]

        def figures() -> dict[str, float]:
            if kind == "events":
                return measure_events(checkpoint, self.events, **chosen)
            if kind == "words":
                return measure_words(checkpoint, self.events, **chosen)
            return measure_chunks(checkpoint, self.events, self.dataset, **chosen)

        stamp = f"measure_{name}" if kind == "events" else f"measure_{name}_{kind}"
        return self.stages.run(stamp, {"after": after, "code": code, **chosen}, [], figures).values


if __name__ == "__main__":
    sys.exit(main())
