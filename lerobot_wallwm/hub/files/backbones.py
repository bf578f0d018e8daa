# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The backbones that a video tower can start from, and where their files are.

A backbone's folder has diffusers' layout: ``transformer/``, ``vae/``, ``text_encoder/``, ``tokenizer/``. It is a local
folder, or a repository of the Hub of which only the parts that are asked for are downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.files.safe_files import WeightsError, read_object

FIX = (
    "point --policy.backbone_path at a folder with transformer/, vae/, text_encoder/ and tokenizer/ as diffusers "
    "saves them, or at null to take the backbone from the Hub"
)


@dataclass(frozen=True)
class WanShape:
    """The numbers that turn diffusers' `WanTransformer3DModel` into one backbone or another."""

    width: int
    depth: int
    heads: int
    ffn_width: int
    latent_channels: int
    text_dim: int
    time_freq_dim: int = 256
    patch: int = 2

    def wan_kwargs(self) -> dict[str, Any]:
        """Arguments of `WanTransformer3DModel`; ValueError where heads do not divide the width into even bands for RoPE."""
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"video width {self.width} must split into {self.heads} heads of even width.")
        return {
            "patch_size": (1, self.patch, self.patch),
            "num_attention_heads": self.heads,
            "attention_head_dim": self.width // self.heads,
            "in_channels": self.latent_channels,
            "out_channels": self.latent_channels,
            "text_dim": self.text_dim,
            "freq_dim": self.time_freq_dim,
            "ffn_dim": self.ffn_width,
            "num_layers": self.depth,
            "cross_attn_norm": True,
        }


@dataclass(frozen=True)
class Backbone:
    """Numbers of a published backbone."""

    repo_id: str  # on the Hub, in diffusers' layout
    video: WanShape
    spatial_stride: int  # pixels per latent pixel of its VAE; all have 4 frames per latent
    max_text_tokens: int = 512  # tokens that its text is padded to in pre-training
    flow_shift: float = 5.0  # timestep shift of its schedule
    # Defaults of `WallwmConfig` that go with its size. Our choices; the paper gives no action width.
    policy: dict[str, Any] = field(default_factory=dict)


BACKBONES = {
    # Paper p. 6; numbers of the public configuration.
    "wan2.2-5b": Backbone(
        repo_id="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        video=WanShape(width=3072, depth=30, heads=24, ffn_width=14336, latent_channels=48, text_dim=4096),
        spatial_stride=16,
        policy={"action_width": 1024, "action_heads": 8, "action_ffn_width": 2816},
    ),
    # For one 24 GB GPU; not in the paper. Shift 3 is diffusers' advice for small pictures.
    "wan2.1-1.3b": Backbone(
        repo_id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        video=WanShape(width=1536, depth=30, heads=12, ffn_width=8960, latent_channels=16, text_dim=4096),
        spatial_stride=8,
        flow_shift=3.0,
        policy={"action_width": 768, "action_heads": 6, "action_ffn_width": 2048},
    ),
}

# What the tower's blocks are built with; a configuration that says otherwise is another architecture.
_FIXED: dict[str, Any] = {
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "image_dim": None,
    "added_kv_proj_dim": None,
    "pos_embed_seq_len": None,
}
# Fields that may be absent, with diffusers' own defaults.
_DEFAULTS: dict[str, Any] = {"patch_size": [1, 2, 2], "freq_dim": 256, "text_dim": 4096, **_FIXED}


@dataclass
class BackboneSource:
    """A backbone's files."""

    name: str  # key of `BACKBONES`
    path: str | None = None  # local folder; None takes the Hub's
    revision: str | None = None  # branch, tag or commit on the Hub; None takes the newest

    def part(self, name: str) -> Path:
        """Folder of one part (``transformer``, ``vae``, ``text_encoder``, ``tokenizer``), downloaded if need be.

        From the Hub, ``revision`` becomes the commit that was found, so that a checkpoint remembers it. WeightsError
        where it is not there, or the Hub cannot be reached.
        """
        if self.path is not None:
            folder = Path(self.path).expanduser() / name
            if not folder.is_dir():
                raise WeightsError(folder, f"the {self.name} backbone needs this folder.", FIX)
            return folder
        repo_id = BACKBONES[self.name].repo_id
        root = _snapshot(repo_id, self.revision, name)
        if not (root / name).is_dir():
            reason = "is not in the local cache, and the Hub gave nothing."
            raise WeightsError(f"{repo_id}/{name}", reason, FIX)
        self.revision = root.name
        return root / name

    def video_shape(self) -> WanShape:
        """Numbers of the transformer, read from its own configuration; see `wan_shape`."""
        folder = self.part("transformer")
        # Where a second transformer lies beside it, the first is only trained for high noise.
        if (folder.parent / "transformer_2").is_dir():
            raise WeightsError(folder.parent / "transformer_2", "models of two experts do not fit.", FIX)
        return wan_shape(folder / "config.json")


def _snapshot(repo_id: str, revision: str | None, part: str) -> Path:
    """Folder of a commit in the Hub's cache, with one part downloaded."""
    import httpx
    from huggingface_hub import snapshot_download

    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": [f"{part}/*"]}
    try:
        return Path(snapshot_download(repo_id, **wanted))
    except (OSError, ValueError, httpx.HTTPError) as error:
        # What is in the cache will do. A known commit is asked for online even where the network is off.
        try:
            return Path(snapshot_download(repo_id, **wanted, local_files_only=True))
        except (OSError, ValueError):
            reason = f"cannot be had from the Hub ({type(error).__name__}: {error})."
            raise WeightsError(f"{repo_id}/{part}", reason, FIX) from error


def wan_shape(file: Path) -> WanShape:
    """Reads a transformer's ``config.json``.

    Raises:
        WeightsError: It is absent, or describes an architecture that the tower cannot represent; the field is named.
    """
    config = {**_DEFAULTS, **read_object(file, FIX)}

    def refuse(name: str, only: str) -> WeightsError:
        reason = f"'{name}' is {config.get(name)!r}; the video tower can only represent {only}."
        return WeightsError(file, reason, "choose a text-to-video Wan backbone", [name])

    if config.get("_class_name", "WanTransformer3DModel") != "WanTransformer3DModel":
        raise refuse("_class_name", "'WanTransformer3DModel'")
    for name, value in _FIXED.items():
        if config[name] != value:
            raise refuse(name, repr(value))
    sizes = ("num_attention_heads", "attention_head_dim", "in_channels", "ffn_dim", "num_layers")
    for name in (*sizes, "text_dim", "freq_dim"):
        if not isinstance(config.get(name), int) or config[name] < 1:
            raise refuse(name, "a positive whole number")
    if config.get("out_channels") not in (None, config["in_channels"]):
        raise refuse("out_channels", f"as many as in_channels, {config['in_channels']}")
    patch = config["patch_size"]
    if not isinstance(patch, list) or len(patch) != 3 or patch[0] != 1 or patch[1] != patch[2]:
        raise refuse("patch_size", "[1, p, p]")
    return WanShape(
        width=config["num_attention_heads"] * config["attention_head_dim"],
        depth=config["num_layers"],
        heads=config["num_attention_heads"],
        ffn_width=config["ffn_dim"],
        latent_channels=config["in_channels"],
        text_dim=config["text_dim"],
        time_freq_dim=config["freq_dim"],
        patch=patch[1],
    )
