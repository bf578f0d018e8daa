# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Counters for the benchmarks: floating-point operations, and bytes that autograd keeps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


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


def kept_bytes(call: Callable[[], object], module: nn.Module) -> int:
    """Bytes that a forward keeps for its backward, each memory counted once and parameters not at all."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(saved: Tensor) -> Tensor:
        if saved.untyped_storage().data_ptr() not in own:
            kept[saved.untyped_storage().data_ptr()] = (
                saved  # held, so that its address is not given away again
            )
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        call()
    return sum(saved.untyped_storage().nbytes() for saved in kept.values())
