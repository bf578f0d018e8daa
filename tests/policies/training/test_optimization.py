# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, strategies as st
from lerobot.optim.optimizers import load_optimizer_state, save_optimizer_state

from lerobot_wallwm.policies.training.muon import MuonAdamW, MuonAdamWConfig, assign, orthogonalize_all
from lerobot_wallwm.policies.training.orthogonalize import POLYNOMIALS, orthogonalize

SHAPES = [(6, 6), (4, 10), (10, 4), (6, 6), (1, 5)]


def parameters(seed: int = 0) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    g = torch.Generator().manual_seed(seed)
    matrices = [torch.nn.Parameter(torch.randn(*shape, generator=g)) for shape in SHAPES]
    rest = [torch.nn.Parameter(torch.randn(*shape, generator=g)) for shape in ((7,), (3, 4), (2, 3, 4))]
    return matrices, rest


def optimizer(matrices, rest, **changes) -> MuonAdamW:
    groups = [
        {"params": matrices[:3], "use_muon": True},
        {"params": matrices[3:4], "use_muon": True, "grid": [3, 1]},
        {"params": matrices[4:], "use_muon": True},
        {"params": rest[:1], "use_muon": False, "weight_decay": 0.0},
        {"params": rest[1:], "use_muon": False},
    ]
    return MuonAdamWConfig(**{"lr": 0.02, "weight_decay": 0.1, **changes}).build(groups)


def steps(optimizer: MuonAdamW, params, count: int, seed: int = 1) -> None:
    g = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for p in params:
            p.grad = torch.randn(p.shape, generator=g)
        optimizer.step()


def polynomials_by_the_book(matrix: torch.Tensor) -> torch.Tensor:
    """One matrix, double precision, through its singular values."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.pow(8).sum().pow(1 / 8)
    for a, b, c in POLYNOMIALS:
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ v


def test_matrices_of_many_kinds_keep_their_places():
    matrices, _ = parameters()
    grids = [(1, 1), (2, 1), (2, 2), (3, 1), (1, 1)]
    together = orthogonalize_all([m.data for m in matrices], grids)
    for matrix, grid, result in zip(matrices, grids, together, strict=True):
        torch.testing.assert_close(result, orthogonalize(matrix.data[None], grid)[0])


def test_muon_equals_a_plain_loop():
    matrices, rest = parameters()
    mine = [m.detach().clone() for m in matrices]
    buffers = [torch.zeros_like(m) for m in mine]
    steps(optimizer(matrices, rest), matrices, 4)
    g = torch.Generator().manual_seed(1)
    for _ in range(4):
        for number, (weight, buffer) in enumerate(zip(mine, buffers, strict=True)):
            grad = torch.randn(weight.shape, generator=g)
            buffer.mul_(0.95).add_(grad, alpha=0.05)
            ahead = 0.05 * grad + 0.95 * buffer
            # The fourth matrix is three heads of two rows.
            blocks = ahead.split(2) if number == 3 else [ahead]
            scaled = [polynomials_by_the_book(b).float() * 0.2 * max(b.shape) ** 0.5 for b in blocks]
            update = torch.cat(scaled)
            weight.mul_(1 - 0.02 * 0.1).sub_(update, alpha=0.02)
    for ours, plain in zip(matrices, mine, strict=True):
        torch.testing.assert_close(ours.data, plain, atol=2e-4, rtol=1e-3)


def test_the_rest_equals_torchs_adamw_also_where_gradients_come_and_go():
    (_, rest), (_, again) = parameters(), parameters()
    ours = optimizer([torch.nn.Parameter(torch.zeros(2, 2))], rest)
    plain = torch.optim.AdamW(
        [{"params": again[:1], "weight_decay": 0.0}, {"params": again[1:]}],
        lr=0.02,
        weight_decay=0.1,
        betas=(0.9, 0.95),
    )
    g = torch.Generator().manual_seed(1)
    for step in range(6):
        for index, (p, q) in enumerate(zip(rest, again, strict=True)):
            grad = torch.randn(p.shape, generator=g)
            p.grad, q.grad = (None, None) if (step + index) % 3 == 0 else (grad, grad.clone())
        ours.step()
        plain.step()
    for p, q in zip(rest, again, strict=True):
        torch.testing.assert_close(p.data, q.data)


def test_an_update_has_about_the_size_of_adamws():
    g = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(64, 32))
    muon = MuonAdamW([{"params": [weight], "use_muon": True}], lr=0.01, weight_decay=0.0)
    weight.grad = torch.randn(64, 32, generator=g)
    muon.step()
    assert 0.1 < float(weight.data.square().mean().sqrt()) / 0.01 < 0.35  # AdamW's is 0.2 to 0.4 (Moonlight)


def test_resumes_from_lerobots_files_bit_by_bit(tmp_path: Path):
    (matrices, rest), (matrices2, rest2) = parameters(), parameters(5)
    first = optimizer(matrices, rest)
    steps(first, [*matrices, *rest], 3)
    save_optimizer_state(first, tmp_path)
    json.loads((tmp_path / "optimizer_param_groups.json").read_text())
    for old, new in zip([*matrices, *rest], [*matrices2, *rest2], strict=True):
        new.data.copy_(old.data)
    second = load_optimizer_state(optimizer(matrices2, rest2), tmp_path)
    steps(first, [*matrices, *rest], 2, seed=2)
    steps(second, [*matrices2, *rest2], 2, seed=2)
    for p, q in zip([*matrices, *rest], [*matrices2, *rest2], strict=True):
        assert torch.equal(p, q)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 6))
def test_assignment_is_complete_and_balanced(costs, ranks):
    owner = assign(costs, ranks)
    assert len(owner) == len(costs) and set(owner) <= set(range(ranks))
    loads = [sum(c for c, r in zip(costs, owner, strict=True) if r == rank) for rank in range(ranks)]
    # Graham's bound for any greedy list; longest first keeps within it.
    assert max(loads) <= sum(costs) / ranks + max(costs) * (1 - 1 / ranks) + 1e-6


def _worker(rank: int, ranks: int, store: str, out: str) -> None:
    from lerobot_wallwm.policies.training import muon as optimization

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    counted = []
    plain = optimization.orthogonalize_all
    optimization.orthogonalize_all = lambda m, grids: counted.append(len(m)) or plain(m, grids)
    matrices, rest = parameters()
    steps(optimizer(matrices, rest), [*matrices, *rest], 3)
    torch.save([p.data for p in [*matrices, *rest]], f"{out}/{rank}.pt")
    Path(f"{out}/{rank}.json").write_text(json.dumps(counted))
    dist.destroy_process_group()


def test_two_processes_share_the_work_and_agree_with_one(tmp_path: Path):
    mp.spawn(_worker, (2, str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    matrices, rest = parameters()
    steps(optimizer(matrices, rest), [*matrices, *rest], 3)
    counts = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert all(min(pair) > 0 and sum(pair) == len(SHAPES) for pair in zip(*counts, strict=True))
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for p, one, two in zip([*matrices, *rest], *both, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(p.data, one, atol=1e-6, rtol=1e-5)


def test_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match="matrices"):
        MuonAdamW([{"params": [torch.nn.Parameter(torch.zeros(3))], "use_muon": True}], lr=0.1)
    with pytest.raises(ValueError, match="does not split"):
        MuonAdamW(
            [{"params": [torch.nn.Parameter(torch.zeros(3, 4))], "use_muon": True, "grid": [2, 1]}], lr=0.1
        )
    with pytest.raises(ValueError, match="--policy.optimizer=muon"):
        MuonAdamWConfig().build([torch.nn.Parameter(torch.zeros(3, 3))])
    # FSDP1 hands out flat shards where matrices were, after the optimiser was built.
    weight = torch.nn.Parameter(torch.zeros(3, 3))
    muon = MuonAdamW([{"params": [weight], "use_muon": True}], lr=0.1)
    weight.data = torch.zeros(5)
    weight.grad = torch.zeros(5)
    with pytest.raises(RuntimeError, match="FSDP"):
        muon.step()


def test_the_policys_blocks_go_to_muon_and_nothing_else(make_policy):
    policy = make_policy(optimizer="muon")
    groups = policy.get_optim_params()
    names = {id(p): name for name, p in policy.named_parameters()}
    taken = [names[id(p)] for g in groups for p in g["params"]]
    assert sorted(taken) == sorted(names.values())
    muon = [names[id(p)] for g in groups if g["use_muon"] for p in g["params"]]
    assert muon and all(".blocks." in name and name.endswith("weight") for name in muon)
    for part in (
        "proj_out",
        "patch_embedding",
        "tau_",
        "remaining",
        "text_encoder",
        "norm",
        "goal_reader",
        "table",
    ):
        assert not any(part in name for name in muon), part
    built = policy.config.get_optimizer_preset().build(groups)
    assert isinstance(built, MuonAdamW)
    assert make_policy().config.get_optimizer_preset().type == "adamw"


def test_attention_is_treated_head_by_head_unless_told_otherwise(make_policy):
    policy = make_policy(optimizer="muon")
    names = {id(p): name for name, p in policy.named_parameters()}
    heads = {"video": policy.config.video_heads, "action": policy.config.action_heads}
    for group in policy.get_optim_params():
        for name in (names[id(p)] for p in group["params"] if group["use_muon"]):
            count = heads[name.split(".")[1]]
            layer = name.removesuffix(".weight").removesuffix(".0").split(".")[-1]
            expected = {"to_kv": [2 * count, 1], "to_out": [1, count]}.get(layer, [1, 1])
            assert group["grid"] == ([count, 1] if layer in ("to_q", "to_k", "to_v") else expected), name
    whole = make_policy(optimizer="muon", optimizer_per_head=False).get_optim_params()
    assert [g["grid"] for g in whole if g["use_muon"]] == [[1, 1]]
