# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm check` of policies that are not wallwm, on data whose states and actions are not the same thing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file
from tiny_arm import CAMERAS

from lerobot_wallwm.check.measure.baselines import EventRows, with_hold
from lerobot_wallwm.check.measure.errors import critical_frames
from lerobot_wallwm.check.measure.observations import BATCH, BATCH_BYTES, Pictures
from lerobot_wallwm.cli import main
from lerobot_wallwm.embodiment.description import Dimension, Embodiment

QUICK = ["--observations=12", "--timings=5", "--episodes_shown=1", "--quiet=true"]
SMALL = {
    "act": {
        **{"dim_model": 16, "n_heads": 2, "dim_feedforward": 16, "n_encoder_layers": 1, "chunk_size": 6},
        **{"n_vae_encoder_layers": 1, "latent_dim": 4, "n_action_steps": 3},
        "pretrained_backbone_weights": None,
    },
    "diffusion": {
        **{"horizon": 8, "n_action_steps": 4, "down_dims": (8, 16), "num_inference_steps": 2},
        **{"pretrained_backbone_weights": None, "spatial_softmax_num_keypoints": 4, "use_group_norm": True},
        **{"n_groups": 4, "crop_shape": None, "resize_shape": None, "noise_scheduler_type": "DDIM"},
    },
    "vqbet": {
        **{"n_obs_steps": 2, "gpt_n_layer": 1, "gpt_n_head": 2, "gpt_hidden_dim": 16, "gpt_input_dim": 16},
        **{"gpt_output_dim": 16, "crop_shape": None, "pretrained_backbone_weights": None},
        **{"spatial_softmax_num_keypoints": 4, "use_group_norm": True, "vqvae_enc_hidden_dim": 8},
    },
    "tdmpc": {"horizon": 2, "latent_dim": 8, "mlp_dim": 8, "q_ensemble_size": 2, "n_pi_samples": 2},
}


def save(kind: str, root: Path, folder: Path, rename: dict[str, str] | None = None, **fields) -> Path:
    """A checkpoint with random weights for a dataset, as `lerobot-train` would save it before its first step."""
    from lerobot.configs import FeatureType, PreTrainedConfig
    from lerobot.datasets import LeRobotDatasetMetadata
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.utils.feature_utils import dataset_to_policy_features

    torch.manual_seed(0)
    meta = LeRobotDatasetMetadata("local/it", root=root)
    names, stats = rename or {}, dict(meta.stats)
    features = {names.get(k, k): v for k, v in dataset_to_policy_features(meta.features).items()}
    actions = {k: v for k, v in features.items() if v.type is FeatureType.ACTION}
    seen = {k: v for k, v in features.items() if k not in actions}
    for camera in [k for k in seen if "images" in k][1:] if kind in ("tdmpc", "vqbet") else ():
        seen.pop(camera)  # these see one
    config = PreTrainedConfig.get_choice_class(kind)(
        device="cpu", push_to_hub=False, input_features=seen, output_features=actions, **SMALL[kind] | fields
    )
    get_policy_class(kind)(config).save_pretrained(folder)
    for pipeline in make_pre_post_processors(
        config, dataset_stats={names.get(k, k): v for k, v in stats.items()}
    ):
        for step in pipeline.steps:
            if hasattr(step, "rename_map"):
                step.rename_map = names
        pipeline.save_pretrained(folder)
    return folder


def check(checkpoint: Path, data: Path, out: Path, *flags: str) -> tuple[int, dict, str]:
    code = main(
        ["check", f"--policy.path={checkpoint}", f"--dataset.root={data}", f"--out={out}", *QUICK, *flags]
    )
    if not (out / "check.json").is_file():
        return code, {}, ""
    return code, json.loads((out / "check.json").read_text()), (out / "check.html").read_text()


def rules(content: dict) -> dict[str, tuple[str, str]]:
    return {row["rule"]: (row["level"], row["text"]) for row in content["details"]["rules"]}


@pytest.mark.parametrize("kind", ["act", "diffusion", "vqbet"])
def test_a_check_answers_for_every_policy(tiny_dataset, tmp_path, kind):
    folder = save(kind, tiny_dataset, tmp_path / "policy")
    code, content, page = check(folder, tiny_dataset, tmp_path / "out")
    assert code == 1 and content["verdict"]["level"] == "no"  # random weights
    loop = content["open_loop"]
    assert (
        rules(content)["better than holding"][0] == "no"
        and "plan's end" in rules(content)["better than holding"][1]
    )
    assert len(loop["by_joint"]) == 6 and all(error > 0 for error in loop["by_joint"].values())
    # Found by the rules of `wallwm prepare`.
    assert len(set(loop["by_event"]) & {"reach", "grasp", "move", "release", "retreat"}) > 1
    assert set(loop["critical"]) & {"grasp", "release"}
    assert content["sensitivity"]["other_state"] > 0
    # The others' keypoints in a feature map of one pixel are always in its middle.
    assert (content["sensitivity"]["other_images"] > 0) == (kind == "act")
    assert content["sensitivity"]["other_caption"] is None  # one task
    assert set(content["latency_ms"]) <= {"plan", "tick with a look", "tick without a look"}
    assert content["latency_ms"]["plan"]["n"] >= 3 and content["details"]["policy"] == kind
    assert content["video"] is content["sight"] is content["remaining"] is None
    for anchor in ("actions", "errors", "inputs", "speed", "match", "rules", "how"):
        assert f'<section id="{anchor}">' in page
    assert 'id="video"' not in page and 'id="sight"' not in page and "imagination" not in page


def test_the_same_seed_measures_the_same_and_the_past_is_seen(tiny_dataset, tmp_path):
    """Diffusion samples with noise, and sees two observations at once."""
    folder = save("diffusion", tiny_dataset, tmp_path / "policy")
    _, first, _ = check(folder, tiny_dataset, tmp_path / "first")
    _, again, _ = check(folder, tiny_dataset, tmp_path / "again")
    assert first["open_loop"] == again["open_loop"] and first["sensitivity"] == again["sensitivity"]
    assert first["sensitivity"]["other_noise"] > 0
    from lerobot.datasets import LeRobotDatasetMetadata

    from lerobot_wallwm.check.measure.other_policy import OtherPolicy
    from lerobot_wallwm.check.measure.views import open_view

    policy = OtherPolicy(folder, LeRobotDatasetMetadata("local/it", root=tiny_dataset))
    item = open_view(tiny_dataset, policy.config, pictures_ahead=False)[15]
    assert item["observation.state"].shape == (2, 6)
    plan = policy.predict(policy.observation([item], [item], [item["task"]]), 0).actions
    stood = item | {"observation.state": item["observation.state"][-1:].expand(2, 6)}
    still = policy.predict(policy.observation([stood], [stood], [item["task"]]), 0).actions
    assert plan.shape == (1, 4, 6) and np.abs(plan - still).max() > 0


def test_a_carved_view_has_its_kinds_and_captions(tiny_view, tmp_path):
    folder = save("act", tiny_view / "train", tmp_path / "policy")
    _, content, page = check(folder, tiny_view / "heldout", tmp_path / "out")
    assert "reach" in content["open_loop"]["by_event"] and "By kind of event, to its end" in page
    level, text = rules(content)["follows captions"]
    assert level == "care" and "act does not read its task" in text  # no language, several captions
    assert content["sensitivity"]["other_caption"] == 0


def mixed(root: Path, top: float, size: int = 32) -> Path:
    """Steps of a hand in metres and radians and a gripper of any unit; a state of 8, an action of 7 numbers."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = (
        ["x", "y", "z", "qw", "qx", "qy", "qz", "gripper"],
        ["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"],
    )
    features = {
        "observation.state": {"dtype": "float32", "shape": (8,), "names": names[0]},
        "action": {"dtype": "float32", "shape": (7,), "names": names[1]},
        CAMERAS[0]: {"dtype": "image", "shape": (size, size, 3), "names": ["height", "width", "channels"]},
    }
    data = LeRobotDataset.create("local/mixed", 10, features, root=root, robot_type="xarm6", use_videos=False)
    rng = np.random.default_rng(0)
    for _ in range(4):
        steps = rng.uniform(-0.005, 0.005, (30, 6)).cumsum(0) * 0.2
        place = np.array([0.3, 0, 0.2]) + np.concatenate([np.zeros((1, 3)), steps[:-1, :3].cumsum(0)])
        gripper = np.where((np.arange(30) > 9) & (np.arange(30) < 20), 0.1, 0.9)[:, None] * top
        state = np.concatenate([place, np.tile([1.0, 0, 0, 0], (30, 1)), gripper], 1)
        for t in range(30):
            picture = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
            frame = {"observation.state": state[t].astype(np.float32), CAMERAS[0]: picture, "task": "take it"}
            data.add_frame(frame | {"action": np.append(steps[t], gripper[t]).astype(np.float32)})
        data.save_episode()
    data.finalize()
    return root


def test_a_state_of_another_width_and_units_that_cannot_be_averaged(tmp_path):
    """The same demonstrations with the gripper at 0..1 and at 0..850 have the same errors and the same answer."""
    found = {}
    for top in (1.0, 850.0):
        data = mixed(tmp_path / f"data{top:.0f}", top)
        folder = save("act", data, tmp_path / f"policy{top:.0f}")
        _, content, page = check(folder, data, tmp_path / f"out{top:.0f}")
        found[top] = content
        assert list(content["open_loop"]["by_joint"]) == [
            "dx",
            "dy",
            "dz",
            "droll",
            "dpitch",
            "dyaw",
            "gripper",
        ]
        assert content["open_loop"]["unit"] == "% of each joint's range" and "% of each joint" in page
        assert (
            content["details"].get("hold_by_joint")["dx"] < 0.02
        )  # staying is zero, not the place in the state
    small, large = (found[top]["open_loop"] for top in (1.0, 850.0))
    assert small["error"]["event"] == pytest.approx(large["error"]["event"], rel=1e-3)
    assert large["by_joint"]["gripper"] == pytest.approx(850 * small["by_joint"]["gripper"], rel=1e-3)
    assert [r for r, (level, _) in rules(found[1.0]).items() if level == "no" and r != "quick enough"] == [
        r for r, (level, _) in rules(found[850.0]).items() if level == "no" and r != "quick enough"
    ]


def test_a_policy_that_hands_out_its_plan_tick_by_tick(tmp_path):
    data = mixed(tmp_path / "data", 1.0, size=64)
    # LeRobot's TD-MPC sees one camera, of this name.
    folder = save("tdmpc", data, tmp_path / "policy", {CAMERAS[0]: "observation.image"})
    code, content, _ = check(folder, data, tmp_path / "out")
    assert (
        code == 1 and content["open_loop"]["error"]["event"] > 0 and content["details"]["policy"] == "tdmpc"
    )


def test_wallwm_runs_where_state_and_action_differ(make_config, tmp_path):
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.datasets import LeRobotDatasetMetadata

    from lerobot_wallwm import make_wallwm_pre_post_processors
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    data = mixed(tmp_path / "data", 850.0)
    config = make_config(cameras=CAMERAS[:1], fps=10.0, action_feature_names=None, state_feature_names=None)
    config.input_features["observation.state"] = PolicyFeature(FeatureType.STATE, (8,))
    config.output_features["action"] = PolicyFeature(FeatureType.ACTION, (7,))
    stats = LeRobotDatasetMetadata("local/mixed", root=data).stats
    WallwmPolicy(config, dataset_stats=stats).save_pretrained(tmp_path / "policy")
    for pipeline in make_wallwm_pre_post_processors(config, stats):
        pipeline.save_pretrained(tmp_path / "policy")
    code, content, _ = check(tmp_path / "policy", data, tmp_path / "out", "--clips=2")
    assert code == 1 and content["open_loop"]["error"]["event"] > 0


def test_cameras_are_renamed_as_in_training(tiny_dataset, tmp_path, capsys):
    names = {CAMERAS[0]: "observation.images.camera1", CAMERAS[1]: "observation.images.camera2"}
    folder = save("act", tiny_dataset, tmp_path / "policy", names)
    _, content, _ = check(folder, tiny_dataset, tmp_path / "out")
    plain = save("act", tiny_dataset, tmp_path / "plain")
    _, other, _ = check(plain, tiny_dataset, tmp_path / "out_plain")
    assert content["open_loop"]["error"] == other["open_loop"]["error"]  # the same weights, the same pictures
    assert [c["name"] for c in content["details"]["match"]["cameras"]] == list(names.values())
    config = json.loads((folder / "policy_preprocessor.json").read_text())
    for step in config["steps"]:
        if step.get("config", {}).get("rename_map"):
            step["config"]["rename_map"] = {"observation.images.top": "observation.images.camera1"}
    (folder / "policy_preprocessor.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert check(folder, tiny_dataset, tmp_path / "no")[0] == 2
    error = capsys.readouterr().err
    assert (
        "camera observation.images.top is missing (which the checkpoint renames" in error and "Fix:" in error
    )


def test_wallwm_with_renamed_cameras(make_config, tiny_view, tiny_stats, tmp_path):
    from lerobot_wallwm import make_wallwm_pre_post_processors
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    names = {CAMERAS[0]: "observation.images.camera1", CAMERAS[1]: "observation.images.camera2"}
    config = make_config(cameras=list(names.values()), fps=10.0)
    policy = WallwmPolicy(config, dataset_stats=tiny_stats)
    policy.model.action.remaining_head[-1].bias.data.fill_(
        1.0
    )  # as if trained: it must say when an event ends
    policy.save_pretrained(tmp_path / "policy")
    for pipeline in make_wallwm_pre_post_processors(config, tiny_stats):
        for step in pipeline.steps:
            if hasattr(step, "rename_map"):
                step.rename_map = names
        pipeline.save_pretrained(tmp_path / "policy")
    _, content, _ = check(tmp_path / "policy", tiny_view / "heldout", tmp_path / "out", "--clips=2")
    assert content["open_loop"]["error"]["event"] > 0 and content["video"]["psnr"] > 0
    assert content["latency_ms"]["none"]["median"] > 0


def test_episodes_that_training_saw_are_left_out_or_said(tiny_dataset, tmp_path, capsys):
    folder = save("act", tiny_dataset, tmp_path / "policy")

    def trained_on(episodes) -> None:
        data = {"dataset": {"repo_id": "test/tiny", "root": str(tiny_dataset), "episodes": episodes}}
        (folder / "train_config.json").write_text(json.dumps(data))

    trained_on([0, 1, 2, 3])
    _, content, _ = check(folder, tiny_dataset, tmp_path / "out")
    assert "episodes that it was not trained on: 2 of 6" in capsys.readouterr().out
    assert content["dataset"]["episodes"] == 2 and "held out" not in rules(content)
    _, content, _ = check(folder, tiny_dataset, tmp_path / "out3", "--dataset.episodes=[3,4]")
    assert content["dataset"]["episodes"] == 2 and rules(content)["held out"][0] == "care"
    trained_on(None)
    _, content, _ = check(folder, tiny_dataset, tmp_path / "out2")
    assert rules(content)["held out"][0] == "care" and "--dataset.episodes" in rules(content)["held out"][1]
    assert check(folder, tiny_dataset, tmp_path / "no", "--dataset.episodes=[2,17]")[0] == 2
    assert "episode 17: is none of its 6 (0 to 5)" in capsys.readouterr().err


def test_base_weights_and_no_device_are_refused(tiny_dataset, tmp_path, capsys):
    base = Path(__file__).parents[2] / "weights" / "nano-base"
    assert check(base, tiny_dataset, tmp_path / "out")[0] == 2
    assert "base weights, which do not act" in capsys.readouterr().err
    assert check(base, tiny_dataset, tmp_path / "out", "--device=gpu")[0] == 2
    assert "--device=gpu is not there. Fix:" in capsys.readouterr().err


def test_weights_and_actions_that_are_not_numbers_are_a_no(tiny_dataset, tmp_path):
    folder = save("act", tiny_dataset, tmp_path / "policy")
    weights = load_file(folder / "model.safetensors")
    weights["model.action_head.bias"][0] = float("inf")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    code, content, _ = check(folder, tiny_dataset, tmp_path / "out")
    assert code == 1 and rules(content)["numbers"][0] == "no"
    weights["model.action_head.bias"][0] = 3e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    code, content, _ = check(folder, tiny_dataset, tmp_path / "out2")
    assert code == 1 and content["verdict"]["level"] == "no"


def test_what_lacks_a_pipeline_is_refused(tiny_dataset, tmp_path, capsys):
    folder = save("act", tiny_dataset, tmp_path / "policy")
    (folder / "policy_postprocessor.json").unlink()
    assert check(folder, tiny_dataset, tmp_path / "out")[0] == 2
    assert "policy_postprocessor.json" in capsys.readouterr().err and not (tmp_path / "out").exists()
    shutil.rmtree(folder)


# -- what an action is -------------------------------------------------------------------------------------------------


def rows(state, action, **more) -> EventRows:
    return EventRows("c", "c", np.asarray(state, float), np.asarray(action, float), **more)


def test_staying_is_the_pose_zero_or_the_last_command():
    t = np.linspace(0, 6, 60)
    arm, base = np.sin(t), np.where(t < 3, 0.2, 0.0)
    dims = (
        Dimension("elbow.pos", follows=0),
        Dimension("x.vel", "velocity"),
        Dimension("suction", quantity="gripper"),
    )
    what = Embodiment(dims, (Dimension("elbow.pos"), Dimension("x.vel", "velocity")))
    action = np.stack([arm + 0.01, base, np.where(t < 3, 1.0, -1.0)], 1)
    event = rows(np.stack([arm, base], 1), action)
    assert event.stay is event.state  # until it is known better
    (held,) = with_hold([event], what)
    np.testing.assert_allclose(held.stay[:, 0], arm)
    assert not held.stay[:, 1].any()
    np.testing.assert_array_equal(held.stay[1:, 2], action[:-1, 2])
    (blind,) = with_hold([rows(np.zeros((60, 0)), action)], None)
    np.testing.assert_array_equal(blind.stay[1:], action[:-1])


def test_grasps_and_releases_are_found_whatever_a_gripper_is_called_open():
    for sign in (1, -1):
        path = np.concatenate([np.full(30, 50.0), np.full(40, 5.0), np.full(30, 50.0)])[:, None] * sign
        first, second = rows(path[:60], path[:60]), rows(path[60:], path[60:], start=60)
        marks = critical_frames([second, first], [0], 10.0)  # one episode, cut in two, in any order
        whole = np.concatenate([marks[1], marks[0]])
        assert np.flatnonzero(whole == 1).tolist() == list(range(25, 36))
        assert np.flatnonzero(whole == 2).tolist() == list(range(65, 76))
    assert not np.concatenate(critical_frames([first], [], 10.0)).any()
    assert not np.concatenate(critical_frames([rows(path[:9], path[:9])], [0], 10.0)).any()  # never moves


# -- memory ------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 1200), st.integers(2, 1600))
def test_memory_does_not_grow_with_the_pictures(height, width):
    """Whatever a picture's size, what is kept and what a policy is asked about at once stay below their bounds."""
    picture = torch.zeros(1, 1, 1).expand(3, height, width)
    items = Pictures([{"a": picture, "b": picture}], [0])
    one = 2 * 3 * height * width * 4
    assert items.at_once == 1 or items.at_once * one <= BATCH_BYTES
    assert items.at_once == max(1, min(BATCH, BATCH_BYTES // one))
