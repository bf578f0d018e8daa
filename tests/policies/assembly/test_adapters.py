# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LoRA on a checkpoint, as LeRobot wraps, saves and loads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from safetensors.torch import load_file, save_file
from test_plugin import TRAIN, run, train

from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.processor_wallwm import make_wallwm_pre_post_processors

peft = pytest.importorskip("peft", reason="needs the `lora` extra")
OTHER_LIMITS = {"low": [-9.0] * 6, "high": [99.0] * 6}


def other(stats: dict[str, Any]) -> dict[str, Any]:
    """Statistics of the same arm somewhere else."""
    one = {key: value.clone() for key, value in stats["action"].items()}
    for key in ("min", "max", "mean", "q01", "q99"):
        one[key] = one[key] * 0.5 + torch.tensor([40.0, -20, 10, 5, -30, 20])
    return {key: {**one, "count": torch.tensor([100])} for key in stats}


def adapted(base: Path, stats: dict[str, Any], **fields: Any) -> Any:
    """What `lerobot-train --policy.path=<base> --peft.r=4` starts with on another dataset."""
    config = PreTrainedConfig.from_pretrained(base)
    config.pretrained_path = base
    for name, value in fields.items():
        setattr(config, name, value)
    policy = WallwmPolicy.from_pretrained(base, config=config, dataset_stats=stats)
    policy.config.learned.motion_limits = dict(OTHER_LIMITS)
    return policy.wrap_with_peft(peft_cli_overrides={"method_type": "LORA", "r": 4})


def save(policy: Any, stats: dict[str, Any], folder: Path) -> Path:
    """As `save_checkpoint` does for an adapter."""
    policy.save_pretrained(folder)
    policy.config.save_pretrained(folder)
    for pipeline in make_wallwm_pre_post_processors(policy.config, stats):
        pipeline.save_pretrained(folder)
    return folder


def load(folder: Path) -> Any:
    """As `lerobot-rollout` does."""
    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = folder
    assert config.use_peft
    settings = peft.PeftConfig.from_pretrained(folder)
    policy = WallwmPolicy.from_pretrained(settings.base_model_name_or_path, config=config)
    return peft.PeftModel.from_pretrained(policy, folder, config=settings)


def steps(policy: Any, make_train_batch: Any, count: int = 3) -> None:
    preset = policy.config.get_optimizer_preset()
    optimizer = preset.build(policy.get_optim_params())
    for number in range(count):
        policy.train()
        loss, _ = policy.forward(make_train_batch(policy.config, seed=number))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        policy.update()


@pytest.fixture(scope="module")
def base(make_policy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_policy(stage="joint").save_pretrained(folder)
    return folder


def test_what_is_trained_on_another_dataset_comes_back_and_so_do_its_units(
    base, tiny_stats, make_train_batch, make_observation, tmp_path
):
    stats = other(tiny_stats)
    policy = adapted(base, stats)
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    steps(policy, make_train_batch)
    changed = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name, p in policy.named_parameters() if p.requires_grad and name in changed}
    for part in ("video.blocks", "action.blocks", "goal_head", "landmarks", "action.head", "text_encoder"):
        assert any(part in name for name in changed), part
    assert not any(name.endswith("base_layer.weight") for name in changed)

    folder = save(policy, stats, tmp_path / "adapter")
    loaded = load(folder)
    observation = make_observation(["reach for the red cube"])
    expected = policy.eval().select_action(dict(observation))
    assert torch.equal(loaded.select_action(dict(observation)), expected)
    assert loaded.config.learned.motion_limits == OTHER_LIMITS

    # "Stay" is the pose that the arm has, in degrees, through every holder of the units and the saved pipeline.
    inner = loaded.base_model.model
    loaded.reset()
    _, after = make_pre_post_processors(loaded.config, str(folder))
    pose = stats["action"]["mean"][None] + 3.0
    for space in (inner.action_space, inner.guards.action_space, inner.rollout.action_space):
        torch.testing.assert_close(space.range_high, stats["action"]["max"])
        stay = after(space.decode_actions(space.hold_pose(pose), pose)[:, 0])
        assert (stay - pose)[:, :5].abs().max() < 0.01
    # With the base's units it would be somewhere else.
    base_space = WallwmPolicy.from_pretrained(base).action_space
    away = after(base_space.decode_actions(base_space.hold_pose(pose), pose)[:, 0])
    assert (away - pose)[:, :5].abs().max() > 10


def test_an_adapter_of_an_adapter_goes_on_with_its_own_units(base, tiny_stats, make_train_batch, tmp_path):
    stats = other(tiny_stats)
    policy = adapted(base, stats)
    steps(policy, make_train_batch, 1)
    folder = save(policy, stats, tmp_path)
    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = folder
    again = WallwmPolicy.from_pretrained(base, config=config, dataset_stats=stats)
    for name, value in again.action_space.named_buffers():
        assert torch.equal(value, getattr(policy.base_model.model.guards.action_space, name)), name


def test_adapters_are_small_and_a_tower_that_knows_nothing_is_trained_whole(
    base, make_policy, tiny_stats, tmp_path
):
    policy = adapted(base, tiny_stats)
    names = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert any("action.blocks.0.video_attention.to_kv.lora_A" in name for name in names)
    assert not any(".model.action.modules_to_save" in name for name in names)
    adapters = sum(p.numel() for name, p in policy.named_parameters() if "lora_" in name)
    blocks = sum(
        p.numel() for name, p in policy.named_parameters() if ".blocks." in name and "lora_" not in name
    )
    assert 0 < adapters < blocks

    video = make_policy(stage="video", shake=False)
    video.config.pretrained_path = tmp_path
    video.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has never learned.*without --peft"):
        adapted(tmp_path, tiny_stats, stage="action")
    fresh = adapted(tmp_path, tiny_stats, stage="joint")
    trained = {name for name, p in fresh.named_parameters() if p.requires_grad}
    assert any("model.action.modules_to_save.default.blocks" in name for name in trained)
    assert any("model.video.blocks.0.attn1.to_out.0.lora_A" in name for name in trained)


def test_the_base_of_a_bfloat16_run_takes_two_bytes_a_weight(
    base, tiny_stats, make_train_batch, make_observation, tmp_path
):
    policy = adapted(base, tiny_stats, dtype="bfloat16")
    steps(policy, make_train_batch)
    kinds = {"base_layer.weight": torch.bfloat16, "lora_A.default.weight": torch.float32}
    for end, dtype in kinds.items():
        assert {p.dtype for name, p in policy.named_parameters() if name.endswith(end)} == {dtype}
    loaded = load(save(policy, tiny_stats, tmp_path))
    seen = make_observation(["reach for the red cube"])
    torch.testing.assert_close(
        loaded.select_action(dict(seen)), policy.eval().select_action(dict(seen)), atol=0.05, rtol=0.05
    )


def test_no_average_is_kept(base, tiny_stats, make_train_batch, tmp_path, caplog):
    policy = adapted(base, tiny_stats, ema_decay=0.9)
    assert "no average" in caplog.text
    steps(policy, make_train_batch, 1)
    loaded = load(save(policy, tiny_stats, tmp_path))
    assert len(loaded.base_model.model.ema) == 0


def test_without_its_base_or_its_units_an_adapter_is_refused(base, tiny_stats, tmp_path):
    folder = save(adapted(base, tiny_stats), tiny_stats, tmp_path / "adapter")
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base.resolve())
    settings["base_model_name_or_path"] = str(tmp_path / "gone")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="gone.*without its base"):
        load(folder)
    settings["base_model_name_or_path"] = str(base)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    weights = load_file(folder / "adapter_model.safetensors")
    assert any("action_space" in key for key in weights)
    save_file(
        {k: v for k, v in weights.items() if "range_low" not in k}, folder / "adapter_model.safetensors"
    )
    with pytest.raises(WeightsError, match="units.*range_low"):
        load(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"\.bin"):
        load(folder)


@pytest.fixture(scope="module")
def moved_view(tiny_view, tmp_path_factory) -> Path:
    """The view with its joints elsewhere: the same arm on another day, by 40 degrees."""
    import pandas as pd

    root = tmp_path_factory.mktemp("moved") / "train"
    shutil.copytree(tiny_view / "train", root)
    for file in (root / "data").rglob("*.parquet"):
        table = pd.read_parquet(file)
        for key in ("observation.state", "action"):
            table[key] = [(row * 0.5 + 40.0).astype("float32") for row in table[key]]
        table.to_parquet(file)
    stats = json.loads((root / "meta" / "stats.json").read_text())
    for key in ("observation.state", "action"):
        for name, values in stats[key].items():
            if name == "count":
                continue
            stats[key][name] = [v * 0.5 + (0 if name == "std" else 40.0) for v in values]
    (root / "meta" / "stats.json").write_text(json.dumps(stats))
    return root


@pytest.mark.slow
def test_lerobot_train_adapts_a_checkpoint_to_another_dataset(tiny_view, moved_view, tmp_path):
    first = train(tiny_view / "train", tmp_path / "base", 4, "--save_freq=4")
    printed = run(
        TRAIN,
        f"--policy.path={first / 'last' / 'pretrained_model'}",
        "--peft.method_type=LORA",
        "--peft.r=4",
        "--policy.push_to_hub=false",
        "--dataset.repo_id=test/moved",
        f"--dataset.root={moved_view}",
        f"--output_dir={tmp_path / 'lora'}",
        "--steps=4",
        "--save_freq=4",
        "--batch_size=4",
        "--num_workers=0",
    )
    folder = tmp_path / "lora" / "checkpoints" / "last" / "pretrained_model"
    counts = {
        name: int(printed.split(f"num_{name}_params=")[1].split()[0]) for name in ("learnable", "total")
    }
    print(f"trained share of the tiny model: {counts['learnable'] / counts['total']:.2f}")
    assert counts["learnable"] < counts["total"] / 2
    policy = load(folder)
    stats = json.loads((moved_view / "meta" / "stats.json").read_text())
    _, after = make_pre_post_processors(policy.config, str(folder))
    pose = torch.tensor([stats["action"]["mean"]]) + 3.0
    space = policy.base_model.model.rollout.action_space
    stay = after(space.decode_actions(space.hold_pose(pose), pose)[:, 0])
    assert (stay - pose)[:, :5].abs().max() < 0.01
