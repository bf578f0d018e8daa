# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The golden file: what one small checkpoint computes, what `wallwm prepare` writes, what `wallwm check` reports.

A change that means to change none of it leaves this test passing. One that does records anew and says why:
`WALLWM_GOLDEN=record python -m pytest tests/test_golden.py`. On the machine that recorded, floats agree bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from lerobot_wallwm.cli import main

FOLDER = Path(__file__).parent / "golden"
RECORD = os.environ.get("WALLWM_GOLDEN") == "record"
COMMITTED = Path(__file__).parents[1] / "examples" / "so101_sim" / "data" / "so101_pick_place"
PLACE = {
    "machine": platform.machine(),
    "torch": torch.__version__,
    "cpu": torch.backends.cpu.get_cpu_capability(),
}
TASKS = ["put the red cube on the blue disc", "close the gripper"]
# Of a report: what depends on the clock, the machine or where things lie.
UNSTABLE = (
    "latency",
    "machine",
    "created",
    "command",
    "seconds",
    "path",
    "versions",
    "sha256",
    "root",
    "load",
    "control_rate",
)


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def compare(name: str, found: Any) -> None:
    """Holds ``found`` against the file ``name``; floats to 1e-5 where the file was recorded, and to 1e-4 elsewhere.

    Not exactly: processors that call themselves the same differ in the last bit of a matrix product.
    """
    file = FOLDER / f"{name}.json"
    if RECORD:
        file.write_text(json.dumps({"place": PLACE, "values": found}, indent=1) + "\n")
    golden = json.loads(file.read_text())
    found = json.loads(json.dumps(found))
    assert_close(found, golden["values"], name, 1e-5 if golden["place"] == PLACE else 1e-4)


def assert_close(found: Any, golden: Any, where: str, within: float) -> None:
    if isinstance(golden, dict):
        assert found.keys() == golden.keys(), where
        for key, value in golden.items():
            assert_close(found[key], value, f"{where}.{key}", within)
    elif isinstance(golden, list):
        assert len(found) == len(golden), where
        for i, value in enumerate(golden):
            assert_close(found[i], value, f"{where}[{i}]", within)
    elif isinstance(golden, float):
        assert found == pytest.approx(golden, rel=within, abs=within), where
    else:
        assert found == golden, where


@pytest.fixture(scope="module")
def golden_policy(make_policy):
    """The small checkpoint: each weight follows from its name alone, so that no change of how weights are drawn moves it."""

    def build(**fields: Any) -> Any:
        policy = make_policy(shake=False, **fields)
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
                gain = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
                parameter.copy_(gain + 0.1 * torch.randn(parameter.shape, generator=g))
        return policy

    return build


@pytest.mark.parametrize("stage", ["joint", "action", "video", "next_chunk"])
def test_losses(golden_policy, make_train_batch, stage):
    # One sample of four carries its future, without a draw.
    fractions = {"joint": 0.25, "next_chunk": 0.25}
    policy = golden_policy(stage=stage, future_fraction=fractions.get(stage)).train()
    batch = make_train_batch(policy.config, batch=4, valid=[8, 8, 5, 2])
    losses, parts = policy.forward(batch, reduction="none")
    mean, _ = policy.forward(batch)
    mean.backward()
    slopes = [
        float(p.grad.double().norm()) for _, p in sorted(policy.named_parameters()) if p.grad is not None
    ]
    compare(
        f"losses_{stage}",
        {"losses": losses.tolist(), "parts": parts, "mean": mean.item(), "gradient": sum(slopes)},
    )


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_actions(golden_policy, make_observation, imagination):
    policy = golden_policy() if imagination == "none" else golden_policy(imagination=imagination)
    policy.reset()
    ticks = [policy.select_action(make_observation(TASKS, seed=tick)).tolist() for tick in range(10)]
    chunk = policy.predict_action_chunk(make_observation(TASKS, seed=3)).tolist()
    compare(f"actions_{imagination}", {"ticks": ticks, "chunk": chunk})


def test_chunks(golden_policy, make_observation):
    policy = golden_policy(stage="next_chunk")
    ticks = [policy.select_action(make_observation(TASKS, seed=tick)).tolist() for tick in range(10)]
    compare("actions_next_chunk", ticks)


def test_view_of_the_committed_dataset(tmp_path):
    out = tmp_path / "events"
    assert main(["prepare", f"--dataset.root={COMMITTED}", f"--out.root={out}", "--quiet=true"]) == 0
    found: dict[str, Any] = {}
    for file in sorted(
        [out / "events.parquet", *out.glob("*/data/**/*.parquet"), *out.glob("*/meta/**/*.parquet")]
    ):
        table = pq.read_table(file)
        columns = {name: repr(table.column(name).to_pylist()) for name in table.column_names}
        found[str(file.relative_to(out))] = {
            "rows": len(table),
            "columns": {
                name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in columns.items()
            },
        }
    compare("view", found)


def stable(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: stable(v) for k, v in sorted(content.items()) if not any(word in k for word in UNSTABLE)}
    if isinstance(content, list):
        return [stable(value) for value in content if "a look (pictures in" not in str(value)]
    return content


def test_check_report(golden_policy, tiny_stats, tiny_view, tmp_path):
    from lerobot_wallwm import make_wallwm_pre_post_processors

    policy, path = golden_policy(), tmp_path / "pretrained_model"
    policy.config.learned.fps = 10.0
    policy.save_pretrained(path)
    for pipeline in make_wallwm_pre_post_processors(policy.config, tiny_stats):
        pipeline.save_pretrained(path)
    out = tmp_path / "check"
    flags = ["--observations=24", "--timings=5", "--clips=4", "--episodes_shown=1", "--quiet=true"]
    main(
        ["check", f"--policy.path={path}", f"--dataset.root={tiny_view / 'heldout'}", f"--out={out}", *flags]
    )
    content = json.loads((out / "check.json").read_text())
    assert content["verdict"]["switch_on"] is False  # random weights
    compare("check", stable(content))
