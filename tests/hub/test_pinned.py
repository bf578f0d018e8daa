# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A pinned revision holds for settings and processors, too, where LeRobot 0.6.1 itself reads the newest."""

import pytest
from hub_repos import rewrite
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from safetensors.torch import load_file, save_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


def publish(hub, checkpoint) -> str:
    assert main(["publish", f"--policy.path={checkpoint}", "--repo_id=me/cups"]) == 0
    return hub.repo("me/cups").branches["main"]


@pytest.fixture
def two(hub, checkpoint) -> tuple[str, str]:
    """Commits of an old and a new checkpoint that differ in settings and in the arm's range."""
    old = publish(hub, checkpoint)
    rewrite(checkpoint / "config.json", num_inference_steps=7, action_clamp_margin=0.5)
    rewrite(checkpoint / "learned.json", event_max_frames={"push": 99})
    state = checkpoint / "policy_postprocessor_step_1_unnormalizer_processor.safetensors"
    save_file({key: value * 2 for key, value in load_file(state).items()}, state)
    return old, publish(hub, checkpoint)


def test_as_lerobot_eval_loads_it(two):
    """lerobot-eval: `config.json` and the processors without a revision, the weights with it."""
    old, _ = two
    overrides = ["--replan_steps=9", f"--pretrained_revision={old}"]
    config = PreTrainedConfig.from_pretrained("me/cups", cli_overrides=overrides)
    config.pretrained_path = "me/cups"
    assert config.num_inference_steps == 7  # of the newest
    policy = WallwmPolicy.from_pretrained("me/cups", config=config, revision=config.pretrained_revision)
    assert policy.config is config
    assert (config.num_inference_steps, config.learned.event_max_frames) == (2, {"reach": 12})
    assert config.replan_steps == 9 and config.action_clamp_margin == 0.0
    _, post = make_pre_post_processors(policy_cfg=config, pretrained_path=config.pretrained_path)
    assert float(post.steps[1].state_dict()["action.max"][0]) == 60.0


def test_as_lerobot_rollout_loads_it_and_a_revision_that_is_not_there(two):
    config = PreTrainedConfig.from_pretrained("me/cups", revision=two[0])
    policy = WallwmPolicy.from_pretrained("me/cups", config=config, revision=two[0])
    assert policy.config.num_inference_steps == 2
    assert WallwmPolicy.from_pretrained("me/cups").config.num_inference_steps == 7
    with pytest.raises(ValueError, match="there is no such revision"):
        WallwmPolicy.from_pretrained("me/cups", revision="0" * 40)


def test_training_refuses_a_window_of_another_revision(hub, checkpoint):
    old = publish(hub, checkpoint)
    rewrite(checkpoint / "config.json", num_future_latents=1)
    publish(hub, checkpoint)
    newest = PreTrainedConfig.from_pretrained("me/cups")
    newest.pretrained_path = "me/cups"
    with pytest.raises(ValueError, match="wallwm pull"):
        WallwmPolicy.from_pretrained("me/cups", config=newest, revision=old, dataset_meta=object())
