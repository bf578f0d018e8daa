# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The ablation's data and table: windows as LeRobot makes them, chunks that tile episodes, paired differences."""

import dataclasses

import pytest
import torch
from torch.utils.data import default_collate

from benchmarks.learning.chunks import carve_chunks
from benchmarks.learning.one_run import _order
from benchmarks.learning.table import table
from benchmarks.learning.variants import BASE, VARIANTS
from benchmarks.learning.windows_in_memory import WindowsInMemory
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig


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
    length = carve_chunks(tiny_dataset, tiny_view / "events.parquet", [0, 1], out)
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
    order = _order(7, 17, seed=3)
    assert len(order) == 17
    assert sorted(order[:7].tolist()) == sorted(order[7:14].tolist()) == list(range(7))
    assert not torch.equal(_order(7, 17, seed=4), order)


def test_every_variant_changes_fields_that_exist():
    fields = {field.name for field in dataclasses.fields(WallwmConfig)}
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    for variant in VARIANTS:
        assert set(variant.changes) | set(BASE) <= fields, variant.name


def made_up_run(variant, seed, near):
    actions = {name: {"near": near, "event": 2 * near} for name in ("none", "anchor")}
    video = {
        name: {"psnr": 20.0, "psnr_moved": 10.0, "ssim": 0.8} for name in ("imagined", "repeat_keyframe")
    }
    return {
        "variant": variant,
        "seed": seed,
        "steps": 10,
        "seconds": 5.0,
        "actions": actions,
        "video": video,
    }


def test_table_pairs_runs_by_seed():
    runs = [made_up_run("base", s, 3.0 + s) for s in range(3)]
    runs += [made_up_run("tile", 0, 3.5), made_up_run("tile", 1, 4.5), made_up_run("tile", 2, 4.9)]
    text = table(runs, ["base", "tile", "never run"])
    assert "| base | 4.000 ± 1.000 |" in text
    assert "+0.300 (2/3) |" in text
    assert "never run" not in text
    assert "| anchor | " in text
    assert table(runs[:1], ["base"]).count("±") == 0


@pytest.mark.parametrize("names", [[], ["nothing"]])
def test_table_of_nothing_is_a_heading(names):
    assert table([], names).startswith("| variant |")
