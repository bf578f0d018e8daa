# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The report is one file that needs nothing else, and it shows what it was given."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from so101_demo import figures as fig
from so101_demo.report import build_report
from so101_demo.report_inputs import ActionExample, EpisodeView, ReportInputs, Rollout
from so101_demo.stages import StageResult
from so101_demo.training_log import TrainingLog

from lerobot_wallwm.check.measure.video import Clips, psnr, video_metrics
from lerobot_wallwm.storage.atomic import write_text

JOINTS = ["shoulder pan", "gripper"]


class Page(HTMLParser):
    """Collects tags, ids and every attribute that could fetch something."""

    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self, html):
        super().__init__()
        self.fetched, self.ids, self.tags, self.open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
                self.fetched.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def episode_view(rng):
    bounds = [(0, 10, "reach"), (10, 20, "grasp")]
    events = [
        {
            "level": level,
            "start": start,
            "end": end,
            "label": label,
            "caption": f"{label} <the> cube ({level})",
        }
        for level in ("action", "segment")
        for start, end, label in bounds
    ]
    whole = {"start": 0, "end": 20, "label": "pick", "caption": "pick the cube"}
    events += [{"level": level, **whole} for level in ("task", "subtask")]
    keyframes = rng.integers(0, 255, (2, 16, 32, 3), dtype=np.uint8)
    return EpisodeView(3, "pick up the cube", rng.normal(size=(20, 2)), JOINTS, events, keyframes, 10.0)


def make_inputs(tmp_path):
    rng = np.random.default_rng(0)
    compared = {"observations": 4, "policy": 1.0, "hold": 4.0, "caption_mean": 2.0, "below_hold": 0.75}
    compared |= {"below_caption_mean": 0.5}
    real = rng.integers(0, 255, (1, 2, 3, 16, 16, 3), dtype=np.uint8)
    valid = np.array([[True, True, False]])
    metrics = video_metrics(real, real, valid)
    video = tmp_path / "eval_episode_0.mp4"
    video.write_bytes(base64.b64decode(fig.mp4_uri(list(real[0, 0])).split(",")[1]))
    log = {"seed": 7, "cube": "red", "disc": "black", "success": False, "task_progress": 35.0, "steps": 240}
    log |= {"reached": True, "grasped": True, "lifted": False}
    return ReportInputs(
        summary={
            "episodes": 1,
            "fps": 10.0,
            "events": {"action": 2},
            "labels": {"reach": {"events": 1, "seconds_median": 1, "seconds_min": 1, "seconds_max": 1}},
            "views": {"train": {"events": 2, "frames": 20}},
        },
        episodes=[episode_view(rng)],
        log=TrainingLog(
            [10, 20], {"loss": [1.0, 0.5], "loss_action": [0.9, 0.4], "updt_s": [1, 1], "data_s": [0, 0]}
        ),
        training={"steps": 1234, "batch_size": 16, "minutes": 6.5},
        figures={
            "actions": compared | {"at_keyframes": compared, "per_joint": [0.5, 1.5]},
            "sensitivity": {"noise": 0.5, "images_shuffled": 3.25, "caption_swapped": 2.75},
            "sight": {
                "observations": 30,
                "events": {"reach": 9, "move": 8},
                "error": {"its own": 5.0, "another scene": 9.25},
                "times": {"its own": 1.0, "another scene": 1.85},
                "by_event": {},
            },
            "remaining_frames": {"mean": 3.0, "median": 2.0},
            "latency_ms": 41.0,
            "parameters": 2_500_000,
        },
        examples=[ActionExample("lift", rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), np.zeros(2))],
        clips=Clips(real, real, valid, ["lift the cube"], [0.0, 0.2, 0.4], metrics),
        rollouts=[Rollout(video, None, log)],
        rollout_note="",
        stages=[StageResult("train", "f", 390.0, False, {})],
        commands=["lerobot-train --policy.type=wallwm"],
        machine="2 CPU cores",
        peak_gb=1.4,
        joints=JOINTS,
    )


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return build_report(make_inputs(tmp_path_factory.mktemp("report")))


def test_report_fetches_nothing(html):
    parsed = Page(html)
    assert parsed.fetched
    assert all(value.startswith(("data:", "#")) for value in parsed.fetched)
    assert not re.search(r"https?://|//\w+\.\w+/|@import|url\((?!#)", html)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)


def test_report_is_well_formed_and_ids_are_unique(html):
    parsed = Page(html)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    targets = {value[1:] for value in parsed.fetched if value.startswith("#")}
    assert targets <= set(parsed.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(parsed.ids)


def test_report_shows_the_figures_and_escapes_captions(html):
    for shown in (
        "75 %",
        "50 %",
        "41 ms",
        "1,234",
        "where reach and move events ended",
        "1.85 times its own",
        "2.50 million",
        "35 / 100",
        "lerobot-train --policy.type=wallwm",
    ):
        assert shown in html
    assert "reach &lt;the&gt; cube" in html
    assert "<the>" not in html
    assert html.count("<video") == 2
    assert 'class="chip on">grasped' in html
    assert 'class="chip">lifted' in html


def test_report_without_rollouts_says_why(tmp_path):
    inputs = dataclasses.replace(
        make_inputs(tmp_path), rollouts=[], rollout_note="Simulated episodes were skipped."
    )
    html = build_report(inputs)
    assert "Simulated episodes were skipped." in html
    assert html.count("<video") == 1


def test_report_without_events_that_need_pictures_says_nothing_of_them(tmp_path):
    inputs = make_inputs(tmp_path)
    inputs.figures["sight"] = None
    assert "times its own" not in build_report(inputs)


def test_page_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "new/report.html"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_mp4_can_be_read_back():
    frames = np.zeros((6, 32, 48, 3), dtype=np.uint8)
    frames[:, :, :24] = 200
    content = base64.b64decode(fig.mp4_uri(frames, fps=5).removeprefix("data:video/mp4;base64,"))
    with av.open(io.BytesIO(content)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 6
    assert abs(int(decoded[3][16, 8, 0]) - 200) < 12
    assert decoded[3][16, 40, 0] < 12


def test_psnr_by_hand():
    black = np.zeros((4, 4, 3), dtype=np.uint8)
    grey = np.full_like(black, 51)  # 0.2 of full range: 20 log10(5) dB
    assert psnr(black, grey) == pytest.approx(13.979, abs=1e-3)
    assert psnr(black, black) == pytest.approx(60)
    where = np.zeros((4, 4), dtype=bool)
    where[0] = True
    half = black.copy()
    half[0] = 51
    assert psnr(black, half, where) == pytest.approx(13.979, abs=1e-3)


def test_video_metrics_count_only_future_frames_inside_the_event():
    real = np.zeros((1, 1, 3, 16, 16, 3), dtype=np.uint8)
    real[0, 0, 1, :8] = 255  # half of the picture moves
    real[0, 0, 2] = 77  # beyond the end: must not count
    valid = np.array([[True, True, False]])
    scores = video_metrics(real, real, valid)
    assert scores["frames"] == 1
    assert scores["imagined"]["psnr"] == pytest.approx(60)
    assert scores["repeat_keyframe"]["psnr"] == pytest.approx(3.01, abs=0.01)
    assert scores["repeat_keyframe"]["psnr_moved"] == pytest.approx(0)


@pytest.mark.parametrize(
    "losses", [[0.9, 0.5, 0.3], [20.0, 1.0, 0.05]], ids=["within a decade", "over decades"]
)
def test_loss_curves_have_numbers_at_their_ticks(losses):
    drawn = str(fig.loss_curves("losses", [1, 2, 3], {"total loss": losses}))
    assert "mathdefault" not in drawn and "$" not in drawn
    assert any(f">{tick}</text>" in drawn for tick in ("0.4", "0.5", "1"))
