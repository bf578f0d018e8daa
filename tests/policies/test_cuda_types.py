# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Every stage, method and layout under CUDA's rules for types; `pytest -s` prints which ran.

The dtype `sharded` is what FSDP's mixed precision makes of a bfloat16 run: weights, buffers and inputs in bfloat16.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from cuda_mirror import BY_HAND, cuda_lists, cuda_mirror, fake_cuda, registered
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lerobot_wallwm.policies.encoders.hashed_words import split_words
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.training.stages import REASONED, STAGES

TASKS = ["reach for the red cube", "close the gripper"]
LENGTHS = {"equal": [8, 8, 8, 8], "ragged": [8, 8, 5, 2]}
# What tells most; the rest of the matrix is slow.
OFTEN = {
    (True, "ragged", "bfloat16"),
    (False, "ragged", "bfloat16"),
    (True, "ragged", "sharded"),
    ("none", 0, "bfloat16"),
    ("full", 3, "bfloat16"),
}


def matrix(*axes: Iterable[Any]) -> list[Any]:
    """All combinations, those that are not in `OFTEN` marked slow."""
    rows = itertools.product(*axes)
    return [pytest.param(*row, marks=() if row in OFTEN else pytest.mark.slow) for row in rows]


TRAINING = matrix((True, False), LENGTHS, ("bfloat16", "float32", "sharded"))
ACTING = matrix(("none", "anchor", "full"), (3, 0), ("bfloat16", "float32"))
BEFORE = {"vlm": ["joint"], "staircase": ["joint", "vlm"], "unified": ["joint", "vlm", "staircase"]}
ACTS = [name for name in STAGES if name != "video"]
INSTRUCTION = "take the red cube"


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


@pytest.fixture(scope="module")
def policy_of(make_policy) -> Any:
    """A policy in a stage, whose data name events."""

    def build(stage: str, **fields: Any) -> Any:
        if stage in REASONED:
            words = sorted({word for text in (*TASKS, INSTRUCTION) for word in split_words(text)})
            fields |= {"words": words, "stages": BEFORE[stage]}
        policy = make_policy(stage=stage, **fields)
        policy._events.texts = [INSTRUCTION], [TASKS[1]]
        return policy

    return build


def autocast(dtype: str) -> Any:
    """As LeRobot's trainer does."""
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype != "float32")


def as_fsdp_hands_over(batch: dict[str, Any]) -> dict[str, Any]:
    """What mixed precision rounds, and what `ExactNumbersStep` keeps from it."""
    rounded = {k: x.bfloat16() if _is_float(x) else x for k, x in batch.items()}
    return rounded | {k: batch[k].to(torch.complex64) for k in ("observation.state", "action")}


def _is_float(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.is_floating_point()


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
def test_every_stage_trains(policy_of, make_train_batch, mirror, ran, stage, packing, lengths, dtype):
    policy = policy_of(stage, dtype="float32" if dtype == "float32" else "bfloat16").train()
    policy.model.shape = replace(policy.model.shape, packing=packing)
    batch = make_train_batch(policy.config, valid=LENGTHS[lengths])
    if dtype == "sharded":
        exact = policy.windows_from_batch(batch)
        policy.to(torch.bfloat16)
        batch = as_fsdp_hands_over(batch)
        for name in ("state", "actions", "goal"):
            assert torch.equal(getattr(policy.windows_from_batch(batch), name), getattr(exact, name)), name
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
def test_every_stage_acts(policy_of, make_observation, mirror, ran, stage, imagination, landmarks, dtype):
    fields = {"text_source": "latents"} if stage in ("staircase", "unified") else {}
    policy = policy_of(stage, dtype=dtype, imagination=imagination, landmarks=landmarks, **fields)
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
    policy_of, make_train_batch, make_observation, tiny_stats, mirror, ran, tmp_path, stage
):
    policy = policy_of(stage, dtype="bfloat16").train()
    batch = make_train_batch(policy.config, valid=LENGTHS["ragged"])
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    step(policy, batch, "bfloat16", optimizer)
    policy.save_pretrained(tmp_path)
    trained, acting = (
        WallwmPolicy.from_pretrained(tmp_path, dataset_stats=stats) for stats in (tiny_stats, None)
    )
    losses = []
    for one in (policy.eval(), trained.eval(), acting):
        one._events.texts = policy._events.texts
        torch.manual_seed(0)
        losses.append(one.forward(batch)[0])
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0], rtol=0.02, atol=0.02)
    if stage in ACTS:
        chunks = [one.predict_action_chunk(make_observation(TASKS)) for one in (policy, trained, acting)]
        torch.testing.assert_close(chunks[1], chunks[0])
        torch.testing.assert_close(chunks[2], chunks[0], rtol=0.05, atol=0.05)
    ran.setdefault((stage, "checkpoint", "", "bfloat16"), set()).update(
        ("save_pretrained", "from_pretrained")
    )


# ---------------------------------------------------------------------- where weights lie


class WeightCasts(TorchDispatchMode):
    """Counts casts of weights that have rows and columns."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        matrices = [p for p in module.parameters() if sorted(p.shape)[-2:-1] > [1]]
        self.places, self.casts = {p.data_ptr() for p in matrices}, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.casts += func.overloadpacket.__name__ == "_to_copy" and args[0].data_ptr() in self.places
        return func(*args, **(kwargs or {}))


def test_an_acting_policy_lies_in_bfloat16_and_casts_no_weight(
    make_policy, make_observation, mirror, tmp_path
):
    policy = make_policy(dtype="bfloat16", imagination="full")
    policy.save_pretrained(tmp_path)
    acting, batch = WallwmPolicy.from_pretrained(tmp_path), make_observation(TASKS)
    casts, bytes_ = [], []
    for one in (policy, acting):
        one.predict_action_chunk(batch)
        with WeightCasts(one.model) as counted:
            one.predict_action_chunk(batch)
        casts.append(counted.casts)
        linear = [m.weight for m in one.model.modules() if isinstance(m, torch.nn.Linear)]
        bytes_.append(sum(p.numel() * p.element_size() for p in linear))
    assert casts[0] > 100 and casts[1] == 0
    assert bytes_[1] < 0.7 * bytes_[0]  # timesteps stay
    policy.config.dtype = "float32"
    whole = WallwmPolicy.from_pretrained(tmp_path, config=policy.config)
    assert {p.dtype for p in whole.parameters()} == {torch.float32}


@pytest.mark.parametrize(("stage", "frozen"), [("action", ["video"]), ("unified", ["video", "action"])])
def test_frozen_towers_lie_in_bfloat16_and_what_learns_in_float32(
    policy_of, make_train_batch, mirror, tmp_path, stage, frozen
):
    policy = policy_of(stage, dtype="bfloat16").train()
    batch = make_train_batch(policy.config, valid=LENGTHS["ragged"])
    assert {p.dtype for p in policy.parameters() if p.requires_grad} == {torch.float32}
    for tower in frozen:
        blocks = policy.model.parts()[tower].blocks
        assert {p.dtype for p in blocks.parameters()} == {torch.bfloat16}
        with WeightCasts(blocks) as counted:
            step(policy, batch, "bfloat16")
        assert counted.casts == 0
    policy.save_pretrained(tmp_path)
    if stage == "unified":
        return
    resumed = WallwmPolicy.from_pretrained(tmp_path, dataset_stats=policy_stats(policy))
    for name, p in resumed.named_parameters():
        assert torch.equal(p, policy.get_parameter(name)) and p.dtype == policy.get_parameter(name).dtype, (
            name
        )


def policy_stats(policy: Any) -> dict[str, dict[str, torch.Tensor]]:
    space = policy.action_space
    one = {"min": space.range_low, "max": space.range_high, "mean": space.state_mean, "std": space.state_std}
    return {"action": one, "observation.state": one}


def degrees(policy: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Actions in the arm's units."""
    policy.reset()
    return policy.action_space.absolute(policy.predict_action_chunk(batch))


def test_no_policy_of_mixed_precision_rounds_units_and_angles(
    make_policy, make_observation, make_train_batch
):
    policy, batch = make_policy(imagination="full"), make_observation(TASKS)
    policy.action_space.set_range(
        {"action": {"min": torch.full((6,), -103.7), "max": torch.full((6,), 97.3)}}
    )
    expected = degrees(policy, batch)
    for module in policy.modules():  # as FSDP does for MixedPrecision(buffer_dtype=torch.bfloat16)
        for buffer in module.buffers(recurse=False):
            if buffer.is_floating_point():
                buffer.data = buffer.to(torch.bfloat16)
    off = (degrees(policy, batch) - expected).abs().max()
    print(f"largest difference with buffers in bfloat16: {off:.4f} degrees")
    assert off == 0
    loss, _ = policy.forward(make_train_batch(policy.config))
    assert loss.dtype == torch.float32
    state = {name: x.clone() for name, x in policy.state_dict().items() if "action_space" in name}
    assert len(state) == 8
    policy.action_space.to(torch.bfloat16)  # nor does this
    assert all(torch.equal(x, policy.state_dict()[name]) for name, x in state.items())
    with pytest.raises(RuntimeError, match="Missing key.*action_space.scale"):
        policy.load_state_dict(
            {name: x for name, x in policy.state_dict().items() if "space.scale" not in name}
        )
