# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Towers that start from backbones which diffusers saved."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from safetensors.torch import load_file, save_file
from tiny_models import WAN
from tiny_wan import TEXT_DIM, TRANSFORMER, save_backbone, transformer
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lerobot_wallwm.hub.files.backbones import BackboneSource
from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.model.wan_backbone import WanBackbone
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower

GRID = (2, 3)
TOKENS = GRID[0] * GRID[1]
NAMES = sorted(TRANSFORMER)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Whole backbones in several shards, as the real ones are."""
    return {
        name: save_backbone(tmp_path_factory.mktemp("wan") / name, name, max_shard_size="20KB")
        for name in NAMES
    }


def load(folder: Path, name: str, max_views: int = 3, empty: bool = False) -> MultiViewVideoTower:
    source = BackboneSource(name, str(folder))
    shape = source.video_shape()
    parts = WanBackbone.find(source, shape, 12, folder / "cache", empty=empty)
    return parts.video_tower(shape, max_views, GRID)


def inputs(tower: MultiViewVideoTower, views: int, time: int = 3):
    g = torch.Generator().manual_seed(0)
    channels = tower.shape.latent_channels
    z = torch.randn(2, views, channels, time, 2 * GRID[0], 2 * GRID[1], generator=g)
    t = torch.rand(2, 1, generator=g).expand(-1, time).clone()
    t[:, 0] = 0
    return z, t, torch.randn(2, 5, TEXT_DIM, generator=g)


def per_token(t_BT: torch.Tensor) -> torch.Tensor:
    return (t_BT * 1000.0).repeat_interleave(TOKENS, 1)  # Wan2.2-TI2V: one timestep a token


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_tower_equals_diffusers_wan_and_so_do_its_gradients(folders, name, views):
    wan = WanTransformer3DModel.from_pretrained(folders[name] / "transformer").eval()
    tower = load(folders[name], name).eval()
    z, t, text = inputs(tower, views)
    mine, theirs = (z.clone().requires_grad_() for _ in range(2))
    prediction = tower(mine, t, text).prediction
    rows = (x.repeat_interleave(views, 0) for x in (per_token(t), text))
    expected = wan(theirs.flatten(0, 1), *rows, return_dict=False)[0].unflatten(0, (2, views))
    assert expected.std() > 0.1  # the comparison is not one of zeros
    torch.testing.assert_close(prediction, expected, atol=1e-5, rtol=1e-5)

    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (prediction * weight).mean().backward()
    (expected * weight).mean().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    own = dict(tower.named_parameters())
    for key, parameter in wan.named_parameters():
        assert parameter.grad.abs().max() > 0, key
        torch.testing.assert_close(own[key].grad, parameter.grad, atol=1e-5, rtol=1e-4, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_what_wan_lacks_starts_as_a_copy_behind_zeros(folders, name):
    tower = load(folders[name], name)
    assert not any(value.is_meta for value in (*tower.parameters(), *tower.buffers()))
    for block in tower.blocks:
        own, branch = block.attn1.state_dict(), block.cross_view.attention.state_dict()
        assert all(torch.equal(own[key], branch[key]) for key in own)
        assert own["to_q.weight"].data_ptr() != branch["to_q.weight"].data_ptr()
        assert not block.cross_view.project.weight.any()
        assert torch.equal(block.cross_view.gate_table, block.scale_shift_table[:, 2])
    assert not tower.position.any()
    assert tower.camera_rope.view_embedding.weight.std() > 0.1


def test_rotary_tables_are_real_where_the_weights_are_not(folders):
    tower = load(folders["wan2.2-5b"], "wan2.2-5b", empty=True)
    assert all(parameter.is_meta for parameter in tower.parameters())
    shape = tower.shape
    expected = WanRotaryPosEmbed(shape.width // shape.heads, (1, 2, 2), 1024)
    for name, table in expected.named_buffers():
        assert torch.equal(getattr(tower.rope, name), table)
    assert not {"rope.freqs_cos", "rope.freqs_sin"} & tower.state_dict().keys()


@pytest.mark.parametrize("views", [1, 3])
def test_weights_of_a_random_tower_are_those_that_its_seed_gives_diffusers(views):
    torch.manual_seed(3)
    tower = MultiViewVideoTower(WAN, views, GRID)
    torch.manual_seed(3)
    wan = WanTransformer3DModel(**WAN.wan_kwargs())
    assert all(torch.equal(tower.state_dict()[key], value) for key, value in wan.state_dict().items())


class Memory(TorchDispatchMode):
    """Remembers the most bytes that tensors made inside it took at any one time."""

    def __init__(self):
        super().__init__()
        self.most = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self._alive = {key: (ref, size) for key, (ref, size) in self._alive.items() if not ref.expired()}
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and not leaf.is_meta:
                storage = leaf.untyped_storage()
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return out


def wide_shape():
    return replace(WAN, width=96, ffn_width=256, depth=8, latent_channels=4, text_dim=TEXT_DIM)


def test_neither_building_nor_loading_holds_a_second_copy(tmp_path, folders):
    shape = wide_shape()
    wan = WanTransformer3DModel(**shape.wan_kwargs())
    own = sum(p.numel() * p.element_size() for p in wan.parameters())
    wan.save_pretrained(tmp_path, max_shard_size="500KB")
    del wan
    gc.collect()
    with Memory() as built:
        tower = MultiViewVideoTower(shape, 1, GRID)
    # Beside the weights: one block that is being taken over, and the rotary tables.
    assert own < built.most < 1.5 * own
    del tower
    gc.collect()
    parts = WanBackbone.find(
        BackboneSource("wan2.1-1.3b", str(folders["wan2.1-1.3b"])),
        replace(shape, latent_channels=4),
        12,
        tmp_path / "cache",
    )
    parts.transformer = tmp_path
    with Memory() as loaded:
        parts.video_tower(shape, 1, GRID)
    assert own < loaded.most < 1.5 * own


def damaged(folder: Path, tmp_path: Path, **changes) -> Path:
    """A copy of a backbone's transformer in one file, some tensors of which are replaced or (None) left out."""
    wan = WanTransformer3DModel.from_pretrained(folder / "transformer")
    copy = tmp_path / "damaged"
    for part in ("vae", "text_encoder", "tokenizer"):
        copy.mkdir(exist_ok=True)
        (copy / part).symlink_to(folder / part)
    wan.save_pretrained(copy / "transformer")
    file = next((copy / "transformer").glob("*.safetensors"))
    state = {**load_file(file), **changes}
    save_file({key: value for key, value in state.items() if value is not None}, file)
    return copy


def test_keys_that_do_not_fit_are_listed(folders, tmp_path):
    changes = {"proj_out.bias": None, "head.x": torch.zeros(1), "scale_shift_table": torch.zeros(1, 3, 24)}
    folder = damaged(folders["wan2.1-1.3b"], tmp_path, **changes)
    with pytest.raises(
        WeightsError, match=r"1 missing: proj_out\.bias; 1 unexpected: head\.x; 1 mis-sh"
    ) as raised:
        load(folder, "wan2.1-1.3b")
    assert raised.value.keys == ("proj_out.bias", "head.x", "scale_shift_table")
    assert "(1, 3, 24) instead of (1, 2, 24)" in str(raised.value)


def test_a_truncated_shard_is_named(folders, tmp_path):
    folder = damaged(folders["wan2.1-1.3b"], tmp_path)
    file = next((folder / "transformer").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"transformer/.*\.safetensors: is no complete safetensors"):
        load(folder, "wan2.1-1.3b")


def test_parts_of_two_backbones_do_not_go_together(folders, tmp_path):
    folder = damaged(folders["wan2.1-1.3b"], tmp_path)
    (folder / "vae").unlink()
    (folder / "vae").symlink_to(folders["wan2.2-5b"] / "vae")
    with pytest.raises(WeightsError, match="'z_dim' is 12; the transformer takes latents of 4 channels"):
        load(folder, "wan2.1-1.3b")
    wide = tmp_path / "wide"
    transformer("wan2.1-1.3b", text_dim=20).save_pretrained(wide / "transformer")
    for part in ("vae", "text_encoder", "tokenizer"):
        (wide / part).symlink_to(folders["wan2.1-1.3b"] / part)
    with pytest.raises(WeightsError, match="'d_model' is 16; the transformer takes text of width 20"):
        load(wide, "wan2.1-1.3b")
