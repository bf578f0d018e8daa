# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Tiny random Wan backbones on disk, written by diffusers' and transformers' own `save_pretrained`."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

TEXT_DIM = 16
# The layouts of the two published backbones; only their sizes are made small.
TRANSFORMER = {
    "wan2.1-1.3b": {"in_channels": 4, "out_channels": 4},
    "wan2.2-5b": {"in_channels": 12, "out_channels": 12},
}
VAE = {
    "wan2.1-1.3b": {"base_dim": 4, "z_dim": 4},
    "wan2.2-5b": {
        "base_dim": 4,
        "decoder_base_dim": 4,
        "z_dim": 12,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "is_residual": True,
        "scale_factor_spatial": 16,
        "temperal_downsample": [False, True, True],
    },
}


def transformer(name: str, **changes) -> WanTransformer3DModel:
    sizes = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "text_dim": TEXT_DIM,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 2,
    }
    return WanTransformer3DModel(**{**sizes, **TRANSFORMER[name], **changes}).eval()


def vae(name: str, **changes) -> AutoencoderKLWan:
    numbers = {"num_res_blocks": 1, "dim_mult": [1, 1, 1, 1], **VAE[name], **changes}
    channels = numbers["z_dim"]
    moments = {
        "latents_mean": torch.linspace(-0.5, 0.5, channels).tolist(),
        "latents_std": torch.linspace(0.5, 2.0, channels).tolist(),
    }
    return AutoencoderKLWan(**{**moments, **numbers}).eval()


def save_text(folder: Path, d_model: int = TEXT_DIM) -> None:
    """A tiny umT5 and a tokenizer of letters."""
    from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

    letters = [(f"\u2581{c}", -2.0) for c in "abcdefghijklmnopqrstuvwxyz"]
    letters += [(c, -3.0) for c in "abcdefghijklmnopqrstuvwxyz"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *letters]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=0)
    tokenizer.save_pretrained(folder / "tokenizer")
    config = UMT5Config(
        vocab_size=len(vocab), d_model=d_model, d_kv=8, d_ff=24, num_layers=2, num_heads=2, dropout_rate=0.0
    )
    UMT5EncoderModel(config).eval().save_pretrained(folder / "text_encoder")


def save_backbone(folder: Path, name: str, seed: int = 0, max_shard_size: str = "5GB") -> Path:
    """A whole backbone in diffusers' layout; returns the folder."""
    torch.manual_seed(seed)
    transformer(name).save_pretrained(folder / "transformer", max_shard_size=max_shard_size)
    vae(name).save_pretrained(folder / "vae")
    save_text(folder)
    return folder
