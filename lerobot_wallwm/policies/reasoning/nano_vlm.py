# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A vision-language model of 1.5 million weights that lives in the checkpoint: from instruction, pictures and pose to words.

It stands in for the paper's Qwen3.5-9B (p. 11-12) where nothing can be downloaded, and knows the words of its dataset
alone. The paper's is pretrained and stays frozen; this one begins from random weights and learns in the stage `vlm`, the
counterpart of fine-tuning the paper's. All sizes and the order of the prompt are our choice.

Shapes: B batch, V views, D width, N tokens, W words, C words that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder, split_words
from lerobot_wallwm.policies.reasoning.decoder import Decoder, Memory
from lerobot_wallwm.policies.reasoning.shape import ReasonerShape

# Between what happens now and what comes next; what comes after the last event; the end of what is said.
THEN, DONE, END = ";", "done", "</s>"
# Pixels of a side of a token's patch.
PATCH = 16


class NanoVlm(nn.Module):
    """Reads a prompt and says what happens now and next.

    Args:
        eye_width: Width of the landmarks' tokens, which it reads beside the pictures; 0 where there are none.

    Raises:
        ValueError: transformers is not installed, or pictures are no whole number of patches.
    """

    def __init__(
        self,
        shape: ReasonerShape,
        image_size: tuple[int, int],
        max_views: int,
        state_dim: int,
        eye_width: int,
    ):
        super().__init__()
        try:
            from transformers import Qwen3Config, Qwen3Model
        except ImportError:
            raise ValueError(
                "the language half needs transformers. Fix: pip install 'lerobot_policy_wallwm[reasoning]'"
            ) from None
        width, vocabulary = shape.width, (THEN, DONE, END, *shape.words)
        self.vocabulary = {word: place for place, word in enumerate(dict.fromkeys(vocabulary))}
        self.words = HashedTextEncoder(width)
        self.words.position.requires_grad_(False)  # the decoder knows where a word stands
        rows, columns = (side // PATCH for side in image_size)
        self.patches = nn.Sequential(
            nn.Conv2d(3, width // 2, PATCH // 4, PATCH // 4), nn.GELU(), nn.Conv2d(width // 2, width, 4, 4)
        )
        self.place = nn.Parameter(torch.randn(max_views, rows * columns, width))
        self.eye = nn.Sequential(nn.LayerNorm(eye_width), nn.Linear(eye_width, width)) if eye_width else None
        self.state = nn.Linear(state_dim, width)
        sizes: dict[str, Any] = {
            "vocab_size": 1,  # prompts come embedded
            "pad_token_id": None,
            "hidden_size": width,
            "intermediate_size": shape.ffn_width,
            "num_hidden_layers": shape.depth,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads,
            "head_dim": width // shape.heads,
        }
        self.stack: Any = Qwen3Model(Qwen3Config(**sizes))
        self.stack.embed_tokens.requires_grad_(False)
        # A state holds the word that led to it; the way out turns it, or every word would foretell itself.
        self.out = nn.Linear(width, width, bias=False)
        self.remaining = nn.Linear(width, 1)
        self._instructions: tuple[tuple[str, ...], Memory] | None = None

    @property
    def decoder(self) -> Decoder:
        """Its decoder, layer by layer."""
        return Decoder(self.stack)

    def prompt(
        self,
        instructions: Sequence[str],
        keyframes_BV3HW: Tensor,
        state_BP: Tensor,
        landmarks_BVKE: Tensor | None,
        view_ids: Tensor | None = None,
    ) -> tuple[Memory, Tensor]:
        """Reads instruction, pictures and pose, in this order, so that the instruction is read once in a rollout.

        Returns:
            The memory, and the last token's state ``(B, D)``.
        """
        batch, views = keyframes_BV3HW.shape[:2]
        seen = (
            self.patches(keyframes_BV3HW.flatten(0, 1))
            .flatten(2)
            .transpose(1, 2)
            .unflatten(0, (batch, views))
        )
        tokens = [(seen + self.place[slice(views) if view_ids is None else view_ids]).flatten(1, 2)]
        if self.eye is not None and landmarks_BVKE is not None:
            tokens.append(self.eye(landmarks_BVKE).flatten(1, 2))
        tokens.append(self.state(state_BP)[:, None])
        memory, hidden = self.decoder.go_on(self._read(tuple(instructions)), torch.cat(tokens, 1))
        return memory, hidden[:, -1]

    def train(self, mode: bool = True) -> NanoVlm:
        """Training forgets what was read, for its weights change."""
        self._instructions = None
        return super().train(mode)

    def _read(self, instructions: tuple[str, ...]) -> Memory:
        kept = self._instructions
        if kept is not None and kept[0] == instructions and kept[1].mask.device == self.place.device:
            return kept[1]
        vectors, present = self.embed([split_words(text) or [THEN] for text in instructions])
        # Padding counts for nothing: what follows an instruction stands where it would without longer neighbours.
        memory, _ = self.decoder.remember(vectors, present, (present.cumsum(1) - 1).clamp_min(0))
        if not self.training and not torch.is_grad_enabled():
            self._instructions = instructions, memory
        return memory

    def embed(self, sentences: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """Words ``(B, W, D)``, and which are no padding ``(B, W)``; W is the longest sentence's, at least one."""
        return self.words.vectors(sentences, max(1, *map(len, sentences)))

    def _places(self, sentence: Sequence[str]) -> list[int]:
        unknown = [word for word in sentence if word not in self.vocabulary]
        if unknown:
            raise ValueError(
                f"the language half cannot say {', '.join(unknown)}: it knows the words of the dataset that it learned from"
            )
        return [self.vocabulary[word] for word in sentence]

    def scores(self, hidden: Tensor) -> Tensor:
        """Of each word that it knows ``(..., C)``, to come after these states ``(..., D)``."""
        known, _ = self.words.vectors([list(self.vocabulary)], len(self.vocabulary))
        return self.out(hidden) @ known[0].T / hidden.shape[-1] ** 0.5

    def say(
        self, memory: Memory, last_BD: Tensor, sentences: Sequence[Sequence[str]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How likely sentences, as words without `END`, are after a prompt of which the memory and the last state are given.

        Returns:
            Log-likelihood of each word and of `END` ``(B, W + 1)``, zero at padding; which are none ``(B, W + 1)``; and the
            states at the words ``(B, W, D)``.

        Raises:
            ValueError: A word that it does not know.
        """
        vectors, present = self.embed(sentences)
        _, hidden = self.decoder.go_on(memory, vectors)
        scores = self.scores(torch.cat((last_BD[:, None], hidden), 1)).log_softmax(-1)
        longest, end = present.shape[1], self.vocabulary[END]
        target = torch.full((len(sentences), longest + 1), end)
        for row, sentence in enumerate(sentences):
            target[row, : len(sentence)] = torch.tensor(self._places(sentence))
        counts = F.pad(present, (1, 0), value=True)  # each word, and the end after the last
        likely = scores.gather(-1, target.to(scores.device)[..., None])[..., 0] * counts
        return likely, counts, hidden

    def spell(self, memory: Memory, last_BD: Tensor, longest: int = 48) -> list[str]:
        """The likeliest words after a prompt, one by one, up to `END`."""
        said: list[list[str]] = [[] for _ in last_BD]
        names = list(self.vocabulary)
        ended = torch.zeros(len(last_BD), dtype=torch.bool, device=last_BD.device)
        for _ in range(longest):
            best = self.scores(last_BD).argmax(-1)
            ended |= best == self.vocabulary[END]
            if bool(ended.all()):
                break
            words = [[names[place]] for place in best.tolist()]
            for row, word in enumerate(words):
                if not ended[row]:
                    said[row] += word
            memory, hidden = self.decoder.go_on(memory, self.embed(words)[0])
            last_BD = hidden[:, -1]
        return [" ".join(words) for words in said]

    def log_remaining(self, last_BD: Tensor) -> Tensor:
        """Logarithm of the frames that the event still takes ``(B,)``."""
        return self.remaining(last_BD)[:, 0]


def trace(now: str, following: str) -> list[str]:
    """What is said of an event: "grasp the red cube ; lift the red cube"; after the last event comes `DONE`."""
    return [*split_words(now), THEN, *(split_words(following) or [DONE])]
