# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One sample a device: every part learns all the same, and who never learned when events end does not act."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, strategies as st
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from test_plugin import train as train_by_lerobot
from tiny_models import tiny_model

from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

HEADS = ("action.remaining_head.", "action.head.", "video.proj_out.", "goal_head.to_pose.")
STEPS = 24


@given(size=st.integers(1, 16), fraction=st.sampled_from([0.0, 0.1, 0.125, 0.3, 0.5, 1.0]))
def test_the_fraction_is_the_same_at_every_batch_size(size, fraction):
    model = tiny_model(future_fraction=fraction)
    draws = [(i + 0.5) / 1000 for i in range(1000)]
    rows = [objectives.future_rows(model, size, draw) for draw in draws]
    assert sum(rows) / 1000 / size == pytest.approx(fraction, abs=1e-3)
    assert max(rows) - min(rows) <= 1 and max(rows) <= size


def sample_by_sample(policy: Any, batch: dict[str, Any], first: int, ranks: int) -> Iterator[dict[str, Any]]:
    """Batches of one sample, each rank with samples of its own."""
    size = len(batch["task"])
    for step in range(STEPS):
        row = (step * ranks + first) % size
        yield {
            key: [value[row]] if isinstance(value, list) else value[row : row + 1]
            for key, value in batch.items()
        } | {"index": torch.tensor([step * ranks + first])}


def train(policy: Any, forward: Any, batches: Iterator[dict[str, Any]]) -> set[str]:
    """Names of the heads that got a gradient that is not zero."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    taught = set()
    for batch in batches:
        loss, _ = forward(batch)
        loss.backward()
        for name, p in policy.model.named_parameters():
            if p.grad is not None and bool(p.grad.any()):
                taught |= {head for head in HEADS if name.startswith(head)}
        optimizer.step()
        optimizer.zero_grad()
        policy.update()
    return taught


def test_every_part_learns_from_one_sample_a_step(make_policy, make_train_batch):
    policy = make_policy(shake=False).train()
    batch = make_train_batch(policy.config, valid=[8, 8, 5, 2])
    assert train(policy, policy.forward, sample_by_sample(policy, batch, 0, 1)) == set(HEADS)


def _worker(rank: int, config: Any, stats: Any, batch: dict[str, Any], out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/store", rank=rank, world_size=2)
    torch.manual_seed(0)
    policy = WallwmPolicy(config, dataset_stats=stats).train()
    wrapped = torch.nn.parallel.DistributedDataParallel(
        policy, find_unused_parameters=True
    )  # as LeRobot does
    taught = train(policy, wrapped, sample_by_sample(policy, batch, rank, 2))
    torch.save({"taught": sorted(taught), **dict(policy.model.named_parameters())}, f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow  # two processes import everything
def test_every_part_learns_on_two_ranks_of_one_sample(
    make_config, tiny_stats, make_train_batch, tmp_path: Path
):
    config = make_config()
    mp.spawn(
        _worker, (config, tiny_stats, make_train_batch(config, valid=[8, 8, 5, 2]), str(tmp_path)), nprocs=2
    )
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one.pop("taught") == two.pop("taught") == sorted(HEADS)
    assert all(torch.equal(one[name], two[name]) for name in one)


def event_lengths(folder: Path, dataset: Path) -> list[int]:
    """Ticks of each event while a policy walks through recorded episodes, each event told by the plan and the model alone."""
    policy = WallwmPolicy.from_pretrained(folder)
    recorded, lengths = LeRobotDataset("test/tiny", root=dataset), []
    for episode in recorded.meta.episodes:
        policy.reset()
        captions = []
        for row in range(episode["dataset_from_index"], episode["dataset_to_index"]):
            item = recorded[row]
            seen = {key: item[key][None] for key in item if key.startswith("observation.")}
            policy.select_action({**seen, "task": [item["task"]]})
            captions.append(policy.rollout.cursors[0].caption)
        runs = [len(list(same)) for _, same in groupby(captions)]
        lengths += runs[:-1]  # the last one is cut by the recording's end
    return lengths


@pytest.mark.slow  # two runs of lerobot-train
def test_events_last_as_long_after_batches_of_one_as_of_eight(tiny_view, tiny_dataset, tmp_path: Path):
    found = {}
    for size, steps in ((1, 1600), (8, 200)):
        flags = (f"--batch_size={size}", "--policy.optimizer_lr=3e-3")
        folder = train_by_lerobot(tiny_view / "train", tmp_path / str(size), steps, *flags)
        found[size] = event_lengths(folder / "last" / "pretrained_model", tiny_dataset)
    means = {size: sum(lengths) / len(lengths) for size, lengths in found.items()}
    print(f"events in a rollout, ticks: {found}, means {means}")
    assert means[1] == pytest.approx(means[8], rel=0.5)


def test_a_policy_that_never_learned_when_events_end_refuses_them(
    make_policy, make_train_batch, make_observation
):
    seen = make_observation(["reach for the red cube"])
    policy = make_policy(shake=False, future_fraction=1.0).train()
    batch = make_train_batch(policy.config)
    train(policy, policy.forward, sample_by_sample(policy, batch, 0, 1))
    policy.reset()
    for act in (policy.select_action, policy.predict_action_chunk):
        with pytest.raises(
            ValueError, match=r"never taught how long an event still lasts.*Fix: .*future_fraction=0.5"
        ):
            act(seen)
    timed = make_policy(shake=False, planner="script", script=["reach for the red cube | 0.5 s"])
    assert torch.isfinite(timed.select_action(seen)).all()
    untimed = make_policy(
        shake=False, planner="script", script=["reach for the red cube | 0.5 s", "close the gripper"]
    )
    with pytest.raises(ValueError, match="never taught"):
        untimed.select_action(seen)
    policy = make_policy(shake=False).train()
    train(policy, policy.forward, sample_by_sample(policy, batch, 0, 1))
    policy.reset()
    assert torch.isfinite(policy.select_action(seen)).all()
