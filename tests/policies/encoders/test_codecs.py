# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import pytest
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.policies.encoders.wavelet_codec import WaveletCodec, check_frame_size, num_latents

sizes = st.integers(1, 3)


def coefficients(codec: WaveletCodec, frames: torch.Tensor) -> torch.Tensor:
    """Latents without their scale."""
    return codec.encode(frames) / torch.as_tensor(codec.scale).reshape(-1, 1, 1, 1)


def clip(seed: int, latents: int, levels: int, rows: int, columns: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = (batch, 1 + 4 * (latents - 1), 3, rows * 2**levels, columns * 2**levels)
    return torch.rand(size, generator=generator) * 2 - 1


@given(
    seed=st.integers(0, 999), latents=st.integers(1, 4), levels=st.integers(1, 4), rows=sizes, columns=sizes
)
def test_round_trip_is_lossless(seed, latents, levels, rows, columns):
    frames, codec = clip(seed, latents, levels, rows, columns), WaveletCodec(levels)
    z = codec.encode(frames)
    assert z.shape == (2, codec.channels, latents, rows, columns)
    torch.testing.assert_close(codec.decode(z), frames, atol=1e-5, rtol=1e-5)


@given(seed=st.integers(0, 999), levels=st.integers(1, 3))
def test_decoding_any_latents_and_encoding_again_is_lossless_beyond_the_keyframe(seed, levels):
    codec = WaveletCodec(levels)
    z = torch.randn(1, codec.channels, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    again = codec.encode(codec.decode(z))
    # Latent 0 may hold motion that one frame cannot show; the others are bijective.
    torch.testing.assert_close(again[:, :, 1:], z[:, :, 1:], atol=1e-4, rtol=1e-4)


@given(seed=st.integers(0, 999), latents=st.integers(1, 3), levels=st.integers(1, 3))
def test_transform_is_orthonormal_up_to_its_scale(seed, latents, levels):
    frames, codec = clip(seed, latents, levels, 2, 2), WaveletCodec(levels)
    # Latent 0 stands for the keyframe four times over.
    energy = 4 * frames[:, :1].square().sum() + frames[:, 1:].square().sum()
    torch.testing.assert_close(coefficients(codec, frames).square().sum(), energy, rtol=1e-4, atol=1e-4)


def test_an_error_in_latents_is_measured_in_pixels():
    codec = WaveletCodec(3)
    a, b = clip(0, 3, 3, 2, 2), clip(1, 3, 3, 2, 2)
    error = codec.pixel_error(codec.encode(a)[:, None], codec.encode(b)[:, None])
    pixels = (a - b).square().mean(dim=(2, 3, 4))  # (B, F)
    expected = torch.stack((pixels[:, 0], pixels[:, 1:5].mean(1), pixels[:, 5:].mean(1)), dim=1)
    torch.testing.assert_close(error, expected, rtol=1e-4, atol=1e-5)


def test_static_scene_has_equal_latents():
    codec = WaveletCodec(3)
    z = codec.encode(clip(0, 1, 3, 2, 3).expand(-1, 13, -1, -1, -1))
    for k in range(1, 4):
        torch.testing.assert_close(z[:, :, k], z[:, :, 0])
    # ... and a moving one has not.
    assert not torch.allclose(codec.encode(clip(0, 2, 3, 2, 3))[:, :, 1], z[:, :, 0], atol=1e-2)


def test_encoding_is_causal():
    codec, frames = WaveletCodec(2), clip(0, 3, 2, 2, 2)
    changed = frames.clone()
    changed[:, 5:] += 1.0
    z, z_changed = codec.encode(frames), codec.encode(changed)
    assert torch.equal(z[:, :, :2], z_changed[:, :, :2])
    assert not torch.allclose(z[:, :, 2], z_changed[:, :, 2])
    # The keyframe alone has the latent it has in the clip.
    torch.testing.assert_close(codec.encode(frames[:, :1])[:, :, 0], z[:, :, 0])


def test_latents_are_local_in_the_picture():
    codec, frames = WaveletCodec(2), clip(0, 2, 2, 3, 3)
    changed = frames.clone()
    changed[..., 4:8, 8:12] += 0.5
    different = (codec.encode(frames) - codec.encode(changed)).abs().amax(dim=(0, 1, 2)) > 1e-6
    assert different.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (9, 3), (65, 17)])
def test_one_plus_four_n_rule(frames, latents):
    assert num_latents(frames) == latents
    for other in (frames - 1, frames + 1, frames + 3):
        with pytest.raises(ValueError, match=rf"1 \+ 4N frames .*got {other}"):
            num_latents(other)


def test_what_does_not_fit_is_refused():
    codec = WaveletCodec(3)
    with pytest.raises(ValueError, match="1 \\+ 4N"):
        codec.encode(torch.zeros(1, 4, 3, 8, 8))
    check_frame_size(96, 96, codec.spatial_stride, 2)
    with pytest.raises(ValueError, match=r"image_size=\(96, 104\) must be a multiple of 16"):
        check_frame_size(96, 104, codec.spatial_stride, 2)
    with pytest.raises(ValueError, match="at least one spatial level"):
        WaveletCodec(0)
