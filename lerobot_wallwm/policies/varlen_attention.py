# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Attention within sequences of different lengths that lie one after another, without padding.

Shapes: P tokens of all sequences together, h heads, d head width. Queries and keys may differ in number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, groupby

import torch
from torch import Tensor
from torch.nn import functional as F


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
