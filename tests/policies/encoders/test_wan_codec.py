# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import copy
import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from tiny_wan import VAE, vae
from torch import nn

from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.encoders.wan_codec import WanCodec

NAMES = sorted(VAE)
STRIDE = {"wan2.1-1.3b": 8, "wan2.2-5b": 16}


def saved(folder: Path, name: str, **changes) -> Path:
    torch.manual_seed(0)
    vae(name, **changes).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def codecs(tmp_path_factory) -> dict[str, WanCodec]:
    return {name: WanCodec(saved(tmp_path_factory.mktemp("vae") / name, name)) for name in NAMES}


def clip(codec: WanCodec, latents: int = 2, batch: int = 2) -> torch.Tensor:
    side = 2 * codec.spatial_stride
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 1 + 4 * (latents - 1), 3, side, 2 * side, generator=generator) * 2 - 1


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_diffusers_standardised_as_its_pipelines_do(codecs, name):
    codec = codecs[name]
    assert (codec.spatial_stride, codec.channels) == (STRIDE[name], VAE[name]["z_dim"])
    frames = clip(codec)
    model = AutoencoderKLWan.from_pretrained(codec.folder).eval()
    with torch.no_grad():
        raw = model.encode(frames.transpose(1, 2)).latent_dist.mode()
        moments = (model.config[key] for key in ("latents_mean", "latents_std"))
        mean, std = (torch.tensor(moment).view(1, -1, 1, 1, 1) for moment in moments)
        expected = (raw - mean) / std
        decoded = model.decode(expected * std + mean).sample.transpose(1, 2)
    z = codec.encode(frames)
    assert z.shape == (2, codec.channels, 2, 2, 4) and z.std() > 0.05
    torch.testing.assert_close(z, expected, atol=1e-5, rtol=1e-5)
    shown = codec.decode(z)
    assert shown.shape == frames.shape and shown.std() > 1e-3
    torch.testing.assert_close(shown, decoded, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_keyframe_alone_has_the_latent_that_it_has_in_the_clip(codecs, name):
    frames = clip(codecs[name], latents=3)
    z = codecs[name].encode(frames)
    torch.testing.assert_close(codecs[name].encode_still(frames[:, 0]), z[:, :, :1], atol=1e-5, rtol=1e-5)
    changed = frames.clone()
    changed[:, 5:] = 0
    again = codecs[name].encode(changed)
    torch.testing.assert_close(again[:, :, :2], z[:, :, :2], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(again[:, :, 2], z[:, :, 2], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_other_clip_lengths_and_sizes_are_errors(codecs, name):
    codec = codecs[name]
    with pytest.raises(ValueError, match=r"1 \+ 4N frames .*got 4"):
        codec.encode(clip(codec)[:, :4])


def test_the_vae_is_borrowed(codecs):
    holder = nn.ModuleDict({"codec": codecs["wan2.1-1.3b"]})
    assert not list(holder.parameters()) and not holder.state_dict()
    holder["codec"].encode(clip(holder["codec"]))
    assert holder["codec"].vae.is_loaded
    assert not any(parameter.requires_grad for parameter in holder["codec"].vae.on("cpu").parameters())
    assert copy.deepcopy(holder)["codec"].vae is holder["codec"].vae
    holder["codec"].vae.release()
    assert not holder["codec"].vae.is_loaded


def test_gradients_do_not_pass_and_autocast_does_not_reach_it(codecs):
    codec = codecs["wan2.1-1.3b"]
    frames = clip(codec).requires_grad_()
    z = codec.encode(frames)
    assert not z.requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(codec.encode(frames), z)


def test_damage_is_found_when_the_codec_is_made(tmp_path):
    folder = saved(tmp_path / "vae", "wan2.1-1.3b")
    file = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["decoder.extra"] = state.pop("quant_conv.bias")
    save_file(state, file)
    with pytest.raises(WeightsError, match=r"1 missing: quant_conv\.bias; 1 unexpected: decoder\.extra"):
        WanCodec(folder)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"diffusion_pytorch_model\.safetensors: is no complete"):
        WanCodec(folder)


def test_a_vae_of_other_strides_or_with_wrong_moments_is_refused(tmp_path):
    folder = saved(tmp_path / "time", "wan2.1-1.3b", temperal_downsample=[False, False, True])
    with pytest.raises(WeightsError, match=r"config\.json: 'temperal_downsample' is .* 4 frames"):
        WanCodec(folder)
    folder = saved(tmp_path / "moments", "wan2.1-1.3b")
    config = json.loads((folder / "config.json").read_text())
    config["latents_std"] = config["latents_std"][:-1]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="'latents_std' has 3 values for 4 channels"):
        WanCodec(folder)
