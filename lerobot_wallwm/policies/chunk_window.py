# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What an observation-centred window adds to an event: its past, and which chunk of the rollout it is (paper p. 10).

The window holds M history latents, the anchor latent that ends with the observation, and N future latents:

    sampled frame   -4M | -4M+1 .. -4M+4 | ... | -3 .. 0 | 1 .. 4 | ... | 4N-3 .. 4N      0 is the observation
    latent slot       0 |              1 | ... |       M |    M+1 | ... |    M+N
    E_tau            -M |           -M+1 | ... |       0 |      1 | ... |      N
    pose step       -MK | -MK+1 .. -MK+K | ... | -K+1..0 | 1 .. K | ... | NK-K+1 .. NK     0 is the observed pose

There is one action token for each pose step, so the leading latent has one and each of the others K = K_p of them
(paper fig. 5, where K_p = 4; here 4 * video_stride). Step d is the pose that the command of frame d - 1 asks for, in the
past as in the future. With M = 0 the leading latent is the anchor, and the window is the event-centred one.

Shapes: B batch, V views, R rows, G = 1 + M K given tokens, S tokens, A action dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def tau_of_steps(steps: Tensor, actions_per_latent: int) -> Tensor:
    """E_tau's index of each pose step, ``ceil(d / K)``: 0 for the anchor's group, 1 for the first future latent."""
    return -torch.div(-steps, actions_per_latent, rounding_mode="floor")


@dataclass
class Given:
    """The action tokens that are known: they enter clean and carry no loss.

    Attributes:
        tokens: ``(R, G, A)`` poses at steps -MK .. 0 relative to the observed one; the last, the anchor, is zero.
        valid: ``(R, G)``, False before the rollout's start.
        chunk: ``(R,)`` which chunk of the rollout this is, the index of E_abs.
    """

    tokens: Tensor
    valid: Tensor
    chunk: Tensor

    @classmethod
    def from_past(cls, past_BGA: Tensor, valid_BG: Tensor, chunk_B: Tensor) -> Given:
        """Appends the anchor token to the poses at steps -MK .. -1."""
        anchor = past_BGA.new_zeros(len(past_BGA), 1, past_BGA.shape[-1])
        valid = torch.cat((valid_BG, valid_BG.new_ones(len(valid_BG), 1)), dim=1)
        return cls(torch.cat((past_BGA * valid_BG[..., None], anchor), dim=1), valid, chunk_B)

    def __getitem__(self, rows: slice) -> Given:
        return Given(self.tokens[rows], self.valid[rows], self.chunk[rows])

    def repeat(self, draws: int) -> Given:
        """Each row ``draws`` times in a row."""
        return Given(*(x.repeat_interleave(draws, 0) for x in (self.tokens, self.valid, self.chunk)))


@dataclass
class Chunk:
    """The past of a batch of observation-centred windows.

    Attributes:
        past: ``(B, V, 4 M, 3, H, W)`` sampled frames before the observation, oldest first.
        past_valid: ``(B, 4 M)``, False before the rollout's start, where the first frame is repeated.
        given: The past as action tokens.
    """

    past: Tensor
    past_valid: Tensor
    given: Given

    def __getitem__(self, rows: slice) -> Chunk:
        return Chunk(self.past[rows], self.past_valid[rows], self.given[rows])
