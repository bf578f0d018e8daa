# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The language half as one part of the model: what comes next in words, or as latents in the place of a caption.

    instruction, pictures, pose -> NanoVlm -> words                       stage `vlm` (the paper's 3)
                                      |
                                      +-> Staircase -> K latents -> P_Q -> text tokens of the towers
                                                          |                 stages `staircase` (4), `unified` (ours)
                                                          +-> P_pref -> the frozen decoder reads them back as words

Shapes: B batch, K latents, D width, E width of the towers' text tokens, L their number, W words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lerobot_wallwm.policies.reasoning.decoder import Memory
from lerobot_wallwm.policies.reasoning.nano_vlm import NanoVlm
from lerobot_wallwm.policies.reasoning.shape import ReasonerShape, entry_depths
from lerobot_wallwm.policies.reasoning.staircase import Staircase


class Reasoner(nn.Module):
    """Vision-language model, projection into the towers' text space, and the branch that decodes latents.

    Args:
        text_dim: E.
        text_slots: L.

    Raises:
        ValueError: More latents than slots, or a schedule that the decoder is too shallow for.
    """

    def __init__(self, shape: ReasonerShape, vlm: NanoVlm, text_dim: int, text_slots: int):
        super().__init__()
        self.shape, self.vlm, self.text_slots = shape, vlm, text_slots
        if shape.latents > text_slots:
            raise ValueError(
                f"--policy.latents={shape.latents} exceeds the {text_slots} text tokens of the towers. Fix: at most that many"
            )
        # P_Q (paper p. 11); its form is our choice.
        self.project = nn.Sequential(
            nn.LayerNorm(shape.width),
            nn.Linear(shape.width, shape.width),
            nn.GELU(),
            nn.Linear(shape.width, text_dim),
        )
        self.stairs: Staircase | None = None
        self.prefix: nn.Linear | None = None
        if shape.latents:
            self.clone()

    def clone(self) -> None:
        """Begins the branch as a copy of the decoder as it is now."""
        shape, decoder = self.shape, self.vlm.decoder
        entries = entry_depths(shape.schedule, shape.latents, decoder.depth)
        # The same layers learn in every schedule, so that schedules can be compared: those from half the depth up.
        self.stairs = Staircase(decoder, entries, decoder.depth // 2)
        self.prefix = nn.Linear(shape.width, shape.width)  # P_pref
        nn.init.eye_(self.prefix.weight)
        nn.init.zeros_(self.prefix.bias)

    # ------------------------------------------------------------------ latents in the place of a caption

    def latents(self, memory: Memory) -> Tensor:
        """Latents ``(B, K, D)`` of a prompt.

        Raises:
            ValueError: The checkpoint has no staircase.
        """
        if self.stairs is None:
            raise ValueError(
                "--policy.text_source=latents: this checkpoint decodes no latents. Fix: train --policy.stage=staircase"
            )
        return self.stairs(self.vlm.decoder, memory)

    def as_text(self, latents_BKD: Tensor) -> Tensor:
        """P_Q: text tokens ``(B, L, E)`` for the towers; unused slots are zero, as after a caption."""
        tokens = self.project(latents_BKD)
        return F.pad(tokens, (0, 0, 0, self.text_slots - tokens.shape[1]))

    # ------------------------------------------------------------------ latents as words

    def cot_loss(self, latents_BKD: Tensor, traces: Sequence[Sequence[str]]) -> Tensor:
        """L_CoT (paper p. 12-13): how unlikely the trace's words are to the frozen decoder after these latents, ``(B,)``.

        The paper's reader is another, smaller model; here it is the vision-language model's own decoder, which the stages
        that use this loss leave frozen (our choice).
        """
        likely, counts, _ = self.vlm.say(*self._after(latents_BKD), traces)
        return -likely.sum(1) / counts.sum(1)

    @torch.no_grad()
    def read_back(self, latents_BKD: Tensor) -> list[str]:
        """What the latents say: "grasp the red cube ; lift the red cube"."""
        return self.vlm.spell(*self._after(latents_BKD))

    def _after(self, latents_BKD: Tensor) -> tuple[Memory, Tensor]:
        assert self.prefix is not None
        memory, hidden = self.vlm.decoder.remember(self.prefix(latents_BKD))
        return memory, hidden[:, -1]

    # ------------------------------------------------------------------ words

    @torch.no_grad()
    def likelihoods(
        self, memory: Memory, last_BD: Tensor, sentences: Sequence[Sequence[str]], ends: bool
    ) -> Tensor:
        """Log-likelihood of each sentence ``(C,)`` after one prompt, with or without that nothing follows it."""
        count = len(sentences)
        layers = [
            (keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1))
            for keys, values in memory.layers
        ]
        many = Memory(layers, memory.mask.expand(count, -1, -1, -1), memory.next_position.expand(count, 1))
        likely, counts, _ = self.vlm.say(many, last_BD.expand(count, -1), sentences)
        if not ends:
            likely = likely * torch.arange(likely.shape[1], device=likely.device).lt(
                counts.sum(1)[:, None] - 1
            )
        return likely.sum(1)
