# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two gloo ranks whose weights are sharded, beside one process that has them whole.

FSDP1 is built as accelerate builds it for LeRobot 0.6.1 and saved and resumed by LeRobot's own functions; FSDP2 is
`fully_shard` on the classes and methods that LeRobot after 0.6.1 asks a policy for.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.fsdp
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch.utils._pytree import tree_map_only

from lerobot_wallwm.policies.model.rehearsal import Rehearsal
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.training.shards import local

STEPS, SAVED = 10, 6
CASES = [("fsdp1", "joint"), ("fsdp1", "video"), ("fsdp2", "joint"), ("fsdp2", "muon")]
CASES += [("fsdp1", "mixed"), ("fsdp2", "mixed")]
# Ranks draw which samples carry their future, so that on one a head may learn and on the other not.
RUNS = {
    "joint": {"stage": "joint", "ema_decay": 0.9, "future_fraction": 0.3},
    # In bfloat16, as accelerate has it: a frozen tower in bfloat16 beside weights in float32.
    "mixed": {"stage": "action", "ema_decay": 0.9, "dtype": "bfloat16"},
    "video": {"stage": "video", "ema_decay": 0.9},
    "muon": {"stage": "video", "ema_decay": 0.9, "optimizer": "muon", "optimizer_lr": 1e-2},
}


def load(folder: Path, stats: Any = None) -> WallwmPolicy:
    torch.manual_seed(0)  # the seed is part of what the noise is a function of
    return WallwmPolicy.from_pretrained(folder, dataset_stats=stats)


def shard(policy: WallwmPolicy, kind: str) -> torch.nn.Module:
    half = torch.bfloat16 if policy.config.dtype == "bfloat16" else None
    wrap = {type(m) for m in policy.modules() if type(m).__name__ in policy._no_split_modules}
    if kind == "fsdp1":
        from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision
        from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

        by_block = partial(transformer_auto_wrap_policy, transformer_layer_cls=wrap)
        device, precision = torch.device("cpu"), MixedPrecision(half, half, half)
        kwargs: dict[str, Any] = {"use_orig_params": True, "device_id": device, "mixed_precision": precision}
        return FullyShardedDataParallel(policy, auto_wrap_policy=by_block, **kwargs)
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    for module in [*(m for m in policy.modules() if type(m) in wrap), policy]:
        fully_shard(module, mp_policy=MixedPrecisionPolicy(half, half))
    for method in policy._fsdp_forward_methods:
        register_fsdp_forward_method(policy, method)
    return policy


def build(policy: WallwmPolicy, kind: str) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    preset = policy.config.get_optimizer_preset()
    if kind == "fsdp1":  # accelerate shards after LeRobot has made the optimiser
        optimizer = preset.build(policy.get_optim_params())
        return shard(policy, kind), optimizer
    wrapped = shard(policy, kind)
    return wrapped, preset.build(policy.get_optim_params())


def train(wrapped, policy, optimizer, batches) -> list[float]:
    """As LeRobot's `update_policy` does."""
    losses = []
    for batch in batches:
        wrapped.train()
        loss, _ = wrapped(batch)
        loss.backward()
        clip = getattr(
            wrapped, "clip_grad_norm_", partial(torch.nn.utils.clip_grad_norm_, wrapped.parameters())
        )
        clip(1.0)
        optimizer.step()
        optimizer.zero_grad()
        policy.update()
        losses.append(loss.item())
    return losses


def save(wrapped, policy, optimizer, kind: str, folder: Path) -> None:
    from lerobot.common.train_utils import gather_fsdp_state_dicts, save_training_state

    if kind == "fsdp1":
        weights, state = gather_fsdp_state_dicts(wrapped, optimizer)
        state = tree_map_only(
            torch.Tensor, torch.clone, state
        )  # which offloading does where it does something
    else:
        from torch.distributed.checkpoint import state_dict as dcp

        options = dcp.StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, state = dcp.get_state_dict(wrapped, optimizer, options=options)
        weights = tree_map_only(
            torch.Tensor, torch.clone, weights
        )  # safetensors takes no view of a longer storage
    if dist.get_rank() == 0:
        policy.save_pretrained(folder / "pretrained_model", state_dict=weights)
        if kind == "fsdp1":
            save_training_state(folder, SAVED, optimizer, None, optim_state_dict=state)
        else:
            torch.save(state, folder / "optimizer.pt")
    dist.barrier()


def resume(wrapped, optimizer, kind: str, folder: Path) -> None:
    if kind == "fsdp1":
        from lerobot.common.train_utils import load_fsdp_optimizer_state

        load_fsdp_optimizer_state(wrapped, optimizer, folder)
        return
    from torch.distributed.checkpoint import state_dict as dcp

    state = torch.load(folder / "optimizer.pt", weights_only=True)
    options = dcp.StateDictOptions(full_state_dict=True)
    dcp.set_optimizer_state_dict(wrapped, optimizer, optim_state_dict=state, options=options)


def rank_main(
    rank: int, store: str, root: Path, batches: dict[str, Any], observation: dict[str, Any], stats: Any
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    # LeRobot asks for offloading, and torch frees what it has offloaded, even where it lay on the CPU already.
    for name in ("FullStateDictConfig", "FullOptimStateDictConfig"):
        real = getattr(torch.distributed.fsdp, name)
        setattr(torch.distributed.fsdp, name, lambda real=real, **of: real(**{**of, "offload_to_cpu": False}))
    for kind, run in CASES:
        mine = batches[run][rank]
        policy = load(root / run, stats)
        whole = sum(p.numel() for p in policy.parameters())
        wrapped, optimizer = build(policy, kind)
        out = root / f"{kind}_{run}"
        read, encode = [], policy.action_space.encode_state
        policy.action_space.encode_state = lambda x, read=read, encode=encode: (read.append(x), encode(x))[1]
        losses = train(wrapped, policy, optimizer, mine[:SAVED])
        assert torch.equal(read[0], mine[0]["observation.state"].real[:, 0])  # not rounded on the way in
        save(wrapped, policy, optimizer, kind, out / "saved")
        losses += train(wrapped, policy, optimizer, mine[SAVED:])
        held = sum(local(p).numel() for p in wrapped.parameters())
        report: dict[str, Any] = {"losses": losses, "share": held / whole}
        save(wrapped, policy, optimizer, kind, out / "last")
        if (kind, run) == ("fsdp2", "joint"):
            report["action"] = policy.eval().select_action(observation)
        if run != "joint":  # there, a resumed run rehearses other samples
            policy = load(out / "saved" / "pretrained_model", stats)
            wrapped, optimizer = build(policy, kind)
            resume(wrapped, optimizer, kind, out / "saved")
            report["resumed"] = train(wrapped, policy, optimizer, mine[SAVED:])
        torch.save(report, out / f"{rank}.pt")
    policy = load(root / "muon")
    wrapped, optimizer = build(policy, "fsdp1")
    with pytest.raises(RuntimeError, match="env_eval_freq=0"):
        policy.select_action(observation)
    with pytest.raises(RuntimeError, match="FSDP1"):
        train(wrapped, policy, optimizer, batches["muon"][rank][:1])
    dist.barrier()  # who leaves first takes the other's connections away, and gloo's threads end the process
    dist.destroy_process_group()


def in_one_process(folder: Path, batches: list[list[Any]], stats: Any) -> tuple[list[float], WallwmPolicy]:
    """The mean of both ranks' losses, each of which draws its own noise and rehearses its own samples."""
    policy = load(folder, stats)
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    for p in policy.parameters():  # sharded, what a batch does not teach has gradients of zero
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    rehearsals, losses = [Rehearsal(), Rehearsal()], []
    for step, both in enumerate(zip(*batches, strict=True)):
        policy.train()
        total = 0.0
        for rank, batch in enumerate(both):
            policy.train_steps.fill_(step)
            policy._rehearsal = rehearsals[rank]
            loss, _ = policy(batch)
            (loss / 2).backward()
            total += loss.item() / 2
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        policy.update()
        losses.append(total)
    return losses, policy


@pytest.fixture(scope="module")
def sharded(make_policy, make_train_batch, make_observation, tiny_stats, tmp_path_factory):
    """Both ranks' reports, and the process that has all weights, by run."""
    root = tmp_path_factory.mktemp("sharded")
    batches, alone = {}, {}
    for run, fields in RUNS.items():
        policy = make_policy(**fields)
        policy.save_pretrained(root / run)
        batches[run] = [
            [make_train_batch(policy.config, 2, 2 * n + rank) for n in range(STEPS)] for rank in (0, 1)
        ]
        for rank, some in enumerate(batches[run]):
            for batch in some:
                batch["index"] += 100 * rank  # other samples, hence other noise
                if run == "mixed":  # as `ExactNumbersStep` hands them over
                    batch |= {key: batch[key].to(torch.complex64) for key in ("observation.state", "action")}
    observation = make_observation(["reach for the red cube"])
    mp.spawn(rank_main, (str(root / "store"), root, batches, observation, tiny_stats), nprocs=2)
    for run in RUNS:
        alone[run] = in_one_process(root / run, batches[run], tiny_stats)
    reports = {
        (kind, run): [torch.load(root / f"{kind}_{run}" / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
        for kind, run in CASES
    }
    return root, reports, alone, observation


@pytest.mark.parametrize(("kind", "run"), CASES)
def test_ten_steps_equal_those_of_one_process(sharded, kind, run):
    tolerance = {"muon": 1e-3, "mixed": 2e-2}.get(run, 1e-4)  # Muon computes in bfloat16
    root, reports, alone, _ = sharded
    losses = torch.tensor([report["losses"] for report in reports[kind, run]]).mean(0)
    expected, policy = alone[run]
    difference = (losses - torch.tensor(expected)).abs().max()
    print(
        f"{kind} {run}: losses {expected[0]:.4f} to {expected[-1]:.4f}, largest difference {difference:.1e}"
    )
    assert difference < tolerance
    assert expected[-1] != pytest.approx(expected[0], abs=1e-3)  # it did learn
    assert all(report["share"] < 0.6 for report in reports[kind, run])
    saved = load_file(root / f"{kind}_{run}" / "last" / "pretrained_model" / "model.safetensors")
    whole = policy.train().state_dict()
    assert saved.keys() == whole.keys()
    assert any(
        key.startswith("ema.") and not torch.equal(whole[key], saved[key].new_zeros(())) for key in saved
    )
    for key, value in whole.items():
        torch.testing.assert_close(saved[key], value, atol=min(30 * tolerance, 0.03), rtol=1e-2, msg=key)


@pytest.mark.parametrize(("kind", "run"), [case for case in CASES if case[1] != "joint"])
def test_a_resumed_run_goes_on_as_an_unbroken_one(sharded, kind, run):
    for report in sharded[1][kind, run]:
        assert report["resumed"] == pytest.approx(report["losses"][SAVED:], abs=1e-5)


def test_the_saved_policy_acts_and_so_does_the_sharded_one(sharded):
    root, reports, alone, observation = sharded
    saved = [root / f"{kind}_joint" / "last" / "pretrained_model" for kind in ("fsdp1", "fsdp2")]
    actions = [load(folder).select_action(observation) for folder in saved]
    actions += [report["action"] for report in reports["fsdp2", "joint"]]
    expected = alone["joint"][1].eval().select_action(observation)
    for action in actions:
        torch.testing.assert_close(action, expected, atol=1e-3, rtol=1e-3)


def test_weights_on_meta_would_be_lost_to_the_optimiser(tmp_path):
    """Why a policy does not start on the meta device under LeRobot 0.6.1, which builds the optimiser before it shards."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    with torch.device("meta"):
        module = torch.nn.Linear(4, 4)
    with pytest.raises(NotImplementedError, match="meta"):
        module.to("cpu")  # the end of LeRobot's `make_policy`
    optimizer = torch.optim.AdamW(module.parameters())
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        device = torch.device("cpu")
        sharded = FullyShardedDataParallel(
            module,
            use_orig_params=True,
            device_id=device,
            param_init_fn=lambda m: m.to_empty(device=device, recurse=False),  # accelerate's
        )
        known = {id(p) for p in optimizer.param_groups[0]["params"]}
        assert not known & {id(p) for p in sharded.parameters()}
    finally:
        dist.destroy_process_group()
