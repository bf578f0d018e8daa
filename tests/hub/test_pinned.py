# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A pinned revision holds for settings and processors, too, where LeRobot 0.6.1 itself reads the newest."""

import json

import pytest
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from safetensors.torch import load_file, save_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


@pytest.fixture
def two(hub, checkpoint) -> tuple[str, str]:
    """Commits of an old and a new checkpoint that differ in settings and in the arm's range."""
    assert main(["publish", f"--policy.path={checkpoint}", "--repo_id=me/cups"]) == 0
    old = hub.repo("me/cups").branches["main"]
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"num_inference_steps": 7, "action_clamp_margin": 0.5}
    (checkpoint / "config.json").write_text(json.dumps(config))
    learned = json.loads((checkpoint / "learned.json").read_text())
    (checkpoint / "learned.json").write_text(json.dumps(learned | {"event_max_frames": {"push": 99}}))
    state = checkpoint / "policy_postprocessor_step_1_unnormalizer_processor.safetensors"
    save_file({key: value * 2 for key, value in load_file(state).items()}, state)
    assert main(["publish", f"--policy.path={checkpoint}", "--repo_id=me/cups"]) == 0
    return old, hub.repo("me/cups").branches["main"]


def test_as_lerobot_eval_loads_it(two, make_observation):
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


def test_as_lerobot_rollout_loads_it(two):
    """lerobot-rollout pins everything itself."""
    old, _ = two
    config = PreTrainedConfig.from_pretrained("me/cups", revision=old)
    policy = WallwmPolicy.from_pretrained("me/cups", config=config, revision=old)
    assert policy.config.num_inference_steps == 2
    newest = WallwmPolicy.from_pretrained("me/cups")
    assert newest.config.num_inference_steps == 7


def test_training_refuses_a_window_of_another_revision(hub, checkpoint, tiny_stats):
    assert main(["publish", f"--policy.path={checkpoint}", "--repo_id=me/cups"]) == 0
    old = hub.repo("me/cups").branches["main"]
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "num_future_latents": 1}))
    assert main(["publish", f"--policy.path={checkpoint}", "--repo_id=me/cups"]) == 0
    newest = PreTrainedConfig.from_pretrained("me/cups")
    newest.pretrained_path = "me/cups"
    with pytest.raises(ValueError, match="wallwm pull"):
        WallwmPolicy.from_pretrained("me/cups", config=newest, revision=old, dataset_meta=object())


def test_a_revision_that_is_not_there(two):
    with pytest.raises(ValueError, match="there is no such revision"):
        WallwmPolicy.from_pretrained("me/cups", revision="0" * 40)
