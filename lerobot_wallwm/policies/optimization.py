# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Muon for the weight matrices and AdamW for the rest, as one optimiser and one LeRobot preset.

The paper trains most modules with Muon and gives no settings (p. 22). Muon: K. Jordan et al. 2024; the update's scale
``0.2 sqrt(max(m, n))``, which gives it the size of AdamW's updates, so that one learning rate serves both: J. Liu et al.
2025 (Moonlight). The coefficients of the iteration are K. Jordan's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lerobot.optim import OptimizerConfig
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
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
            params: Parameter groups, each with ``use_muon``.

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
    and sent to the others. Momentum is kept by all, so that a checkpoint of any process is whole.

    Args:
        params: Parameter groups, each with ``use_muon``.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        momentum: Of Muon, with Nesterov's look ahead.
        betas: Of AdamW.
        eps: Of AdamW.

    Raises:
        ValueError: A Muon group holds something that is no matrix.
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
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            wrong = [tuple(p.shape) for p in group["params"] if group["use_muon"] and p.ndim != 2]
            if wrong:
                raise ValueError(f"Muon takes matrices, not parameters of shape {wrong[0]}.")

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
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                (self._muon if group["use_muon"] else self._adamw)(params, group)
        return loss

    def _muon(self, params: list[Tensor], group: dict[str, Any]) -> None:
        if any(p.ndim != 2 for p in params):
            raise RuntimeError(
                "Muon needs whole matrices, but these are shards: train with DDP, or with --policy.optimizer=adamw "
                "under FSDP."
            )
        grads = [p.grad for p in params if p.grad is not None]
        momenta = [self._state(p, "momentum") for p in params]
        torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
        ahead = torch._foreach_lerp(grads, momenta, group["momentum"])
        updates = orthogonalize_shared(list(ahead))
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        scales = [-group["lr"] * UPDATE_SCALE * max(p.shape) ** 0.5 for p in params]
        torch._foreach_mul_(updates, scales)
        torch._foreach_add_(params, updates)

    def _adamw(self, params: list[Tensor], group: dict[str, Any]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        first = [self._state(p, "exp_avg") for p in params]
        second = [self._state(p, "exp_avg_sq") for p in params]
        steps = [self._state(p, "step", scalar=True) for p in params]
        (beta1, beta2), lr = group["betas"], group["lr"]
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(first, grads, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, 1 - beta2)
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        # Parameters of a group may have skipped steps, so each has its own count.
        counts = [float(step) for step in steps]
        denominators = torch._foreach_sqrt(second)
        torch._foreach_div_(denominators, [(1 - beta2**n) ** 0.5 for n in counts])
        torch._foreach_add_(denominators, group["eps"])
        torch._foreach_div_(denominators, [-lr / (1 - beta1**n) for n in counts])
        torch._foreach_addcdiv_(params, first, denominators)

    def _state(self, parameter: Tensor, name: str, scalar: bool = False) -> Tensor:
        """A state tensor of a parameter, zero at first. LeRobot saves tensors only."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros((), dtype=torch.float32) if scalar else torch.zeros_like(parameter)
        return state[name]


def orthogonalize(matrices_NMK: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: singular values end between about 0.7 and 1.2.

    Newton-Schulz iteration on ``X X^T``, whose smaller side is taken. float32 on a CPU, bfloat16 on a GPU.

    Args:
        matrices_NMK: N matrices ``(M, K)``.
    """
    tall = matrices_NMK.shape[-2] > matrices_NMK.shape[-1]
    x = matrices_NMK.to(torch.bfloat16 if matrices_NMK.is_cuda else torch.float32)
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(gram, gram, gram, beta=b, alpha=c) @ x
    return (x.mT if tall else x).to(matrices_NMK.dtype)


def orthogonalize_all(matrices: list[Tensor]) -> list[Tensor]:
    """`orthogonalize` for matrices of many shapes; those of one shape share a batched product."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, matrix in enumerate(matrices):
        by_shape.setdefault(tuple(matrix.shape), []).append(index)
    out = list(matrices)
    for indices in by_shape.values():
        for index, result in zip(
            indices, orthogonalize(torch.stack([matrices[i] for i in indices])).unbind(), strict=True
        ):
            out[index] = result
    return out


def assign(costs: list[float], ranks: int) -> list[int]:
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


def orthogonalize_shared(matrices: list[Tensor]) -> list[Tensor]:
    """`orthogonalize_all`, the work divided between the processes of a data-parallel run."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return orthogonalize_all(matrices)
    me, ranks = dist.get_rank(), dist.get_world_size()
    owner = assign([_cost(m) for m in matrices], ranks)
    mine = [i for i, rank in enumerate(owner) if rank == me]
    done = dict(zip(mine, orthogonalize_all([matrices[i] for i in mine]), strict=True))
    out = list(matrices)
    for rank in range(ranks):
        theirs = [i for i, r in enumerate(owner) if r == rank]
        if not theirs:
            continue
        # One message for each rank: all its matrices end to end.
        flat = torch.cat(
            [(done[i] if rank == me else torch.empty_like(matrices[i])).flatten() for i in theirs]
        )
        dist.broadcast(flat, src=rank)
        for i, part in zip(theirs, flat.split([matrices[i].numel() for i in theirs]), strict=True):
            out[i] = part.view_as(matrices[i])
    return out


def _cost(matrix: Tensor) -> float:
    """Multiplications of `orthogonalize`, up to a factor."""
    small, large = sorted(matrix.shape)
    return float(small * small * (2 * large + small))
