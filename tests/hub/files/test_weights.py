# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lerobot_wallwm.hub.files.weights import WeightsError, contents, load_weights, weight_files

FIX = "ask for it again"


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def saved(folder, seed: int = 0, **changes):
    """State of a network in one file; a change to None leaves a key out."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    state = {**network(seed).state_dict(), **changes}
    file = folder / "model.safetensors"
    save_file({key: value for key, value in state.items() if value is not None}, file)
    return file


@pytest.mark.parametrize("empty", [False, True])
def test_every_tensor_arrives(tmp_path, empty):
    file = saved(tmp_path, seed=1)
    with torch.device("meta" if empty else "cpu"):
        module = network(seed=2)
    load_weights(module, [file], FIX)
    assert not any(value.is_meta for value in module.state_dict().values())
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in load_file(file).items())
    assert isinstance(module[0].weight, nn.Parameter) and module[0].weight.requires_grad
    assert "running_mean" in dict(module[1].named_buffers())  # buffers stay buffers
    module(torch.randn(5, 3)).sum().backward()


def test_real_parameters_stay_the_same_objects(tmp_path):
    module = network(seed=2)
    before = [id(parameter) for parameter in module.parameters()]
    load_weights(module, [saved(tmp_path, seed=1)], FIX)
    assert before == [id(parameter) for parameter in module.parameters()]


def test_weights_are_copies_of_the_file(tmp_path):
    file = saved(tmp_path, seed=1)
    with torch.device("meta"):
        module = network()
    load_weights(module, [file], FIX)
    before = module[0].weight.clone()
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(b"\xff" * (size - size // 2))
    assert torch.equal(module[0].weight, before)


def test_dtype_and_frozen_parameters(tmp_path):
    file = saved(tmp_path, seed=1)
    with torch.device("meta"):
        module = network().requires_grad_(False)
    load_weights(module, [file], FIX, dtype=torch.bfloat16)
    assert module[0].weight.dtype == torch.bfloat16 and not module[0].weight.requires_grad
    assert module[1].num_batches_tracked.dtype == torch.long  # whole numbers are no weights
    torch.testing.assert_close(module[0].weight, load_file(file)["0.weight"].bfloat16())


def test_all_that_does_not_fit_is_listed_before_anything_is_loaded(tmp_path):
    file = saved(
        tmp_path,
        seed=1,
        **{"0__weight": torch.zeros(4, 5), "1__bias": None, "1__running_mean": None, "head": torch.zeros(1)},
        **{"1__weight": torch.zeros(4, dtype=torch.long)},
    )
    module = network(seed=2)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WeightsError) as raised:
        load_weights(module, [file], FIX)
    text = str(raised.value)
    assert str(file) in text and f"Fix: {FIX}" in text
    assert "2 missing: 1.bias, 1.running_mean" in text
    assert "1 unexpected: head" in text
    assert "0.weight (4, 5) instead of (4, 3)" in text and "1.weight (numbers of another kind)" in text
    assert sorted(raised.value.keys) == ["0.weight", "1.bias", "1.running_mean", "1.weight", "head"]
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in before.items())


def test_only_the_keys_asked_for_are_expected(tmp_path):
    with torch.device("meta"):
        module = nn.ModuleDict({"wan": network(), "ours": nn.Linear(2, 2)})
    state = {f"wan.{key}": value for key, value in network(1).state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    load_weights(module, [tmp_path / "a.safetensors"], FIX, keys=state)
    assert module["ours"].weight.is_meta and not module["wan"][0].weight.is_meta


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_file_cut_short_is_named(tmp_path, keep):
    file = saved(tmp_path)
    file.write_bytes(file.read_bytes()[:keep])
    says = r"model\.safetensors: is no complete safetensors file .* Fix: ask"
    with pytest.raises(WeightsError, match=says):
        load_weights(network(), [file], FIX)


def test_a_lying_header_and_a_file_that_is_not_there_are_errors(tmp_path):
    file = saved(tmp_path)
    raw = file.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header["0.weight"]["shape"] = [4, 4]  # of which the file holds only 12 numbers
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    with pytest.raises(WeightsError, match="is no complete safetensors file"):
        contents([file], FIX)
    with pytest.raises(WeightsError, match=r"gone\.safetensors: is no complete"):
        contents([tmp_path / "gone.safetensors"], FIX)


def test_shards_are_those_of_the_index(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x-1.safetensors")
    save_file({"b": torch.zeros(1)}, tmp_path / "x-2.safetensors")
    index = tmp_path / "x.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}))
    assert [file.name for file in weight_files(tmp_path, FIX)] == ["x-1.safetensors", "x-2.safetensors"]
    (tmp_path / "x-2.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"index\.json: names files that are not there: x-2\.safetensors"):
        weight_files(tmp_path, FIX)
    index.write_text("{")
    with pytest.raises(WeightsError, match=r"index\.json: cannot be read as JSON"):
        weight_files(tmp_path, FIX)
    index.write_text("{}")
    with pytest.raises(WeightsError, match="has no 'weight_map'"):
        weight_files(tmp_path, FIX)


def test_the_same_key_twice_is_an_error(tmp_path):
    files = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for file in files:
        save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match=r"1\.safetensors: holds 'a', which 0\.safetensors holds too"):
        contents(files, FIX)


def test_a_folder_without_safetensors_or_with_several_is_an_error(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"a pickle is never read")
    with pytest.raises(WeightsError, match=r"must hold one \.safetensors file .* found none"):
        weight_files(tmp_path, FIX)
    for name in "ab":
        save_file({name: torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(WeightsError, match=r"found a\.safetensors, b\.safetensors"):
        weight_files(tmp_path, FIX)
