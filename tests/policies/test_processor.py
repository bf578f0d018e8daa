# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import json

import pytest
import torch
import torch.distributed as dist
from lerobot.policies.factory import make_pre_post_processors

from lerobot_wallwm import ClampNormalizedActionsStep
from lerobot_wallwm.policies.safety.interventions import MAX_BAD_GOALS, SafetyError


def names(folder, pipeline: str) -> list[str]:
    steps = json.loads((folder / f"policy_{pipeline}.json").read_text())["steps"]
    return [step["registry_name"] for step in steps]


@pytest.fixture
def saved(make_config, tiny_stats, tmp_path):
    """Folder of pipelines saved with a margin, and the pipelines."""
    pipelines = make_pre_post_processors(make_config(action_clamp_margin=0.25), dataset_stats=tiny_stats)
    for pipeline in pipelines:
        pipeline.save_pretrained(tmp_path)
    return tmp_path, pipelines


def test_steps_have_the_names_that_lerobot_overrides(saved):
    pre, post = (names(saved[0], pipeline) for pipeline in ("preprocessor", "postprocessor"))
    assert {"device_processor", "rename_observations_processor", "normalizer_processor"} <= set(pre)
    assert {"unnormalizer_processor", "device_processor"} <= set(post)
    assert post.index("wallwm_clamp_actions") < post.index("unnormalizer_processor")


def load(folder, make_config, stats, rename=None):
    """As lerobot-train and lerobot-eval load a checkpoint, overrides included."""
    config, device = make_config(), {"device_processor": {"device": "cpu"}}
    post = {"stats": stats, "features": config.output_features, "norm_map": config.normalization_mapping}
    pre = {**post, "features": {**config.input_features, **config.output_features}}
    renaming = {"rename_observations_processor": {"rename_map": rename or {}}}
    return make_pre_post_processors(
        config,
        pretrained_path=str(folder),
        preprocessor_overrides={**device, **renaming, "normalizer_processor": pre},
        postprocessor_overrides={**device, "unnormalizer_processor": post},
    )


@pytest.fixture
def post(make_config, tiny_stats):
    return make_pre_post_processors(make_config(), dataset_stats=tiny_stats)[1]


def test_reloaded_pipelines_do_the_same(saved, make_config, tiny_stats, make_observation):
    folder, (pre, post) = saved
    pre_loaded, post_loaded = load(folder, make_config, tiny_stats)
    observation = make_observation(["lift it"])
    one, two = pre(dict(observation)), pre_loaded(dict(observation))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one if isinstance(one[key], torch.Tensor))
    action = torch.randn(4, 6) * 3
    assert torch.equal(post(action), post_loaded(action))


def test_actions_are_clamped_to_what_the_data_has_seen(post):
    out = post(torch.tensor([[-99.0, -1.0, 0.0, 1.0, 1.5, torch.inf]]))
    torch.testing.assert_close(out, torch.tensor([[-60.0, -60.0, 0.0, 60.0, 60.0, 100.0]]))


def test_clamp_and_margin_survive_a_reload(saved, make_config, tiny_stats):
    _, post = load(saved[0], make_config, tiny_stats)
    out = post(torch.tensor([[-99.0, -1.0, 0.0, 1.2, 1.5, 9.0]]))
    torch.testing.assert_close(out, torch.tensor([[-75.0, -60.0, 0.0, 72.0, 75.0, 112.5]]))


def test_nothing_that_is_no_number_reaches_the_arm(post):
    with pytest.raises(SafetyError, match="none before to hold"):
        post(torch.full((1, 6), torch.nan))
    good = post(torch.full((1, 6), 0.5))
    for _ in range(MAX_BAD_GOALS - 1):
        assert torch.equal(post(torch.full((1, 6), torch.nan)), good)
    with pytest.raises(SafetyError, match="in a row"):
        post(torch.full((1, 6), torch.nan))
    post.reset()  # a new rollout holds nothing of the last one
    with pytest.raises(SafetyError, match="none before to hold"):
        post(torch.full((1, 6), torch.nan))
    assert ClampNormalizedActionsStep(0.5).action(torch.tensor([-torch.inf])) == -1.5


def test_each_robot_of_a_batch_holds_its_own_goal(post):
    first = post(torch.tensor([[0.1] * 6, [-0.3] * 6]))
    second = post(torch.tensor([[torch.nan] + [0.2] * 5, [0.4] * 6]))
    assert torch.equal(second[0], first[0])
    torch.testing.assert_close(second[1], torch.tensor([24.0] * 5 + [70.0]))


def test_a_chunk_that_is_no_number_is_refused(post):
    chunk = torch.rand(1, 5, 6)
    post(chunk)
    chunk[0, 3, 2] = torch.nan
    with pytest.raises(SafetyError):
        post(chunk)


def test_broken_statistics_send_nothing(make_config, tiny_stats):
    stats = {**tiny_stats, "action": {**tiny_stats["action"], "max": torch.full((6,), torch.nan)}}
    _, post = make_pre_post_processors(make_config(), dataset_stats=stats)
    with pytest.raises(SafetyError, match="statistics"):
        post(torch.zeros(1, 6))


def test_a_pipeline_from_before_the_guards_loads_and_still_holds(saved, make_config, tiny_stats):
    folder, _ = saved
    file = folder / "policy_postprocessor.json"
    pipeline = json.loads(file.read_text())
    steps = [step for step in pipeline["steps"] if step["registry_name"] != "wallwm_hold_bad_goals"]
    file.write_text(json.dumps({**pipeline, "steps": steps}))
    _, post = load(folder, make_config, tiny_stats)
    good = post(torch.full((1, 6), 0.5))
    assert torch.equal(post(torch.full((1, 6), torch.nan)), good)


def test_images_and_state_enter_in_their_own_units(make_config, tiny_stats, make_observation):
    pre, _ = make_pre_post_processors(make_config(), dataset_stats=tiny_stats)
    observation = make_observation(["lift it"])
    out = pre(dict(observation))
    for key in observation:
        if key != "task":
            torch.testing.assert_close(out[key], observation[key])
    assert out["task"] == ["lift it"]


def test_training_actions_are_normalised_to_the_range(make_config, tiny_stats, make_train_batch):
    pre, _ = make_pre_post_processors(make_config(), dataset_stats=tiny_stats)
    batch = make_train_batch(make_config(), batch=2, valid=[5, 8])
    raw = (batch["action"] + 1) / 2 * torch.tensor([120.0] * 5 + [100.0]) + tiny_stats["action"]["min"]
    out = pre({**batch, "action": raw})
    torch.testing.assert_close(out["action"], batch["action"], atol=1e-5, rtol=1e-5)
    assert torch.equal(out["action_is_pad"], batch["action_is_pad"])


def test_cameras_can_be_renamed_at_deployment(saved, make_config, tiny_stats, make_observation):
    rename = {"observation.images.front": "observation.images.overhead"}
    pre, _ = load(saved[0], make_config, tiny_stats, rename)
    observation = make_observation(["lift it"])
    image = observation.pop("observation.images.overhead")
    out = pre({**observation, "observation.images.front": image})
    assert torch.equal(out["observation.images.overhead"], image) and "observation.images.front" not in out


def test_several_processes_get_numbers_that_mixed_precision_leaves_alone(
    make_config, tiny_stats, make_train_batch, tmp_path
):
    config = make_config()
    pre, _ = make_pre_post_processors(config, dataset_stats=tiny_stats)
    batch, keys = make_train_batch(config), ("observation.state", "action")
    alone = pre(dict(batch))
    assert not any(alone[key].is_complex() for key in keys)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        several = pre(dict(batch))
        seen = pre({key: value for key, value in batch.items() if key != "action"})
    finally:
        dist.destroy_process_group()
    for key in keys:
        assert several[key].is_complex() and torch.equal(several[key].real, alone[key])
    assert not seen["observation.state"].is_complex()  # who acts gets what he always gets
