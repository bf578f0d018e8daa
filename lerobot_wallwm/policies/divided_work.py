# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Jobs divided between the processes of a data-parallel run, and their results sent to all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


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
