# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Muon for the weight matrices of the blocks and AdamW for the rest, as one optimiser and one LeRobot preset.

The paper trains most modules with Muon and gives no settings (p. 22). Both halves are torch's own; Muon's update is
scaled by ``0.2 sqrt(max(rows, columns))``, which gives it the size of AdamW's, so that one learning rate serves both
(J. Liu et al. 2025, Moonlight). LeRobot takes one optimiser object, hence `MuonAdamW`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lerobot.optim import OptimizerConfig
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lerobot_wallwm.policies.training.shards import Pieces, local

_REASONER = ("model.reasoner.vlm.stack.layers.", "model.reasoner.stairs.branch.")
BLOCKS = ("model.video.blocks.", "model.action.blocks.", *_REASONER)
# Learning rates as multiples of the others': of what must learn to see, and of an eye that has. Our choice (results/sight.md).
GOAL, EYE = "model.goal_head.", ("model.landmarks.", "model.text_encoder.")
FAST, SLOW = 3.0, 0.1


def parameter_groups(
    policy: nn.Module, lr: float, muon: bool, eye_taught: bool = False
) -> list[dict[str, Any]]:
    """The policy's trainable parameters; weight decay is for matrices, not for tables, gains and biases.

    Args:
        policy: Whose towers are ``model.video`` and ``model.action``.
        lr: Learning rate; those of goal head and eye are multiples of it.
        muon: Whether the matrices of the blocks form a group of their own, and the groups say ``use_muon``.
        eye_taught: Whether the eye has learned to see: then small batches take away more than they teach it.
    """
    linear = {id(m.weight) for m in policy.modules() if isinstance(m, nn.Linear)}
    trainable = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    matrices = {name: p for name, p in trainable.items() if id(p) in linear}
    rates = {"goal": FAST, "eye": SLOW if eye_taught else FAST}
    groups: dict[tuple[bool, bool, str], list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        part = "goal" if name.startswith(GOAL) else "eye" if name.startswith(EYE) else ""
        kind = name in matrices, muon and name in matrices and name.startswith(BLOCKS), part
        groups.setdefault(kind, []).append(parameter)
    out = []
    for (matrix, by_muon, part), parameters in groups.items():
        group: dict[str, Any] = {"params": parameters}
        group |= {"use_muon": by_muon} if muon else {}
        group |= {} if matrix else {"weight_decay": 0.0}
        if not muon and all(p.device.type == "cpu" for p in parameters):
            # torch's default there is a loop over parameters, a tenth of a training step of `nano`.
            group["fused"] = True
        out.append(group | ({"lr": rates[part] * lr} if part else {}))
    return out


@OptimizerConfig.register_subclass("wallwm_muon_adamw")
@dataclass
class MuonAdamWConfig(OptimizerConfig):
    """Settings of `MuonAdamW`: ``momentum`` is Muon's, ``betas`` and ``eps`` are AdamW's, the rest is for both halves."""

    lr: float = 1e-3
    weight_decay: float = 0.01
    grad_clip_norm: float = 1.0
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8

    def build(self, params: Any) -> MuonAdamW:
        """Builds the optimiser from parameter groups, each with ``use_muon``.

        Raises:
            ValueError: The groups do not say which parameters Muon takes, or it shall take something that is no matrix.
        """
        groups = list(params)
        if not groups or not all(isinstance(g, dict) and "use_muon" in g for g in groups):
            raise ValueError(
                "wallwm_muon_adamw needs parameter groups that say use_muon: choose it with --policy.optimizer=muon, "
                "not with --optimizer.type."
            )
        return MuonAdamW(groups, self)


class MuonAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` on the groups with ``use_muon`` and `torch.optim.AdamW` on the others.

    This object owns the groups and the state, so that LeRobot saves and restores both halves at once.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], config: MuonAdamWConfig):
        groups = list(groups)
        self._muon = torch.optim.Muon(
            [g for g in groups if g["use_muon"]],
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = torch.optim.AdamW(
            [g for g in groups if not g["use_muon"]],
            lr=config.lr,
            weight_decay=config.weight_decay,
            betas=config.betas,
            eps=config.eps,
            fused=True,  # saves most of the time on a CPU
        )
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._pieces: Pieces | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One update of both halves.

        Raises:
            RuntimeError: The matrices are flat pieces (FSDP1), or sharded in a way that `Pieces` does not know.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # `load_state_dict` replaces groups and state of this object, so the halves get them anew.
        for half, uses_muon in ((self._muon, True), (self._adamw, False)):
            half.param_groups = [g for g in self.param_groups if g["use_muon"] == uses_muon]
            half.state = self.state
        matrices = [(g, p) for g in self._muon.param_groups for p in g["params"]]
        if any(p.ndim != 2 for _, p in matrices):
            raise RuntimeError(
                "Muon under FSDP1, the FSDP of LeRobot 0.6.1: its checkpoints take one kind of optimiser state for all "
                "parameters of a block, and Muon's matrices have another than the rest. Fix: train with DDP, or with "
                "--policy.optimizer=adamw under FSDP, or with FSDP2."
            )
        if any(isinstance(p, DTensor) for _, p in matrices):
            self._step_on_pieces(matrices)
        else:
            self._muon.step()
        self._adamw.step()
        return loss

    def _step_on_pieces(self, matrices: list[tuple[dict[str, Any], Tensor]]) -> None:
        """Muon where each rank holds some rows (FSDP2): each matrix is orthogonalised whole, by one rank (paper p. 22).

        Momentum and decay are element by element and stay with the pieces. A matrix without gradients counts as one with
        gradients of zero: here no rank knows what the others have.
        """
        if self._pieces is None:
            self._pieces = Pieces([p for _, p in matrices], [p.shape for _, p in matrices])
        owners, mine, updates = self._pieces.owners(), [], []
        for index, (group, parameter) in enumerate(matrices):
            weight = local(parameter)
            gradient = torch.zeros_like(weight) if parameter.grad is None else local(parameter.grad)
            if parameter.grad is not None:
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                momentum = local(state["momentum_buffer"])
                momentum.lerp_(gradient, 1 - group["momentum"])
                gradient = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
            updates.append(self._pieces.whole(index, gradient, to=owners[index]))
            if owners[index] == dist.get_rank():
                mine.append((group, updates[-1]))
            else:
                updates[-1] = updates[-1].new_empty(0)  # whole matrices stay with their owners alone
        orthogonal = iter(_orthogonal(mine))
        for index, (group, parameter) in enumerate(matrices):
            own = owners[index] == dist.get_rank()
            update = next(orthogonal) if own else local(parameter).new_empty(parameter.shape)
            dist.broadcast(update, owners[index])
            weight = local(parameter)
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(self._pieces.cut(index, update).view_as(weight), alpha=group["lr"])


def _orthogonal(gradients: list[tuple[dict[str, Any], Tensor]]) -> list[Tensor]:
    """What a step of `torch.optim.Muon` at rate one, without momentum and decay, adds to whole matrices."""
    if not gradients:
        return []
    parameters, groups = [], []
    for group, gradient in gradients:
        parameters.append(nn.Parameter(torch.zeros_like(gradient)))
        parameters[-1].grad = gradient
        alone = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
        groups.append({**group, **alone, "params": [parameters[-1]]})
    torch.optim.Muon(groups).step()
    return [parameter.detach() for parameter in parameters]
