# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Existing annotations are read, checked, and win over the segmenter's proposals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from lerobot.datasets.language import LANGUAGE_PERSISTENT, language_feature_info
from synthetic import pick_and_place
from tables import annotated, change_info, rows_file

from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.processors.segment.annotations import (
    AnnotatedSpan,
    AnnotationMerger,
    check_spans,
    read_annotation_file,
    read_annotations,
    subtask_spans,
)
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import LEVELS, read_events, validate_events
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig


def proposals(seed=0, fps=20):
    episode, _ = pick_and_place(seed, fps)
    return episode, annotated([episode])


def subtask_row(content, timestamp, style="subtask"):
    return {"role": "assistant", "content": content, "style": style, "timestamp": timestamp, "camera": None}


HEAD = {"format": "wallwm-annotations", "version": 1}


def one_span(episode: int, end: int, text: str, level: str = "L2") -> dict:
    spans = [{"level": level, "start": 0, "end": end, "caption": text}]
    return {"episode_index": episode, "spans": spans}


def write_file(path: Path, *episodes):
    path.write_text(json.dumps({**HEAD, "episodes": list(episodes)}))
    return path


def add_language_column(root: Path, rows_of):
    """Writes `language_persistent` as LeRobot does: the same rows on every frame of an episode."""
    texts = [(name, pa.string()) for name in ("role", "content", "style", "camera")]
    row = pa.struct([*texts, ("timestamp", pa.float32())])
    table = pq.read_table(rows_file(root))
    values = [rows_of(index) for index in table["episode_index"].to_pylist()]
    pq.write_table(table.append_column(LANGUAGE_PERSISTENT, pa.array(values, pa.list_(row))), rows_file(root))
    change_info(root, lambda info: info["features"].update(language_feature_info()))


def test_subtask_rows_hold_until_the_next_one():
    times = np.arange(30) / 10
    rows = [subtask_row("place it", 1.2), subtask_row("grab it", 0.0), subtask_row("go home", 2.04)]
    rows.append(subtask_row("a plan", 0.0, "plan"))
    assert subtask_spans(rows, times, "x", 0) == [
        AnnotatedSpan("subtask", 0, 12, "grab it", "language"),
        AnnotatedSpan("subtask", 12, 20, "place it", "language"),
        AnnotatedSpan("subtask", 20, 30, "go home", "language"),
    ]


@pytest.mark.parametrize(
    ("rows", "needed"),
    [
        ([subtask_row("late", 9.0)], "starts at 9 s"),
        ([subtask_row("early", -1.0)], "starts at -1 s"),
        ([subtask_row("nan", float("nan"))], "starts at nan s"),
        ([subtask_row("", 0.0)], "has no text"),
        ([subtask_row("a", 0.5), subtask_row("b", 0.51)], "two subtasks"),
    ],
)
def test_bad_subtask_rows_are_named(rows, needed):
    with pytest.raises(DataError, match=needed):
        subtask_spans(rows, np.arange(30) / 10, "file.parquet", 7)


@pytest.mark.parametrize(
    ("spans", "needed"),
    [
        ([("subtask", 0, 10), ("subtask", 9, 20)], "overlaps"),
        ([("subtask", 0, 31)], "does not lie in"),
        ([("task", 0, 20)], "covers its episode"),
        ([("subtask", 0, 10), ("action", 5, 15)], "cuts the action"),
        ([("action", 5, 5)], "empty"),
    ],
)
def test_spans_that_contradict_each_other_are_refused(spans, needed):
    with pytest.raises(DataError, match=needed):
        check_spans([AnnotatedSpan(*span, "x") for span in spans], 30, "file.json", 0)


@given(data=st.data(), seed=st.integers(0, 20), fps=st.sampled_from([10, 20, 30]))
def test_annotated_spans_survive_unaltered_and_the_tree_stays_valid(data, seed, fps):
    episode, events = proposals(seed, fps)
    total = len(episode)
    # Nested edges, coarse in fine; a part of the spans is then left out, so that proposals fill the gaps.
    segment = sorted(data.draw(st.sets(st.integers(1, total - 1), max_size=12)))
    action = [edge for edge in segment if data.draw(st.booleans())]
    subtask = [edge for edge in action if data.draw(st.booleans())]
    spans = []
    for level, edges in (("subtask", subtask), ("action", action), ("segment", segment)):
        full = [0, *edges, total]
        for a, b in zip(full, full[1:], strict=False):
            if data.draw(st.booleans()):
                spans.append(AnnotatedSpan(level, a, b, f"Words {level} {a}"))
    check_spans(spans, total, "x", 0)
    merged = AnnotationMerger({episode.index: spans}, least=2)(events)
    validate_events(merged, {episode.index: total})
    found = {(e.level, e.start, e.end, e.caption) for e in merged}
    assert {(s.level, s.start, s.end, s.caption) for s in spans} <= found
    assert [e.event_id for e in merged] == list(range(len(merged)))


def test_only_the_annotated_level_and_time_change():
    episode, events = proposals()
    cut = len(episode) // 2
    down = AnnotatedSpan("subtask", cut, len(episode), "Put it down")
    merged = AnnotationMerger({0: [down, AnnotatedSpan("task", 0, len(episode), "Tidy")]}, least=4)(events)
    before, after = (
        {(e.start, e.end, e.caption) for e in group if e.level == "action"} for group in (events, merged)
    )
    first = {place for place in before if place[1] <= cut - 4}
    assert first and first <= after
    subtask = next(e for e in merged if e.level == "subtask" and e.start == cut)
    assert (subtask.end, subtask.caption, subtask.label) == (len(episode), "Put it down", "put")
    assert (subtask.source, subtask.confidence) == ("annotation", 1.0)
    assert [e.caption for e in merged if e.level == "task"] == ["Tidy"]
    # The boundary is as sure at the finer levels, whose captions are still proposals.
    assert {e.confidence for e in merged if e.start == cut} == {1.0}
    # An episode without annotations keeps its proposals.
    elsewhere = {events[0].episode_index + 1: [AnnotatedSpan("subtask", 0, 30, "grab it")]}
    for spans in ({}, elsewhere):
        assert AnnotationMerger(spans, least=4)(events) == events


def test_a_later_caption_does_not_replace_an_annotated_one():
    episode, events = proposals()
    merger = AnnotationMerger({0: [AnnotatedSpan("subtask", 0, 30, "Grab it")]}, least=4)
    merged = merger(events)
    rewritten = [replace(event, caption="a model's words") for event in merged]
    kept = merger.keep_captions(rewritten)
    assert [e.caption for e in kept if e.caption != "a model's words"] == ["Grab it"]
    assert [(e.level, e.start, e.end) for e in kept] == [(e.level, e.start, e.end) for e in merged]


def test_file_in_either_naming_of_levels(tmp_path):
    episode = one_span(3, 9, "a")
    episode["spans"] += one_span(3, 4, "b", "segment")["spans"]
    spans = [AnnotatedSpan("subtask", 0, 9, "a"), AnnotatedSpan("segment", 0, 4, "b")]
    assert read_annotation_file(write_file(tmp_path / "a.json", episode)) == {3: spans}
    assert set(LEVELS) == {"task", "subtask", "action", "segment"}


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        ("{", "file"),
        ({"format": "other", "version": 1, "episodes": []}, "format"),
        ({**HEAD, "episodes": [{"episode_index": 0}]}, "spans"),
        ({**HEAD, "episodes": [one_span(0, 1, "x", "L7")]}, "episodes.0.spans.0.level"),
        ({**HEAD, "episodes": [{"episode_index": 0, "spans": []}] * 2}, "occurs twice"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, needed):
    path = tmp_path / "bad.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=needed) as caught:
        read_annotation_file(path)
    assert caught.value.file == str(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_annotation_file(tmp_path / "none.json")


def test_a_dataset_with_language_rows_and_a_file(tiny_dataset, damaged, tmp_path):
    lengths = {m: SourceDataset.open(damaged).meta(m)["length"] for m in range(3)}
    # Episode 1 has been annotated wrongly: its second subtask starts after the end.
    late = {1: 1000.0}
    second = "place it"
    add_language_column(
        damaged, lambda e: [subtask_row("grab it", 0.0), subtask_row(second, late.get(e, 0.5))]
    )
    path = write_file(tmp_path / "a.json", one_span(0, lengths[0], "all of it"), one_span(99, 1, "lost"))
    spans, refused = read_annotations(SourceDataset.open(damaged), path)
    assert [s.caption for s in spans[0]] == ["all of it"]
    assert 1 not in spans
    assert [s.caption for s in spans[2]] == ["grab it", "place it"] and spans[2][-1].end == lengths[2]
    assert len(refused) == 2 and "1000 s" in refused[0] and "99" in refused[1]
    assert read_annotations(SourceDataset.open(tiny_dataset)) == ({}, [])


def test_prepare_uses_them_and_reports_the_unusable(tiny_dataset, tmp_path):
    spans = one_span(0, 10, "Tidy up", "L1"), one_span(1, 9999, "too long", "L1")
    path = write_file(tmp_path / "a.json", *spans)
    places = DatasetConfig(root=tiny_dataset), OutputConfig(root=tmp_path / "out")
    summary = prepare(PrepareConfig(*places, annotations=path, quiet=True))
    assert summary["annotated_episodes"] == 1
    assert any("9999" in line and "not used" in line for line in summary["warnings"])
    found = [e for e in read_events(tmp_path / "out" / "events.parquet") if e.caption == "Tidy up"]
    assert [(e.episode_index, e.level, e.start, e.end) for e in found] == [(0, "action", 0, 10)]
