# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Attention of both towers: over padded rows, and over sequences of different lengths that lie one after another.

Shapes: P tokens of all sequences together, h heads, d head width. Queries and keys may differ in number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, groupby
from typing import NamedTuple

import torch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor, nn
from torch.nn import functional as F


class Rope(NamedTuple):
    """Tables for `rotate`.

    Attributes:
        cos: ``(..., d)``, each value twice.
        sin: Likewise, the first of each pair negated: once, here, instead of half of every query and key.
        turn: Both as complex numbers ``(..., d / 2)``. None in a compiled graph, which fuses real arithmetic only, and
            on devices other than CPU and CUDA.
    """

    cos: Tensor
    sin: Tensor
    turn: Tensor | None


def at_hand(x: Tensor) -> bool:
    """Whether a look at the values of ``x`` costs nothing.

    On a GPU the program would wait there for all that was asked of the device, and a graph that is compiled or captured
    cannot stop at all.
    """
    return x.is_cpu and not torch.compiler.is_compiling()


def rope_tables(cos: Tensor, sin: Tensor) -> Rope:
    """Tables from cosines and sines of which every value stands twice, ``(..., d)``."""
    turn = None
    if not torch.compiler.is_compiling() and cos.device.type in ("cpu", "cuda"):
        turn = torch.complex(cos[..., ::2].float(), sin[..., ::2].float())
    once = sin[..., ::2]
    return Rope(cos, torch.stack((-once, once), dim=-1).flatten(-2), turn)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Turns each pair of ``x`` by its angle; keeps the dtype of ``x``."""
    if rope.turn is None or x.dtype != torch.float32:
        return rotate_real(x, rope)
    # One pass over memory, on CPU six times as fast forward and backward as the real arithmetic.
    pairs = torch.view_as_complex(x.contiguous().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rope.turn).flatten(-2)


def rotate_real(x: Tensor, rope: Rope) -> Tensor:
    """`rotate` in real arithmetic: the plain reference, and the form for half precision and compiled graphs."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return torch.addcmul(x * rope.cos, swapped, rope.sin).type_as(x)


def rotate_both(q: Tensor, k: Tensor, rope: Rope | None) -> tuple[Tensor, Tensor]:
    """Queries and keys of the same tokens, in one call; as they are without tables."""
    if rope is None:
        return q, k
    q, k = rotate(torch.stack((q, k)), rope).unbind(0)
    return q, k


class PackedSequences:
    """Where each sequence lies among packed tokens.

    Args:
        queries: Query tokens of each sequence; may be zero.
        keys: Key tokens of each sequence. Sequences of equal lengths should stand side by side: on CPU each such
            run is one call.
    """

    def __init__(self, queries: Sequence[int], keys: Sequence[int]):
        self.queries, self.keys = tuple(queries), tuple(keys)
        self._offsets: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """Neighbours of equal lengths: how many, their queries, their keys."""
        pairs = zip(self.queries, self.keys, strict=True)
        return [(len(list(same)), q, k) for (q, k), same in groupby(pairs)]

    def offsets(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """First tokens of all sequences and the end, for queries and keys, each ``(sequences + 1,)``."""
        if device not in self._offsets:
            queries, keys = ([0, *accumulate(lengths)] for lengths in (self.queries, self.keys))
            self._offsets[device] = torch.tensor(queries, device=device), torch.tensor(keys, device=device)
        return self._offsets[device]


def attend(q_Phd: Tensor, k_Phd: Tensor, v_Phd: Tensor, sequences: PackedSequences) -> Tensor:
    """Softmax attention of each sequence's queries to its own keys.

    Returns:
        ``(P, h, d)``, one row for each query.
    """
    if not len(q_Phd):
        return q_Phd
    return (attend_jagged if q_Phd.is_cuda else attend_by_runs)(q_Phd, k_Phd, v_Phd, sequences)


def attend_by_runs(q_Phd: Tensor, k_Phd: Tensor, v_Phd: Tensor, sequences: PackedSequences) -> Tensor:
    """One call for each run of equal lengths; there is no kernel for variable lengths on CPU."""
    runs = sequences.runs
    queries = q_Phd.split([count * q for count, q, _ in runs])
    keys, values = (x.split([count * k for count, _, k in runs]) for x in (k_Phd, v_Phd))
    out = []
    for (count, *_), q, k, v in zip(runs, queries, keys, values, strict=True):
        if len(q):
            q, k, v = (x.unflatten(0, (count, -1)).transpose(1, 2) for x in (q, k, v))
            out.append(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1))
    return torch.cat(out)


def attend_jagged(q_Phd: Tensor, k_Phd: Tensor, v_Phd: Tensor, sequences: PackedSequences) -> Tensor:
    """One call for all: PyTorch's jagged tensors choose the variable-length kernel of the device."""
    q_offsets, k_offsets = sequences.offsets(q_Phd.device)
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(x, offsets).transpose(1, 2)
        for x, offsets in ((q_Phd, q_offsets), (k_Phd, k_offsets), (v_Phd, k_offsets))
    )
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).values()


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys, and keys that can be computed once.

    LayerNorm instead of Wan's RMSNorm: PyTorch fuses it on CPU, where the other is four times slower. Our choice.

    Args:
        width: Query and output width.
        heads: Heads.
        context_width: Width of keys' and values' source; defaults to ``width``.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(context_width or width, 2 * width)
        self.to_out = nn.Linear(width, width)
        self.norm_q = nn.LayerNorm(width // heads)
        self.norm_k = nn.LayerNorm(width // heads)

    def queries(self, x: Tensor) -> Tensor:
        """Queries ``(..., tokens, heads, head_dim)`` of ``(..., tokens, D)``."""
        return self.norm_q(self.to_q(x).unflatten(-1, (self.heads, -1)))

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``(..., tokens, heads, head_dim)`` of a context ``(..., tokens, context_width)``."""
        k, v = self.to_kv(context).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return self.norm_k(k), v

    def forward(
        self,
        x: Tensor,
        keys_values: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        rope: Rope | None = None,
    ) -> Tensor:
        """Attends ``x`` ``(R, S, D)`` to precomputed keys and values; ``mask`` is True where allowed."""
        k, v = keys_values
        q, k = rotate_both(self.queries(x), k, rope)
        return self.attend(q, k, v, mask)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """The attention itself and its output projection; ``(R, tokens, heads, head_dim)`` to ``(R, tokens, D)``."""
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.to_out(out.transpose(1, 2).flatten(-2))


def rms_norm(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """``norm(x)`` in the dtype of ``x``: the fused kernel, and half the memory under autocast, take weights of no other."""
    return F.rms_norm(x, norm.normalized_shape, norm.weight.type_as(x), norm.eps)


def wan_attention(
    attention: WanAttention,
    x: Tensor,
    context: Tensor,
    attend_to: Callable[[Tensor, Tensor, Tensor], Tensor],
    rope: Rope | None = None,
) -> Tensor:
    """What `WanAttnProcessor` computes, with any layout of the tokens and fewer calls.

    Args:
        attention: Wan's projections and norms.
        x: Tokens ``(..., D)``.
        context: Likewise, what keys and values come from.
        attend_to: The attention itself on queries, keys and values ``(..., heads, D / heads)``.
        rope: Tables that broadcast to queries and keys, or None.

    Returns:
        As ``x``.
    """
    q, k = rms_norm(attention.norm_q, attention.to_q(x)), rms_norm(attention.norm_k, attention.to_k(context))
    v = attention.to_v(context)
    q, k, v = (y.unflatten(-1, (attention.heads, -1)) for y in (q, k, v))
    q, k = rotate_both(q, k, rope)
    return attention.to_out[0](attend_to(q, k, v).flatten(-2))


def attend_padded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, ``(rows, tokens, heads, D / heads)``; ``mask`` is True where allowed."""
    q, k, v = (y.transpose(1, 2) for y in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
