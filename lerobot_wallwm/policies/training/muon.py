# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Muon for the weight matrices and AdamW for the rest, as one optimiser and one LeRobot preset.

The paper trains most modules with Muon and gives no settings (p. 22). Muon: K. Jordan et al. 2024; the update's scale
``0.2 sqrt(max(m, n))``, which gives it the size of AdamW's updates, so that one learning rate serves both: J. Liu et al.
2025 (Moonlight). Attention matrices are treated head by head: our choice; ``m`` and ``n`` are then the sides of a head's
block.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lerobot.optim import OptimizerConfig
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from lerobot_wallwm.policies.training.orthogonalize import computing_dtype, multiplications, orthogonalize

Grid = tuple[int, int]
UPDATE_SCALE = 0.2


@OptimizerConfig.register_subclass("wallwm_muon_adamw")
@dataclass
class MuonAdamWConfig(OptimizerConfig):
    """Settings of `MuonAdamW`.

    Attributes:
        lr: Learning rate of both kinds.
        weight_decay: Decoupled decay of both kinds; a parameter group may set its own.
        grad_clip_norm: Clipping by LeRobot's trainer, over all parameters.
        momentum: Of Muon.
        betas: Of AdamW.
        eps: Of AdamW.
    """

    lr: float = 1e-3
    weight_decay: float = 0.01
    grad_clip_norm: float = 1.0
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8

    def build(self, params: Any) -> MuonAdamW:
        """Builds the optimiser.

        Args:
            params: Parameter groups, each with ``use_muon``; ``grid`` where matrices are made of blocks.

        Raises:
            ValueError: The groups do not say which parameters Muon takes.
        """
        groups = list(params)
        if not groups or not all(isinstance(g, dict) and "use_muon" in g for g in groups):
            raise ValueError(
                "wallwm_muon_adamw needs parameter groups that say use_muon: choose it with --policy.optimizer=muon, "
                "not with --optimizer.type."
            )
        return MuonAdamW(groups, self.lr, self.weight_decay, self.momentum, self.betas, self.eps)


class MuonAdamW(torch.optim.Optimizer):
    """Muon on the groups with ``use_muon``, AdamW on the others.

    With several processes (DDP) the gradients are equal everywhere; then each matrix is orthogonalised by one process
    and sent to the others, while all do AdamW's part. Momentum is kept by all, so that a checkpoint of any process is
    whole.

    Args:
        params: Parameter groups, each with ``use_muon``. A Muon group's ``grid`` says how many rows and columns of
            blocks its matrices are made of; without, a matrix is one block.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        momentum: Of Muon, with Nesterov's look ahead.
        betas: Of AdamW.
        eps: Of AdamW.

    Raises:
        ValueError: A Muon group holds something that is no matrix, or none that splits into the group's grid.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ):
        # Lists and numbers only: LeRobot writes the groups as JSON.
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "betas": list(betas),
            "eps": eps,
            "use_muon": False,
            "grid": [1, 1],
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            group["grid"] = list(group["grid"])
            for p in group["params"] if group["use_muon"] else ():
                if p.ndim != 2:
                    raise ValueError(f"Muon takes matrices, not parameters of shape {tuple(p.shape)}.")
                if any(side % parts for side, parts in zip(p.shape, group["grid"], strict=True)):
                    raise ValueError(f"A {tuple(p.shape)} matrix does not split into {group['grid']} blocks.")

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One update.

        Raises:
            RuntimeError: The parameters are shards of matrices (FSDP), which Muon would treat wrongly without notice.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        muon: list[tuple[Tensor, dict[str, Any]]] = []
        rest: list[tuple[list[Tensor], dict[str, Any]]] = []
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if group["use_muon"]:
                muon += [(p, group) for p in params]
            elif params:
                rest.append((params, group))
        updates = self._begin_muon(muon) if muon else list
        for params, group in rest:
            self._adamw(params, group)
        self._apply(muon, updates())
        return loss

    def _begin_muon(self, muon: list[tuple[Tensor, dict[str, Any]]]) -> Callable[[], list[Tensor]]:
        """Momentum and directions; in a distributed run the latter may still be on their way."""
        if any(p.ndim != 2 for p, _ in muon):
            raise RuntimeError(
                "Muon needs whole matrices, but these are shards: train with DDP, or with --policy.optimizer=adamw "
                "under FSDP."
            )
        for group, params in _by_group(muon):
            grads = [p.grad for p in params if p.grad is not None]
            momenta = [self._state(p, "momentum") for p in params]
            torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])

        def ahead(index: int) -> Tensor:
            p, group = muon[index]
            return torch.lerp(p.grad, self._state(p, "momentum"), group["momentum"])  # type: ignore[arg-type]

        return orthogonalize_shared(ahead, [p.data for p, _ in muon], [_grid(group) for _, group in muon])

    def _apply(self, muon: list[tuple[Tensor, dict[str, Any]]], updates: list[Tensor]) -> None:
        done = 0
        for group, params in _by_group(muon):
            mine, done = updates[done : done + len(params)], done + len(params)
            rows, columns = group["grid"]
            scales = [UPDATE_SCALE * max(p.shape[0] // rows, p.shape[1] // columns) ** 0.5 for p in params]
            torch._foreach_mul_(mine, scales)
            # Without momentum SGD's decay is the decoupled one.
            fused = _on_cpu(params)
            sgd(
                params,
                mine,
                [None] * len(params),
                fused=fused,
                foreach=not fused,
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                momentum=0.0,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

    def _adamw(self, params: list[Tensor], group: dict[str, Any]) -> None:
        # The fused kernel wants the counts beside the parameters; on a CPU, where they are, it saves most of the time.
        fused = _on_cpu(params)
        adamw(
            params,
            [p.grad for p in params if p.grad is not None],
            [self._state(p, "exp_avg") for p in params],
            [self._state(p, "exp_avg_sq") for p in params],
            [],
            [self._state(p, "step", scalar=True) for p in params],
            fused=fused,
            foreach=not fused,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _state(self, parameter: Tensor, name: str, scalar: bool = False) -> Tensor:
        """A state tensor of a parameter, zero at first. LeRobot saves tensors only."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros((), dtype=torch.float32) if scalar else torch.zeros_like(parameter)
        return state[name]


def _by_group(muon: list[tuple[Tensor, dict[str, Any]]]) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
    """The parameters of each group, in order."""
    for _, pairs in itertools.groupby(muon, key=lambda pair: id(pair[1])):
        together = list(pairs)
        yield together[0][1], [p for p, _ in together]


def _on_cpu(params: list[Tensor]) -> bool:
    return all(p.device.type == "cpu" for p in params)


def _grid(group: dict[str, Any]) -> Grid:
    rows, columns = group["grid"]
    return rows, columns


def orthogonalize_all(matrices: list[Tensor], grids: list[Grid]) -> list[Tensor]:
    """`orthogonalize` for matrices of many kinds; those of one shape and grid share their products."""
    alike: dict[tuple[torch.Size, Grid], list[int]] = {}
    for index, (matrix, grid) in enumerate(zip(matrices, grids, strict=True)):
        alike.setdefault((matrix.shape, grid), []).append(index)
    out = list(matrices)
    for (_, grid), indices in alike.items():
        results = orthogonalize(torch.stack([matrices[i] for i in indices]), grid)
        for index, result in zip(indices, results.unbind(), strict=True):
            out[index] = result
    return out


def orthogonalize_shared(
    matrix: Callable[[int], Tensor], like: list[Tensor], grids: list[Grid]
) -> Callable[[], list[Tensor]]:
    """`orthogonalize_all`, the work divided between the processes of a data-parallel run.

    Args:
        matrix: Gives a matrix, equal on all processes; each process asks for its own part of them.
        like: Tensors of the matrices' shapes.
        grids: Of each matrix.

    Returns:
        A function that waits for the others and gives the results.
    """
    if ranks() == 1:
        results = orthogonalize_all([matrix(i) for i in range(len(like))], grids)
        return lambda: results
    costs = [multiplications(m.shape[0], m.shape[1], grid) for m, grid in zip(like, grids, strict=True)]
    owner = assign(costs, ranks())
    mine = [i for i, rank in enumerate(owner) if rank == dist.get_rank()]
    done = orthogonalize_all([matrix(i) for i in mine], [grids[i] for i in mine])
    empty = like[0].new_empty(0, dtype=computing_dtype(like[0]))
    return exchange(dict(zip(mine, done, strict=True)), owner, [m.shape for m in like], empty)


def ranks() -> int:
    """Processes of this run; 1 outside of a distributed one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def assign(costs: Sequence[float], ranks: int) -> list[int]:
    """Longest processing time first: each job to the rank that has least to do so far.

    Args:
        costs: Of each job.
        ranks: How many there are.

    Returns:
        The rank of each job; equal on all ranks.
    """
    load, owner = [0.0] * ranks, [0] * len(costs)
    for job in sorted(range(len(costs)), key=lambda j: (-costs[j], j)):
        rank = load.index(min(load))
        owner[job], load[rank] = rank, load[rank] + costs[job]
    return owner


def exchange(
    mine: dict[int, Tensor], owner: Sequence[int], shapes: Sequence[torch.Size], like: Tensor
) -> Callable[[], list[Tensor]]:
    """Begins to send this rank's results and to receive the others'.

    One message for each rank, all on their way at once: its results end to end.

    Args:
        mine: Results of this rank's jobs.
        owner: The rank of each job.
        shapes: Of each job's result.
        like: Any tensor of the results' type and device.

    Returns:
        A function that waits and gives the results of all jobs.
    """
    messages = []
    for rank in range(ranks()):
        theirs = [job for job, r in enumerate(owner) if r == rank]
        if not theirs:
            continue
        if rank == dist.get_rank():
            flat = torch.cat([mine[job].flatten() for job in theirs])
        else:
            flat = like.new_empty(sum(shapes[job].numel() for job in theirs))
        messages.append((theirs, flat, dist.broadcast(flat, src=rank, async_op=True)))

    def wait() -> list[Tensor]:
        results: list[Tensor] = [like] * len(owner)
        for jobs, flat, handle in messages:
            handle.wait()
            for job, part in zip(jobs, flat.split([shapes[job].numel() for job in jobs]), strict=True):
                results[job] = part.view(shapes[job])
        return results

    return wait


def head_grids(tower: nn.Module) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """The attention matrices, each with its rows and columns of blocks: one map to or from each head.

    Args:
        tower: A tower or any part of one; its attention modules have ``heads``.
    """
    for module in tower.modules():
        heads = getattr(module, "heads", 0)
        if not heads:
            continue
        grids = {
            "to_q": (heads, 1),
            "to_k": (heads, 1),
            "to_v": (heads, 1),
            "to_kv": (2 * heads, 1),
            "to_out": (1, heads),
        }
        for name, grid in grids.items():
            layer = getattr(module, name, None)
            if isinstance(layer, nn.ModuleList):  # diffusers adds a dropout
                layer = layer[0]
            if isinstance(layer, nn.Linear):
                yield layer.weight, grid
