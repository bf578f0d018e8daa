# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import copy
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from safetensors.torch import load_file, save_file
from tiny_wan import TEXT_DIM, save_text
from torch import nn
from transformers import AutoTokenizer, UMT5EncoderModel

from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.encoders.umt5 import TextCache, UMT5TextEncoder

CAPTIONS = ["open the gripper", "  put &amp;amp; hold\n the   red cube", "", "close"]
LENGTH = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("text")
    save_text(out)
    return out


def encoder(folder: Path, cache: Path, max_tokens: int = LENGTH, **kwargs) -> UMT5TextEncoder:
    return UMT5TextEncoder(lambda part: folder / part, TEXT_DIM, max_tokens, cache, **kwargs)


def nothing_there(part: str) -> Path:
    raise WeightsError(part, "is not here.", "bring it")


@torch.no_grad()
def as_the_pipeline_does(folder: Path, captions: list[str], length: int) -> torch.Tensor:
    """diffusers' `WanPipeline._get_t5_prompt_embeds`, padded to full length before umT5."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    model = UMT5EncoderModel.from_pretrained(folder / "text_encoder").eval()
    fitted = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    batch = tokenizer([prompt_clean(c) for c in captions], **fitted)
    hidden = model(batch.input_ids, batch.attention_mask).last_hidden_state
    return hidden * batch.attention_mask[..., None]


@pytest.mark.parametrize("length", [LENGTH, 7])
def test_tokens_are_those_of_diffusers_pipeline(folder, tmp_path, length):
    tokens = encoder(folder, tmp_path / "a", length)(CAPTIONS)
    expected = as_the_pipeline_does(folder, CAPTIONS, length)
    assert tokens.shape == (4, length, TEXT_DIM) and expected.std() > 0.1
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)
    # Neighbours in a batch do not change a caption.
    alone = torch.cat([encoder(folder, tmp_path / "b", length)([caption]) for caption in CAPTIONS])
    torch.testing.assert_close(tokens, alone, atol=1e-6, rtol=1e-5)


def test_captions_that_are_known_need_no_encoder(folder, tmp_path):
    first = encoder(folder, tmp_path)
    tokens = first(CAPTIONS)
    assert first.encoder.is_loaded
    second = encoder(folder, tmp_path)
    assert torch.equal(second(CAPTIONS[::-1]), tokens.flip(0))
    assert not second.encoder.is_loaded
    # Nor even its files, where a checkpoint remembers which it was.
    third = UMT5TextEncoder(nothing_there, TEXT_DIM, LENGTH, tmp_path, first.identity)
    assert torch.equal(third(CAPTIONS), tokens)
    with pytest.raises(WeightsError, match="text_encoder: is not here. Fix: bring it"):
        third(["lift"])


def test_preparing_lets_go_of_the_encoder(folder, tmp_path):
    model = encoder(folder, tmp_path)
    model.prepare(CAPTIONS, "cpu")
    assert not model.encoder.is_loaded
    model(CAPTIONS)
    assert not model.encoder.is_loaded


def test_of_two_processes_that_prepare_only_the_first_loads_the_encoder(folder, tmp_path):
    first, second = encoder(folder, tmp_path), encoder(folder, tmp_path)
    loads = []
    for model in (first, second):
        load = model.encoder._load
        model.encoder._load = lambda dtype, load=load, model=model: loads.append(model) or load(dtype)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(model.prepare, CAPTIONS, "cpu") for model in (first, second)]:
            done.result()
    assert len(loads) == 1
    assert torch.equal(first(CAPTIONS), second(CAPTIONS))


def test_a_damaged_tokenizer_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "text")
    (tmp_path / "text" / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"tokenizer: is no tokenizer .*--policy\.backbone_path"):
        encoder(tmp_path / "text", tmp_path)(["open"])


def test_the_encoder_is_borrowed(folder, tmp_path):
    holder = nn.ModuleDict({"text": encoder(folder, tmp_path)})
    holder["text"](CAPTIONS)
    assert not list(holder.parameters()) and not holder.state_dict()
    assert copy.deepcopy(holder)["text"].encoder is holder["text"].encoder


def test_features_of_other_weights_lengths_and_dtypes_are_kept_apart(folder, tmp_path):
    torch.manual_seed(1)
    save_text(tmp_path / "other")
    cache = tmp_path / "cache"
    models = [encoder(folder, cache), encoder(tmp_path / "other", cache)]
    models += [encoder(folder, cache, 7), encoder(folder, cache, dtype=torch.bfloat16)]
    assert len({model.cache.folder for model in models}) == 4
    assert models[0].identity == models[2].identity != models[1].identity
    assert not torch.allclose(models[0](CAPTIONS), models[1](CAPTIONS))


def test_a_truncated_or_foreign_encoder_is_an_error(tmp_path):
    save_text(tmp_path / "a", d_model=24)
    says = r"config\.json: 'd_model' is 24; the transformer takes .* width 16"
    with pytest.raises(WeightsError, match=says):
        encoder(tmp_path / "a", tmp_path)
    save_text(tmp_path / "b")
    file = tmp_path / "b" / "text_encoder" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    with pytest.raises(WeightsError, match=r"model\.safetensors: is no complete"):
        encoder(tmp_path / "b", tmp_path)
    file.write_bytes(whole)
    state = load_file(file)
    key = next(k for k in state if k.endswith("SelfAttention.q.weight"))
    state["somebody.else"] = state.pop(key)
    save_file(state, file, {"format": "pt"})
    says = r"keys do not fit umT5; .*SelfAttention\.q\.weight.*somebody\.else"
    with pytest.raises(WeightsError, match=says):
        encoder(tmp_path / "b", tmp_path)(["open"])


def test_cache_keeps_features_on_disk_bit_for_bit(tmp_path):
    features = torch.randn(3, 4).bfloat16()
    TextCache(tmp_path, "me").put("lift", features)
    got = TextCache(tmp_path, "me").get("lift")
    assert got.dtype == torch.bfloat16 and torch.equal(got, features)
    assert TextCache(tmp_path, "me").get("drop") is None
    assert TextCache(tmp_path, "you").get("lift") is None
    assert len([*tmp_path.rglob("*")]) == 2  # one folder, one file, nothing left over


def test_a_damaged_or_exchanged_file_counts_as_absent(tmp_path, caplog):
    cache = TextCache(tmp_path, "me")
    for caption in ("lift", "drop"):
        cache.put(caption, torch.randn(3, 4))
    lift, drop = (cache._file(caption) for caption in ("lift", "drop"))
    lift.write_bytes(drop.read_bytes())
    drop.write_bytes(drop.read_bytes()[:-4])
    fresh = TextCache(tmp_path, "me")
    assert fresh.get("lift") is None and "holds another text" in caplog.text
    assert fresh.get("drop") is None and "not a readable text feature" in caplog.text
    fresh.put("lift", torch.ones(1, 4))
    assert torch.equal(TextCache(tmp_path, "me").get("lift"), torch.ones(1, 4))


def test_features_that_are_not_finite_are_never_kept(tmp_path):
    with pytest.raises(ValueError, match="features of 'lift' are not finite"):
        TextCache(tmp_path, "me").put("lift", torch.tensor([[float("nan")]]))
    assert not [*tmp_path.rglob("*.safetensors")]
