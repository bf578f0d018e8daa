# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which setting saves how much memory, for the error that says that there was not enough."""

from __future__ import annotations

from typing import Any

from torch import nn

from lerobot_wallwm.policies.training.muon import BLOCKS

# Of what a block keeps for its backward pass, the part that enters it (`python -m benchmarks speed memory --check`).
_INPUT = 0.02


def what_saves(policy: nn.Module, config: Any, depth: int, batch: int) -> str:
    """One line for each setting that is not in use yet, with what it saves; of a policy whose towers have ``depth`` blocks, in
    a step of ``batch`` samples."""
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    held = sum(p.numel() for p in trained.values())
    linear = {id(m.weight) for m in policy.modules() if isinstance(m, nn.Linear)}
    blocks = sum(p.numel() for n, p in trained.items() if id(p) in linear and n.startswith(BLOCKS))
    lines = []
    if batch > 1:
        lines.append(f"--batch_size={batch // 2}: half of the activations")
    if not config.gradient_checkpointing:
        share = max(0.0, 1 - 1 / depth - _INPUT)
        lines.append(
            f"--policy.gradient_checkpointing=true: about {share:.0%} of the activations, for a third more time"
        )
    if config.optimizer != "muon":
        lines.append(f"--policy.optimizer=muon: {_size(4 * blocks)}, a moment less for the blocks' matrices")
    if not config.use_peft:
        # Gradient and both moments of what an adapter freezes, and half of the weights in bfloat16.
        each = 14 if config.dtype == "bfloat16" else 12
        lines.append(
            f"--peft.method_type=LORA on a trained checkpoint: up to {_size(each * blocks)} of the towers"
        )
    lines.append(f"FSDP on two devices (docs/train/sharding.md): {_size(8 * held)} on each")
    return "\n".join(f"  {line}" for line in lines)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
