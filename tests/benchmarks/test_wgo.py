# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""WGO-Bench's rows, rebuilt from the committed demonstrations in the layout that its page shows."""

from argparse import Namespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.harness.repo import DATASET, PHASES
from benchmarks.harness.rows import CannotRunError
from benchmarks.segmentation.score import true_boundaries
from benchmarks.segmentation.wgo import channels, episode_of, overlaps, rows
from lerobot_wallwm.processors.source.episodes import SourceDataset


def row(episode, starts, state=True):
    ends = [*starts, len(episode)]
    segments = [
        {"start_sec": a / episode.fps, "end_sec": b / episode.fps, "subtask": "go on"}
        for a, b in zip([0, *starts], ends, strict=True)
    ]
    times = (np.arange(len(episode)) / episode.fps).tolist()
    joints = {"names": ["pan"], "positions": episode.state[:, :5].tolist()}
    told = {"timestamp_sec": times, "joints": joints, "gripper": {"opening": episode.state[:, 5].tolist()}}
    about = {"id": f"droid_{episode.index}", "instruction": episode.task, "segments": segments, "video": b""}
    return {**about, "perception_state": told if state else None}


def test_rows_with_states_are_scored_and_those_without_are_counted(tmp_path):
    source, truth = SourceDataset.open(DATASET), true_boundaries(PHASES)
    episodes = [source.read(position) for position in range(4)]
    table = [row(e, truth[e.index]) for e in episodes] + [row(episodes[0], [10], state=False)]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "annotations.parquet")
    found = [r.cells for r in rows(Namespace(file=tmp_path / "annotations.parquet"))]
    assert found[0] == {"with states": 4, "without, left out": 1}
    scores = {cells["method"]: cells for cells in found[1:]}
    assert scores["action"]["F1 at IoU 0.5"] > 0.8 > scores["uniform (true number)"]["F1 at IoU 0.5"]
    assert scores["action"]["boundary F1, 0.5 s"] > 0.9
    assert {cells["from"] for cells in found[1:]} == {"droid"}


def test_channels_are_read_from_lists_of_structs_and_from_structs_of_lists():
    assert set(channels([{"eef": [0.0, 1.0], "grip": 1}] * 3)) == {"eef_0", "eef_1", "grip"}
    told = {"perception_state": {"note": ["a"], "q": [[0.0, float(t)] for t in range(9)]}}
    episode = episode_of({**told, "instruction": None, "segments": [{"end_sec": 4.0}]}, 3)
    assert episode.state.shape == (9, 2) and episode.fps == 2.0
    assert episode_of({"perception_state": None}, 0) is None


def test_segments_are_matched_one_to_one():
    assert overlaps([0, 10, 20], [0, 10, 20]) == 2
    assert overlaps([0, 5, 10, 20], [0, 10, 20]) == 2  # half is enough, once
    assert overlaps([0, 20], [0, 9, 20]) == 1


def test_without_the_hub_it_says_what_to_do(tmp_path):
    with pytest.raises(CannotRunError, match=r"HF_HUB_OFFLINE=0\), or --file"):
        list(rows(Namespace(file=tmp_path / "none.parquet")))
