# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm inspect`: what the page holds, and the page driven in a real headless browser."""

import json
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lerobot_wallwm.cli import main
from lerobot_wallwm.inspect.build import choose_frames, envelope, make_sheet, plan_sheets, safe_json
from lerobot_wallwm.processors.segment.human_layer import HumanLayer
from lerobot_wallwm.processors.source.events import LEVELS, Event, read_events, write_events
from lerobot_wallwm.storage.errors import DataError

EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2> & \u2028 'cup' \"lid\""


def inspect(source: Path, out: Path, *flags: str) -> int:
    return main(["inspect", f"--dataset.root={source}", f"--out.root={out}", "--quiet=true", *flags])


@pytest.fixture(scope="module")
def prepared(tiny_dataset, tmp_path_factory) -> tuple[Path, Path]:
    """A dataset whose task is an attack, prepared, with the tables that other steps would leave; and its page."""
    folder = tmp_path_factory.mktemp("inspect")
    source, out = Path(shutil.copytree(tiny_dataset, folder / "evil")), folder / "out"
    tasks = pd.DataFrame({"task_index": [0]}, index=pd.Index([EVIL], name="task"))
    tasks.to_parquet(source / "meta" / "tasks.parquet")
    assert main(["prepare", f"--dataset.root={source}", f"--out.root={out}", "--quiet=true"]) == 0
    sync = [{"episode_index": i, "lag": i, "quarantined": i == 2, "reason": EVIL} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(sync), out / "sync.parquet")
    clean = [{"episode_index": 1, "rule": "nan", "verdict": "exclude", "value": float("nan")}]
    pq.write_table(pa.Table.from_pylist(clean), out / "cleaning.parquet")
    actions = [e for e in read_events(out / "events.parquet") if e.level == "action"]
    one = {"split": "train", "copies": 1}
    rows = [{"event_id": e.event_id, "vl_cluster": i % 5 // 2, **one} for i, e in enumerate(actions)]
    pq.write_table(pa.Table.from_pylist(rows), out / "clusters.parquet")
    assert inspect(source, out) == 0
    return source, out


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.data: dict[str, str] = {}

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attrs = self.tags[-1] if self.tags else ("", {})
        if tag == "script" and "id" in attrs:
            self.data[attrs["id"]] = self.data.get(attrs["id"], "") + data


def elements(page: Path) -> _Elements:
    parser = _Elements()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_the_page_is_whole_and_the_dataset_stays_data(prepared):
    _, out = prepared
    parsed = elements(out / "inspect.html")
    scripts = [attrs for tag, attrs in parsed.tags if tag == "script"]
    assert len([s for s in scripts if s.get("type") != "application/json"]) == 1
    assert not [tag for tag, _ in parsed.tags if tag in ("img", "link", "iframe", "object")]
    assert not [a for _, attrs in parsed.tags for a in attrs if a.startswith("on") or a in ("src", "href")]
    index = json.loads(parsed.data["index"])
    assert index["episodes"][0]["task"] == EVIL
    assert [row["bad"] for row in index["episodes"][:3]] == [[], ["cleaning"], ["sync"]]
    assert index["clusters"][0]["name"] == "vl_cluster" and len(index["clusters"][0]["clusters"]) == 3
    episode = json.loads(parsed.data["episode-3"])
    assert set(episode["sheets"]) == set(index["cameras"])
    table = [e for e in read_events(out / "events.parquet") if e.episode_index == 3]
    shown = [row[:2] for row in episode["events"]["action"]]
    assert [[e.start, e.end] for e in table if e.level == "action"] == shown
    assert json.loads(safe_json(EVIL)) == EVIL and not re.search("[<>&\u2028]", safe_json(EVIL))


def test_episodes_that_were_left_out_are_shown(prepared, tmp_path):
    source, out = prepared[0], Path(shutil.copytree(prepared[1], tmp_path / "out"))
    kept = [e for e in read_events(out / "events.parquet") if e.episode_index != 1]
    write_events(kept, out / "events.parquet")
    assert inspect(source, out) == 0
    parsed = elements(out / "inspect.html")
    row = json.loads(parsed.data["index"])["episodes"][1]
    assert (row["i"], row["bad"], row["strip"]) == (1, ["cleaning"], [[0, "left out"]])
    assert json.loads(parsed.data["episode-1"])["length"] == row["length"] > 10


def test_same_input_gives_the_same_page(prepared, tmp_path):
    source, out = prepared
    assert inspect(source, out, f"--page={tmp_path / 'b.html'}") == 0
    assert (tmp_path / "b.html").read_bytes() == (out / "inspect.html").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["b.html"]


def test_a_damaged_video_and_table_are_lines_on_the_page(prepared, tmp_path):
    source = Path(shutil.copytree(prepared[0], tmp_path / "source"))
    out = Path(shutil.copytree(prepared[1], tmp_path / "out"))
    video = sorted((source / "videos").rglob("*.mp4"))[0]
    video.write_bytes(b"not a video")
    (out / "sync.parquet").write_bytes(b"not a table")
    pq.write_table(pa.table({"wrong": [1]}), out / "cleaning.parquet")
    assert inspect(source, out) == 0
    parsed = elements(out / "inspect.html")
    warnings = json.loads(parsed.data["index"])["warnings"]
    assert any("sync.parquet cannot be read" in w for w in warnings)
    assert any("cleaning.parquet has no column episode_index" in w for w in warnings)
    sheets = json.loads(parsed.data["episode-0"])["sheets"]
    assert sum("problem" in sheet for sheet in sheets.values()) == 1


def test_bad_flags_and_folders_are_one_line(prepared, tmp_path, capsys):
    source, out = prepared
    assert inspect(source, tmp_path) == 2
    assert "events.parquet" in capsys.readouterr().err
    assert inspect(source, out, "--max_mb=0") == 2
    assert "--max_mb" in capsys.readouterr().err


def test_frames_are_chosen_where_they_tell_most():
    assert choose_frames(1, [], 10) == [0] and choose_frames(5, [], 10) == [0, 1, 2, 3, 4]
    frames = choose_frames(1000, [333, 700], 12)
    assert {0, 333, 700, 999} <= set(frames) and len(frames) == 12 and max(np.diff(frames)) < 200
    few, many = plan_sheets(10, 30e6), plan_sheets(1000, 30e6)
    assert few.width > many.width and few.frames >= many.frames >= 6


def test_a_sheet_keeps_to_its_budget():
    noise = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in noise]
    plan = plan_sheets(1000, 20e6)
    sheet = make_sheet(images, list(range(20)), plan)
    assert len(sheet["data"]) * 3 / 4 <= plan.budget + 3
    assert sheet["frames"][0] == 0 and sheet["frames"][-1] == 19 and len(sheet["frames"]) < 20


def test_curves_keep_their_peaks():
    values = np.zeros(5000)
    values[1234], values[4000] = 5, -3
    assert envelope(values).max() == 5 and envelope(values).min() == -3 and len(envelope(values)) == 300
    assert envelope(values[:40]) is not None and (envelope(values[1200:1250]) == values[1200:1250]).all()


@pytest.fixture(scope="module")
def tab(prepared, browse):
    """The page in a browser."""
    page = browse(prepared[1] / "inspect.html", ("file:", "data:", "blob:"), 1400, 1000)
    page.wait_for_selector("canvas[data-frame]")
    yield page
    assert page.evaluate("window.hacked") is None


SHOWN = "level => [...document.querySelectorAll(`.lane[data-level=${level}] .event`)].map(b => b.event.slice(0, 2))"


def exported(tab, source: Path, folder: Path, episode: int) -> tuple[list[dict], list[Event]]:
    """The corrections that the page exports, and the events of an episode that `wallwm prepare` makes of them."""
    with tab.expect_download() as download:
        tab.click("#export")
    path = folder / "corrections.json"
    download.value.save_as(path)
    flags = [f"--dataset.root={source}", f"--out.root={folder / 'out'}", f"--human={path}", "--quiet=true"]
    assert main(["prepare", *flags]) == 0
    events = [e for e in read_events(folder / "out" / "events.parquet") if e.episode_index == episode]
    return json.loads(path.read_text())["corrections"], events


def test_scrub_filter_and_tabs(tab):
    assert EVIL.split("\u2028")[0] in tab.text_content("#task")
    tab.fill("#scrub", "20")
    assert tab.text_content("#clock").startswith("20 / ")
    near = [f"#cameras canvas[data-frame='{k}']" for k in range(14, 27)]
    tab.wait_for_selector(", ".join(near))
    tab.focus("#scrub")
    tab.keyboard.press("Shift+ArrowRight")
    assert tab.text_content("#clock").startswith("30 / ")
    tab.select_option("#filter", "bad")
    assert tab.text_content("#found") == "2 of 6 episodes"
    tab.fill("#search", "no such words")
    tab.wait_for_selector("#found:text-is('0 of 6 episodes')")
    tab.fill("#search", "")
    tab.select_option("#filter", "all")
    tab.wait_for_selector("#found:text-is('6 of 6 episodes')")
    tab.click(".item >> nth=2")
    tab.wait_for_selector("#chips:has-text('sync: quarantined')")
    assert "sync: quarantined" in tab.text_content("#chips") and "<img src=x" in tab.text_content("#facts")
    tab.click("#tab-clusters")
    tab.wait_for_selector("#clusters canvas[data-frame]")
    assert "vl cluster: 3 clusters" in tab.text_content("#clusters")
    tab.click("#tab-episodes")


def test_edits_are_exported_and_read_back(tab, prepared, tmp_path):
    tab.click(".item >> nth=3")
    bounds = tab.evaluate(
        "[...document.querySelectorAll('.lane[data-level=action] .bound')].map(b => b.offsetLeft)"
    )
    handle = tab.locator(".lane[data-level=action] .bound").nth(1)
    box = handle.bounding_box()
    tab.mouse.move(box["x"] + 5, box["y"] + 10)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 70, box["y"] + 10, steps=4)
    tab.mouse.up()
    assert tab.text_content("#edit-count") == "1 correction" and len(bounds) > 2
    tab.fill("#detail input[data-level=action]", "clasp <b>it</b>")
    tab.keyboard.press("Tab")
    assert tab.text_content("#edit-count") == "2 corrections"
    tab.keyboard.press("Escape")
    tab.click("#timeline .event >> nth=0")
    tab.keyboard.press("]")
    tab.keyboard.press("Alt+ArrowRight")
    assert tab.text_content("#edit-count") == "3 corrections"
    tab.keyboard.press("u")
    assert tab.text_content("#edit-count") == "2 corrections"
    corrections, events = exported(tab, prepared[0], tmp_path, 3)
    kinds = {item["kind"]: item for item in corrections}
    assert [[e.start, e.end] for e in events if e.level == "action"] == tab.evaluate(SHOWN, "action")
    assert kinds["boundary"]["new"] > kinds["boundary"]["old"]
    (event,) = (e for e in events if e.caption == "clasp <b>it</b>")
    assert event.source == "human" and event.start == kinds["boundary"]["new"]


def test_boundaries_are_added_and_deleted_and_read_back(tab, prepared, tmp_path):
    while not tab.is_disabled("#undo"):
        tab.click("#undo")
    tab.click(".item >> nth=5")
    before = tab.evaluate(SHOWN, "action")
    middle = (before[2][0] + before[2][1]) // 2
    tab.fill("#scrub", str(middle))
    tab.keyboard.press("Escape")
    tab.keyboard.press("s")  # splits the action
    assert tab.evaluate(SHOWN, "action")[2:4] == [[before[2][0], middle], [middle, before[2][1]]]
    tab.fill("#detail input[data-level=action]", "press it")
    tab.keyboard.press("Tab")
    assert tab.input_value("#detail input[data-level=action]") == "press it"
    assert tab.is_disabled("#detail input[data-level=segment]")  # the caption of what was cut along with it
    tab.keyboard.press("Escape")
    tab.keyboard.press("Alt+ArrowRight")  # an added boundary moves like any other
    assert tab.evaluate(SHOWN, "action")[2][1] == middle + 1
    assert tab.text_content("#edit-count") == "1 correction"
    tab.locator(".lane[data-level=action] .bound").first.focus()
    tab.keyboard.press("Delete")
    assert tab.evaluate(SHOWN, "action")[0] == [0, before[1][1]]
    assert "Split here" in tab.text_content("#detail")
    tab.fill("#scrub", "2")
    tab.click("#detail .cuts button >> nth=2")  # a segment
    assert [0, 2] in tab.evaluate(SHOWN, "segment")
    tab.click("#detail button:text-is('Delete')")  # and takes it back
    assert [0, 2] not in tab.evaluate(SHOWN, "segment")
    corrections, events = exported(tab, prepared[0], tmp_path, 5)
    assert [item["kind"] for item in corrections] == ["delete", "insert"]
    for level in LEVELS:
        assert [[e.start, e.end] for e in events if e.level == level] == tab.evaluate(SHOWN, level)
    (event,) = (e for e in events if e.caption == "press it")
    assert (event.start, event.source, event.level) == (middle + 1, "human", "action")
    while not tab.is_disabled("#undo"):
        tab.click("#undo")
    assert tab.evaluate(SHOWN, "action") == before


def test_a_word_is_replaced_in_all_captions_at_once(tab, prepared, tmp_path):
    while not tab.is_disabled("#undo"):
        tab.click("#undo")
    _, out = prepared
    said = [e for e in read_events(out / "events.parquet") if "the object" in e.caption]
    tab.click("#replace-open")
    tab.fill("#find", "the objec")
    assert tab.text_content("#would").startswith("0 captions")  # no whole word
    tab.fill("#find", "The Object")
    tab.fill("#put", "the $& cup")
    episodes = len({e.episode_index for e in said})
    assert tab.text_content("#would") == f"{len(said)} captions of {episodes} episodes"
    tab.click("#replace-all")
    assert tab.text_content("#would").startswith("0 captions")
    tab.click("#replace form button:text-is('Close')")
    corrections, _ = exported(tab, prepared[0], tmp_path, 0)
    assert len(corrections) == len(said)
    events = {e.event_id: e.caption for e in read_events(tmp_path / "out" / "events.parquet")}
    line = str.maketrans({"\u2028": " "})  # a caption is one line
    for e in said:
        assert events[e.event_id] == e.caption.replace("the object", "the $& cup").translate(line)
    tab.click("#undo")  # all at once
    assert tab.text_content("#edit-count") == "No corrections"


def rows_of(events: list[Event], level: str) -> list[list]:
    own = [event for event in events if event.level == level]
    return [[e.start, e.end, e.label, e.caption, e.confidence, e.source] for e in own]


def test_the_browser_corrects_as_the_human_layer_does(tab, prepared, tmp_path):
    """`corrections.js` against `human_layer.py` on random corrections, those that are refused included."""
    _, out = prepared
    script = Path(__file__).parents[2] / "lerobot_wallwm" / "inspect" / "assets" / "corrections.js"
    events = [e for e in read_events(out / "events.parquet") if e.episode_index == 4]
    rows = {level: rows_of(events, level) for level in LEVELS}
    length, draw = events[0].end, random.Random(0)
    cases = []
    for number in range(120):
        edits = []
        for level in draw.choices(LEVELS[1:], k=draw.randint(1, 2)):
            inner = [e.start for e in events if e.level == level and e.start]
            if inner:
                old = draw.choice(inner)
                new = min(length - 1, max(1, old + draw.randint(-8, 8)))
                edits.append({"kind": "boundary", "level": level, "old": old, "new": new})
            if number % 2:
                edits.append({"kind": "insert", "level": level, "at": draw.randint(1, length)})
                if draw.random() < 0.5:
                    edits[-1] |= {"caption": "press it", "label": "press"}
            if number % 3 == 0 and inner:
                edits.append({"kind": "delete", "level": level, "at": draw.choice(inner)})
            if number % 5 == 0:
                event = draw.choice([e for e in events if e.level == level])
                place = {"level": level, "start": event.start, "end": event.end}
                edits.append({"kind": "caption", **place, "new": "hold it"})
        cases.append([{"episode": 4, **edit} for edit in edits])
    store = script.with_name("store.js").read_text()
    by_kind = store[store.index("const KINDS") : store.index("function corrected")]
    run = f"""([rows, cases]) => {{ {script.read_text()} {by_kind}
        return cases.map(edits => {{ try {{ return correct(rows, byKind(edits, 4)); }} catch (error) {{ return null; }} }}); }}"""
    found = tab.evaluate(run, [rows, cases])
    refused = 0
    for edits, mine in zip(cases, found, strict=True):
        path = tmp_path / "c.json"
        head = {"format": "wallwm-corrections", "format_version": 1}
        dataset = {"name": "", "fingerprint": "sha256:" + "0" * 64}
        path.write_text(json.dumps({**head, "dataset": dataset, "corrections": edits}))
        try:
            theirs = HumanLayer(path)(events)
        except DataError:
            assert mine is None
            refused += 1
            continue
        for level in LEVELS:
            assert [row[:6] for row in mine[level]] == rows_of(theirs, level), edits
    assert 0 < refused < len(cases)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_and_a_dark_theme_show_all_of_it(prepared, browse, theme):
    page = browse(prepared[1] / "inspect.html", ("file:", "data:", "blob:"), 640, 900)
    page.emulate_media(color_scheme=theme)
    page.wait_for_selector("canvas[data-frame]")
    page.click(".item >> nth=3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    cut = "[...document.querySelectorAll('.event')].filter(b => b.textContent && b.scrollWidth > b.clientWidth).length"
    assert page.evaluate(cut) == 0  # a verb stands whole or not at all
    light = "rgb => rgb.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3"
    grounds = f"[document.body, document.querySelector('header'), document.querySelector('.card')].map(e => ({light})(getComputedStyle(e).backgroundColor))"
    inks = (
        f"['h1', '.card h3', '#task'].map(s => ({light})(getComputedStyle(document.querySelector(s)).color))"
    )
    grounds, inks = page.evaluate(grounds), page.evaluate(inks)
    if theme == "dark":
        assert max(grounds) < 60 and min(inks) > 180
    else:
        assert min(grounds) > 230 and max(inks) < 80
    page.close()


def test_both_halves_of_a_split_ask_for_a_caption(prepared, browse):
    page = browse(prepared[1] / "inspect.html", ("file:", "data:", "blob:"), 1400, 1000)
    page.wait_for_selector("canvas[data-frame]")
    page.click(".item >> nth=5")
    before = page.evaluate(SHOWN, "action")
    assert not page.locator(".event.twin").count()
    page.fill("#scrub", str((before[2][0] + before[2][1]) // 2))
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    twins = page.locator(".lane[data-level=action] .event.twin")
    assert twins.count() == 1 and "same caption" in twins.get_attribute("title")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "action caption"
    page.keyboard.type("press it")
    page.keyboard.press("Tab")
    assert twins.count() == 0  # each half has its own now
    page.close()
