# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Where the pieces of sharded parameters lie, for what needs more of a parameter than its own piece.

FSDP1 with ``use_orig_params`` leaves a flat piece of each parameter on each rank, FSDP2 (`fully_shard`) a `DTensor` with some
of its rows. In both the pieces of one parameter follow each other in the order of the ranks, so that their lengths tell where
each begins, without a look into FSDP.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def plain_name(name: str) -> str:
    """A parameter's name without what FSDP1 and torch.compile put into it."""
    return re.sub(r"_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.|_orig_mod\.", "", name)


def fsdp_version() -> int | None:
    """Of the FSDP with which accelerate will shard what is built in this process; None where it will not."""
    from accelerate.state import AcceleratorState, is_initialized
    from accelerate.utils import DistributedType

    if not is_initialized() or AcceleratorState().distributed_type != DistributedType.FSDP:
        return None
    return int(AcceleratorState().fsdp_plugin.fsdp_version)


def local(tensor: Tensor) -> Tensor:
    """What lies on this rank, as a view."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def nothing(module: nn.Module) -> Tensor | float:
    """Zero, as a function of every parameter that FSDP2 gathers for the module itself.

    FSDP2 sends round what has gradients, so that ranks must agree on it; which heads a batch teaches is drawn on each.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    whole = [p for p in parameters if not isinstance(p, DTensor)]
    if len(whole) == len(parameters):
        return 0.0
    return torch.stack([p.flatten()[0].float() for p in whole]).sum() * 0.0


class Pieces:
    """Which elements of each whole tensor this rank holds. Building it is a collective of all ranks.

    Args:
        parameters: Sharded, in the same order on all ranks.
        shapes: Of the whole tensors.

    Raises:
        RuntimeError: The pieces of a parameter do not make it up (hybrid sharding).
    """

    def __init__(self, parameters: Sequence[Tensor], shapes: Sequence[Sequence[int]]):
        self.shapes = [tuple(shape) for shape in shapes]
        mine = [local(parameter).numel() for parameter in parameters]
        device = local(parameters[0]).device
        counts = torch.tensor(mine, device=device)
        everyone = [torch.empty_like(counts) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, counts)
        by_rank = torch.stack(everyone).cpu()
        if by_rank.sum(0).tolist() != [math.prod(shape) for shape in self.shapes]:
            raise RuntimeError(
                "The pieces of the parameters on all ranks are not the parameters (hybrid sharding). Fix: shard over all "
                "ranks (FULL_SHARD), or --policy.optimizer=adamw --policy.ema_decay=0."
            )
        starts = by_rank[: dist.get_rank()].sum(0).tolist()
        self._spans = [slice(start, start + count) for start, count in zip(starts, mine, strict=True)]

    def cut(self, index: int, whole: Tensor) -> Tensor:
        """This rank's piece of a whole tensor, flat."""
        return whole.flatten()[self._spans[index]]

    def whole(self, index: int, piece: Tensor, to: int) -> Tensor:
        """All ranks' pieces as one tensor on rank ``to``; elsewhere its content is meaningless. A collective."""
        full = piece.new_zeros(math.prod(self.shapes[index]))
        full[self._spans[index]] = piece.flatten()
        dist.reduce(full, to)
        return full.view(self.shapes[index])

    def owners(self) -> list[int]:
        """A rank for each tensor, so that all get about the same number of elements."""
        loads, owners = [0] * dist.get_world_size(), [0] * len(self.shapes)
        sizes = [math.prod(shape) for shape in self.shapes]
        for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
            owners[index] = loads.index(min(loads))
            loads[owners[index]] += sizes[index]
        return owners
