# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Trains each variant of the model for the same steps on the committed data and prints held-out errors with spread.

    python benchmarks/ablate.py --steps 400 --seeds 0 1 2 --jobs 2

Each run is a process of its own with one thread; a run that is done is not done again. Action errors are mean absolute
errors on held-out events in degrees (gripper 0 to 100) without imagination: `near` over the next 8 steps inside the event,
`event` over the rest of the event, both with the true caption (fixed chunks: the instruction).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.harness.study import parse_study, result_path, run_all, study_parser, write_table
from benchmarks.learning.chunks import carve_chunks
from benchmarks.learning.table import table
from benchmarks.learning.variants import VARIANTS


def main() -> None:
    """The command line."""
    parser = study_parser(__doc__, "ablate", "VARIANT")
    parser.add_argument("--only", nargs="*", help="names of variants; all by default")
    args = parse_study(parser)
    if args.run:
        _one(args)
        return
    _prepare(args)
    chosen = [v.name for v in VARIANTS if not args.only or v.name in args.only]
    write_table(args, table(run_all("benchmarks.learning.ablate", args, chosen), chosen))


def _prepare(args: argparse.Namespace) -> None:
    """Views of events and of chunks, calibration, and the decoded frames that all runs share."""
    from benchmarks.learning.windows_in_memory import WindowsInMemory
    from lerobot_env_so101_sim.calibration import main as write_calibration
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
    from lerobot_wallwm.processors.prepare.config import PrepareConfig
    from lerobot_wallwm.processors.prepare.prepare import prepare
    from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

    args.out.mkdir(parents=True, exist_ok=True)
    events = args.out / "events"
    if not events.exists():
        prepare(PrepareConfig(DatasetConfig(root=args.dataset), OutputConfig(root=events), heldout=0.2))
    carve_chunks(args.dataset, events / "events.parquet", _train_episodes(events), args.out / "chunks")
    if not (args.out / "cameras.json").exists():
        arguments, sys.argv = sys.argv, ["calibration", "--out", str(args.out / "cameras.json")]
        try:
            write_calibration()
        finally:
            sys.argv = arguments
    config = WallwmConfig(push_to_hub=False)
    for view in (events / "train", events / "heldout", args.out / "chunks"):
        WindowsInMemory(
            view, args.out / "frames", config.observation_delta_indices, config.action_delta_indices
        )


def _train_episodes(events: Path) -> list[int]:
    from lerobot.datasets import LeRobotDatasetMetadata

    episodes = LeRobotDatasetMetadata("local/train", root=events / "train").episodes
    return sorted(set(episodes["wallwm/source_episode"]))


def _one(args: argparse.Namespace) -> None:
    import torch

    from benchmarks.learning.one_run import Places, run, write_result
    from lerobot_wallwm.processors.source.episodes import SourceDataset

    torch.set_num_threads(1)
    name, seed = args.run[0], int(args.run[1])
    (variant,) = [v for v in VARIANTS if v.name == name]
    source = SourceDataset.open(args.dataset)
    events = args.out / "events"
    places = Places(
        {"event": events / "train", "chunk": args.out / "chunks"},
        events / "heldout",
        args.out / "frames",
        args.out / "cameras.json",
        {source.episode_indices[i]: source.read(i).task for i in range(len(source))},
        args.out / "checkpoints",
    )
    write_result(result_path(args, name, seed), run(variant, seed, args.steps, args.batch, places))


if __name__ == "__main__":
    main()
