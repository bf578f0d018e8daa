# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The whole policy on backbones that diffusers and transformers saved."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from huggingface_hub import constants
from lerobot.configs import PreTrainedConfig
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_models import random_event
from tiny_wan import TRANSFORMER, save_backbone

from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.assembly.build import check_precision
from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.model.imagination import Imagination
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.towers.video_tower import VideoFeatures

NAMES = sorted(TRANSFORMER)
TASK = "open the gripper"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: save_backbone(tmp_path_factory.mktemp("backbones") / name, name) for name in NAMES}


@pytest.fixture
def make_wan(folders, make_policy, tmp_path, monkeypatch):
    """Builds a policy on a tiny backbone; keyword arguments replace its fields."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "text_cache"))

    def build(name: str = "wan2.1-1.3b", shake: bool = False, **fields):
        size = (64, 64) if name == "wan2.2-5b" else (32, 32)
        numbers = {"backbone": name, "backbone_path": str(folders[name]), "image_size": size}
        return make_policy(shake=shake, **{**numbers, **fields})

    return build


def train_step(policy, batch, lr: float) -> tuple[torch.Tensor, dict]:
    optimizer = torch.optim.AdamW(policy.get_optim_params(), lr=lr)
    loss, logged = policy(batch)
    loss.backward()
    optimizer.step()
    return loss, logged


def act(policy, observation, imagination: str) -> torch.Tensor:
    policy.config.imagination = imagination
    policy.reset()
    return policy.predict_action_chunk(observation)


@pytest.mark.parametrize("name", NAMES)
def test_trains_a_step_and_a_saved_policy_acts_identically(
    make_wan, make_train_batch, make_observation, tmp_path, name
):
    policy = make_wan(name, save_predicted_video=True, future_fraction=0.25).train()
    before = {key: value.clone() for key, value in policy.state_dict().items()}
    loss, logged = train_step(policy, make_train_batch(policy.config), 1e-2)
    assert torch.isfinite(loss) and logged["loss_video"] > 0
    moved = {key for key, value in policy.state_dict().items() if not torch.equal(value, before[key])}
    assert {"model.video.patch_embedding.weight", "model.video.blocks.0.cross_view.project.weight"} <= moved

    policy.save_pretrained(tmp_path / "checkpoint")
    loaded = WallwmPolicy.from_pretrained(tmp_path / "checkpoint")
    assert loaded.state_dict().keys() == policy.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in policy.state_dict().items())
    policy.eval()
    observation = make_observation([TASK])
    for imagination in ("none", "anchor", "full"):
        expected = act(policy, observation, imagination)
        assert torch.equal(act(loaded, observation, imagination), expected) and expected.std() > 1e-4
    loaded.reset()
    loaded.select_action(observation)
    film = loaded.decode_predicted_latents(loaded.last_predicted_latents)
    height, width = policy.config.image_size
    assert film.dtype == torch.uint8 and film.shape == (9, height, 2 * width, 3)


def test_frozen_encoders_are_neither_trained_nor_saved(make_wan, make_train_batch, tmp_path):
    policy = make_wan()
    policy(make_train_batch(policy.config))
    parts = ("model.codec", "model.text_encoder")
    assert not [key for key in policy.state_dict() if key.startswith(parts)]
    assert not [name for name, _ in policy.named_parameters() if name.startswith(parts)]
    policy.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == policy.state_dict().keys()
    learned = Learned.read(tmp_path)
    assert learned.backbone_shape["width"] == 24 and len(learned.text_encoder_id) == 32


def test_a_new_policy_predicts_what_wan_predicts(make_wan, folders):
    policy = make_wan("wan2.2-5b")
    wan = WanTransformer3DModel.from_pretrained(folders["wan2.2-5b"] / "transformer").eval()
    frames = torch.rand(1, 2, 9, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z, text = policy.model.encode(frames), policy.model.text_encoder([TASK])
    t = torch.tensor([[0.0, 0.4, 0.4]])
    with torch.no_grad():
        prediction = policy.model.video(z, t, text).prediction
        tokens = math.prod(policy.model.video.grid)
        for view in range(2):
            args = (z[:, view], (t * 1000).repeat_interleave(tokens, 1), text)
            torch.testing.assert_close(prediction[:, view], wan(*args).sample, atol=1e-5, rtol=1e-5)


def oracle(z_0: torch.Tensor):
    """A video tower that knows the data: it predicts ``eps - z_0 = (z_t - z_0) / t``."""

    def forward(z_t, t_BT, text, valid=None, predict=True, given=0, landmarks_BVKD=None, **_):
        t = t_BT[:, None, None, :, None, None].clamp_min(1e-6)
        velocity = (z_t - z_0[: len(z_t), :, :, : z_t.shape[3]]) / t
        landmarks = 0 if landmarks_BVKD is None else landmarks_BVKD.shape[2]
        layers = [torch.zeros(*z_t.shape[:2], z_t.shape[3], 4 + landmarks, 24)] * 2
        return VideoFeatures(layers, velocity[:, :, :, given:] if predict else None, landmarks_BVKD)

    return forward


@pytest.mark.parametrize("steps", [1, 3])
def test_integrating_the_true_velocity_gives_the_data(make_wan, monkeypatch, steps):
    model = make_wan().model
    frames = torch.rand(2, 2, 9, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    z_0 = model.encode(frames)
    monkeypatch.setattr(model.video, "forward", oracle(z_0))
    text = model.text_encoder([TASK, TASK])
    planned = torch.tensor([8, 8])
    noise = torch.randn(z_0[:, :, :, 1:].shape, generator=torch.Generator().manual_seed(0))
    landmarks = model.find_landmarks(frames[:, :, 0], text, None)
    dream = Imagination(model, z_0[:, :, :, :1], text, planned, steps, noise, landmarks=landmarks)
    for _ in range(steps):
        dream.step()
    torch.testing.assert_close(dream.z, z_0[:, :, :, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dream.latents(), z_0, atol=1e-4, rtol=1e-4)


def wan_event(lengths: tuple[int, ...]):
    event = random_event(lengths=lengths)
    for name in ("keyframes", "future"):
        setattr(event, name, torch.rand(*getattr(event, name).shape[:-2], 32, 32))
    for name in ("state", "actions", "here", "goal"):
        setattr(event, name, torch.randn(*getattr(event, name).shape[:-1], 6))
    return event


def test_the_video_loss_is_the_velocitys_mean_squared_error(make_wan, monkeypatch):
    model = make_wan(future_fraction=1.0).model
    model.shape = replace(model.shape, packing=False)
    event = wan_event((8, 8, 5, 2))
    z_0 = model.encode(torch.cat((event.keyframes[:, :, None], event.future), dim=2))
    knows = oracle(z_0)

    def off_by_two(*args, **kwargs):
        features = knows(*args, **kwargs)
        features.prediction = features.prediction + 2.0
        return features

    for tower, expected in ((knows, 0.0), (off_by_two, 4.0)):
        monkeypatch.setattr(model.video, "forward", tower)
        losses = objectives.losses(model, event)
        assert losses.has_video.tolist() == [True, True, True, True]
        torch.testing.assert_close(losses.video, torch.full((4,), expected), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_packed_losses_equal_padded_ones(make_wan):
    # The VAE is causal: it need not see what lies beyond an event.
    model = make_wan(future_fraction=1.0, shake=True).model
    event, results = wan_event((8, 3, 5, 1)), []
    for packing in (False, True):
        model.shape = replace(model.shape, packing=packing)
        torch.manual_seed(0)
        results.append(objectives.losses(model, event))
    for name in ("action", "video"):
        padded, packed = (getattr(losses, name) for losses in results)
        torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)
    assert results[0].video[:3].min() > 0.01


def moved(config_path: Path, **changes) -> PreTrainedConfig:
    """A checkpoint's configuration as `--policy.path=... --policy.<name>=...` reads it."""
    overrides = [f"--{key}={value}" for key, value in changes.items()]
    return PreTrainedConfig.from_pretrained(config_path, cli_overrides=overrides)


def test_a_checkpoint_needs_no_transformer_and_finds_its_encoders_again(
    make_wan, make_observation, folders, tmp_path
):
    home = tmp_path / "home"
    shutil.copytree(folders["wan2.1-1.3b"], home)
    policy = make_wan(backbone_path=str(home), shake=True)
    observation = make_observation([TASK])
    expected = act(policy, observation, "full")
    checkpoint = tmp_path / "checkpoint"
    policy.save_pretrained(checkpoint)
    shutil.rmtree(home / "transformer")  # never read where a checkpoint overwrites it
    assert torch.equal(act(WallwmPolicy.from_pretrained(checkpoint), observation, "full"), expected)

    shutil.rmtree(home / "text_encoder")  # nor this, as long as the captions are known
    shutil.rmtree(home / "tokenizer")
    loaded = WallwmPolicy.from_pretrained(checkpoint)
    assert torch.equal(act(loaded, observation, "full"), expected)
    says = r"tokenizer: .*needs this folder.*--policy\.backbone_path|text_encoder"
    with pytest.raises(WeightsError, match=says):
        loaded.predict_action_chunk(make_observation(["something new"]))

    shutil.rmtree(home)
    with pytest.raises(WeightsError, match=r"home/vae: .*--policy\.backbone_path"):
        WallwmPolicy.from_pretrained(checkpoint)
    config = moved(checkpoint, backbone_path=folders["wan2.1-1.3b"])
    again = WallwmPolicy.from_pretrained(checkpoint, config=config)
    assert torch.equal(act(again, observation, "full"), expected)
    again.predict_action_chunk(make_observation(["something new"]))


def test_another_backbones_encoders_are_refused(make_wan, folders, tmp_path):
    make_wan().save_pretrained(tmp_path)
    config = moved(tmp_path, backbone_path=folders["wan2.2-5b"])
    with pytest.raises(WeightsError, match="'z_dim' is 12; the transformer takes latents of 4 channels"):
        WallwmPolicy.from_pretrained(tmp_path, config=config)


def test_the_stages_follow_one_another_without_the_transformer(make_wan, make_train_batch, folders, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(folders["wan2.1-1.3b"], home)
    policy = make_wan(backbone_path=str(home), stage="video", ema_decay=0.9)
    shutil.rmtree(home / "transformer")
    for stage in ("video", "action", "next_chunk"):
        loss, _ = train_step(policy.train(), make_train_batch(policy.config), 1e-3)
        policy.update()
        assert torch.isfinite(loss), stage
        policy.save_pretrained(tmp_path / stage)
        following = {"video": "action", "action": "next_chunk", "next_chunk": "next_chunk"}[stage]
        config = moved(tmp_path / stage, stage=following)
        policy = WallwmPolicy.from_pretrained(tmp_path / stage, config=config)
        assert not [name for name, value in policy.state_dict().items() if value.is_meta], following


@pytest.mark.parametrize("backbone", ["nano", "wan2.1-1.3b"])
def test_weights_that_do_not_fit_a_checkpoint_are_listed(make_wan, make_policy, tmp_path, backbone):
    policy = make_policy() if backbone == "nano" else make_wan()
    policy.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    whole, state = file.read_bytes(), load_file(file)
    state["model.video.blocks.9.attn1.to_q.weight"] = state.pop("model.video.blocks.1.attn1.to_q.weight")
    state["model.video.position"] = torch.zeros(1, 2, 2, 24)
    save_file(state, file)
    says = r"1 missing: .*blocks\.1.*1 unexpected: .*blocks\.9.*1 mis-shaped: model\.video\.pos"
    with pytest.raises(WeightsError, match=says):
        WallwmPolicy.from_pretrained(tmp_path)
    file.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"model\.safetensors: is no complete safetensors file"):
        WallwmPolicy.from_pretrained(tmp_path)
    file.unlink()
    says = r"model\.safetensors: is no complete .*Fix: choose a complete checkpoint"
    with pytest.raises(WeightsError, match=says):
        WallwmPolicy.from_pretrained(tmp_path)


def test_a_checkpoint_of_another_backbone_or_view_set_is_an_error(make_wan, make_policy, folders, tmp_path):
    make_policy().save_pretrained(tmp_path / "nano")
    changes = {"backbone": "wan2.1-1.3b", "backbone_path": folders["wan2.1-1.3b"]}
    config = moved(tmp_path / "nano", **changes)
    with pytest.raises(WeightsError, match=r"unexpected: model\.text_encoder.*mis-shaped: .*model\.video"):
        WallwmPolicy.from_pretrained(tmp_path / "nano", config=config)
    make_wan().save_pretrained(tmp_path / "wan")
    config = moved(tmp_path / "wan", max_views=3)
    with pytest.raises(WeightsError, match=r"mis-shaped: .*model\.action\.place \(4, "):
        WallwmPolicy.from_pretrained(tmp_path / "wan", config=config)


@pytest.mark.parametrize("backbone", ["nano", "wan2.2-5b"])
def test_bfloat16_trains_and_acts_close_to_float32(
    make_wan, make_policy, make_train_batch, make_observation, backbone
):
    build = make_policy if backbone == "nano" else lambda **fields: make_wan(backbone, **fields)
    results = []
    for dtype in ("float32", "bfloat16"):
        policy = build(dtype=dtype, shake=True)
        batch = make_train_batch(policy.config)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):  # as the trainer does
            loss = policy(batch)[0]
        loss.backward()
        assert all(p.dtype == torch.float32 for p in policy.parameters())
        results.append((loss.detach(), act(policy, make_observation([TASK]), "full")))
    (loss, actions), (half_loss, half_actions) = results
    assert not torch.equal(actions, half_actions)
    torch.testing.assert_close(half_loss, loss, rtol=0.05, atol=0.05)
    torch.testing.assert_close(half_actions, actions, rtol=0.1, atol=0.1)


def test_a_device_without_bfloat16_is_an_error(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **kwargs: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Card")
    with pytest.raises(ValueError, match=r"Old Card has no bfloat16 arithmetic. Use --policy.dtype=float32"):
        check_precision("bfloat16", "cuda")
    check_precision("float32", "cuda")
    check_precision("bfloat16", "cpu")
    assert "usually slower" in caplog.text
