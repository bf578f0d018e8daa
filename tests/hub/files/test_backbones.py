# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import json
import subprocess
import sys

import huggingface_hub.constants
import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from tiny_wan import TRANSFORMER, save_backbone, transformer

from lerobot_wallwm.hub.files.backbones import BACKBONES, BackboneSource, wan_shape
from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower

# Of the configurations that Wan-AI published.
PARAMETERS = {"wan2.2-5b": 4_999_787_712, "wan2.1-1.3b": 1_418_996_800}
# Of the towers that start from them: four views of 192 x 224 pixels, as the README has it.
TOWER = {"wan2.2-5b": 6_416_526_944, "wan2.1-1.3b": 1_774_246_368}


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_a_backbone_has_as_many_parameters_as_the_published_one(name):
    with torch.device("meta"):
        wan = WanTransformer3DModel(**BACKBONES[name].video.wan_kwargs())
    assert sum(parameter.numel() for parameter in wan.parameters()) == PARAMETERS[name]
    assert BACKBONES[name].repo_id.endswith("-Diffusers")


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_the_tower_adds_only_what_the_views_need(name):
    shape = BACKBONES[name].video
    stride = BACKBONES[name].spatial_stride * shape.patch
    rows, columns = 192 // stride, 224 // stride
    with torch.device("meta"):
        wan = WanTransformer3DModel(**shape.wan_kwargs())
        tower = MultiViewVideoTower(shape, max_views=4, grid=(rows, columns))
    own, theirs = (dict(module.named_parameters()) for module in (tower, wan))
    assert theirs.keys() <= own.keys()
    assert all(own[key].shape == theirs[key].shape for key in theirs)
    added = sum(own[key].numel() for key in own.keys() - theirs.keys())
    width = shape.width
    branch = 4 * (width * width + width) + 2 * width + width * width + width  # attention, projection, gate
    tables = 4 * rows * columns * width + 4 * 16 + 16 * 44 // 2
    assert added == shape.depth * branch + tables
    assert sum(parameter.numel() for parameter in own.values()) == TOWER[name]


@pytest.mark.parametrize("name", sorted(TRANSFORMER))
def test_numbers_come_from_the_models_own_configuration(tmp_path, name):
    wan = transformer(name)
    wan.save_pretrained(tmp_path / "transformer")
    shape = BackboneSource(name, str(tmp_path)).video_shape()
    with torch.device("meta"):
        built = WanTransformer3DModel(**shape.wan_kwargs())
    shapes, theirs = ({k: v.shape for k, v in each.state_dict().items()} for each in (built, wan))
    assert shapes == theirs


def config_file(tmp_path, **changes):
    config = dict(transformer("wan2.1-1.3b").config)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**config, **changes}, default=list))
    return file


@pytest.mark.parametrize(
    ("field", "value", "only"),
    [
        ("image_dim", 1280, "None"),
        ("added_kv_proj_dim", 24, "None"),
        ("pos_embed_seq_len", 514, "None"),
        ("patch_size", [2, 2, 2], r"\[1, p, p\]"),
        ("patch_size", [1, 2, 4], r"\[1, p, p\]"),
        ("qk_norm", None, "'rms_norm_across_heads'"),
        ("cross_attn_norm", False, "True"),
        ("eps", 1e-5, "1e-06"),
        ("out_channels", 8, "as many as in_channels, 4"),
        ("num_layers", 0, "a positive whole number"),
        ("ffn_dim", "many", "a positive whole number"),
        ("_class_name", "WanVACETransformer3DModel", "'WanTransformer3DModel'"),
    ],
)
def test_what_the_tower_cannot_represent_is_refused_by_name(tmp_path, field, value, only):
    file = config_file(tmp_path, **{field: value})
    with pytest.raises(WeightsError, match=rf"config\.json: '{field}' is .*only represent {only}") as raised:
        wan_shape(file)
    assert raised.value.keys == (field,)


def test_models_of_two_experts_are_refused(tmp_path):
    transformer("wan2.1-1.3b").save_pretrained(tmp_path / "transformer")
    (tmp_path / "transformer_2").mkdir()
    with pytest.raises(WeightsError, match="transformer_2: models of two experts"):
        BackboneSource("wan2.1-1.3b", str(tmp_path)).video_shape()


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer"])
def test_a_part_that_is_missing_locally_names_the_flag(tmp_path, part):
    with pytest.raises(WeightsError, match=rf"{part}: the wan2.2-5b backbone needs .*--policy.backbone_path"):
        BackboneSource("wan2.2-5b", str(tmp_path)).part(part)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The Hub's local cache with one commit of a backbone in it; the network is off (conftest)."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--Wan-AI--Wan2.1-T2V-1.3B-Diffusers"
    save_backbone(repository / "snapshots" / commit, "wan2.1-1.3b")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return commit


def test_parts_are_found_in_the_hubs_cache_and_the_commit_is_remembered(hub_cache):
    source = BackboneSource("wan2.1-1.3b")
    assert source.video_shape().latent_channels == 4
    assert source.revision == hub_cache
    assert (source.part("vae") / "config.json").is_file()
    again = BackboneSource("wan2.1-1.3b", revision=hub_cache)
    assert again.part("text_encoder") == source.part("text_encoder")


def test_what_the_hub_cannot_give_is_an_error_that_names_the_flag(hub_cache):
    for source in (BackboneSource("wan2.2-5b"), BackboneSource("wan2.1-1.3b", revision="gone")):
        with pytest.raises(WeightsError, match=r"/vae: cannot be had from the Hub .*--policy\.backbone_path"):
            source.part("vae")


def test_loading_code_does_not_import_lerobot():
    code = (
        "import sys, lerobot_wallwm.hub.files.backbones, lerobot_wallwm.hub.files.weights;"
        "print([m for m in sys.modules if m == 'lerobot' or m.startswith('lerobot.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def published_keys(depth: int = 30) -> set[str]:
    """Names in Wan's own files of both checkpoints' transformers (its public wan/modules/model.py)."""
    linear = [f"{kind}_attn.{x}" for kind in ("self", "cross") for x in "qkvo"]
    block = [f"{name}.{kind}" for name in (*linear, "ffn.0", "ffn.2", "norm3") for kind in ("weight", "bias")]
    block += [f"{kind}_attn.norm_{x}.weight" for kind in ("self", "cross") for x in "qk"] + ["modulation"]
    rest = ("patch_embedding", "head.head", "time_projection.1")
    rest += tuple(f"{of}_embedding.{n}" for of in ("time", "text") for n in (0, 2))
    names = {f"{name}.{kind}" for name in rest for kind in ("weight", "bias")} | {"head.modulation"}
    return names | {f"blocks.{i}.{name}" for i in range(depth) for name in block}


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_what_is_asked_of_a_transformer_is_what_is_published(name):
    """Public notes on Wan2.2-TI2V-5B's files count 825 tensors; 1.3B has as many layers. diffusers' converter renames them."""
    own_names = {name: torch.empty(2, 2) for name in published_keys()}
    keys = convert_wan_transformer_to_diffusers(own_names).keys()
    with torch.device("meta"):
        wan = WanTransformer3DModel(**BACKBONES[name].video.wan_kwargs())
        tower = MultiViewVideoTower(BACKBONES[name].video, 3, (6, 7))
    assert len(keys) == 825 and wan.state_dict().keys() == keys
    # What the tower does not take from the file it starts by itself.
    own = tower.state_dict().keys() - keys
    assert keys <= tower.state_dict().keys()
    assert all(key.startswith(("position", "camera_rope.")) or ".cross_view." in key for key in own)


def test_umt5_has_the_published_size():
    """google/umt5-xxl's own numbers, with its 24 layers that each have their own table of relative positions."""
    from transformers import UMT5Config, UMT5EncoderModel

    from benchmarks.speed.backbone_table import UMT5_XXL

    with torch.device("meta"):
        encoder = UMT5EncoderModel(UMT5Config(**UMT5_XXL))
    state = {key for key in encoder.state_dict() if key != "encoder.embed_tokens.weight"}  # tied to `shared`
    assert len(state) == 242 and sum(p.numel() for p in encoder.parameters()) == 5_680_910_336
    assert sum(key.endswith("relative_attention_bias.weight") for key in state) == 24
