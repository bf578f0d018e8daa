# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare`: a LeRobotDataset in, its events and their train and held-out views out."""

from __future__ import annotations

import json
import time
from typing import Any

from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.stages import Annotate, Preparation, stages_of
from lerobot_wallwm.processors.prepare.summary import summarise
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.split import split_episodes
from lerobot_wallwm.processors.view.disk_space import check_space, estimate_space
from lerobot_wallwm.storage.atomic import atomic_folder
from lerobot_wallwm.storage.disk import full_disk_explained
from lerobot_wallwm.storage.places import output_root, source_root
from lerobot_wallwm.storage.work_folder import work_folder


def prepare(config: PrepareConfig, annotate: Annotate | None = None) -> dict[str, Any]:
    """Makes event views of a dataset. Returns the summary that is also written to `summary.json`.

    Args:
        config: See `PrepareConfig`.
        annotate: Finds the events of an episode, for events that were found elsewhere; None segments here.

    Raises:
        DataError: The source cannot be used, or there is no room for the output; nothing has been written.
        FileExistsError: The output exists and `overwrite` is off.
        ValueError: A parameter is out of range.
    """
    started = time.perf_counter()
    config.check()
    out, root = output_root(config.out), source_root(config.dataset)
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"--out.root={out} and --dataset.root={root} overlap. Fix: write outside the source")
    source = SourceDataset.open(root)
    stages = stages_of(config, source, out, annotate)
    with (
        full_disk_explained(out),
        atomic_folder(out, overwrite=config.overwrite) as folder,
        work_folder(out, root) as journals,
    ):
        splits = split_episodes(source.episode_indices, config.heldout, config.seed)
        check_space(estimate_space(source, folder, splits, config.copy_videos), out)
        parameters = {name: value for stage in stages for name, value in stage.parameters().items()}
        prepared = Preparation(config, folder, source, journals, parameters)
        reports = {stage.name: stage.run(prepared) for stage in stages}
        summary = summarise(prepared, time.perf_counter() - started)
        summary |= {name: report for name, report in reports.items() if report}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary
