# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What LeRobot's loader hands to training: streamed pictures are refused, and the plan holds what was drawn."""

import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.streaming_dataset import StreamingLeRobotDataset
from tiny_arm import CAMERAS
from torch.utils.data import default_collate

from lerobot_wallwm.language.view_events import view_rows
from lerobot_wallwm.policies.batches.dataset_facts import event_grammar
from lerobot_wallwm.policies.batches.drawn import DrawnRows

OFFSETS = [0, 2, 4, 6, 8]


def batches(dataset, size=8):
    rows = [
        {k: v for k, v in item.items() if "is_pad" in k or k in ("index", "episode_index")}
        for item in dataset
    ]
    return [default_collate(rows[i : i + size]) for i in range(0, len(rows), size)]


@pytest.mark.parametrize("kind", [LeRobotDataset, StreamingLeRobotDataset])
def test_streamed_pictures_are_refused_in_the_first_batch_and_others_are_not(tiny_view, kind):
    deltas = {key: [k / 10 for k in OFFSETS] for key in (*CAMERAS, "action")}
    options = {"shuffle": False, "buffer_size": 1} if kind is StreamingLeRobotDataset else {}
    data = kind("test/view", root=tiny_view / "train", delta_timestamps=deltas, **options)
    found = batches(data if kind is StreamingLeRobotDataset else [data[i] for i in range(40)])
    drawn = DrawnRows(data.meta, OFFSETS)
    if kind is StreamingLeRobotDataset:
        with pytest.raises(ValueError, match="not those of its rows.*Fix: train without"):
            drawn.watch(found[0])
    else:
        for batch in found:
            drawn.watch(batch)
        assert drawn.draws == len(drawn.rows) == 40


def test_after_two_passes_the_plan_holds_the_kinds_that_were_drawn(tiny_view, make_config):
    root = tiny_view / "train"
    rows, meta = view_rows(root), LeRobotDataset("test/view", root=root).meta
    chosen = [0, 1, 6]  # as `--dataset.episodes=[0,1,6]`
    index = torch.cat(
        [torch.arange(rows[e]["dataset_from_index"], rows[e]["dataset_to_index"]) for e in chosen]
    )
    episode = torch.cat([torch.full((rows[e]["length"],), e) for e in chosen])
    drawn = DrawnRows(meta, OFFSETS)
    batch = {"index": index, "episode_index": episode}
    drawn.watch(batch)
    assert drawn.grammar() is None  # others may still come
    drawn.watch(batch)
    transitions, longest = drawn.grammar()
    trained = {rows[e]["wallwm/template"] for e in chosen}
    assert set(longest) == trained < {row["wallwm/template"] for row in rows}
    assert (transitions, longest) == event_grammar(rows, trained)
    assert {kind for nexts in transitions.values() for kind in nexts} <= trained | {"<end>"}
    # Where all events are drawn, the plan is the dataset's.
    everything = DrawnRows(meta, OFFSETS)
    for _ in range(2):
        of = torch.tensor([e for row in rows for e in [row["episode_index"]] * row["length"]])
        everything.watch({"index": torch.arange(len(of)), "episode_index": of})
    assert everything.grammar() is None
