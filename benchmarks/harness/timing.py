# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The one way in which benchmarks take time, operations and memory."""

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

WARM_UP = 2
Call = Callable[[], object]


def in_turns(calls: Mapping[str, Call], repeats: int, processor: bool = False) -> dict[str, list[float]]:
    """Milliseconds of each call in each of so many rounds; the calls take turns, after `WARM_UP` rounds.

    Other work on the machine then slows all alike, so that ratios within a round can be compared.

    `processor` counts this process's processor time instead of the clock's. Others hardly lengthen it; use one thread.
    """
    clock = time.process_time if processor else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + WARM_UP):
        for name, call in calls.items():
            began = clock()
            call()
            if turn >= WARM_UP:
                times[name].append((clock() - began) * 1e3)
    return times


def ratios(times: Mapping[str, list[float]], name: str, base: str) -> list[float]:
    """One call's time as a part of another's, round by round."""
    return [own / other for own, other in zip(times[name], times[base], strict=True)]


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter, which knows every attention kernel but the CPU's.

    It counts matrix products, convolutions and attention; an attention's backward recomputes the scores.
    """
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
                q, k, v
            ),
            aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda o, q, k, v, *_, **__: (
                sdpa_backward_flop_count(o, q, k, v)
            ),
        },
    )


def kept_bytes(call: Call, module: nn.Module) -> int:
    """Bytes that a forward keeps for its backward, each memory counted once and parameters not at all."""
    own = {p.untyped_storage()._cdata for p in module.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(saved: Tensor) -> Tensor:
        if saved.untyped_storage()._cdata not in own:
            kept[saved.untyped_storage()._cdata] = saved  # held, so that its address is not given away again
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        call()
    return sum(saved.untyped_storage().nbytes() for saved in kept.values())
