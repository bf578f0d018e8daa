# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Staircase Decoding (paper p. 11-13): K latents from a prompt in one pass over the depth, without sampling.

The paper's text and its figure say two things; one rule holds both: **position k enters at depth e_k with the state that
position k - 1 has there.**

    relay      e = (0, r, r, r, ...)      its text, section 3.4: one relay state, shared by all that follow
    stagger    e = (0, N, 2N, 3N, ...)    its figure 6c
    queries    e = (0, 0, 0, 0, ...)      parallel queries, which a staircase of the same latency must beat

    depth L   z0   z1   z2   z3
         2N    |    |    |----.
          N    |    |----'           stagger: each column goes up by itself, and sees those to its left
          0    |----'

Layers from `trained_from` up are copies that learn (the paper's Mixture-of-Transformers branch); what the prompt left was
computed by the frozen ones. A learned start and a learned vector for each position are our choice: the paper says neither.

Shapes: B batch, K latents, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lerobot_wallwm.policies.reasoning.decoder import Decoder, Memory
from lerobot_wallwm.policies.reasoning.shape import check_entries


class Staircase(nn.Module):
    """The branch that decodes latents.

    Args:
        decoder: Frozen; it lends the layers below `trained_from` and is not part of this module.
        entries: e_k, see `check_entries`.
        trained_from: First layer that is copied and learns.
    """

    def __init__(self, decoder: Decoder, entries: Sequence[int], trained_from: int):
        super().__init__()
        check_entries(entries, decoder.depth)
        self.entries, self.trained_from = tuple(entries), trained_from
        self.branch = nn.ModuleList(copy.deepcopy(layer) for layer in decoder.layers[trained_from:])
        self.norm = copy.deepcopy(decoder.stack.norm)
        self.requires_grad_(True)
        scale = float(decoder.stack.embed_tokens.weight.std())
        self.start = nn.Parameter(torch.randn(decoder.width) * scale)
        # Of the same size as a state that enters, or copies of it would say nearly the same (cosine 0.95).
        self.slots = nn.Parameter(torch.randn(len(entries), decoder.width) * scale)

    def forward(self, decoder: Decoder, memory: Memory) -> Tensor:
        """Latents ``(B, K, D)``, normed, of what the prompt left."""
        batch = len(memory.next_position)
        rotary = decoder.rotary(self.slots.expand(batch, -1, -1), memory)
        h = (self.start + self.slots[0]).expand(batch, 1, -1)
        for depth in range(decoder.depth):
            h = self._enter(h, depth)
            h, _ = decoder.step(self._layer(decoder, depth), depth, h, memory, rotary)
        return self.norm(h)

    def one_by_one(self, decoder: Decoder, memory: Memory) -> Tensor:
        """The autoregressive rival: each latent goes through the whole depth, and its end is the next one's start."""
        latents: list[Tensor] = []
        h = self.start.expand(len(memory.next_position), 1, -1)
        for slot in self.slots:
            h, layers = h + slot, []
            rotary = decoder.rotary(h, memory)
            for depth in range(decoder.depth):
                h, kept = decoder.step(self._layer(decoder, depth), depth, h, memory, rotary)
                layers.append(kept)
            memory = replace(memory, layers=layers, next_position=memory.next_position + 1)
            latents.append(self.norm(h))
            h = latents[-1]
        return torch.cat(latents, 1)

    def _layer(self, decoder: Decoder, depth: int) -> nn.Module:
        learned = depth - self.trained_from
        return self.branch[learned] if learned >= 0 else decoder.layers[depth]

    def _enter(self, h_BSD: Tensor, depth: int) -> Tensor:
        """Positions whose depth has come join, each with its predecessor's state and a vector of its own."""
        while h_BSD.shape[1] < len(self.entries) and self.entries[h_BSD.shape[1]] == depth:
            h_BSD = torch.cat((h_BSD, h_BSD[:, -1:] + self.slots[h_BSD.shape[1]]), 1)
        return h_BSD
