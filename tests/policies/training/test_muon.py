# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lerobot.optim.optimizers import load_optimizer_state, save_optimizer_state

from lerobot_wallwm.policies.training.muon import MuonAdamW, MuonAdamWConfig, parameter_groups

SHAPES = [(6, 6), (4, 10), (10, 4), (1, 5)]


def parameters(seed: int = 0) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    g = torch.Generator().manual_seed(seed)
    matrices = [torch.nn.Parameter(torch.randn(*shape, generator=g)) for shape in SHAPES]
    rest = [torch.nn.Parameter(torch.randn(*shape, generator=g)) for shape in ((7,), (3, 4), (2, 3, 4))]
    return matrices, rest


def optimizer(matrices, rest, **changes) -> MuonAdamW:
    groups = [
        {"params": rest[:1], "use_muon": False, "weight_decay": 0.0},
        {"params": matrices, "use_muon": True},
        {"params": rest[1:], "use_muon": False},
    ]
    return MuonAdamWConfig(**{"lr": 0.02, "weight_decay": 0.1, **changes}).build(groups)


def steps(optimizer: torch.optim.Optimizer, params, count: int, seed: int = 1) -> None:
    g = torch.Generator().manual_seed(seed)
    for step in range(count):
        for index, p in enumerate(params):
            grad = torch.randn(p.shape, generator=g)
            p.grad = None if (step + index) % 3 == 2 else grad  # gradients come and go
        optimizer.step()


def test_each_half_equals_torchs_own():
    (matrices, rest), (matrices2, rest2) = parameters(), parameters()
    both = optimizer(matrices, rest)
    muon = torch.optim.Muon(matrices2, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [{"params": rest2[:1], "weight_decay": 0.0}, {"params": rest2[1:]}],
        lr=0.02,
        weight_decay=0.1,
        betas=(0.9, 0.95),
    )
    muon.register_step_post_hook(lambda *_: adamw.step())
    steps(both, [*matrices, *rest], 5)
    steps(muon, [*matrices2, *rest2], 5)
    for p, q in zip([*matrices, *rest], [*matrices2, *rest2], strict=True):
        torch.testing.assert_close(p.data, q.data)


def test_an_update_has_about_the_size_of_adamws():
    g = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(64, 32))
    muon = optimizer([weight], [torch.nn.Parameter(torch.zeros(2))], lr=0.01, weight_decay=0.0)
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


def test_a_schedule_turns_both_halves():
    matrices, rest = parameters()
    both = optimizer(matrices, rest, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(both, lambda step: 0.0 if step else 1.0)
    steps(both, [*matrices, *rest], 1)
    schedule.step()
    before = [p.detach().clone() for p in [*matrices, *rest]]
    steps(both, [*matrices, *rest], 2)
    assert all(torch.equal(p, q) for p, q in zip([*matrices, *rest], before, strict=True))


def _worker(rank: int, ranks: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    both = optimizer([model[0].weight, model[2].weight], [model[0].bias, model[2].bias])
    x = torch.randn(3, 4, 4)
    for batch in x:
        wrapped(batch[2 * rank : 2 * rank + 2]).square().mean().backward()
        both.step()
        both.zero_grad()
    torch.save(list(model.state_dict().values()), f"{out}/{rank}.pt")
    if rank == 0:  # all samples in one process
        torch.manual_seed(0)
        alone = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
        both = optimizer([alone[0].weight, alone[2].weight], [alone[0].bias, alone[2].bias])
        for batch in x:
            alone(batch).square().mean().backward()
            both.step()
            both.zero_grad()
        torch.save(list(alone.state_dict().values()), f"{out}/alone.pt")
    dist.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path: Path):
    mp.spawn(_worker, (2, str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    states = [torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("0", "1", "alone")]
    for one, two, alone in zip(*states, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, alone, atol=2e-3, rtol=1e-2)  # Muon computes in bfloat16


def test_refuses_what_is_no_matrix():
    vector, matrix = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="2D"):
        optimizer([vector], [matrix])
    with pytest.raises(ValueError, match="--policy.optimizer=muon"):
        MuonAdamWConfig().build([matrix])
    # FSDP1 hands out flat shards where matrices were, after the optimiser was built.
    muon = optimizer([matrix], [vector])
    matrix.data = torch.zeros(5)
    matrix.grad = torch.zeros(5)
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
        "goal_head",
        "landmarks",
        "table",
    ):
        assert not any(part in name for name in muon), part
    plain = parameter_groups(policy, 1e-3, muon=False)
    for of in (groups, plain):
        undecayed = [names[id(p)] for g in of if "weight_decay" in g for p in g["params"]]
        assert {"model.video.position", "model.landmarks.identity", "model.action.place"} <= set(undecayed)
        assert not any(name.endswith("to_q.weight") for name in undecayed)
        faster = [names[id(p)] for g in of if "lr" in g for p in g["params"]]
        assert sorted(faster) == sorted(
            n for n in taken if n.split(".")[1] in ("landmarks", "goal_head", "text_encoder")
        )
        assert {g["lr"] for g in of if "lr" in g} == {
            3 * policy.config.optimizer_lr if of is groups else 3e-3
        }
    assert isinstance(policy.config.get_optimizer_preset().build(groups), MuonAdamW)
    assert make_policy().config.get_optimizer_preset().type == "adamw"


def test_an_eye_that_has_learned_to_see_is_let_be_and_a_run_that_is_resumed_keeps_its_rates(make_policy):
    policy = make_policy()
    names = {id(p): name for name, p in policy.named_parameters()}
    new, taught = (parameter_groups(policy, 1.0, False, eye_taught) for eye_taught in (False, True))
    # A resumed run's optimiser finds its rates in its own state, by the groups' order.
    assert [[id(p) for p in g["params"]] for g in new] == [[id(p) for p in g["params"]] for g in taught]
    rates = [{names[id(p)]: g.get("lr", 1.0) for g in of for p in g["params"]} for of in (new, taught)]
    slower = {name for name in names.values() if rates[0][name] != rates[1][name]}
    assert slower == {n for n in names.values() if n.split(".")[1] in ("landmarks", "text_encoder")}
    assert all(rates[1][name] < 1 for name in slower)


@pytest.mark.parametrize(("stage", "taught"), [("joint", True), ("action", True), ("video", False)])
def test_goals_teach_the_eye_and_video_alone_does_not(make_policy, tmp_path, stage, taught):
    policy = make_policy(stage=stage)
    policy.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "learned.json").read_text())["eye_taught"] is taught
    rates = {g["lr"] for g in type(policy).from_pretrained(tmp_path).get_optim_params() if "lr" in g}
    assert (min(rates) < policy.config.optimizer_lr) is taught


BEFORE = {"vlm": ["joint"], "staircase": ["joint", "vlm"], "unified": ["joint", "vlm", "staircase"]}


@pytest.mark.parametrize("stage", BEFORE)
def test_the_language_stages_have_matrices_for_it(make_policy, stage):
    policy = make_policy(stage=stage, stages=BEFORE[stage], words=["cube"], optimizer="muon")
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    assert {group["use_muon"] for group in optimizer.param_groups} == {True, False}
