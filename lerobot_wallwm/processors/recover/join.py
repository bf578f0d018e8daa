# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm join`: a recorded rollout and the log of its events become a dataset that says the event of each frame.

LeRobot 0.6.1 records a rollout under the task that it was started with. The policy's own log (`--policy.event_log`) knows
what it did when. Joined, the dataset has LeRobot's own subtask annotation, which `wallwm prepare` cuts at.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.source.episodes import SUBTASKS, SourceDataset
from lerobot_wallwm.processors.view.writer import place_file
from lerobot_wallwm.storage.atomic import atomic_folder, write_text
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig, output_root, source_root

# What an arm does between two events, and while it waits for one.
BETWEEN = "hold still"
COLUMN = "subtask_index"


@dataclass
class JoinConfig:
    """Flags of `wallwm join`."""

    # The rollout that lerobot-rollout recorded.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # What --policy.event_log wrote meanwhile, and nothing else.
    log: Path | None = None
    # The new dataset; its videos are links to the recorded ones.
    out: OutputConfig = field(default_factory=OutputConfig)
    # Replace an earlier output.
    overwrite: bool = False


def join(config: JoinConfig) -> dict[str, int]:
    """Writes the dataset; returns how many frames each caption has.

    Raises:
        DataError: The log or the dataset cannot be read, or they are not of the same rollout.
    """
    if config.log is None:
        raise ValueError("no log. Fix: pass --log=<what --policy.event_log named>")
    source = SourceDataset.open(source_root(config.dataset))
    if COLUMN in source.info["features"]:
        fix = "join the dataset as it was recorded"
        raise DataError(source.root, COLUMN, "is there already", fix)
    captions = captions_of(read_runs(config.log), source, config.log)
    texts = list(dict.fromkeys(captions))
    index = np.array([texts.index(caption) for caption in captions], dtype=np.int64)
    with atomic_folder(output_root(config.out), overwrite=config.overwrite, marker=SUBTASKS) as out:
        shutil.copytree(source.root / "meta", out / "meta")
        for file in sorted((source.root / "videos").rglob("*.mp4")):
            place_file(file, out / file.relative_to(source.root))
        for file in sorted((source.root / "data").glob("*/*.parquet")):
            table = pq.read_table(file)
            column = pa.array(index[table.column("index").to_numpy()])
            (to := out / file.relative_to(source.root)).parent.mkdir(parents=True, exist_ok=True)
            # Without pandas' and HuggingFace's notes, which list the columns as they were.
            pq.write_table(table.append_column(COLUMN, column).replace_schema_metadata(None), to)
        info = source.info | {"features": source.info["features"] | {COLUMN: FEATURE}}
        write_text(out / "meta" / "info.json", json.dumps(info, indent=4, ensure_ascii=False))
        named = pd.DataFrame({COLUMN: range(len(texts))}, index=pd.Index(texts, name="subtask"))
        named.to_parquet(out / SUBTASKS)
    return {text: int((index == i).sum()) for i, text in enumerate(texts)}


FEATURE = {"dtype": "int64", "shape": [1], "names": None}


def read_runs(path: Path) -> list[list[tuple[int, str]]]:
    """The runs in a log, each from one reset of the policy to the next: from which tick on which caption holds.

    Raises:
        DataError: It cannot be read, or holds no event.
    """
    runs: list[list[tuple[int, str]]] = []
    before = number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for text in file:
                number += 1
                line = json.loads(text)
                if line["robot"]:
                    raise ValueError("is of several robots; one at a time can be joined")
                tick, kind = line["tick"], line["kind"]
                if not runs or tick < before or (kind == "instruction" and tick == 0):
                    runs.append([])
                before = tick
                if kind in ("begin", "end"):
                    runs[-1].append((tick, line["caption"] if kind == "begin" else BETWEEN))
    except OSError as error:
        raise DataError(
            path, "file", f"cannot be read ({error.strerror})", "see --policy.event_log"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        fix = "pass the file that --policy.event_log named, or take that line out"
        raise DataError(path, f"line {number}", f"is none of an event log ({error})", fix) from error
    runs = [run for run in runs if run]
    if not runs:
        raise DataError(path, "begin", "no event began", "pass the log of a rollout that acted")
    return runs


def captions_of(runs: list[list[tuple[int, str]]], source: SourceDataset, log: Path) -> list[str]:
    """The caption of each row of a recorded rollout: a tick is a frame.

    Either each episode was a run of its own, or one run went on through all episodes.

    Raises:
        DataError: Neither; or the log goes on after the last frame of an episode.
    """
    lengths = source.episodes.column("length").to_pylist()
    if len(runs) == 1:
        lengths = [sum(lengths)]
    if len(runs) != len(lengths):
        problem = f"has {len(runs)} runs, but {source.root.name} {len(lengths)} episodes"
        raise DataError(
            log, "runs", problem, "give each rollout a log of its own, or delete what was not kept"
        )
    found: list[str] = []
    for number, (run, length) in enumerate(zip(runs, lengths, strict=True)):
        if run[-1][0] > length:
            problem = f"goes on to tick {run[-1][0]}, but {length} frames were recorded"
            raise DataError(log, f"run {number}", problem, "pass the log of this recording")
        begins = [tick for tick, _ in run] + [length]
        found += [BETWEEN] * begins[0]
        for (tick, caption), end in zip(run, begins[1:], strict=True):
            found += [caption] * (end - tick)
    return found
