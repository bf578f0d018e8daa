# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Captions to Wan's text tokens: umT5, frozen, and out of the way once every caption has been encoded.

Shapes: B captions, L tokens, E width.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import filelock
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lerobot_wallwm.hub.files.backbones import FIX
from lerobot_wallwm.hub.files.safe_files import read_object
from lerobot_wallwm.hub.files.weights import WeightsError, contents, weight_files
from lerobot_wallwm.policies.encoders.frozen import Frozen
from lerobot_wallwm.storage.atomic import replacing
from lerobot_wallwm.storage.fingerprint import fingerprint_of_files

logger = logging.getLogger(__name__)


class UMT5TextEncoder(nn.Module):
    """umT5's last hidden states, zero after the last token, as diffusers' `WanPipeline` hands them to Wan.

    The encoder (5.7 billion parameters with Wan) is loaded when the first caption is met that is not in the cache.

    Args:
        find: Gives the folder of ``text_encoder`` or ``tokenizer``; may download it, or raise WeightsError.
        dim: E, the width that the video tower takes.
        max_tokens: L; longer captions are cut, shorter ones padded. Wan attends to the padding too.
        cache: Folder of the features on disk.
        identity: Fingerprint of the encoder where it is known; with it, cached captions need no encoder at all.
        dtype: In which the encoder runs on CUDA; part of the cache's key.

    Attributes:
        identity: Fingerprint of encoder and tokenizer.

    Raises:
        WeightsError: Without ``identity``: files that are missing, damaged, or of another width.
    """

    where: Tensor

    def __init__(
        self,
        find: Callable[[str], Path],
        dim: int,
        max_tokens: int,
        cache: Path,
        identity: str | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.find, self.dim, self.max_tokens = find, dim, max_tokens
        self.identity = identity or self._identify()
        self.cache = TextCache(cache, f"umt5 {self.identity} {max_tokens} {dtype}")
        self.encoder = Frozen(self._load, dtype)
        self._tokenizer: Any = None
        # Moves with the policy and so tells where tokens are wanted.
        self.register_buffer("where", torch.empty(0), persistent=False)

    @torch.no_grad()
    def forward(self, captions: list[str]) -> Tensor:
        """Encodes captions, those not yet known with umT5.

        Args:
            captions: B strings.

        Returns:
            Tokens ``(B, L, E)`` in float32; unused slots are zero.
        """
        self._encode_missing(captions, self.where.device)
        tokens = self.where.new_zeros(len(captions), self.max_tokens, self.dim, dtype=torch.float32)
        for row, caption in enumerate(captions):
            features = self.cache.get(caption)
            assert features is not None
            tokens[row, : len(features)] = features.to(tokens)
        return tokens

    def prepare(self, captions: Iterable[str], device: torch.device | str) -> None:
        """Encodes all captions that will be needed and lets go of the encoder, so that training runs without it.

        One process at a time: the others then find its features on disk and never load the encoder.
        """
        missing = self._missing(captions)
        if missing:
            with self.cache.lock():
                self._encode_missing(missing, torch.device(device))
            self.encoder.release()

    def _missing(self, captions: Iterable[str]) -> list[str]:
        return [caption for caption in dict.fromkeys(captions) if self.cache.get(caption) is None]

    def _encode_missing(self, captions: Iterable[str], device: torch.device) -> None:
        missing = self._missing(captions)
        if not missing:
            return
        encoder = self.encoder.on(device)
        for start in range(0, len(missing), 32):
            some = missing[start : start + 32]
            for caption, features in zip(some, self._encode(encoder, some, device), strict=True):
                self.cache.put(caption, features)

    @torch.no_grad()
    def _encode(self, encoder: nn.Module, captions: list[str], device: torch.device) -> list[Tensor]:
        """Features ``(tokens, E)`` of each caption. Padded tokens are masked, so their number changes nothing."""
        from diffusers.pipelines.wan.pipeline_wan import prompt_clean  # Wan's own cleaning

        if self._tokenizer is None:
            self._tokenizer = self._load_tokenizer()
        batch = self._tokenizer(
            [prompt_clean(caption) for caption in captions],
            padding="longest",
            max_length=self.max_tokens,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(device)
        with torch.autocast(device.type, enabled=False):
            hidden = encoder(batch.input_ids, batch.attention_mask).last_hidden_state
        return [row[: int(mask.sum())] for row, mask in zip(hidden, batch.attention_mask, strict=True)]

    def _identify(self) -> str:
        folder, tokenizer = self.find("text_encoder"), self.find("tokenizer")
        files = weight_files(folder, FIX)
        contents(files, FIX)
        config = folder / "config.json"
        width = read_object(config, FIX).get("d_model")
        if width != self.dim:
            reason = f"'d_model' is {width}; the transformer takes text of width {self.dim}."
            raise WeightsError(config, reason, FIX, ["d_model"])
        words = [file for file in tokenizer.iterdir() if file.is_file()]
        if not words:
            raise WeightsError(tokenizer, "holds no tokenizer.", FIX)
        return fingerprint_of_files([config, *files, *words])

    def _load_tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        folder = self.find("tokenizer")
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # its Rust half raises nothing narrower
            raise WeightsError(
                folder, f"is no tokenizer that transformers can read ({error}).", FIX
            ) from error

    def _load(self, dtype: torch.dtype) -> nn.Module:
        from transformers import UMT5EncoderModel

        folder = self.find("text_encoder")
        contents(weight_files(folder, FIX), FIX)
        try:
            loaded: Any = UMT5EncoderModel.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise WeightsError(folder, f"transformers cannot load it ({error}).", FIX) from error
        encoder, report = loaded
        wrong = {name: sorted(map(str, report[name])) for name in report if report[name]}
        if wrong:
            listed = "; ".join(f"{name}: {', '.join(keys[:8])}" for name, keys in wrong.items())
            raise WeightsError(
                folder, f"keys do not fit umT5; {listed}.", FIX, chain.from_iterable(wrong.values())
            )
        return encoder


class TextCache:
    """Features of captions on disk, one safetensors file each, keyed by the caption and by what would encode it.

    Ours, because the packages that cache on disk pickle what they keep.

    Args:
        folder: Where files are kept; made when the first one is written.
        encoder: Identity of the encoder and of everything else that its features depend on.
    """

    def __init__(self, folder: Path, encoder: str):
        self.encoder = encoder
        self.folder = folder / hashlib.sha256(encoder.encode()).hexdigest()[:16]
        self._memory: dict[str, Tensor] = {}

    def _file(self, caption: str) -> Path:
        return self.folder / f"{hashlib.sha256(caption.encode()).hexdigest()[:32]}.safetensors"

    def lock(self) -> filelock.BaseFileLock:
        """For a block that one process at a time may run; it ends with its process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.folder / ".lock")

    def get(self, caption: str) -> Tensor | None:
        """Features ``(tokens, E)`` on the CPU, or None; a damaged or exchanged file counts as absent."""
        file = self._file(caption)
        if caption not in self._memory and file.is_file():
            try:
                with safe_open(file, framework="pt") as opened:
                    about, features = opened.metadata() or {}, opened.get_tensor("features").clone()
            except (SafetensorError, OSError) as error:
                logger.warning(
                    "%s: not a readable text feature (%s); encoding the caption again.", file, error
                )
                return None
            if (about.get("caption"), about.get("encoder")) != (caption, self.encoder) or features.ndim != 2:
                logger.warning("%s: holds another text; encoding the caption again.", file)
                return None
            self._memory[caption] = features
        return self._memory.get(caption)

    def put(self, caption: str, features_LE: Tensor) -> None:
        """Keeps features; on disk they appear whole or not at all."""
        features = features_LE.detach().cpu().contiguous().clone()
        if not torch.isfinite(features).all():
            raise ValueError(f"The features of {caption!r} are not finite; use --policy.dtype=float32.")
        self._memory[caption] = features
        with replacing(self._file(caption)) as partial:
            save_file({"features": features}, partial, {"caption": caption, "encoder": self.encoder})
