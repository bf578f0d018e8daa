# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The model card: what was measured, what was not, nothing made up, nothing that a dataset's text could do."""

import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from hub_repos import rewrite
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from PIL import Image
from tiny_arm import CAMERAS

from lerobot_wallwm.cli import main
from lerobot_wallwm.hub.card.check_report import CheckReport, Errors, write_check
from lerobot_wallwm.hub.card.model_card import read_evaluations, shown
from lerobot_wallwm.hub.files.portable import NotPortableError, portable, portable_command, without_folders
from lerobot_wallwm.language.view_facts import read_view
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

EVIL = (
    "cup</td></table><script>window.hacked=1</script><img src=x onerror=window.hacked=2>\n---\nlicense: mit\n"
    "# Owned ![x](http://evil.example/x.png) [a](javascript:alert(1)) | `b` www.evil.example @everyone \u2028 ```"
)


def png(path: Path, colour: int = 200) -> None:
    pixels = np.zeros((120, 240, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = colour, np.arange(120)[:, None] * 2 % 256, 90
    Image.fromarray(pixels).save(path)


@pytest.fixture
def check(checkpoint, tmp_path) -> Path:
    """What `wallwm check` writes, with figures."""
    folder = tmp_path / "check"
    folder.mkdir()
    png(folder / "actions.png")
    png(folder / "video.png", 40)
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    machine = {"cores": 2, "gpu": None, "torch": "2.11.0", "lerobot": "0.6.1", "device": "cpu"}
    size = {"episodes": 12, "events": 60, "frames": 3000}
    report = {
        "format": "wallwm-check/1",
        "policy": {"path": "/home/somebody/x", "sha256": weights},
        "dataset": {"repo_id": "me/heldout", "root": "/home/somebody/d", **size},
        "command": "wallwm check --policy.path=/home/somebody/cups --dataset.repo_id=me/heldout",
        "machine": {"cpu": "Some CPU " + EVIL, **machine},
        "open_loop": {
            **{"events": 60, "observations": 240, "unit": "degrees, gripper 0 to 100"},
            "error": {"near": 1.25, "event": 3.375},
            "baselines": {"holding the pose": {"near": 2.5, "event": 7.0625}, EVIL: {"near": 1}},
            "by_joint": {"shoulder_pan.pos": 2.75, EVIL: 1.0},
        },
        "video": {"psnr": 18.8, "repeat_keyframe_psnr": 19.4},
        "sensitivity": {"other_images": 4.625, "other_caption": 7.875, "other_noise": 0.0375},
        "latency_ms": {
            "none": {"median": 22.25, "p99": 31.5, "n": 200},
            "full": {"median": 168.0, "p99": None},
        },
        "verdict": {"switch_on": False, "reasons": ["the error is 3.4 degrees", EVIL]},
        "figures": ["actions.png", "video.png"],
    }
    (folder / "check.json").write_text(json.dumps(report))
    return folder


def evaluation(path: Path, outcomes: list, task: str = "so101_sim") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {"task_group": task, "task_id": 0, "metrics": {"successes": outcomes}}
    path.write_text(json.dumps({"per_task": [done], "overall": {}}))
    return path


def publish(checkpoint: Path, tmp_path: Path, *flags: str) -> str | None:
    """The card of a dry run, or None if it was refused."""
    out = tmp_path / "dry"
    shutil.rmtree(out, ignore_errors=True)
    base = [f"--policy.path={checkpoint}", "--repo_id=me/cups", "--dry_run=true", f"--out={out}"]
    return (out / "README.md").read_text() if main(["publish", *base, *flags]) == 0 else None


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_what_was_not_measured_is_called_so(checkpoint, tmp_path):
    card = publish(checkpoint, tmp_path)
    for title in ("Held-out errors", "Success", "Sensitivity", "Latency", "Should the arm be switched on?"):
        body = re.search(rf"## {re.escape(title)}\n\n(.*?)\n\n## ", card, re.S)[1]
        assert body.startswith("Not measured") and not re.search(r"\d", body), title
    data = front_matter(card)
    assert data["library_name"] == "lerobot" and data["pipeline_tag"] == "robotics"
    assert {"wallwm", "robotics", "lerobot"} <= set(data["tags"])
    assert "datasets" not in data and "license" not in data and "base_model" not in data  # read from a folder
    assert "not stated; ask its author" in card


def test_a_dataset_is_linked_where_its_name_on_the_hub_is_given(checkpoint, tmp_path):
    assert front_matter(publish(checkpoint, tmp_path, "--dataset.repo_id=test/tiny_events"))["datasets"] == [
        "test/tiny_events"
    ]


def test_a_dataset_of_one_computer_is_named_and_not_linked(checkpoint, tmp_path):
    rewrite(checkpoint / "train_config.json", dataset={"repo_id": "local/cups"})
    card = publish(checkpoint, tmp_path)
    assert "datasets" not in front_matter(card)
    assert "local/cups (read from a folder of the trainer's computer)" in card


def test_measured_figures_are_those_of_the_files(checkpoint, check, tiny_view, tmp_path):
    seen = evaluation(tmp_path / "seen" / "eval_info.json", [True] * 26 + [False] * 24)
    other = evaluation(tmp_path / "other" / "eval_info.json", [False] * 10)
    flags = [f"--check={check}", f"--eval=seen colours={seen}", f"--eval={other.parent}"]
    flags += [f"--dataset.root={tiny_view / 'train'}", "--license=apache-2.0"]
    card = publish(checkpoint, tmp_path, *flags)
    for text in (
        "| **this checkpoint** | 1.25 | 3.38 |",
        "| holding the pose | 2.50 | 7.06 |",
        "12 episodes, 60 events, 3000 frames",
        "| seen colours | so101\\_sim 0 | 26/50 | 52 % | 39 to 65 % |",
        "| other | so101\\_sim 0 | 0/10 | 0 % | 0 to 28 % |",
        "18.8; repeating the first frame: 19.4",
        "| other images | 4.62 |",
        "| another pose | not measured |",
        "| none | 22.2 | 31.5 | 200 |",
        "| full | 168.0 | not measured | not measured |",
        "2 cores",
        "said **no**",
        "**Actions of a held-out episode",
        "![actions](figures/actions.png)",
        "wallwm check --policy.path=cups --dataset.repo_id=me/heldout",
        "lerobot-train \\\n--policy.type=wallwm \\\n",
        "--batch_size=16 \\\n--steps=700\n```",
        "so101\\_follower",
    ):
        assert text in card, text
    view = read_view(tiny_view / "train")
    assert f"{view.events} (action), written as {view.copies} episodes" in card and view.events > 10
    assert front_matter(card)["license"] == "apache-2.0"
    assert "somebody" not in card
    assert (tmp_path / "dry" / "figures" / "video.png").is_file()


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({"switch_on": True, "level": "care", "reasons": []}, "said **yes, with care**"),
        ({"switch_on": True, "level": "yes", "reasons": []}, "said **yes**"),
        ({"switch_on": False, "level": "no", "reasons": []}, "said **no**"),
        ({"switch_on": True, "reasons": []}, "said **yes**"),
    ],
)
def test_a_yes_with_care_stays_one(checkpoint, check, tmp_path, verdict, said):
    rewrite(check / "check.json", verdict=verdict)
    assert said in publish(checkpoint, tmp_path, f"--check={check}")


def test_counts_of_a_view_agree_with_lerobot(tiny_view):
    view = read_view(tiny_view / "train")
    meta = LeRobotDatasetMetadata("test/tiny_events", root=tiny_view / "train")
    assert (view.copies, view.frames, view.fps) == (meta.total_episodes, meta.total_frames, meta.fps)
    assert sum(label.copies for label in view.labels) == view.copies
    assert sum(label.events for label in view.labels) == view.events
    lengths = [n / meta.fps for n in meta.episodes["length"]]
    assert max(label.longest for label in view.labels) == pytest.approx(max(lengths))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"policy": {"sha256": "0" * 64}}, "another checkpoint"),
        ({"policy": {}}, "another checkpoint"),
        ({"format": "wallwm-check/2"}, "format"),
        ({"open_loop": {"error": {"near": "1.0"}}}, "open_loop.error.near"),
        ({"open_loop": {"error": {"near": float("nan")}}}, "open_loop.error.near"),
        ({"open_loop": {"events": -1}}, "open_loop.events"),
        ({"open_loop": {"events": True}}, "open_loop.events"),
        ({"latency_ms": [1]}, "latency_ms"),
        ({"verdict": {"switch_on": "yes"}}, "verdict.switch_on"),
        ({"video": {"ssim": 0.5}}, "video.ssim"),
        ({"figures": ["../secret.png"]}, "leaves"),
        ({"figures": ["/etc/passwd"]}, "leaves"),
        ({"figures": ["check.json"]}, "no PNG"),
        ({"figures": ["absent.png"]}, "no PNG"),
        ({"figures": ["text.png"]}, "no PNG picture"),
        ({"figures": ["link.png"]}, "no PNG file of this folder"),
    ],
)
def test_a_report_that_does_not_hold_is_refused(checkpoint, check, tmp_path, capsys, changes, says):
    (check / "text.png").write_text("text")
    png(tmp_path / "outside.png")
    (check / "link.png").symlink_to(tmp_path / "outside.png")
    rewrite(check / "check.json", **changes)
    assert publish(checkpoint, tmp_path, f"--check={check}") is None
    error = capsys.readouterr().err
    assert says in error and "Fix: " in error


@pytest.mark.parametrize(
    "key",
    [
        "dataset",
        "command",
        "machine",
        "open_loop",
        "video",
        "sensitivity",
        "latency_ms",
        "verdict",
        "figures",
    ],
)
def test_a_report_may_lack_any_part(checkpoint, check, tmp_path, key):
    report = json.loads((check / "check.json").read_text())
    del report[key]
    (check / "check.json").write_text(json.dumps(report))
    assert publish(checkpoint, tmp_path, f"--check={check}")
    if key not in ("latency_ms", "figures"):
        rewrite(check / "check.json", **{key: None})
        assert publish(checkpoint, tmp_path, f"--check={check}")


def test_what_check_writes_is_what_a_card_reads(check, tmp_path):
    """Six digits, null for what is not finite, tuples as lists; names that are not in the schema are refused."""
    report = json.loads((check / "check.json").read_text())
    report["open_loop"] |= {"error": {"near": 1 / 3, "event": math.nan}, "intervals": {"near": (0.1, 0.5)}}
    details = {"rules": [{"level": "no", "x": math.inf}]}
    written = write_check(tmp_path / "check.json", {**report, "details": details})
    assert written.open_loop.error == Errors(near=0.333333, event=None)
    assert written.open_loop.intervals["near"] == (0.1, 0.5)
    again = CheckReport.model_validate_json((tmp_path / "check.json").read_text())
    assert again == written and again.details == {"rules": [{"level": "no", "x": None}]}
    with pytest.raises(ValueError, match="extra_forbidden"):
        write_check(tmp_path / "check.json", {**report, "ssim": 0.5})


@pytest.mark.parametrize(
    ("wins", "trials", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (score without continuity correction).
        (81, 263, 0.2553, 0.3662),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 1 - 0.1611, 1.0000),
    ],
)
def test_intervals_of_successes_match_published_values(tmp_path, wins, trials, low, high):
    outcomes = [i < wins for i in range(trials)]
    (row,) = read_evaluations(str(evaluation(tmp_path / "seen" / "eval_info.json", outcomes)))
    assert row[:4] == ("seen", "so101_sim 0", wins, trials)
    assert row.interval == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("outcomes", [[], [1, 0], ["true"], None, 0.5])
def test_an_evaluation_without_outcomes_is_refused(checkpoint, tmp_path, capsys, outcomes):
    file = evaluation(tmp_path / "e" / "eval_info.json", outcomes)
    assert publish(checkpoint, tmp_path, f"--eval={file}") is None
    assert "successes" in capsys.readouterr().err


@pytest.fixture
def evil(checkpoint) -> Path:
    """A checkpoint whose texts, all of which come from a dataset, try to be more than text."""
    rewrite(checkpoint / "config.json", tags=[EVIL])
    names = json.loads((checkpoint / "learned.json").read_text())["action_feature_names"]
    rewrite(
        checkpoint / "learned.json",
        event_transitions={"": {EVIL: 3}, EVIL: {EVIL: 2, "<end>": 1}},
        event_max_frames={EVIL: 12},
        action_feature_names=[EVIL, *names[1:]],
    )
    train = json.loads((checkpoint / "train_config.json").read_text())
    policy, dataset = {**train["policy"], "script": [EVIL]}, {**train["dataset"], "repo_id": EVIL}
    rewrite(checkpoint / "train_config.json", policy=policy, dataset=dataset)
    return checkpoint


@pytest.fixture(scope="module")
def markdown():
    """The most trusting renderer: HTML passes, bare addresses could become links."""
    markdown_it = pytest.importorskip("markdown_it")
    return markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")


def test_text_from_elsewhere_stays_text(evil, check, tmp_path, markdown):
    file = evaluation(tmp_path / "e" / "eval_info.json", [True], task=EVIL)
    card = publish(evil, tmp_path, f"--check={check}", f"--eval={file}")
    assert set(front_matter(card)) == {"library_name", "pipeline_tag", "tags"}
    body = card.split("---\n", 2)[2]
    tokens = markdown.parse(body)
    inline = [child for token in tokens for child in token.children or []]
    assert not [t for t in [*tokens, *inline] if t.type.startswith("html")]
    links = {child.attrs["href"] for child in inline if child.type == "link_open"}
    assert links == {"https://github.com/huggingface/lerobot"}
    pictures = {child.attrs["src"] for child in inline if child.type == "image"}
    assert pictures == {"figures/actions.png", "figures/video.png"}
    headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"]
    assert len(headings) == 14 and not any("Owned" in heading for heading in headings)
    assert not re.search(r"(?<!&#58;)://evil|www\.evil|@everyone", re.sub(r"```.*?```", "", body, flags=re.S))


@pytest.mark.parametrize(
    "text", ["a|b", "<b>", "![a](b)", "*a*", "http://a.b", "www.a.b", "@me", "&lt;", "1. a", "a\nb"]
)
def test_shown_text_is_one_piece_of_text(text, markdown):
    tokens = markdown.parse(f"x {shown(text)}")
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children} <= {"text", "text_special"}
    assert "".join(child.content for child in tokens[1].children) == "x " + " ".join(text.split())


def test_the_card_in_a_browser(evil, check, tiny_view, tmp_path, markdown, browse):
    """Rendered as the Hub would, with HTML allowed: it shows its tables and figures, and runs nothing."""
    file = evaluation(tmp_path / "seen" / "eval_info.json", [True] * 26 + [False] * 24)
    flags = [f"--check={check}", f"--eval=seen colours={file}", f"--dataset.root={tiny_view / 'train'}"]
    body = markdown.render(publish(evil, tmp_path, *flags).split("---\n", 2)[2])
    page_file = tmp_path / "dry" / "card.html"
    page_file.write_text(f"<!doctype html><meta charset=utf-8>{body}")
    page = browse(page_file, ("file:",))
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("[...document.images].map(i => i.naturalWidth)") == [240, 240]
    cells = page.evaluate("[...document.querySelectorAll('td')].map(c => c.textContent)")
    assert {"26/50", "52 %", "39 to 65 %", "3.38"} <= set(cells)
    assert len(page.screenshot(full_page=True)) > 20_000


def test_settings_leave_without_paths_servers_and_secrets():
    settings = {
        "root": "data/here",
        "output_dir": "outputs/x",
        "a": {"b": ["/etc/x", "kept", "../y", "https://h/x", "C:\\x"], "api_key": "1", "wandb_token": "2"},
        "max_text_tokens": "16",
        "pretrained_path": "outputs/train/x/pretrained_model",
        "script": ["/ is a slash", "reach"],
        "n": 3,
    }
    public, dropped = portable(settings, "x.json")
    assert public["a"] == {"b": ["kept"]}
    assert public.keys() == {"a", "max_text_tokens", "script", "n"} and public["n"] == 3
    assert public["max_text_tokens"] == "16" and public["script"] == ["/ is a slash", "reach"]
    assert {"root", "a.api_key", "pretrained_path"} <= set(dropped)
    assert portable({"pretrained_path": "me/base"}, "x")[0] == {"pretrained_path": "me/base"}
    for secret in ("hf_" + "a" * 30, "sk-" + "b" * 30, "ghp_" + "c" * 30):
        with pytest.raises(NotPortableError, match=r"x\.json: a\.b .*token"):
            portable({"a": {"b": f"see {secret}"}}, "x.json")


def test_commands_and_sentences_leave_without_folders():
    command = "wallwm check --policy.path=/home/somebody/run/pretrained_model --url=http://10.0.0.1 --n=3 --api_key=x me/cups"
    assert portable_command(command) == "wallwm check --policy.path=pretrained_model --n=3 me/cups"
    assert portable_command("unclosed ' quote") == ""
    sentence = "near 3.4 deg/s, see /home/somebody/run/log.txt and ~/x/y.txt (me/cups)"
    assert without_folders(sentence) == "near 3.4 deg/s, see log.txt and y.txt (me/cups)"


def test_a_calibration_goes_along(checkpoint, hub, tmp_path):
    eye = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    lens = {"width": 32, "height": 32, "fx": 30.0, "fy": 30.0, "cx": 16.0, "cy": 16.0}
    cameras = dict.fromkeys(CAMERAS, {**lens, "mounted_on": "base", "pose": eye})
    calibration = {"length_unit": "m", "cameras": cameras}
    (tmp_path / "somewhere.json").write_text(json.dumps(calibration))
    rewrite(checkpoint / "config.json", calibration=str(tmp_path / "somewhere.json"))
    assert main(["publish", f"--policy.path={checkpoint}", "--repo_id=me/cups"]) == 0
    assert json.loads(hub.files("me/cups")["config.json"])["calibration"] == "calibration.json"
    assert json.loads(hub.files("me/cups")["calibration.json"]) == calibration
    policy = WallwmPolicy.from_pretrained("me/cups")
    assert json.loads(Path(policy.config.calibration).read_text()) == calibration
