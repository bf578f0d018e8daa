# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare` in shards of episodes, on one machine or many; the output equals the single process's.

Annotating (reading, segmenting, captioning) is per episode, so it is shared out: shard i of n holds a run of neighbouring
episodes and becomes one parquet file that appears whole or not at all. Merging is `prepare` itself, which takes an
episode's events from the shards if the episode is bit for bit the one they were found in, and finds them anew if not.

A shard carries the fingerprint of the source and of the parameters; a run that was killed takes up those that match.
Nothing but these parquet files is read back. datatrove's Slurm executor, which reads a pickle from disk, is not used: see
examples/scale_out/slurm.sh.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm import __version__
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.processors.prepare.stages import annotator, open_source
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset
from lerobot_wallwm.processors.source.events import SCHEMA, Event, from_table, to_table
from lerobot_wallwm.storage.atomic import replacing
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.fingerprint import fingerprint
from lerobot_wallwm.storage.places import output_root
from lerobot_wallwm.storage.work_folder import source_fingerprint

_MARK, _EPISODES = b"wallwm_shard", b"wallwm_episodes"


def shard_positions(episodes: int, tasks: int, task: int) -> range:
    """Positions of a shard's episodes: neighbours, which lie in one file; shards differ by one episode at most."""
    if not 0 <= task < tasks:
        raise ValueError(f"there is no shard {task} of {tasks}")
    return range(task * episodes // tasks, (task + 1) * episodes // tasks)


def shard_path(folder: Path, tasks: int, task: int) -> Path:
    """File of shard `task`."""
    return folder / f"shard-{task:05d}-of-{tasks:05d}.parquet"


def run_fingerprint(source: SourceDataset, config: PrepareConfig) -> str:
    """What the shards' events follow from: the source's files by name, size and time of change, and the parameters."""
    read = source.instructions
    given = [[task, [asdict(step) for step in steps]] for task, steps in sorted(read.given.items())]
    parameters = [
        asdict(config.segmenter),
        asdict(config.kinematics),
        config.embodiment,
        read.object,
        read.target,
        given,
    ]
    return fingerprint([__version__, source_fingerprint(source.root), parameters])


def episode_key(episode: Episode) -> str:
    """Hash of all that an annotation can depend on: what another step changes in an episode changes its key."""
    about = [episode.index, episode.task, episode.fps, episode.state_names, episode.action_names]
    about += list(episode.later_tasks)
    values = [[array.shape, array.tobytes()] for array in (episode.state, episode.action)]
    return fingerprint([about, values])


def read_shard(path: Path, mark: str) -> dict[str, list[Event]] | None:
    """A shard's events by `episode_key`; None if it is not there, damaged, or its mark is another one."""
    try:
        file = pq.ParquetFile(path)
        metadata = file.schema_arrow.metadata or {}
        if metadata.get(_MARK) != mark.encode():
            return None
        keys = {index: key for key, index in json.loads(metadata[_EPISODES]).items()}
        events = from_table(file.read())
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    by_key: dict[str, list[Event]] = {key: [] for key in keys.values()}
    for event in events:
        by_key[keys[event.episode_index]].append(event)
    return by_key


def annotate_shard(config: PrepareConfig, folder: Path, tasks: int, task: int) -> bool:
    """Makes one shard, unless it is there already. Returns whether it had to be made.

    An episode that cannot be read is left out: cleaning excludes it, or the merge names its fault.
    """
    source = open_source(config)
    path, mark = shard_path(folder, tasks, task), f"{run_fingerprint(source, config)} {task} of {tasks}"
    if read_shard(path, mark) is not None:
        return False
    annotate = annotator(config, source.instructions)
    least = EventSegmenter(config.segmenter).min_frames(source.fps)
    events: list[Event] = []
    keys: dict[str, int] = {}
    for position in shard_positions(len(source), tasks, task):
        with contextlib.suppress(DataError):
            episode = source.read(position, least)
            events += annotate(episode)
            keys[episode_key(episode)] = episode.index
    # The event table rounds confidences to float32; the views hold them as they were found.
    column = SCHEMA.get_field_index("confidence")
    exact = pa.array([event.confidence for event in events], pa.float64())
    table = to_table(events).set_column(column, "confidence", exact)
    table = table.replace_schema_metadata({_MARK: mark.encode(), _EPISODES: json.dumps(keys).encode()})
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")
    return True


def _step(config: PrepareConfig, folder: Path, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
    """`annotate_shard` as a step of a datatrove pipeline: one task, one shard."""
    annotate_shard(config, folder, world_size, rank)


def merged(config: PrepareConfig, folder: Path) -> dict[str, list[Event]]:
    """The events of all shards by `episode_key`; `DataError` if some are missing, or of another source or parameters."""
    source, tasks = open_source(config), config.scale.tasks
    mark = run_fingerprint(source, config)
    paths = [shard_path(folder, tasks, task) for task in range(tasks)]
    shards = [read_shard(path, f"{mark} {task} of {tasks}") for task, path in enumerate(paths)]
    if missing := [task for task, shard in enumerate(shards) if shard is None]:
        few = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        problem = "are missing, damaged, or of another source or other parameters"
        fix = "run --scale.step=annotate for them with the flags of this run"
        raise DataError(folder, f"shards {few} of {tasks}", problem, fix)
    return {key: events for shard in shards if shard for key, events in shard.items()}


def prepare_in_shards(config: PrepareConfig) -> dict[str, Any] | None:
    """Does what `prepare` does, the annotating in `config.scale.tasks` shards, if any; no summary where `scale.step` is annotate.

    Raises:
        DataError: As `prepare`, or shards are missing; finished shards stay for the next run.
        ValueError: datatrove is not installed, or a parameter is out of range.
    """
    scale, out = config.scale, output_root(config.out)
    if not scale.tasks:
        return prepare(config)
    folder = scale.root or out.with_name(f"{out.name}.shards")
    if scale.step != "merge":
        _annotate(config, folder)
    if scale.step == "annotate":
        return None
    found, alone = merged(config, folder), annotator(config, open_source(config).instructions)

    def annotate(episode: Episode) -> list[Event]:
        # What cleaning or synchronising has changed is annotated as it is now.
        events = found.get(episode_key(episode))
        return alone(episode) if events is None else events

    summary = prepare(config, annotate)
    if scale.root is None:
        shutil.rmtree(folder)  # ours alone, and everything in it is in the output
    return summary


def _annotate(config: PrepareConfig, folder: Path) -> None:
    try:
        from datatrove.executor import LocalPipelineExecutor
    except ImportError as error:
        raise ValueError(
            f"--scale.tasks needs datatrove ({error}). Fix: pip install 'lerobot_policy_wallwm[scale]'"
        ) from error
    scale = config.scale
    count = scale.tasks - scale.first if scale.count < 0 else scale.count
    LocalPipelineExecutor(
        pipeline=[partial(_step, config, folder)],
        tasks=scale.tasks,
        workers=min(scale.workers, count),
        local_tasks=count,
        local_rank_offset=scale.first,
        logging_dir=str(folder / "logs"),
        # datatrove's own marks say that a task ended, not with which source and parameters: our shards decide.
        skip_completed=False,
    ).run()
