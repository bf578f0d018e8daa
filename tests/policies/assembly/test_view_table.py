# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Cameras that are added, missing, renamed or of other sizes: each keeps its own row of the view tables."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.policies.factory import make_policy as lerobot_make_policy
from tiny_arm import CAMERAS
from tiny_models import random_event, tiny_model
from torch.nn import functional as F

from lerobot_wallwm.policies.assembly.learned import assign_rows
from lerobot_wallwm.policies.model import objectives, sampling
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

OVERHEAD, WRIST = CAMERAS
SIDE = "observation.images.side"


def test_cameras_take_the_free_rows_in_order_and_keep_them():
    assert assign_rows([], ["a", "b"], 3) == ["a", "b"]
    assert assign_rows(["b", "a"], ["a", "c"], 3) == ["b", "a", "c"]
    assert assign_rows(["b", "a"], ["a"], 2) == ["b", "a"]
    with pytest.raises(ValueError, match=r"3 cameras exceed --policy.max_views=2.*--rename_map"):
        assign_rows(["b", "a"], ["c"], 2)


@torch.no_grad()
@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_the_order_of_views_changes_nothing_if_their_rows_go_with_them(imagination):
    model, event = tiny_model(max_views=3), random_event()
    rows = torch.tensor([2, 0])
    rest = (event.state, event.captions, event.here)
    plans = [
        sampling.plan(
            model,
            frames,
            *rest,
            imagination=imagination,
            num_steps=1,
            generator=torch.Generator().manual_seed(0),
            view_ids=ids,
            length=torch.full((4,), 1),
        )
        for frames, ids in (
            (event.keyframes, rows),
            (event.keyframes.flip(1), rows.flip(0)),
            (event.keyframes, None),
        )
    ]
    # Imagination draws its noise by place.
    if imagination == "none":
        torch.testing.assert_close(plans[0].actions, plans[1].actions, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(plans[0].goal, plans[1].goal)
    assert not torch.allclose(plans[0].actions, plans[2].actions, atol=1e-3)


def test_only_the_rows_of_the_views_that_are_there_learn():
    model, event = tiny_model(max_views=3, future_fraction=0.5).train(), random_event()
    out = objectives.losses(model, replace(event, future=event.future[:2], view_ids=torch.tensor([0, 2])))
    (out.action.mean() + out.video.mean() + out.goal.mean()).backward()
    slots = model.goal_head.trunk[0].weight.grad[:, : model.goal_head.coordinates]
    tables = [model.video.position.grad, model.action.place.grad, slots.unflatten(1, (3, -1)).transpose(0, 1)]
    tables += [model.video.camera_rope.view_embedding.weight.grad, model.landmarks.identity.grad]
    for table in tables:
        assert [bool(row.any()) for row in table] == [True, False, True]


def test_a_missing_camera_is_left_out_and_the_other_keeps_its_row(
    make_policy, make_train_batch, make_observation
):
    policy = make_policy(allow_missing_cameras=True, future_fraction=0.5)
    observation = make_observation(["reach for the red cube"])
    alone = {key: value for key, value in observation.items() if key != OVERHEAD}
    for block in policy.model.video.blocks:
        block.cross_view.project.weight.data.zero_()  # views do not see each other
    seen = {}

    def look(module, args, kwargs, output):
        seen["layers"], seen["ids"] = output.layers, kwargs["view_ids"].tolist()

    hook = policy.model.video.register_forward_hook(look, with_kwargs=True)
    policy.select_action(observation)
    both = seen.copy()
    policy.reset()
    action = policy.select_action(alone)
    hook.remove()
    assert both["ids"] == [0, 1] and seen["ids"] == [1]
    for two, one in zip(both["layers"], seen["layers"], strict=True):
        torch.testing.assert_close(two[:, 1:], one)  # the wrist camera sees what it saw
    assert torch.isfinite(action).all()

    batch = make_train_batch(policy.config)
    batch = {key: value for key, value in batch.items() if not key.startswith(OVERHEAD)}
    event = policy.windows_from_batch(batch)
    assert event.view_ids.tolist() == [1] and event.keyframes.shape[1] == event.token_valid.shape[1] == 1
    policy(batch)[0].backward()
    assert [bool(row.any()) for row in policy.model.action.place.grad] == [False, True, False, False]


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_every_imagination_acts_with_a_camera_missing(make_policy, make_observation, imagination):
    policy = make_policy(allow_missing_cameras=True, imagination=imagination, save_predicted_video=True)
    observation = make_observation(["reach for the red cube"] * 2)
    del observation[WRIST]
    assert torch.isfinite(policy.select_action(observation)).all()
    assert policy.decode_predicted_latents(policy.last_predicted_latents).shape == (9, 32, 32, 3)


def test_a_missing_camera_is_an_error_unless_allowed_and_so_is_having_none(make_policy, make_observation):
    observation = make_observation(["reach for the red cube"])
    del observation[WRIST]
    with pytest.raises(ValueError, match=f"'{WRIST}' is missing.*--policy.allow_missing_cameras=true"):
        make_policy().select_action(observation)
    del observation[OVERHEAD]
    with pytest.raises(ValueError, match=r"is missing from the observation \(present: none\)"):
        make_policy(allow_missing_cameras=True).select_action(observation)


def dataset_with(cameras: list[str]) -> SimpleNamespace:
    """Metadata of a dataset, as far as the policy reads them."""
    image = {"dtype": "video", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    return SimpleNamespace(features=dict.fromkeys(cameras, image), fps=10, episodes=None, root=None)


def test_a_new_camera_takes_the_next_row_and_starts_from_the_others(make_policy, make_observation, tmp_path):
    policy = make_policy()
    policy.save_pretrained(tmp_path / "old")
    old = {name: value.clone() for name, value in policy.state_dict().items()}
    config = PreTrainedConfig.from_pretrained(tmp_path / "old", cli_overrides=[f'--new_cameras=["{SIDE}"]'])
    grown = WallwmPolicy.from_pretrained(
        tmp_path / "old", config=config, dataset_meta=dataset_with([SIDE, *CAMERAS])
    )
    assert grown.config.learned.camera_rows == [*CAMERAS, SIDE] == grown.image_keys
    tables = ["model.video.position", "model.action.place", "model.landmarks.identity"]
    tables.append("model.video.camera_rope.view_embedding.weight")
    state = grown.state_dict()
    for name in tables:
        assert torch.equal(state[name][:2], old[name][:2])
        torch.testing.assert_close(state[name][2], old[name][:2].mean(0))
    for name in (
        set(state) - set(tables) - {"model.goal_head.trunk.0.weight", "model.goal_head.straight.weight"}
    ):
        assert torch.equal(state[name], old[name]), name

    slots = slice(4 * 8, 6 * 8)  # of the third view, 8 landmarks of two coordinates each
    before, now = (s["model.goal_head.trunk.0.weight"].clone() for s in (old, state))
    assert before[:, slots].any() and not now[:, slots].any()
    before[:, slots] = 0
    assert torch.equal(before, now)

    # Its landmarks cannot move the goal yet.
    observation = make_observation(["reach for the red cube"])
    observation[SIDE] = torch.rand(1, 3, 32, 32)
    text = grown.model.text_encoder(["reach for the red cube"])
    state_in, here = (
        f(observation["observation.state"])
        for f in (grown.action_space.encode_state, grown.action_space.here)
    )
    frames = grown._images(observation)
    seen = grown.model.find_landmarks(frames, text, torch.arange(3))
    goals = []
    for shift in (0.0, 1.0):
        seen[:, 2] += shift
        goals.append(grown.model.read_goal(seen, state_in, text, here, torch.arange(3)).pose)
    assert torch.equal(*goals)

    # Loaded again, it is new no longer: nothing starts over.
    with torch.no_grad():
        grown.model.action.place[2] += 1.0
    grown.save_pretrained(tmp_path / "new")
    again = WallwmPolicy.from_pretrained(tmp_path / "new")
    assert again.config.learned.camera_rows == [*CAMERAS, SIDE]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), grown.parameters(), strict=True))
    assert torch.equal(again.select_action(observation), grown.select_action(observation))


def test_a_camera_that_the_dataset_does_not_have_or_that_finds_no_row_is_an_error(make_policy, tmp_path):
    make_policy(max_views=2).save_pretrained(tmp_path)
    config = PreTrainedConfig.from_pretrained(tmp_path, cli_overrides=[f'--new_cameras=["{SIDE}"]'])
    with pytest.raises(
        ValueError, match=f"names '{SIDE}', which is no camera of the dataset .it has .*wrist"
    ):
        WallwmPolicy.from_pretrained(tmp_path, config=config, dataset_meta=dataset_with(CAMERAS))
    with pytest.raises(ValueError, match=r"3 cameras exceed --policy.max_views=2.*cannot grow.*--rename_map"):
        WallwmPolicy.from_pretrained(tmp_path, config=config, dataset_meta=dataset_with([SIDE]))


@pytest.mark.parametrize(
    ("cameras", "overrides", "rows", "views"),
    [
        ([WRIST, OVERHEAD], [], [WRIST, OVERHEAD], [0, 1]),  # another order: the checkpoint's decides
        ([WRIST], [], [WRIST], [0]),  # the dataset's other camera is not asked for
        ([SIDE, WRIST], ["--allow_missing_cameras=true", f'--new_cameras=["{OVERHEAD}"]'], None, [1, 2]),
        ([SIDE, *CAMERAS], ["--allow_missing_cameras=true"], [SIDE, *CAMERAS], [1, 2]),
    ],
)
def test_lerobots_factory_starts_a_checkpoint_on_a_dataset_with_other_cameras(
    make_policy, make_config, make_train_batch, tiny_dataset, tmp_path, cameras, overrides, rows, views
):
    make_policy(cameras=cameras).save_pretrained(tmp_path)
    config = PreTrainedConfig.from_pretrained(tmp_path, cli_overrides=overrides)
    config.pretrained_path = tmp_path
    meta = LeRobotDatasetMetadata("test/tiny", root=tiny_dataset)
    policy = lerobot_make_policy(config, ds_meta=meta)
    assert policy.config.learned.camera_rows == (rows or [SIDE, WRIST, OVERHEAD])
    batch = make_train_batch(make_config())
    event = policy.windows_from_batch(batch)
    assert event.view_ids.tolist() == views
    keys = [policy.config.learned.camera_rows[row] for row in views]
    expected = torch.stack([batch[key][:, 0] for key in keys], dim=1) * 2 - 1
    torch.testing.assert_close(event.keyframes, expected)
    assert torch.isfinite(policy(batch)[0])


def test_cameras_of_different_sizes_are_each_resized(make_config, tiny_stats, make_train_batch):
    config = make_config()
    config.input_features[WRIST] = PolicyFeature(FeatureType.VISUAL, (3, 48, 64))
    policy = WallwmPolicy(config, dataset_stats=tiny_stats)
    batch = make_train_batch(make_config())
    with pytest.raises(ValueError, match=f"'{WRIST}' has shape .*set the camera to width=64, height=48"):
        policy(batch)
    batch[WRIST] = torch.rand(4, 9, 3, 48, 64)
    event = policy.windows_from_batch(batch)
    small = F.interpolate(
        batch[WRIST].flatten(0, 1), (32, 32), mode="bilinear", antialias=True, align_corners=False
    )
    small = small.unflatten(0, (4, 9)) * 2 - 1
    assert torch.equal(event.keyframes[:, 1], small[:, 0])
    assert torch.equal(event.future[:, 1], small[: len(event.future), 1:])
    assert torch.equal(event.keyframes[:, 0], batch[OVERHEAD][:, 0] * 2 - 1)
    assert torch.isfinite(policy(batch)[0])


def test_a_renamed_camera_finds_its_padding(make_policy, make_train_batch):
    policy = make_policy()
    batch = make_train_batch(policy.config, valid=[8, 5, 3, 1])
    expected = policy.windows_from_batch(batch).frame_valid
    for (
        key
    ) in CAMERAS:  # as LeRobot's --rename_map leaves it: the pictures are renamed, their pad masks are not
        batch[f"observation.images.before_{key}_is_pad"] = batch.pop(f"{key}_is_pad")
    assert torch.equal(policy.windows_from_batch(batch).frame_valid, expected)
    assert not expected.all()


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_a_policy_trains_imagines_and_acts(make_policy, make_train_batch, make_observation, imagination):
    fields = {"imagination": imagination, "save_predicted_video": True}
    policy = make_policy(**fields, seam_acceleration=0.0)  # a seam begins alike, whatever is seen
    loss, _ = policy(make_train_batch(policy.config))
    assert torch.isfinite(loss)
    observation = make_observation(["reach for the red cube"])
    action = policy.select_action(observation)
    assert action.shape == (1, 6) and torch.isfinite(action).all()
    video = policy.decode_predicted_latents(policy.last_predicted_latents)
    assert video.shape == (9, 32, 64, 3)
    policy.reset()
    assert torch.equal(policy.select_action(observation), action)
    # The action tower reads every camera, whatever the video tower does.
    for key in CAMERAS:
        policy.reset()
        other = {**observation, key: 1 - observation[key]}
        assert not torch.equal(policy.select_action(other), action)
