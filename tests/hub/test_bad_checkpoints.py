# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that would run code, reach outside their folder or lie about their bytes: refused, and nothing has run."""

import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_repos import rewrite
from lerobot.processor import PolicyProcessorPipeline
from safetensors.torch import load_file, save_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.hub.files.safe_files import (
    UnsafeCheckpointError,
    check_name,
    check_plain_name,
    read_object,
    tensor_shapes,
)
from lerobot_wallwm.hub.files.weights import WeightsError, weight_files
from lerobot_wallwm.hub.remote.pull import fetch_checkpoint
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


class _Bomb:
    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path, monkeypatch) -> Path:
    """A folder that appears if code of a checkpoint runs; a module on the path that makes it when it is imported."""
    folder = tmp_path / "canary"
    (tmp_path / "evil_module.py").write_text(f"import os\nos.mkdir({str(folder)!r})\nclass Step: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop("evil_module", None)


@pytest.fixture
def refused(hub, checkpoint, publish_files, tmp_path, capsys) -> Callable[[str], None]:
    """Checks that the checkpoint is refused, loaded from here or the Hub, pulled and published, and leaves nothing."""

    def check(says: str) -> None:
        publish_files(checkpoint)
        for name in (checkpoint, "me/x"):
            with pytest.raises(UnsafeCheckpointError, match=says):
                WallwmPolicy.from_pretrained(name)
        assert main(["pull", "me/x", f"--out={tmp_path / 'out'}"]) == 2
        assert publish(checkpoint) == 2
        assert "Traceback" not in capsys.readouterr().err
        assert not (tmp_path / "out").exists() and ("model", "me/y") not in hub.repos

    return check


def publish(folder: Path) -> int:
    return main(["publish", f"--policy.path={folder}", "--repo_id=me/y"])


def header(entries: dict, data: int = 0, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BAD_WEIGHTS = {
    "empty": b"",
    "shorter than its length": b"abc",
    "a pickle": pickle.dumps({"a": 1}),
    "a zip, as torch.save writes": b"PK\x03\x04" + bytes(1000),
    "header beyond the file": header({"a": F32}, 8, length=10**6),
    "header of exabytes": header({"a": F32}, 8, length=2**63),
    "header over the limit": header({"a": F32}, 8, length=100_000_001),
    "header is a list": struct.pack("<Q", 2) + b"[]",
    "header is no JSON": struct.pack("<Q", 4) + b"{{{{",
    "header is no text": struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe",
    "header nested a million deep": struct.pack("<Q", 10**6) + b"[" * 10**6,
    "data missing": header({"a": F32}, 4),
    "data left over": header({"a": F32}, 9),
    "overlap": header({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, 12),
    "the same bytes twice": header({"a": F32, "b": F32}, 8),
    "gap": header({"a": F32, "b": {**F32, "data_offsets": [12, 20]}}, 20),
    "shape of other bytes": header({"a": {**F32, "shape": [3]}}, 8),
    "shape that overflows": header({"a": {**F32, "shape": [2**62, 4]}}, 8),
    "negative shape": header({"a": {**F32, "shape": [-2]}}, 8),
    "shape of fractions": header({"a": {**F32, "shape": [2.0]}}, 8),
    "backward offsets": header({"a": {**F32, "data_offsets": [8, 0]}}, 8),
    "offsets beyond the file": header({"a": {**F32, "shape": [10**6], "data_offsets": [0, 4 * 10**6]}}, 8),
    "unknown type": header({"a": {**F32, "dtype": "OBJ"}}, 8),
    "no entry": header({"a": None}),
    "metadata of objects": header({"__metadata__": {"format": {}}, "a": F32}, 8),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_weights_that_lie_are_refused_when_loaded_pulled_and_published(name, checkpoint, refused):
    (checkpoint / "model.safetensors").write_bytes(BAD_WEIGHTS[name])
    refused(r"model\.safetensors: .* Fix: ")


def test_a_good_header_passes(tmp_path):
    file = tmp_path / "a.safetensors"
    for dtype in (torch.float32, torch.bfloat16, torch.bool, torch.int64, torch.uint8, torch.float8_e4m3fn):
        save_file(
            {"a": torch.zeros(2, 3).to(dtype), "empty": torch.zeros(0, 3), "one": torch.tensor(1)}, file
        )
        assert tensor_shapes(file) == {"a": (2, 3), "empty": (0, 3), "one": ()}


STEP = {"class": "evil_module.Step", "config": {}}


def device_step(**more) -> dict:
    return {"registry_name": "device_processor", **more}


def insert_step(processor: Path, step) -> None:
    steps = json.loads(processor.read_text())["steps"]
    rewrite(processor, steps=[step, *steps])


@pytest.mark.parametrize(
    ("processor", "step"),
    [
        ("pre", STEP),
        ("post", STEP),
        ("pre", device_step(**STEP)),
        ("pre", {"registry_name": "tokenizer_processor", "config": {"tokenizer_name": "evil/x"}}),
        ("pre", {"registry_name": ["device_processor"]}),
        ("pre", device_step(state_file="../../x.safetensors")),
        ("pre", device_step(state_file="/etc/x.safetensors")),
        ("pre", device_step(state_file="state.pkl")),
        ("pre", device_step(config={"a": {"x_log": "y"}})),
        ("pre", "evil_module.Step"),
    ],
)
def test_a_processor_that_names_code_or_files_elsewhere(checkpoint, refused, canary, processor, step):
    insert_step(checkpoint / f"policy_{processor}processor.json", step)
    refused("step 0")
    assert not canary.exists() and "evil_module" not in sys.modules


def test_the_canary_sings(canary, checkpoint):
    """LeRobot's own loader does import the class; without the check the tests above would prove nothing."""
    insert_step(checkpoint / "policy_preprocessor.json", STEP)
    with pytest.raises(Exception):  # noqa: B017  what it is does not matter
        PolicyProcessorPipeline.from_pretrained(checkpoint, config_filename="policy_preprocessor.json")
    assert canary.exists()


@pytest.mark.parametrize(
    "name", ["model.bin", "a.pt", "b.pth", "c.pkl", "optimizer.ckpt", "x.npy", "setup.py", "run.sh"]
)
def test_a_pickle_or_program_beside_good_weights(checkpoint, refused, canary, name):
    (checkpoint / name).write_bytes(pickle.dumps(_Bomb(canary)))
    refused("pickle|program")
    assert not canary.exists()


@pytest.mark.parametrize(
    "name", ["../evil.json", "a/../../evil.json", "/etc/evil.json", "a\\..\\b.json", "c:evil.json", "./x"]
)
def test_a_listing_with_names_that_escape(checkpoint, publish_files, tmp_path, name):
    publish_files(checkpoint, files={name: b"{}"})
    with pytest.raises(UnsafeCheckpointError, match="leaves the checkpoint's folder"):
        WallwmPolicy.from_pretrained("me/x")
    assert main(["pull", "me/x", f"--out={tmp_path / 'out'}"]) == 2
    assert not list(tmp_path.rglob("evil.json"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("calibration", "../../../secret.json"),
        ("calibration", "/etc/passwd"),
        ("calibration", "weights.pkl"),
        ("backbone_path", "~/elsewhere"),
        ("planner_url", "http://198.51.100.7/v1"),
        ("event_log", ".bashrc"),
        ("planner_file", "orders.txt"),
        ("safety_log", "a/b"),
        ("type", "act"),
        ("new_cameras", ["C:\\windows"]),
    ],
)
def test_a_configuration_that_leads_elsewhere(checkpoint, publish_files, tmp_path, key, value):
    given = {**json.loads((checkpoint / "config.json").read_text()), key: value}
    publish_files(checkpoint, files={"config.json": json.dumps(given).encode()})
    assert main(["pull", "me/x", f"--out={tmp_path / 'out'}"]) == 2
    with pytest.raises(UnsafeCheckpointError, match="Fix: "):
        fetch_checkpoint("me/x")
    if key != "type":
        with pytest.raises(
            UnsafeCheckpointError
        ):  # LeRobot has read the same file, and the user said nothing
            fetch_checkpoint("me/x", given=given)
        fetch_checkpoint("me/x", given={**given, key: None})  # the user said otherwise


@pytest.mark.parametrize(
    "content", ['{"x_log": "y"}', '{"a": {"b": ["/etc/passwd"]}}', '{"a": "http://h/x"}', "[]"]
)
def test_what_was_learned_leads_nowhere_else(checkpoint, publish_files, tmp_path, content):
    publish_files(checkpoint, files={"learned.json": content.encode()})
    with pytest.raises(UnsafeCheckpointError, match=r"learned\.json: "):
        WallwmPolicy.from_pretrained("me/x")
    assert main(["pull", "me/x", f"--out={tmp_path / 'out'}"]) == 2


def no_number(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    name = next(key for key, value in tensors.items() if value.is_floating_point() and value.numel() > 1)
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, checkpoint / "model.safetensors")


def token(checkpoint: Path) -> None:
    file = checkpoint / "train_config.json"
    file.write_text(file.read_text().replace("test/tiny_events", "x hf_abcdefghijklmnopqrstuvwxyz"))


def foreign_file(checkpoint: Path) -> None:
    secret = checkpoint.parent / "secret.json"
    secret.write_text('{"password": "1234"}')
    rewrite(checkpoint / "config.json", calibration=str(secret))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(foreign_file, "is no calibration"), (token, "access token"), (no_number, "NaN or infinity")],
)
def test_what_should_stay_at_home_is_not_published(hub, checkpoint, capsys, spoil, says):
    """Another file by the field of the calibration, a token in the settings, broken numbers."""
    spoil(checkpoint)
    assert publish(checkpoint) == 2
    error = capsys.readouterr().err
    assert says in error and "abcdefghij" not in error and hub.repos == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1, "a": 2}', "[" * 100_000])
def test_json_that_is_none(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UnsafeCheckpointError):
        read_object(tmp_path / "a.json")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "figures/a b.png", "checkpoints/000010/x.json", ".gitattributes"]
)
def test_ordinary_names_pass(name):
    check_name(name)


@pytest.mark.parametrize("name", ["a/b.json", "..json/", "", None, "a.txt", "-x.json", "..", "a\n.json"])
def test_names_of_files_beside(name):
    with pytest.raises(UnsafeCheckpointError):
        check_plain_name(name, "config.json", ".json")


def test_a_shard_index_that_names_files_elsewhere(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.safetensors").write_bytes(header({"a": F32}, 8))
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors"), "..", 3):
        index = tmp_path / "in" / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(WeightsError, match="no file of its folder"):
            weight_files(tmp_path / "in", "mend it")
