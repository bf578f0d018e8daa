# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import pytest
from draccus.wrappers.docstring import get_attribute_docstring
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig

from lerobot_wallwm.policies.config.safety_fields import SafetyFields
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig


def test_defaults_follow_one_another(make_config):
    config = make_config(num_future_latents=3, video_stride=2)
    assert config.actions_per_latent == 8 and config.horizon == 24
    assert config.observation_delta_indices == [2 * i for i in range(13)]
    assert config.action_delta_indices == list(range(24))
    # Every sampled frame lies within the actions' window, but for the last one's end.
    assert config.observation_delta_indices[-1] == config.horizon
    assert config.reward_delta_indices is None
    assert config.type == "wallwm"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("backbone", "wan9", "backbone=wan9 is not available: choose one of"),
        ("imagination", "some", "imagination=some is not available: choose one of none, anchor, full"),
        ("planner", "oracle", "planner=oracle is not available: choose one of grammar"),
        ("planner", "script", "planner=script needs --policy.script"),
        ("on_plan_end", "stop", "on_plan_end=stop is not available: choose one of hold, repeat"),
        ("dtype", "float16", "dtype=float16 is not available: choose one of float32, bfloat16"),
        (
            "backbone_path",
            "/wan",
            "backbone_path.* nano has no weights to start from. Add --policy.backbone=wan2.2",
        ),
        ("num_future_latents", 0, "num_future_latents must be a finite number of at least 1, got 0"),
        ("num_inference_steps", 0, "num_inference_steps must be a finite number of at least 1, got 0"),
        ("future_fraction", 1.5, r"future_fraction must lie in \[0, 1\]"),
    ],
)
def test_a_wrong_value_is_named_with_its_flag(make_config, field, value, message):
    with pytest.raises(ValueError, match=f"--policy.{message}"):
        make_config(**{field: value})


def test_sizes_follow_the_backbone_unless_they_are_set():
    sizes = ("image_size", "max_text_tokens", "action_width", "action_heads", "action_ffn_width")

    def values(**fields):
        config = WallwmConfig(device="cpu", push_to_hub=False, **fields)
        return [getattr(config, name) for name in (*sizes, "optimizer_lr")]

    assert values() == [(96, 96), 16, 96, 4, 192, 1e-3]
    assert values(backbone="wan2.2-5b") == [(192, 224), 512, 1024, 8, 2816, 1e-4]
    assert values(backbone="wan2.1-1.3b") == [(192, 224), 512, 768, 6, 2048, 1e-4]
    own = dict(zip((*sizes, "optimizer_lr"), [(64, 32), 40, 128, 2, 64, 2e-5], strict=True))
    assert values(backbone="wan2.2-5b", **own) == [*own.values()]


def test_save_and_load_keep_everything(make_config, tmp_path):
    script = ["reach for the cup", 'say "cheese", please']
    config = make_config(planner="script", script=script, inference_seed=None)
    config.save_pretrained(tmp_path)
    loaded = PreTrainedConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, WallwmConfig)
    for name in config.__dataclass_fields__:
        assert getattr(loaded, name) == getattr(config, name), name


def test_command_line_overrides_win(make_config, tmp_path):
    make_config(imagination="none").save_pretrained(tmp_path)
    overrides = ["--imagination=full", "--replan_steps=0"]
    loaded = PreTrainedConfig.from_pretrained(tmp_path, cli_overrides=overrides)
    assert (loaded.imagination, loaded.replan_steps) == ("full", 0)


def test_arm_joints_are_relative_and_the_gripper_is_not(make_config):
    assert make_config().relative_mask() == [True] * 5 + [False]
    assert make_config(relative_exclude_joints=["WRIST"]).relative_mask() == [True] * 3 + [False] * 2 + [True]
    # Nothing is unless the state measures it, in whatever order.
    names = make_config().action_feature_names
    for fields in (
        {"relative_actions": False},
        {"state_feature_names": None},
        {"state_feature_names": [f"other_{name}" for name in names]},
    ):
        assert make_config(**fields).relative_mask() == [False] * 6
    assert make_config(state_feature_names=names[::-1]).relative_mask() == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("observation.images", "at least one camera: the dataset's meta/info.json has no feature"),
        ("observation.state", "needs 'observation.state'"),
        ("action", "needs 'action'"),
    ],
)
def test_a_dataset_without_a_needed_feature_is_an_error(make_config, remove, message):
    config = make_config()
    for features in (config.input_features, config.output_features):
        for key in [key for key in features if key.startswith(remove)]:
            del features[key]
    with pytest.raises(ValueError, match=message):
        config.validate_features()


def test_more_cameras_than_rows_and_a_flat_image_are_errors(make_config):
    config = make_config(cameras=[f"observation.images.c{i}" for i in range(3)], max_views=2)
    with pytest.raises(ValueError, match="3 cameras exceed --policy.max_views=2; raise it"):
        config.validate_features()
    config = make_config()
    config.input_features["observation.images.wrist"] = PolicyFeature(FeatureType.VISUAL, (32, 32))
    with pytest.raises(ValueError, match="'observation.images.wrist' must be an image of shape"):
        config.validate_features()


def test_presets_follow_the_policy_fields(make_config):
    for optimizer in ("adamw", "muon"):
        config = make_config(optimizer=optimizer, optimizer_lr=3e-4, scheduler_warmup_steps=7)
        preset = config.get_optimizer_preset()
        assert (preset.lr, preset.weight_decay, preset.grad_clip_norm) == (3e-4, 0.01, 1.0)
        assert config.get_scheduler_preset().num_warmup_steps == 7


def test_a_person_sets_few_fields_and_each_has_a_reason_in_one_line():
    """`lerobot-train --help` shows the comment above a field. At most 60, and five of the language half."""
    own = WallwmConfig.__dataclass_fields__.keys() - PreTrainedConfig.__dataclass_fields__.keys()
    assert len(own) <= 60 + 5 + 2  # those of the language half, the recipe, and retries
    reasons = {name: get_attribute_docstring(WallwmConfig, name).comment_above for name in own}
    assert {name: reason for name, reason in reasons.items() if not reason or "\n" in reason} == {}
    assert own == SafetyFields.__dataclass_fields__.keys()
