# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Captions that training leaves out, the more often the longer the event (paper p. 19-20).

Events longer than the window are cut, so their caption tells more than the window shows. Without a caption the video
tower learns to go on from what it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CaptionDrop:
    """How often captions are dropped, by the event's length.

    Attributes:
        least: Share dropped up to ``short`` frames.
        most: Share dropped from ``long`` frames on.
        short: Frames; the paper's 129 is the length of its window.
        long: Frames; the paper's 220.
    """

    least: float
    most: float
    short: int
    long: int

    def rate(self, frames: Tensor) -> Tensor:
        """Share of captions dropped for events of so many frames: half a cosine from ``least`` to ``most``."""
        part = ((frames.float() - self.short) / (self.long - self.short)).clamp(0.0, 1.0)
        return self.least + (self.most - self.least) * (1 - torch.cos(torch.pi * part)) / 2

    def __call__(self, captions: Sequence[str], frames: Tensor) -> list[str]:
        """Captions with some of them replaced by the empty one, as Wan is trained without a prompt.

        Args:
            captions: B strings.
            frames: ``(B,)`` lengths of their events. Draws from torch's generator.
        """
        if self.least == self.most == 0.0:
            return list(captions)
        dropped = torch.rand(len(captions)) < self.rate(frames).cpu()
        return ["" if drop else caption for caption, drop in zip(captions, dropped.tolist(), strict=True)]
