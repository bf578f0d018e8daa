# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""E_tau of the past and E_abs, added to the action queries and to the video's keys and values (paper p. 10, eq. 11).

Shapes: B batch, R rows, T latents, S tokens, D action width, W video width, M history latents, E = 1 + N rows of the
event-centred E_tau.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


class ChunkTables(nn.Module):
    """The tables that observation-centred windows have beyond the event-centred E_tau.

    All rows start at zero (our choice): a model that was trained on events starts this stage reading its present and
    future as it did there.

    Args:
        width: D.
        video_width: W.
        history_latents: M.
        actions_per_latent: K_p.
        max_chunks: Rows of E_abs; later chunks share the last (our choice, the paper gives no size).
    """

    tau_action: nn.Parameter | None
    tau_video: nn.Parameter | None
    tau_given: Tensor

    def __init__(
        self, width: int, video_width: int, history_latents: int, actions_per_latent: int, max_chunks: int
    ):
        super().__init__()
        self.history_latents, self.max_chunks = history_latents, max_chunks
        # A table without rows would be an empty parameter, which optimisers and shards handle unevenly.
        for name, size in (("tau_action", width), ("tau_video", video_width)):
            rows = nn.Parameter(torch.zeros(history_latents, size)) if history_latents else None
            self.register_parameter(name, rows)
        self.abs_action = nn.Parameter(torch.zeros(max_chunks, width))
        self.abs_video = nn.Parameter(torch.zeros(max_chunks, video_width))
        steps = torch.arange(-history_latents * actions_per_latent, 1)
        self.register_buffer("tau_given", tau_of_steps(steps, actions_per_latent), persistent=False)

    def action_code(self, event_tau_ED: Tensor, tau_S: Tensor, chunk_R: Tensor) -> Tensor:
        """E_tau + E_abs of the queries ``(R, S, D)``: the state, the given tokens, then those to denoise.

        Args:
            event_tau_ED: The event-centred table.
            tau_S: E_tau's index of the state and of the tokens to denoise.
            chunk_R: Index of E_abs.
        """
        tau = torch.cat((tau_S[:1], self.tau_given, tau_S[1:]))
        code = self._with_history(self.tau_action, event_tau_ED)[tau + self.history_latents]
        return code + self.abs_action[self._row(chunk_R)][:, None]

    def video_code(self, event_tau_EW: Tensor, latents: int, chunk_B: Tensor) -> Tensor:
        """E_tau + E_abs of the first T latents of the window, ``(B, T, W)``."""
        code = self._with_history(self.tau_video, event_tau_EW)[:latents]
        return code + self.abs_video[self._row(chunk_B)][:, None]

    @staticmethod
    def _with_history(history: Tensor | None, event: Tensor) -> Tensor:
        return event if history is None else torch.cat((history, event))

    def _row(self, chunk: Tensor) -> Tensor:
        return chunk.clamp(0, self.max_chunks - 1)


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
