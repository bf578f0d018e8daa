# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Action features, encoders and the two clusterings."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.fft import idct
from synthetic import pick_and_place

from lerobot_wallwm.embodiment.description import Dimension
from lerobot_wallwm.processors.balance.clusterer import (
    ClusterConfig,
    EventClusterer,
    default_clusters,
    kmeans,
    nearest,
)
from lerobot_wallwm.processors.balance.embedder import EmbeddedEncoder, TransformersEncoder, make_encoder
from lerobot_wallwm.processors.motion import action_features
from lerobot_wallwm.processors.motion.action_features import ActionFeatures, resample, scale_of, trajectory
from lerobot_wallwm.processors.source.episodes import Episode


def cluster_events(*parts, learn=None, config=None):
    """Centres found in the events of ``learn``, and the clusters of all."""
    known = parts if learn is None else [part[learn] for part in parts]
    return EventClusterer(config).fit(*known).predict(*parts)


def wave(frames: int, fps: float, shift: float = 0.0, names=("a.pos", "b.pos", "gripper.pos")) -> Episode:
    """A stroke of the arm of 1 s with the gripper held at 70; `frames` say how finely it was recorded."""
    t = np.linspace(0, 1, frames)
    path = np.stack([40 * np.sin(np.pi * t) + shift, 10 * t - shift, np.full(frames, 70.0)], axis=1)
    return Episode(0, "t", fps, path, path, names, names)


def features_of(episode):
    return ActionFeatures()(episode, trajectory(episode), 0, len(episode))


def test_frame_rate_and_start_do_not_matter_but_the_gripper_does():
    slow, fast = features_of(wave(21, 20)), features_of(wave(81, 80, shift=13))
    # Nearly: a second holds 20 steps but 21 frames, and lines between frames are not the wave.
    np.testing.assert_allclose(slow, fast, atol=0.25)
    assert abs(slow[:6]).max() > 10
    grip = features_of(wave(21, 20))[12:18]
    np.testing.assert_allclose(grip, [70, 0, 0, 0, 0, 0], atol=1e-4)


def test_all_coefficients_give_the_path_back(monkeypatch):
    for name in ("POINTS", "COEFFICIENTS"):
        monkeypatch.setattr(action_features, name, 33)
    episode = wave(33, 20)
    vector = features_of(episode)
    path = idct(vector[:-1].reshape(3, 33).astype(np.float64) * np.sqrt(33), norm="ortho", axis=1).T
    moved = episode.action - episode.action[0] * [1, 1, 0]
    np.testing.assert_allclose(path, moved, atol=1e-4)
    assert vector[-1] == pytest.approx(np.log(33 / 20))


@given(st.integers(1, 40))
def test_resampling_keeps_ends_and_straight_lines(length):
    line = np.linspace(3, 9, length)[:, None]
    again = resample(line)
    expected = np.linspace(line[0, 0], line[-1, 0], action_features.POINTS)
    np.testing.assert_allclose(again[:, 0], expected, atol=1e-9)


def test_steps_are_summed_up_and_their_gripper_is_not():
    episode, _ = pick_and_place(space="delta", fps=20)
    path = trajectory(episode)
    np.testing.assert_allclose(path[:, 0], np.cumsum(episode.action[:, 0]))
    np.testing.assert_array_equal(path[:, -1], episode.action[:, -1])
    joint, _ = pick_and_place(fps=20)
    assert trajectory(joint) is joint.action


def test_units_do_not_change_scaled_features():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 13)).astype(np.float32)
    other = values * np.repeat([0.0175, 1.0], [6, 7]).astype(np.float32)
    other[:, 6:12] *= 0.2
    np.testing.assert_allclose(values / scale_of(values), other / scale_of(other), rtol=1e-3)
    still = values.copy()
    still[:, :6] *= 1e-6  # a joint that only trembles stays small
    assert np.abs(still / scale_of(still))[:, :6].max() < 1e-3
    # Metres beside ticks are as wide as they were.
    apart = (Dimension("x", quantity="length"), Dimension("gripper", quantity="gripper"))
    assert np.abs(still / scale_of(still, apart))[:, :6].max() > 0.5


def test_events_outside_their_episode_are_refused():
    episode = wave(21, 20)
    for start, end in ((0, 22), (5, 5), (-1, 3)):
        with pytest.raises(ValueError, match="does not lie in"):
            ActionFeatures()(episode, episode.action, start, end)


def scene(row: int, colour: tuple[int, int, int], noise: int = 0) -> np.ndarray:
    rng = np.random.default_rng(noise)
    picture = np.full((48, 64, 3), 120, np.uint8) + rng.integers(0, 6, (48, 64, 3), dtype=np.uint8)
    picture[row : row + 12, 20:44] = colour
    return picture


def test_the_embedded_encoder_tells_scenes_and_captions_apart():
    encoder = EmbeddedEncoder()
    red, again, blue, low = (
        encoder.images({"front": scene(*what)[None]}, 1)[0]
        for what in ((4, (200, 30, 30)), (4, (200, 30, 30), 1), (4, (30, 30, 200)), (34, (200, 30, 30)))
    )
    assert red @ again > 0.97
    assert max(red @ blue, red @ low) < red @ again - 0.05
    captions = ["reach for the red cube", "reach for the blue cube", "retreat from the disc"]
    a, b, c = encoder.texts(captions)
    assert a @ a == pytest.approx(1, abs=1e-5) and a @ b > a @ c + 0.1 and a @ b < 0.95
    there, back = encoder.texts(["red cube onto the blue disc", "blue cube onto the red disc"])
    assert there @ back < 0.95


def test_cameras_count_by_name_and_not_by_order():
    one, two = scene(4, (200, 30, 30))[None], scene(20, (0, 90, 0))[None]
    encode = EmbeddedEncoder().images
    same = encode({"wrist": two, "front": one}, 1)
    np.testing.assert_allclose(encode({"front": one, "wrist": two}, 1), same, atol=1e-6)
    assert (encode({"front": two, "wrist": one}, 1) @ same.T).item() < 0.99
    assert (encode({}, 3) == 0).all()  # no camera: nothing known, nothing claimed


def test_the_embedded_encoder_is_the_same_in_every_process_and_year():
    """Pinned: a dataset prepared again would otherwise get other clusters."""
    encoder = EmbeddedEncoder()
    text = encoder.texts(["grasp the red cube"])[0, :3]
    ramp = np.arange(48 * 64 * 3).reshape(1, 48, 64, 3) % 251
    image = encoder.images({"front": ramp.astype(np.uint8)}, 1)[0, :3]
    np.testing.assert_allclose(text, [0.00503, 0.072932, 0.042277], atol=1e-5)
    np.testing.assert_allclose(image, [-0.183495, -0.135705, -0.075103], atol=1e-4)


WORDS = ("[PAD]", "[UNK]", "[END]", "reach", "for", "the", "red", "blue", "cube")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def tiny_encoder(request, tmp_path_factory):
    """A random CLIP or SigLIP of a few thousand parameters, saved as on the Hub."""
    import transformers as tf
    from tokenizers import Tokenizer, models, pre_tokenizers

    root = tmp_path_factory.mktemp(request.param)
    words = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[END]"
    )
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 32, "patch_size": 16}
    text |= {"vocab_size": len(words), "max_position_embeddings": 8, "eos_token_id": 2, "pad_token_id": 0}
    size = {"height": 32, "width": 32}
    if request.param == "clip":
        config = tf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
        model = tf.CLIPModel(config)
        images = tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
        processor = tf.CLIPProcessor(images, fast)
    else:
        config = tf.SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision)
        model = tf.SiglipModel(config)
        processor = tf.SiglipProcessor(tf.SiglipImageProcessor(size=size), fast)
    model.save_pretrained(root)
    processor.save_pretrained(root)
    return root


def test_a_transformers_encoder_by_its_folder(tiny_encoder):
    encoder = make_encoder(str(tiny_encoder))
    assert isinstance(encoder, TransformersEncoder)
    captions = ["reach for the red cube", "reach for the blue cube", "the " * 30]
    text = encoder.texts(captions)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=1e-5)
    # Padding must not leak from one caption to another.
    np.testing.assert_allclose(encoder.texts(captions[:1])[0], text[0], atol=1e-5)
    assert np.abs(text[0] - text[1]).max() > 1e-3
    one, two = scene(4, (200, 30, 30))[None], scene(20, (0, 90, 0))[None]
    both = encoder.images({"front": np.concatenate([one, two])}, 2)
    np.testing.assert_allclose(encoder.images({"front": two}, 1)[0], both[1], atol=1e-5)
    assert both.dtype == np.float32 and np.abs(both[0] - both[1]).max() > 1e-3


def blobs(rng, clusters=6, each=40, width=8, spread=0.05):
    centres = rng.normal(size=(clusters, width))
    truth = np.repeat(np.arange(clusters), each)
    return (centres[truth] + spread * rng.normal(size=(len(truth), width))).astype(np.float32), truth


def same_partition(a, b) -> bool:
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b.tolist()))


def test_kmeans_finds_blobs_and_repeats_itself():
    points, truth = blobs(np.random.default_rng(0))
    centres = kmeans(points, 6, seed=1)
    assert same_partition(nearest(points, centres), truth)
    np.testing.assert_array_equal(kmeans(points, 6, seed=1), centres)
    assert len(kmeans(points[:3], 6)) == 3


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 99))
def test_nearest_equals_the_distance_matrix(count, clusters, seed):
    rng = np.random.default_rng(seed)
    points, centres = (rng.normal(size=(n, 3)).astype(np.float32) for n in (count, clusters))
    distance = ((points[:, None] - centres[None]) ** 2).sum(-1)
    chosen = nearest(points, centres)
    np.testing.assert_allclose(distance[np.arange(count), chosen], distance.min(axis=1), atol=1e-5)


def embeddings(rng):
    """Events whose pictures, captions and motions each have clusters of their own."""
    parts, truths = [], []
    for clusters, each, width in ((2, 60, 8), (3, 40, 8), (4, 30, 13)):
        points, truth = blobs(rng, clusters=clusters, each=each, width=width)
        parts.append(points)
        truths.append(truth)
    orders = [rng.permutation(120) for _ in parts]
    scenes, verbs, strokes = (truth[order] for truth, order in zip(truths, orders, strict=True))
    return tuple(part[order] for part, order in zip(parts, orders, strict=True)), (
        scenes * 3 + verbs,
        strokes,
    )


def test_picture_and_caption_count_alike_whatever_their_spread_and_by_the_captions_weight():
    parts, (vl, strokes) = embeddings(np.random.default_rng(3))
    for stretch in (1.0, 0.01):  # CLIP's pictures lie in a narrow cone
        own = (parts[0] * np.float32(stretch) + 5, *parts[1:])
        labels = cluster_events(*own, config=ClusterConfig(vl_clusters=6, action_clusters=4))
        assert same_partition(labels[0], vl) and same_partition(labels[1], strokes)
    for weight, clusters, truth in ((0.0, 2, vl // 3), (1.0, 3, vl % 3)):
        config = ClusterConfig(vl_clusters=clusters, text_weight=weight)
        assert same_partition(cluster_events(*parts, config=config)[0], truth)


def test_events_that_are_not_learned_from_go_to_the_nearest_cluster():
    parts, _ = embeddings(np.random.default_rng(4))
    learn = np.arange(120) % 3 > 0
    alone = cluster_events(*(part[learn] for part in parts), config=ClusterConfig(vl_clusters=6))
    every = cluster_events(*parts, learn=learn, config=ClusterConfig(vl_clusters=6))
    for own, other in zip(alone, every, strict=True):
        np.testing.assert_array_equal(own, other[learn])
        assert set(other) == set(own)


def test_bad_input_to_the_clusterer(tmp_path):
    parts, _ = embeddings(np.random.default_rng(4))
    spoilt = parts[2].copy()
    spoilt[3, 1] = np.inf
    for bad, says in (
        ([part[:0] for part in parts], "at least one event"),
        ([parts[0][:5], *parts[1:]], "a row for each"),
        ([*parts[:2], spoilt], "NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=says):
            cluster_events(*bad)
    for flag, value in (("vl_clusters", -1), ("text_weight", 1.5)):
        with pytest.raises(ValueError, match=f"--cluster.{flag}"):
            ClusterConfig(**{flag: value})
    with pytest.raises(ValueError, match=r"--cluster.encoder=.*Fix: "):
        make_encoder(str(tmp_path))


def test_one_event_is_one_cluster():
    one = (np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), np.ones((1, 13), np.float32))
    labels = cluster_events(*one)
    assert labels[0].tolist() == labels[1].tolist() == [0]
    assert [default_clusters(n) for n in (1, 200, 10**7)] == [1, 20, 1000]
