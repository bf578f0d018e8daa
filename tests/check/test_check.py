# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm check` from the command line's own function to the files that it leaves, at tiny size."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_arm import CAMERAS, JOINTS

from lerobot_wallwm.cli import main
from lerobot_wallwm.storage.fingerprint import sha256_of

QUICK = ["--observations=24", "--timings=5", "--clips=4", "--episodes_shown=1", "--quiet=true"]


@pytest.fixture(scope="module")
def save(tmp_path_factory, tiny_stats):
    """Saves a policy as lerobot-train does; returns its folder."""
    from lerobot_wallwm import make_wallwm_pre_post_processors

    def write(policy) -> Path:
        path = tmp_path_factory.mktemp("policy") / "pretrained_model"
        policy.save_pretrained(path)
        for pipeline in make_wallwm_pre_post_processors(policy.config, tiny_stats):
            pipeline.save_pretrained(path)
        return path

    return write


@pytest.fixture(scope="module")
def checkpoint(make_policy, save):
    return save(make_policy(fps=10.0))


def check(checkpoint: Path, data: Path, out: Path, *flags: str) -> tuple[int, dict]:
    code = main(
        ["check", f"--policy.path={checkpoint}", f"--dataset.root={data}", f"--out={out}", *QUICK, *flags]
    )
    file = out / "check.json"
    return code, json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


@pytest.fixture(scope="module")
def checked(checkpoint, tiny_view, tmp_path_factory):
    out = tmp_path_factory.mktemp("check") / "out"
    code, content = check(checkpoint, tiny_view / "heldout", out)
    return code, content, out


def reasons(content: dict) -> str:
    return "\n".join(content["verdict"]["reasons"])


def rules(content: dict) -> dict[str, str]:
    return {row["rule"]: row["level"] for row in content["details"]["rules"]}


def altered(checkpoint: Path, folder: Path, change) -> Path:
    """A copy of a checkpoint with other weights."""
    copy = Path(shutil.copytree(checkpoint, folder / "altered"))
    weights = load_file(copy / "model.safetensors")
    change(weights)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


# -- what is written ---------------------------------------------------------------------------------------------------


def test_results_have_the_fixed_form(checked, checkpoint, tiny_view):
    code, content, out = checked
    assert code == 1 and content["verdict"]["level"] == "no" and content["verdict"]["switch_on"] is False
    assert content["format"] == "wallwm-check/1"
    assert content["policy"] == {
        "path": str(checkpoint),
        "sha256": sha256_of(checkpoint / "model.safetensors"),
    }
    dataset = content["dataset"]
    assert dataset["root"] == str(tiny_view / "heldout") and dataset["repo_id"] is None
    assert dataset["episodes"] == 1 and dataset["events"] == content["open_loop"]["events"] > 3
    assert dataset["frames"] == len(pq.read_table(next((tiny_view / "heldout").glob("data/*/*.parquet"))))
    assert content["command"].startswith(f"wallwm check --policy.path={checkpoint}")
    assert set(content["machine"]) == {"cpu", "cores", "gpu", "torch", "lerobot", "device", "python"}
    loop = content["open_loop"]
    assert 8 <= loop["observations"] <= 24
    assert set(loop["error"]) == set(loop["intervals"]) == {"near", "event"}
    assert loop["intervals"]["near"] is None  # one episode tells nothing about the next
    assert {"hold the pose", "caption's mean motion"} <= set(loop["baselines"])
    assert list(loop["by_joint"]) == [joint.replace("_", " ") for joint in JOINTS]
    assert loop["error"]["event"] > 0 and all(error > 0 for error in loop["by_joint"].values())
    assert sum(row["observations"] for row in loop["by_event"].values()) == loop["observations"]
    assert loop["unit"] == "% of each joint's range" and loop["joint_unit"] == "dataset units"
    assert set(loop["critical"]) <= {"grasp", "release"} and loop["critical"]
    assert set(content["video"]) == {"psnr", "repeat_keyframe_psnr"}
    assert set(content["sensitivity"]) == {"other_images", "other_caption", "other_noise", "other_state"}
    assert content["remaining"]["error_frames"] > 0
    latency = content["latency_ms"]
    assert {"none", "anchor", "full", "tick with a look"} <= set(latency)
    assert all(row["median"] <= row["p99"] and row["n"] >= 1 for row in latency.values())
    assert (
        "NaN" not in (out / "check.json").read_text() and "Infinity" not in (out / "check.json").read_text()
    )


def test_the_figures_are_pictures_and_all_are_named(checked):
    _, content, out = checked
    found = {path.name for path in out.iterdir()}
    assert found == {"check.html", "check.json", *content["figures"]}
    assert {"actions_1.png", "errors.png", "sensitivity.png", "latency.png", "video_1.png"} <= found
    for name in content["figures"]:
        with Image.open(out / name) as picture:
            assert picture.format == "PNG" and min(picture.size) > 30


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
                self.fetched.append(value)
            if name == "id":
                self.ids.append(value)


def test_the_page_is_one_file_and_the_verdict_comes_first(checked):
    _, content, out = checked
    text = (out / "check.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.fetched and all(value.startswith(("data:", "#")) for value in page.fetched)
    assert not re.search(r"https?://|//\w+\.\w+/|@import|url\((?!#)", text)
    assert not {"script", "link", "iframe", "object"} & page.tags
    assert len(page.ids) == len(set(page.ids))
    assert text.index('id="verdict"') < text.index("<svg") and "<b>No</b>" in text
    for anchor in ("actions", "errors", "inputs", "video", "ends", "speed", "match", "rules", "how"):
        assert f'<section id="{anchor}">' in text
    assert content["policy"]["sha256"] in text


def test_what_it_looks_at_is_measured_where_ends_need_pictures(checked, checkpoint, tiny_view, tmp_path):
    assert checked[1]["sight"] is None  # one episode
    _, content = check(checkpoint, tiny_view / "train", tmp_path / "out")
    sight = content["sight"]
    assert {"its own", "another scene", "blank pictures", "another caption"} < set(sight["error"])
    assert sum("another scene but for" in name for name in sight["error"]) == len(CAMERAS)
    assert set(sight["error"]) == set(sight["times"]) == set(sight["by_event"]) and sight["observations"] > 3
    assert sight["times"]["its own"] == 1 and sight["events"]
    for name, kinds in sight["by_event"].items():
        assert np.mean(list(kinds.values())) == pytest.approx(sight["error"][name], rel=1e-4)
    text = (tmp_path / "out/check.html").read_text(encoding="utf-8")
    assert '<section id="sight">' in text and 'href="#sight"' in text and "sight.png" in content["figures"]
    assert rules(content)["follows images"] == "no"  # random weights see, but know nothing
    assert len(Page(text).ids) == len(set(Page(text).ids))


def test_the_same_seed_measures_the_same(checked, checkpoint, tiny_view, tmp_path):
    _, again = check(checkpoint, tiny_view / "heldout", tmp_path / "again", "--timings=6")
    for key in ("open_loop", "sensitivity", "remaining", "video", "dataset"):
        assert again[key] == checked[1][key]


def test_an_earlier_check_is_replaced_only_when_asked_for(checkpoint, checked, tiny_view, capsys):
    out = checked[2]
    before = (out / "check.json").read_bytes()
    assert check(checkpoint, tiny_view / "heldout", out)[0] == 2
    assert "--out" in capsys.readouterr().err and (out / "check.json").read_bytes() == before
    assert not list(out.parent.glob(".out.*"))


# -- what it finds -----------------------------------------------------------------------------------------------------


def test_weights_that_are_not_numbers_are_a_no(checkpoint, tiny_view, tmp_path):
    def spoil(weights):
        name = next(name for name in weights if name.endswith("weight") and "action" in name)
        weights[name][0] = float("nan")

    code, content = check(altered(checkpoint, tmp_path, spoil), tiny_view / "heldout", tmp_path / "out")
    assert code == 1 and content["verdict"]["level"] == "no"
    assert "not finite" in content["verdict"]["reasons"][0]
    assert content["open_loop"]["error"] == {"near": None, "event": None}
    assert content["video"] is content["sensitivity"] is content["remaining"] is None
    assert "not finite" in (tmp_path / "out/check.html").read_text()


def test_actions_that_are_not_numbers_are_a_no(checkpoint, tiny_view, tmp_path):
    """Finite weights whose product is not: the pipeline's clamp would hide it."""

    def blow_up(weights):
        weights["action_space.scale"][2] = torch.finfo(torch.float32).max
        weights["model.action.head.2.bias"] += 10

    code, content = check(altered(checkpoint, tmp_path, blow_up), tiny_view / "heldout", tmp_path / "out")
    assert code == 1 and rules(content)["numbers"] == "no"
    assert "not finite" in reasons(content) and content["open_loop"]["error"]["event"] is None
    assert content["latency_ms"] == {} and content["video"] is None


def test_a_policy_that_ignores_captions_is_flagged(checked, checkpoint, tiny_view, tmp_path):
    def deafen(weights):
        for name in weights:
            if name.startswith("model.text_encoder."):
                weights[name].zero_()

    _, content = check(altered(checkpoint, tmp_path, deafen), tiny_view / "heldout", tmp_path / "out")
    assert content["sensitivity"]["other_caption"] < 1e-4 < checked[1]["sensitivity"]["other_caption"]
    assert "it ignores its captions" in reasons(content) and rules(content)["follows captions"] == "no"
    assert content["sensitivity"]["other_images"] > 1e-4


def test_a_policy_that_ignores_images_is_flagged(checked, checkpoint, tiny_view, tmp_path):
    def blind(weights):
        for name in weights:
            # What the video tower takes in from pictures.
            if name.startswith(("model.video.patch_embedding.", "model.landmarks.stem.")):
                weights[name].zero_()

    _, content = check(altered(checkpoint, tmp_path, blind), tiny_view / "heldout", tmp_path / "out")
    assert content["sensitivity"]["other_images"] < 1e-4 < checked[1]["sensitivity"]["other_images"]
    assert "it ignores its images" in reasons(content) and rules(content)["follows images"] == "no"
    assert content["sensitivity"]["other_caption"] > 1e-4


def test_a_checkpoint_that_learned_no_actions_is_a_no(make_policy, save, tiny_view, tmp_path):
    folder = save(make_policy(stage="video", fps=10.0))
    code, content = check(folder, tiny_view / "heldout", tmp_path / "out")
    assert code == 1 and "learns video but no actions" in reasons(content)
    assert content["latency_ms"] == {} and content["video"]["psnr"] > 0


def test_a_checkpoint_that_never_learned_when_events_end_is_a_no(checkpoint, tiny_view, tmp_path):
    """A rollout would refuse it: an answer with the reason, not an error."""

    def unlearn(weights):
        for name in weights:
            if ".remaining_head." in name:
                weights[name].zero_()

    code, content = check(altered(checkpoint, tmp_path, unlearn), tiny_view / "heldout", tmp_path / "out")
    assert code == 1 and "never taught how long an event still lasts" in reasons(content)
    assert rules(content)["stage"] == "no" and content["latency_ms"] == {}


def test_whole_episodes_are_checked_and_the_events_said_to_be_unknown(checkpoint, tiny_dataset, tmp_path):
    _, content = check(checkpoint, tiny_dataset, tmp_path / "out")
    assert content["dataset"] | {"root": None} == {
        "repo_id": None,
        "root": None,
        "episodes": 6,
        "events": None,
        "frames": content["dataset"]["frames"],
    }
    assert "reach" in content["open_loop"]["by_event"]  # found by the rules of `wallwm prepare`
    assert content["remaining"] is content["sight"] is None
    low, high = content["open_loop"]["intervals"]["event"]
    assert low < content["open_loop"]["error"]["event"] < high
    assert content["sensitivity"]["other_caption"] is None  # one task: nothing to exchange it for
    assert rules(content)["events known"] == "care"
    assert "whole episodes, " in (tmp_path / "out/check.html").read_text()


def test_another_arm_with_the_same_number_of_joints_is_found(checkpoint, tiny_view, tmp_path):
    """Other units, joints in another order, another clock, each by its own rule."""
    data = Path(shutil.copytree(tiny_view / "heldout", tmp_path / "other_arm"))
    file = next(data.glob("data/*/*.parquet"))
    table = pq.read_table(file)
    for name in ("observation.state", "action"):
        values = np.stack(table[name].to_numpy(zero_copy_only=False)) * 20
        column = pa.array(list(values.astype(np.float32)), type=table.schema.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    pq.write_table(table, file)
    info = json.loads((data / "meta/info.json").read_text())
    names = info["features"]["observation.state"]["names"]
    names[0], names[1] = names[1], names[0]
    (data / "meta/info.json").write_text(json.dumps(info))
    code, content = check(checkpoint, data, tmp_path / "out", "--fps=11")
    assert code == 1 and rules(content)["same units"] == "no" and rules(content)["same clock"] == "care"
    assert "1.10 times as fast" in reasons(content)
    assert rules(content)["same joints"] == "no" and "another order" in reasons(content)


def test_one_camera_and_the_joints_of_another_arm(make_policy, save, tmp_path):
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = [f"joint{d}.pos" for d in range(4)]
    key, root = "observation.images.front", tmp_path / "koch"
    joints = {"dtype": "float32", "shape": (4,), "names": names}
    picture = {"dtype": "image", "shape": (48, 64, 3), "names": ["height", "width", "channels"]}
    dataset = LeRobotDataset.create(
        "test/koch",
        fps=30,
        features={key: picture, "observation.state": joints, "action": joints},
        root=root,
        robot_type="koch_follower",
    )
    rng = np.random.default_rng(0)
    for episode in range(3):
        for step in range(20):
            pose = np.sin(step / 9 + np.arange(4) + episode).astype(np.float32) * 50
            frame = {"observation.state": pose, "action": pose + 1, "task": f"wave {episode}"}
            dataset.add_frame({**frame, key: rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)})
        dataset.save_episode()
    dataset.finalize()
    from lerobot_wallwm import WallwmConfig, make_wallwm_pre_post_processors
    from lerobot_wallwm.hub.files.learned import Learned
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    like = make_policy().config
    sizes = ("image_size", "num_future_latents", "video_stride", "video_width", "video_depth", "video_heads")
    sizes += ("video_ffn_width", "text_dim", "action_width", "action_heads", "action_ffn_width")
    config = WallwmConfig(
        input_features={
            key: PolicyFeature(FeatureType.VISUAL, (3, 48, 64)),
            "observation.state": PolicyFeature(FeatureType.STATE, (4,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (4,))},
        device="cpu",
        resize="pad",
        **{name: getattr(like, name) for name in sizes},
    )
    config.learned = Learned(fps=30.0, action_feature_names=names, state_feature_names=names)
    stats = dataset.meta.stats
    policy = WallwmPolicy(config, dataset_stats=stats)
    policy.model.action.remaining_head[-1].bias.data.fill_(
        1.0
    )  # as if trained: it must say when an event ends
    folder = tmp_path / "policy"
    policy.save_pretrained(folder)
    for pipeline in make_wallwm_pre_post_processors(config, stats):
        pipeline.save_pretrained(folder)
    code, content = check(folder, root, tmp_path / "out")
    assert code == 1 and list(content["open_loop"]["by_joint"]) == ["joint0", "joint1", "joint2", "joint3"]
    assert rules(content)["same units"] == "yes" and "same clock" not in rules(content)
    assert content["details"]["match"]["cameras"] == [{"name": key, "trained": [48, 64], "here": [48, 64]}]


@pytest.mark.parametrize("fields", [{"stage": "next_chunk"}, {"imagination": "full", "replan_steps": 0}])
def test_other_ways_to_act(make_policy, save, tiny_dataset, tmp_path, fields):
    folder = save(make_policy(fps=10.0, **fields))
    _, content = check(folder, tiny_dataset, tmp_path / "out")
    assert content["open_loop"]["error"]["event"] > 0 and content["video"]["psnr"] > 0
    steps = content["details"]["control_rate"]["steps_between_looks"]
    assert steps == 8  # the horizon: of a chunk, or of what is left of a whole episode
    assert ("events known" in rules(content)) == ("stage" not in fields)


@pytest.mark.parametrize("name", ["wan2.1-1.3b", pytest.param("wan2.2-5b", marks=pytest.mark.slow)])
def test_checkpoints_on_wan_backbones(make_policy, save, tiny_dataset, tmp_path, name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "text_cache"))
    from tiny_wan import save_backbone

    policy = make_policy(
        backbone=name,
        backbone_path=str(save_backbone(tmp_path / "backbone", name)),
        image_size=(64, 64) if name == "wan2.2-5b" else (32, 32),
        fps=10.0,
    )
    _, content = check(save(policy), tiny_dataset, tmp_path / "out")
    assert content["open_loop"]["error"]["event"] > 0 and content["video"]["psnr"] > 0
    assert content["sensitivity"]["other_images"] > 0 and content["latency_ms"]["anchor"]["median"] > 0


@pytest.mark.slow
def test_what_lerobot_train_writes_is_checked_from_the_shell(tiny_view, tmp_path):
    """The unmodified trainer, one step, then the command in a process of its own; exit code 1 says no."""
    from tiny_arm import TINY_FLAGS

    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=900)

    trained = run(
        *("-c", "from lerobot.scripts.lerobot_train import main; main()", "--policy.type=wallwm"),
        *("--policy.push_to_hub=false", "--policy.device=cpu", "--dataset.repo_id=test/tiny_events"),
        *(f"--dataset.root={tiny_view / 'train'}", f"--output_dir={tmp_path / 'run'}", "--steps=1"),
        *("--batch_size=4", "--num_workers=0", *TINY_FLAGS),
    )
    assert trained.returncode == 0, trained.stderr[-2000:]
    policy = tmp_path / "run/checkpoints/last/pretrained_model"
    flags = [f"--policy.path={policy}", f"--dataset.root={tiny_view / 'heldout'}", "--observations=24"]
    done = run("-m", "lerobot_wallwm.cli", "check", *flags, f"--out={tmp_path / 'out'}", "--timings=5")
    assert done.returncode == 1, done.stderr[-2000:]
    assert done.stdout.startswith("Switch the arm on? NO") and "Traceback" not in done.stderr
    assert "predicting" in done.stderr  # the progress bar
    content = json.loads((tmp_path / "out/check.json").read_text())
    levels = rules(content)
    assert levels["better than holding"] == "no" and levels["same units"] in ("yes", "care")
    assert "same joints" not in levels and "same clock" not in levels and "known captions" not in levels


# -- in a browser ------------------------------------------------------------------------------------------------------


def test_the_page_opens_from_disk_and_shows_the_verdict_at_a_glance(checked, browse):
    page = browse(checked[2] / "check.html", ("file:", "data:"))
    box = page.locator("#verdict").bounding_box()
    assert box is not None and box["y"] + box["height"] < 800
    assert page.locator("#verdict b").inner_text() == "No"
    assert page.locator("#verdict li").count() == len(checked[1]["verdict"]["reasons"])
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1000


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_bad_input_is_one_line_and_leaves_nothing(checkpoint, tiny_view, tmp_path, capsys):
    heldout, out = tiny_view / "heldout", tmp_path / "out"

    def complaint(path: Path | str, data: Path, *flags: str) -> str:
        code, _ = check(Path(path), data, out, *flags)
        error = capsys.readouterr().err.strip()
        assert code == 2 and "\n" not in error and error.startswith("error: ") and "Fix:" in error, error
        assert not out.exists() and not list(tmp_path.glob(".out.*"))
        return error

    assert "is not there" in complaint(tmp_path / "nowhere", heldout)
    assert "is missing" in complaint(tmp_path, heldout)
    assert "pretrained_model" in complaint(checkpoint.parent, heldout)
    act = Path(shutil.copytree(checkpoint, tmp_path / "act"))
    (act / "config.json").write_text('{"type": "none such"}')
    assert "cannot be read" in complaint(act, heldout)
    (act / "config.json").write_text("{")
    assert "cannot be read" in complaint(act, heldout)
    cut = Path(shutil.copytree(checkpoint, tmp_path / "cut"))
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-9])
    assert "model.safetensors" in complaint(cut, heldout)
    assert f"pass {tiny_view}/heldout" in complaint(checkpoint, tiny_view)
    assert "meta/info.json" in complaint(checkpoint, tmp_path / "no data")
    assert "--observations" in complaint(checkpoint, heldout, "--observations=1")
    assert "--fps" in complaint(checkpoint, heldout, "--fps=0")
    assert "--device" in complaint(checkpoint, heldout, "--device=xpu")
    data = Path(shutil.copytree(heldout, tmp_path / "data"))
    video = next(data.glob(f"videos/{CAMERAS[1]}/*/*.mp4"))
    content = video.read_bytes()
    video.unlink()  # a view's videos are hard links: the source must keep its own
    assert CAMERAS[1] in complaint(checkpoint, data)
    video.write_bytes(content[: len(content) // 3])
    assert "cannot be decoded" in complaint(checkpoint, data)


def test_data_of_another_arm_are_refused_with_every_difference(
    make_config, tiny_stats, tiny_view, tmp_path, capsys
):
    from lerobot_wallwm import make_wallwm_pre_post_processors
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    cameras = [CAMERAS[0], "observation.images.side"]
    config = make_config(cameras=cameras, image_shape=(3, 48, 64))
    policy = WallwmPolicy(config, dataset_stats=tiny_stats)
    policy.save_pretrained(tmp_path / "policy")
    for pipeline in make_wallwm_pre_post_processors(config, tiny_stats):
        pipeline.save_pretrained(tmp_path / "policy")
    code, _ = check(tmp_path / "policy", tiny_view / "heldout", tmp_path / "out")
    error = capsys.readouterr().err
    assert code == 2 and "observation.images.side is missing" in error
    assert "32 x 32 pixels, in training 64 x 48" in error


def test_a_name_on_the_hub_without_a_network(tiny_view, tmp_path, capsys):
    code, _ = check(Path("someone/some-policy"), tiny_view / "heldout", tmp_path / "out")
    error = capsys.readouterr().err
    assert code == 2 and "someone/some-policy" in error and "Fix:" in error


def test_without_matplotlib(checkpoint, tiny_view, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _ = check(checkpoint, tiny_view / "heldout", tmp_path / "out")
    assert code == 2 and "pip install matplotlib" in capsys.readouterr().err


def test_usage_names_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "lerobot_wallwm.cli", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "wallwm check --policy.path=DIR" in done.stdout
