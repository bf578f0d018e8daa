# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Every stage, method and layout under CUDA's rules for types; `pytest -s` prints which ran."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from cuda_mirror import BY_HAND, cuda_lists, cuda_mirror, fake_cuda, registered
from torch.nn import functional as F

from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.training.stages import STAGES

TASKS = ["reach for the red cube", "close the gripper"]
LENGTHS = {"equal": [8, 8, 8, 8], "ragged": [8, 8, 5, 2]}
# What tells most; the rest of the matrix is slow.
OFTEN = {
    (True, "ragged", "bfloat16"),
    (False, "ragged", "bfloat16"),
    ("none", 0, "bfloat16"),
    ("full", 3, "bfloat16"),
}


def matrix(*axes: Iterable[Any]) -> list[Any]:
    """All combinations, those that are not in `OFTEN` marked slow."""
    rows = itertools.product(*axes)
    return [pytest.param(*row, marks=() if row in OFTEN else pytest.mark.slow) for row in rows]


DTYPES = ("bfloat16", "float32")
TRAINING, ACTING = matrix((True, False), LENGTHS, DTYPES), matrix(("none", "anchor", "full"), (3, 0), DTYPES)
ACTS = [name for name, stage in STAGES.items() if "action" in stage.losses]


@pytest.fixture(scope="module")
def mirror() -> Iterator[None]:
    with cuda_mirror():
        yield


@pytest.fixture(scope="module")
def ran() -> Iterator[dict[tuple[str, ...], set[str]]]:
    """Methods that ran, by stage, layout and dtype."""
    rows: dict[tuple[str, ...], set[str]] = {}
    yield rows
    print(
        "\n"
        + "\n".join(
            f"{' '.join(f'{name:<11}' for name in row)} {', '.join(sorted(rows[row]))}"
            for row in sorted(rows)
        )
    )


def autocast(dtype: str) -> Any:
    """As LeRobot's trainer does."""
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")


def step(policy: Any, batch: dict[str, Any], dtype: str, optimizer: Any = None) -> torch.Tensor:
    with autocast(dtype):
        loss, _ = policy.forward(batch)
    loss.backward()
    if optimizer is not None:
        optimizer.step()
        optimizer.zero_grad()
        policy.update()
    return loss.detach()


# ---------------------------------------------------------------------- the mirror itself


def test_the_header_lists_what_the_dispatcher_knows():
    assert cuda_lists().keys() == registered("CUDA") - BY_HAND


def results(device: str) -> list[Any]:
    """Types of what autocast makes of some operators, or that it refuses them."""

    def of(operator: Any) -> Any:
        try:
            return operator().dtype
        except RuntimeError:
            return RuntimeError

    x, index = torch.randn(3, 4, device=device), torch.arange(3, device=device)
    layer = torch.nn.Linear(4, 4, device=device)
    y = layer(x)
    operators = [
        lambda: y,
        lambda: y @ y.T,
        lambda: F.layer_norm(y, (4,)),
        lambda: F.gelu(y),
        lambda: y.softmax(-1),
        lambda: y.sum(),
        lambda: y.norm(),
        lambda: y.norm(dim=1),
        lambda: y.exp(),
        lambda: y.cumsum(0),
        lambda: F.mse_loss(y, x),
        lambda: torch.cat((y, x)),
        lambda: torch.cat((y, y)),
        lambda: torch.stack((y, x)),
        lambda: torch.addcmul(y, y, x),
        lambda: torch.lerp(y, x, 0.5),
        lambda: torch.lerp(y, y, 0.5),
        lambda: x.index_put((index,), y),
        lambda: x.scatter_add(0, index[:, None].expand(-1, 4), y),
        lambda: F.scaled_dot_product_attention(x[None], x[None], y[None]),
        lambda: F.interpolate(y[None], 2, mode="linear"),
    ]
    return [of(operator) for operator in operators]


def test_the_mirror_casts_as_autocast_does_on_cuda(mirror):
    """Against the real kernels of autocast, on tensors that lie on CUDA and hold nothing."""
    with torch.autocast("cpu", torch.bfloat16):
        found = results("cpu")
    with fake_cuda(torch.nn.Module()):
        expected = results("cuda")
    assert found == expected


def test_the_mirror_refuses_what_only_a_cpu_takes(mirror):
    x, half = torch.zeros(2, 3), torch.ones(2, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="same dtype"):
        x.index_copy(0, torch.arange(2), half)
    with pytest.raises(RuntimeError, match="one scalar type"):
        F.layer_norm(half, (3,), torch.ones(3))


# ---------------------------------------------------------------------- the policy


@pytest.mark.parametrize(("packing", "lengths", "dtype"), TRAINING)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_trains(make_policy, make_train_batch, mirror, ran, stage, packing, lengths, dtype):
    policy = make_policy(stage=stage, dtype=dtype).train()
    policy.model.shape = replace(policy.model.shape, packing=packing)
    batch = make_train_batch(policy.config, valid=LENGTHS[lengths])
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    before = step(policy, batch, dtype, optimizer)
    assert torch.isfinite(before)
    assert torch.isfinite(step(policy, batch, dtype, optimizer))
    methods = ran.setdefault((stage, "packed" if packing else "padded", lengths, dtype), set())
    methods |= {"forward", "backward", "step", "update"}


@pytest.mark.parametrize(("optimizer", "checkpointing"), [("muon", False), ("adamw", True)])
def test_optimisers_train_in_bfloat16(make_policy, make_train_batch, mirror, optimizer, checkpointing):
    policy = make_policy(dtype="bfloat16", optimizer=optimizer, gradient_checkpointing=checkpointing).train()
    batch = make_train_batch(policy.config, valid=LENGTHS["ragged"])
    built = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    weights = {name: p.detach().clone() for name, p in policy.named_parameters()}
    for _ in range(2):
        step(policy, batch, "bfloat16", built)
    moved = [name for name, p in policy.named_parameters() if not torch.equal(p, weights[name])]
    assert len(moved) > len(weights) / 2
    assert all(
        p.dtype == torch.float32 and torch.isfinite(p).all() for p in policy.parameters() if p.requires_grad
    )


@pytest.mark.parametrize(("imagination", "landmarks", "dtype"), ACTING)
@pytest.mark.parametrize("stage", ACTS)
def test_every_stage_acts(make_policy, make_observation, mirror, ran, stage, imagination, landmarks, dtype):
    policy = make_policy(stage=stage, dtype=dtype, imagination=imagination, landmarks=landmarks)
    ticks = [policy.select_action(make_observation(TASKS, seed=tick)) for tick in range(6)]
    policy.reset()
    chunk = policy.predict_action_chunk(make_observation(TASKS))
    assert chunk.dtype == torch.float32 and torch.isfinite(chunk).all()
    assert all(action.dtype == torch.float32 and torch.isfinite(action).all() for action in ticks)
    goal = "goal" if landmarks else "no goal"
    ran.setdefault((stage, imagination, goal, dtype), set()).update(
        ("select_action", "reset", "predict_action_chunk")
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_is_saved_and_read_in_bfloat16(
    make_policy, make_train_batch, make_observation, mirror, ran, tmp_path, stage
):
    policy = make_policy(stage=stage, dtype="bfloat16").train()
    batch = make_train_batch(policy.config, valid=LENGTHS["ragged"])
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    step(policy, batch, "bfloat16", optimizer)
    policy.save_pretrained(tmp_path)
    again = WallwmPolicy.from_pretrained(tmp_path)
    losses = []
    for one in (policy.eval(), again):
        torch.manual_seed(0)
        with autocast("bfloat16"):
            losses.append(one.forward(batch)[0])
    torch.testing.assert_close(*losses)
    if stage in ACTS:
        torch.testing.assert_close(
            *(p.predict_action_chunk(make_observation(TASKS)) for p in (policy, again))
        )
    ran.setdefault((stage, "checkpoint", "", "bfloat16"), set()).update(
        ("save_pretrained", "from_pretrained")
    )
