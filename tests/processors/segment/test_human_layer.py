# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The Human layer: the event tree stays nested and gapless under any edits, and every bad file is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.segment.human_layer import HumanLayer
from lerobot_wallwm.processors.source.episodes import dataset_fingerprint
from lerobot_wallwm.processors.source.events import LEVELS, Event, read_events, validate_events
from lerobot_wallwm.storage.errors import DataError

FINGERPRINT = "sha256:" + "0" * 64


def document(*corrections: dict, **changes) -> dict:
    dataset = {"name": "tiny", "fingerprint": FINGERPRINT}
    content = {"format": "wallwm-corrections", "format_version": 1, "dataset": dataset}
    return {**content, "corrections": list(corrections), **changes}


def move(level: str, old: int, new: int, episode: int = 7) -> dict:
    return {"kind": "boundary", "episode": episode, "level": level, "old": old, "new": new}


def caption(level: str, start: int, end: int, new: str, episode: int = 7, **more) -> dict:
    place = {"episode": episode, "level": level, "start": start, "end": end}
    return {"kind": "caption", **place, "old": "reach for the cup", "new": new, **more}


def insert(level: str, at: int, episode: int = 7, **more) -> dict:
    return {"kind": "insert", "episode": episode, "level": level, "at": at, **more}


def delete(level: str, at: int, episode: int = 7) -> dict:
    return {"kind": "delete", "episode": episode, "level": level, "at": at}


def tree(length: int, bounds: dict[int, str], episode: int = 7) -> list[Event]:
    """Events of an episode, given the coarsest level that each interior frame bounds."""
    events: list[Event] = []
    last: dict[str, int] = {}

    def add(level: str, start: int, end: int) -> None:
        parent = last.get(LEVELS[LEVELS.index(level) - 1], -1) if level != "task" else -1
        last[level] = len(events)
        name = "pick up the cup" if level == "task" else "reach for the cup"
        place = (start, end, "reach", name, "reach for the {object}", parent, 0.5, "pause")
        events.append(Event(len(events), episode, level, *place))

    def walk(depth: int, start: int, end: int) -> None:
        cuts = [f for f in sorted(bounds) if start < f < end and LEVELS.index(bounds[f]) <= depth]
        for a, b in zip([start, *cuts], [*cuts, end], strict=True):
            add(LEVELS[depth], a, b)
            if depth + 1 < len(LEVELS):
                walk(depth + 1, a, b)

    walk(0, 0, length)
    return events


def write(path: Path, *corrections: dict, **changes) -> Path:
    path.write_text(json.dumps(document(*corrections, **changes)))
    return path


def apply(tmp_path, events: list[Event], *corrections: dict) -> list[Event]:
    """What a person's file makes of an episode's events, which is a tree without gaps, or a refusal (DataError)."""
    after = HumanLayer(write(tmp_path / "corrections.json", *corrections))(events)
    try:
        validate_events(after, {7: events[0].end})
    except DataError as error:
        raise AssertionError("the file was not refused, and the tree is broken") from error
    return after


@pytest.fixture
def before() -> list[Event]:
    """Of 80 frames: a subtask from 40, actions from 20, 40 and 60, segments from 10, 50, 55 and 70 too."""
    return tree(80, {20: "action", 40: "subtask", 60: "action"} | dict.fromkeys((10, 50, 55, 70), "segment"))


def spans(events: list[Event], level: str) -> list[tuple[int, int]]:
    return [(e.start, e.end) for e in events if e.level == level]


def test_a_move_takes_parents_and_children_along(tmp_path, before):
    after = apply(tmp_path, before, move("action", 40, 44))
    assert spans(after, "subtask") == [(0, 44), (44, 80)]
    assert spans(after, "action") == [(0, 20), (20, 44), (44, 60), (60, 80)]
    assert spans(after, "segment")[2:4] == [(20, 44), (44, 50)]
    assert {(e.level, e.start) for e in after if e.source == "human"} == {(level, 44) for level in LEVELS[1:]}
    assert all(e.confidence == 1.0 for e in after if e.source == "human")
    untouched = [e for e in after if 44 not in (e.start, e.end)]
    assert untouched and all(e in before for e in untouched)


@pytest.mark.parametrize(("old", "new", "gone"), [(40, 57, 2), (60, 45, 2), (60, 55, 1), (60, 76, 1)])
def test_finer_events_in_the_passed_frames_give_way(tmp_path, before, old, new, gone):
    after = apply(tmp_path, before, move("action", old, new))
    assert len(before) - len(after) == gone
    assert [e.event_id for e in after] == sorted({e.event_id for e in after})
    bounds = [f if f != old else new for f in (20, 40, 60)]
    assert [start for start, _ in spans(after, "action")] == [0, *bounds]


def test_the_same_frame_confirms_a_boundary(tmp_path, before):
    after = apply(tmp_path, before, move("segment", 50, 50))
    (confirmed,) = (e for e in before if (e.level, e.start) == ("segment", 50))
    made = [e for e in after if e.source == "human"]
    assert made == [replace(confirmed, source="human", confidence=1.0)]


def test_a_caption_brings_its_template_and_label(tmp_path, before):
    edit = caption("action", 20, 40, "squeeze the cup", label="grasp")
    after = apply(tmp_path, before, edit, move("action", 40, 42))
    (event,) = (e for e in after if e.caption == "squeeze the cup")
    assert (event.start, event.end, event.label) == (20, 42, "grasp")
    assert event.template == "squeeze the {object}" and event.source == "human" and event.confidence == 1.0


def test_an_added_boundary_cuts_finer_levels_too(tmp_path, before):
    new = insert("action", 30, caption="squeeze the cup", label="grasp")
    after = apply(tmp_path, before, new)
    assert spans(after, "action") == [(0, 20), (20, 30), (30, 40), (40, 60), (60, 80)]
    assert (20, 30) in spans(after, "segment") and (30, 40) in spans(after, "segment")
    assert spans(after, "subtask") == spans(before, "subtask")
    made = [e for e in after if e.source == "human"]
    assert [(e.level, e.start, e.caption, e.label) for e in made] == [
        ("action", 30, "squeeze the cup", "grasp"),
        ("segment", 30, "reach for the cup", "reach"),
    ]
    assert made[0].template == "squeeze the {object}" and made[0].confidence == 1.0
    assert {e.event_id for e in made}.isdisjoint({e.event_id for e in before})
    assert made[1].parent == made[0].event_id


def test_a_finer_boundary_can_be_raised(tmp_path, before):
    after = apply(tmp_path, before, insert("subtask", 50))
    assert spans(after, "subtask") == [(0, 40), (40, 50), (50, 80)]
    assert spans(after, "segment") == spans(before, "segment")


def test_a_deleted_boundary_joins_coarser_levels_too(tmp_path, before):
    after = apply(tmp_path, before, delete("action", 40))
    assert spans(after, "subtask") == [(0, 80)] and spans(after, "action") == [(0, 20), (20, 60), (60, 80)]
    assert spans(after, "segment") == spans(before, "segment")
    gone = apply(tmp_path, before, delete("segment", 40))
    assert (20, 50) in spans(gone, "segment") and not [e for e in gone if e.start == 40]
    assert {e.event_id for e in gone} < {e.event_id for e in before}


def test_boundaries_are_deleted_then_moved_then_added(tmp_path, before):
    # Moved past the deleted one; added between where that was and where it is.
    edits = [delete("segment", 60), move("action", 40, 65), insert("action", 45)]
    edits.append(caption("action", 20, 40, "hold the cup"))
    after = apply(tmp_path, before, *edits)
    assert spans(after, "action") == [(0, 20), (20, 45), (45, 65), (65, 80)]
    assert [e.caption for e in after if e.level == "action"][1:3] == ["hold the cup"] * 2
    assert apply(tmp_path, before, *edits[::-1]) == after


def test_files_follow_each_other(tmp_path, before):
    moves = move("action", 40, 44), move("action", 44, 47)
    after = HumanLayer([write(tmp_path / str(k), each) for k, each in enumerate(moves)])(before)
    assert (0, 47) in spans(after, "subtask")


@pytest.mark.parametrize(
    ("corrections", "message"),
    [
        ([move("action", 41, 43)], "is not a boundary of that level; the nearest is at 40"),
        ([move("action", 50, 52)], "is not a boundary of that level"),
        ([move("subtask", 20, 22)], "is not a boundary of that level; the nearest is at 40"),
        ([move("action", 40, 60)], "would pass the action boundary at 60"),
        ([move("action", 40, 20)], "would pass the action boundary at 20"),
        ([move("segment", 50, 55)], "would pass the segment boundary at 55"),
        ([move("action", 60, 80)], r"outside \(0, 80\)"),
        ([move("action", 40, 44), move("segment", 40, 45)], "moves to both 44 and 45"),
        ([move("segment", 50, 51), move("action", 40, 52)], "subtask boundary at 40, which moves to 52"),
        ([caption("action", 20, 41, "x")], "is not an event"),
        ([delete("action", 50)], "is not a boundary of that level; the nearest is at 40"),
        ([delete("subtask", 20)], "is not a boundary of that level"),
        ([delete("action", 40), move("action", 40, 44)], "is not a boundary of that level"),
        ([insert("action", 60)], "is a boundary of that level already"),
        ([insert("segment", 30), insert("segment", 30)], "is a boundary of that level already"),
        ([move("action", 60, 62), insert("segment", 62)], "is a boundary of that level already"),
        ([insert("segment", 80)], r"outside \(0, 80\)"),
        ([caption("action", 20, 40, "x"), caption("action", 20, 40, "y")], "two different captions"),
    ],
)
def test_what_cannot_be_applied_is_named(tmp_path, before, corrections, message):
    with pytest.raises(DataError, match=message) as caught:
        apply(tmp_path, before, *corrections)
    assert "corrections.json" in str(caught.value) and "Fix: " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("{", "is not JSON"),
        ("[]", "file"),
        ("[" * 100_000, "is not JSON"),
        (document(format="other"), "format"),
        (document(format_version=2), "format_version"),
        (document(dataset={"name": "x", "fingerprint": "abc"}), "dataset.fingerprint"),
        (document({"kind": "split"}), "corrections.0"),
        (document({"kind": "delete"}), "corrections.0.episode"),
        (document(insert("task", 4)), "corrections.0.level"),
        (document(insert("action", 4, caption="two\nlines")), "corrections.0.caption"),
        (document(insert("action", 4, label="<b>")), "corrections.0.label"),
        (document(move("task", 3, 4)), "corrections.0.level"),
        (document(move("action", 3, -4)), "corrections.0.new"),
        (document(move("action", 3, 4.5)), "corrections.0.new"),
        (document(move("action", 3, True)), "corrections.0.new"),
        (document({**move("action", 3, 4), "extra": 1}), "corrections.0.extra"),
        (document(move("action", 3, 4), caption("action", 0, 5, " ")), "corrections.1.new"),
        (document(caption("action", 0, 5, "two\nlines")), "corrections.0.new"),
        (document(caption("action", 0, 5, "x", label="<b>")), "corrections.0.label"),
    ],
)
def test_each_fault_of_a_file_is_named(tmp_path, content, key):
    path = tmp_path / "corrections.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError) as caught:
        HumanLayer(path)
    assert key in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        HumanLayer(tmp_path / "nowhere.json")


@st.composite
def trees_and_moves(draw) -> tuple[list[Event], list[dict]]:
    length = draw(st.integers(2, 60))
    frames = draw(st.sets(st.integers(1, length - 1), max_size=12))
    bounds = {f: draw(st.sampled_from(LEVELS[1:])) for f in sorted(frames)}
    moves = []
    for frame in draw(st.lists(st.sampled_from(sorted(bounds)), max_size=4)) if bounds else []:
        levels = LEVELS[LEVELS.index(bounds[frame]) :]
        moves.append(move(draw(st.sampled_from(levels)), frame, draw(st.integers(1, length - 1))))
    return tree(length, bounds), moves


@st.composite
def trees_and_any_edits(draw) -> tuple[list[Event], list[dict]]:
    before, edits = draw(trees_and_moves())
    length = before[0].end
    own = sorted({(e.level, e.start) for e in before if e.start})
    for level, at in draw(st.lists(st.sampled_from(own), max_size=3)) if own else []:
        edits.append(delete(level, at))
    for at in draw(st.sets(st.integers(1, length - 1), max_size=3)):
        more = {"caption": "squeeze the cup"} if draw(st.booleans()) else {}
        edits.append(insert(draw(st.sampled_from(LEVELS[1:])), at, **more))
    return before, edits


@given(trees_and_any_edits(), st.randoms(use_true_random=False))
def test_the_tree_stays_valid_when_boundaries_come_and_go(tmp_path_factory, drawn, random):
    before, edits = drawn
    tmp_path = tmp_path_factory.mktemp("edits")
    try:
        after = apply(tmp_path, before, *edits)
    except DataError:
        return
    for one in (e for e in edits if e["kind"] == "insert"):
        (made,) = (e for e in after if (e.level, e.start) == (one["level"], one["at"]))
        assert made.source == "human" and made.caption == one.get("caption", made.caption)
    assert apply(tmp_path, before, *random.sample(edits, len(edits))) == after


@given(trees_and_moves(), st.data())
def test_what_is_added_can_be_deleted_again(tmp_path_factory, drawn, data):
    before, _ = drawn
    length, level = before[0].end, data.draw(st.sampled_from(LEVELS[1:]))
    own = {e.start for e in before if e.level == level} | {0}
    free = sorted(set(range(1, length)) - own)
    if not free:
        return
    tmp_path, at = tmp_path_factory.mktemp("edit"), data.draw(st.sampled_from(free))
    first = write(tmp_path / "a", insert(level, at))
    rank = min((LEVELS.index(e.level) for e in before if e.start == at), default=len(LEVELS))
    finer = "segment" if rank == len(LEVELS) else LEVELS[rank - 1]
    second = write(tmp_path / "b", delete(finer, at))
    with_it = HumanLayer(first)(before)
    validate_events(with_it, {7: length})
    assert [e.start for e in with_it if e.level == level] == sorted(own | {at})
    again, old = (
        [(e.event_id, e.start, e.end, e.parent, e.caption) for e in group]
        for group in (HumanLayer([first, second])(before), before)
    )
    assert again == old


@given(trees_and_moves(), st.randoms(use_true_random=False))
def test_the_tree_stays_valid_under_any_edits(tmp_path_factory, drawn, random):
    before, moves = drawn
    tmp_path = tmp_path_factory.mktemp("edits")
    validate_events(before, {7: before[0].end})
    try:
        after = apply(tmp_path, before, *moves)
    except DataError:
        return  # refused as a whole; test_single_moves_within_their_room_always_apply bounds how often
    for one in moves:
        assert any(e.start == one["new"] and e.level == one["level"] for e in after)
        assert all(e.source == "human" and e.confidence == 1 for e in after if e.start == one["new"])
    assert {e.event_id for e in after} <= {e.event_id for e in before}
    shuffled = random.sample(moves, len(moves))
    assert apply(tmp_path, before, *shuffled) == after


@given(trees_and_moves(), st.data())
def test_single_moves_within_their_room_always_apply(tmp_path_factory, drawn, data):
    before, _ = drawn
    level = data.draw(st.sampled_from(LEVELS[1:]))
    own = [0, *(e.start for e in before if e.level == level and e.start), before[0].end]
    if len(own) < 3:
        return
    i = data.draw(st.integers(1, len(own) - 2))
    new = data.draw(st.integers(own[i - 1] + 1, own[i + 1] - 1))
    after = apply(tmp_path_factory.mktemp("edit"), before, move(level, own[i], new))
    assert [e.start for e in after if e.level == level] == [*own[:i], new, *own[i + 1 : -1]]


def test_prepare_reads_corrections_back(source, tiny_dataset, tiny_view, tmp_path, capsys):
    events = [e for e in read_events(tiny_view / "events.parquet") if e.episode_index == 3]
    event = [e for e in events if e.level == "action"][1]
    edits = (
        move("action", event.start, event.start + 1, episode=3),
        caption("action", event.start, event.end, "clasp the red cube", episode=3),
    )
    own = {"name": "tiny", "fingerprint": dataset_fingerprint(source)}
    path = write(tmp_path / "corrections.json", *edits, dataset=own)
    flags = ["prepare", f"--dataset.root={tiny_dataset}", "--quiet=true", f"--human={path}"]
    assert main([*flags, f"--out.root={tmp_path / 'out'}"]) == 0
    after = read_events(tmp_path / "out" / "events.parquet")
    (corrected,) = (e for e in after if e.caption == "clasp the red cube")
    assert (corrected.start, corrected.source) == (event.start + 1, "human")
    done = {"files": 1, "episodes": 1, "boundaries": 1, "added": 0, "deleted": 0, "captions": 1}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["human"] == done
    source_flags = [f"--source.root={tiny_dataset}", f"--view.root={tmp_path / 'out' / 'train'}"]
    assert main(["verify", *source_flags, "--frames=false", "--quiet=true"]) == 0
    capsys.readouterr()
    write(path, *edits, dataset={"name": "cups", "fingerprint": FINGERPRINT})
    assert main([*flags, f"--out.root={tmp_path / 'other'}"]) == 2
    assert "is of another dataset (cups)" in capsys.readouterr().err and not (tmp_path / "other").exists()
