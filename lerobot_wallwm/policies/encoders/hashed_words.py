# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Captions to token sequences.

umT5 is in `umt5`. `HashedTextEncoder` is the small embedded one: trainable, no download, no vocabulary file. Frozen
sentence vectors barely separate opposite events (cosine of "open the gripper" and "close the gripper" is 0.91 in
MiniLM), so here every word keeps its own token.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


def split_words(text: str) -> list[str]:
    """Its words and marks, in lower case; what is not a-z or a digit stands alone."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=65536)
def _token_buckets(word: str, num_buckets: int) -> tuple[int, ...]:
    """Hash buckets of a word: itself, then its letter trigrams. Bucket 0 is padding.

    CRC-32 rather than `hash`: it must be the same in every process and on every machine.
    """
    marked = f"<{word}>"
    pieces = [f"w:{word}", *(f"g:{marked[i : i + 3]}" for i in range(len(marked) - 2))]
    return tuple(1 + zlib.crc32(piece.encode()) % (num_buckets - 1) for piece in pieces)


class HashedTextEncoder(nn.Module):
    """One trainable token per word: its own hashed vector plus the mean of its trigram vectors.

    The trigrams give words that training has never seen a usable neighbour ("cubes" near "cube"). Our choice; the
    paper uses umT5.

    Args:
        dim: Width of a token.
        max_tokens: Tokens per caption; longer captions are cut.
        num_buckets: Size of the hashed table.
    """

    def __init__(self, dim: int, max_tokens: int = 16, num_buckets: int = 4096):
        super().__init__()
        self.dim, self.max_tokens, self.num_buckets = dim, max_tokens, num_buckets
        self.table = nn.Embedding(num_buckets, dim, padding_idx=0)
        self.position = nn.Parameter(torch.randn(max_tokens, dim) * 0.3)

    def forward(self, captions: list[str]) -> Tensor:
        """Encodes captions.

        Args:
            captions: B strings.

        Returns:
            Tokens ``(B, max_tokens, dim)``; unused slots are zero, as Wan pads umT5's output.
        """
        sentences = [split_words(caption)[: self.max_tokens] for caption in captions]
        tokens, present = self.vectors(sentences, self.max_tokens)
        return (tokens + self.position) * present[..., None]

    def vectors(self, sentences: Sequence[Sequence[str]], length: int) -> tuple[Tensor, Tensor]:
        """The words themselves, wherever they stand: ``(B, length, dim)``, and which are no padding ``(B, length)``."""
        longest = max((len(_token_buckets(w, self.num_buckets)) for ws in sentences for w in ws), default=1)
        ids = torch.zeros(len(sentences), length, longest, dtype=torch.long)
        for b, sentence in enumerate(sentences):
            for k, word in enumerate(sentence):
                buckets = _token_buckets(word, self.num_buckets)
                ids[b, k, : len(buckets)] = torch.tensor(buckets)
        ids = ids.to(self.position.device)
        vectors = self.table(ids)  # (B, L, pieces, dim)
        grams = (ids[..., 1:] > 0).unsqueeze(-1)
        tokens = vectors[..., 0, :] + (vectors[..., 1:, :] * grams).sum(-2) / grams.sum(-2).clamp_min(1)
        return tokens, ids[..., 0] > 0
