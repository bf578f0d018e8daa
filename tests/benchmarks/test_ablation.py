# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The ablation's data and table: windows as LeRobot makes them, chunks that tile episodes, paired differences."""

import dataclasses

import torch
from torch.utils.data import default_collate

from benchmarks.learning.ablate import BASE, VARIANTS, carve_chunks
from benchmarks.learning.one_run import WindowsInMemory, compared, order, paired
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.training.stages import Stage
from lerobot_wallwm.processors.source.episodes import SourceDataset


def test_windows_equal_those_of_lerobot(tiny_view, tmp_path):
    from lerobot.datasets import LeRobotDataset

    seen, acted = [-2, 0, 2, 5], [0, 1, 2, 9]
    windows = WindowsInMemory(tiny_view / "train", tmp_path, seen, acted)
    fps = windows.meta.fps
    deltas = {key: [d / fps for d in seen] for key in (*windows.meta.camera_keys, "observation.state")}
    dataset = LeRobotDataset(
        "local/view",
        root=tiny_view / "train",
        delta_timestamps={**deltas, "action": [d / fps for d in acted]},
    )
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:12]
    theirs = default_collate([dataset[int(row)] for row in rows])
    ours = windows.batch(rows)
    assert set(ours) <= set(theirs)
    for key, value in ours.items():
        if key == "task":
            assert value == theirs[key]
        else:
            torch.testing.assert_close(value, theirs[key].to(value.dtype), msg=key)
    one = windows[int(rows[3])]
    torch.testing.assert_close(one["action"], ours["action"][3])
    assert one["task"] == ours["task"][3]


def test_chunks_tile_their_episodes_at_the_events_mean_length(tiny_dataset, tiny_view, tmp_path):
    from lerobot.datasets import LeRobotDatasetMetadata

    out = tmp_path / "chunks"
    length = carve_chunks(SourceDataset.open(tiny_dataset), tiny_view / "events.parquet", [0, 1], out)
    meta = LeRobotDatasetMetadata("local/chunks", root=out)
    source = LeRobotDatasetMetadata("local/source", root=tiny_dataset)
    by_episode: dict[int, list[int]] = {}
    for episode, frames in zip(meta.episodes["wallwm/source_episode"], meta.episodes["length"], strict=True):
        by_episode.setdefault(episode, []).append(frames)
    assert set(by_episode) == {0, 1}
    for episode, lengths in by_episode.items():
        assert sum(lengths) == source.episodes["length"][episode]
        assert set(lengths[:-1]) <= {length} and lengths[-1] <= length


def test_no_row_is_drawn_twice_before_all_are_drawn_once():
    drawn = order(7, 17, seed=3)
    assert len(drawn) == 17
    assert sorted(drawn[:7].tolist()) == sorted(drawn[7:14].tolist()) == list(range(7))
    assert not torch.equal(order(7, 17, seed=4), drawn)


def test_every_variant_changes_fields_that_exist():
    fields = {field.name for kind in (WallwmConfig, Stage) for field in dataclasses.fields(kind)}
    for name, changes in VARIANTS.items():
        assert set(changes) | set(BASE) <= fields, name


def test_runs_are_compared_seed_by_seed():
    base = {seed: {"errors": {"near": 3.0 + seed}} for seed in range(3)}
    other = {seed: {"errors": {"near": value}} for seed, value in enumerate((3.5, 4.5, 4.9))}
    cells = compared(other, base, ("near",))
    assert cells["near"].values == (3.5, 4.5, 4.9) and cells["near, difference"] == "+0.3000 (2/3)"
    assert set(compared(base, base, ("near",))) == {"near"}
    assert paired({0: 1.0}, {1: 2.0}) == ""
