# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Existing annotations are read, checked, and win over the segmenter's proposals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from lerobot.datasets.language import LANGUAGE_PERSISTENT, language_feature_info
from synthetic import pick_and_place

from lerobot_wallwm.processors.caption.captioner import EventCaptioner
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
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import LEVELS, read_events, validate_events
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig


def proposals(seed=0, fps=20):
    episode, _ = pick_and_place(seed, fps)
    return episode, EventCaptioner()(episode, EventSegmenter()(episode))


def subtask_row(content, timestamp, style="subtask"):
    return {"role": "assistant", "content": content, "style": style, "timestamp": timestamp, "camera": None}


def write_file(path: Path, *episodes, **head):
    body = {"format": "wallwm-annotations", "version": 1, "episodes": list(episodes), **head}
    path.write_text(json.dumps(body))
    return path


def add_language_column(root: Path, rows_of):
    """Writes `language_persistent` as LeRobot does: the same rows on every frame of an episode."""
    row = pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("style", pa.string()),
            ("timestamp", pa.float32()),
            ("camera", pa.string()),
        ]
    )
    for path in sorted((root / "data").glob("*/*.parquet")):
        table = pq.read_table(path)
        values = [rows_of(index) for index in table["episode_index"].to_pylist()]
        pq.write_table(table.append_column(LANGUAGE_PERSISTENT, pa.array(values, pa.list_(row))), path)
    info_path = root / "meta" / "info.json"
    info = json.loads(info_path.read_text())
    info["features"].update(language_feature_info())
    info_path.write_text(json.dumps(info))


def test_subtask_rows_hold_until_the_next_one():
    times = np.arange(30) / 10
    rows = [
        subtask_row("place it", 1.2),
        subtask_row("grab it", 0.0),
        subtask_row("a plan", 0.0, "plan"),
        subtask_row("go home", 2.04),
    ]
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
    spans = {
        0: [
            AnnotatedSpan("subtask", cut, len(episode), "Put it down"),
            AnnotatedSpan("task", 0, len(episode), "Tidy"),
        ]
    }
    merged = AnnotationMerger(spans, least=4)(events)
    first = [e for e in events if e.level == "action" and e.end <= cut - 4]
    assert first
    assert {(e.start, e.end, e.caption) for e in first} <= {
        (e.start, e.end, e.caption) for e in merged if e.level == "action"
    }
    subtask = next(e for e in merged if e.level == "subtask" and e.start == cut)
    assert (subtask.end, subtask.caption, subtask.label) == (len(episode), "Put it down", "put")
    assert (subtask.source, subtask.confidence) == ("annotation", 1.0)
    assert [e.caption for e in merged if e.level == "task"] == ["Tidy"]
    # The boundary is as sure at the finer levels, whose captions are still proposals.
    assert {e.confidence for e in merged if e.start == cut} == {1.0}
    assert AnnotationMerger({}, least=4)(events) == events


def test_a_later_caption_does_not_replace_an_annotated_one():
    episode, events = proposals()
    merger = AnnotationMerger({0: [AnnotatedSpan("subtask", 0, 30, "Grab it")]}, least=4)
    merged = merger(events)
    rewritten = [replace(event, caption="a model's words") for event in merged]
    kept = merger.keep_captions(rewritten)
    assert [e.caption for e in kept if e.caption != "a model's words"] == ["Grab it"]
    assert [(e.level, e.start, e.end) for e in kept] == [(e.level, e.start, e.end) for e in merged]


def test_an_episode_without_annotations_keeps_its_proposals():
    _, events = proposals()
    merger = AnnotationMerger(
        {events[0].episode_index + 1: [AnnotatedSpan("subtask", 0, 30, "grab it")]}, least=4
    )
    assert merger(events) == events


def test_file_in_either_naming_of_levels(tmp_path):
    spans = [
        {"level": "L2", "start": 0, "end": 9, "caption": "a"},
        {"level": "segment", "start": 0, "end": 4, "caption": "b"},
    ]
    path = write_file(tmp_path / "a.json", {"episode_index": 3, "spans": spans})
    assert read_annotation_file(path) == {
        3: [AnnotatedSpan("subtask", 0, 9, "a"), AnnotatedSpan("segment", 0, 4, "b")]
    }
    assert set(LEVELS) == {"task", "subtask", "action", "segment"}


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("{", "file"),
        ('{"format": "other", "version": 1, "episodes": []}', "format"),
        ('{"format": "wallwm-annotations", "version": 1, "episodes": [{"episode_index": 0}]}', "spans"),
        (
            '{"format": "wallwm-annotations", "version": 1, "episodes": [{"episode_index": 0, "spans": '
            '[{"level": "L7", "start": 0, "end": 1, "caption": "x"}]}]}',
            "episodes.0.spans.0.level",
        ),
        (
            '{"format": "wallwm-annotations", "version": 1, "episodes": [{"episode_index": 0, "spans": []}, '
            '{"episode_index": 0, "spans": []}]}',
            "occurs twice",
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, needed):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError, match=needed) as caught:
        read_annotation_file(path)
    assert caught.value.file == str(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_annotation_file(tmp_path / "none.json")


def test_a_dataset_with_language_rows_and_a_file(tiny_dataset, tmp_path):
    root = tmp_path / "annotated"
    shutil.copytree(tiny_dataset, root)
    lengths = {m: SourceDataset.open(root).meta(m)["length"] for m in range(3)}

    def rows_of(index):
        # Episode 1 has been annotated wrongly: its second subtask starts after the end.
        late = 1000.0 if index == 1 else 0.5
        return [subtask_row("grab it", 0.0), subtask_row("place it", late)]

    add_language_column(root, rows_of)
    path = write_file(
        tmp_path / "a.json",
        {
            "episode_index": 0,
            "spans": [{"level": "L2", "start": 0, "end": lengths[0], "caption": "all of it"}],
        },
        {"episode_index": 99, "spans": [{"level": "L2", "start": 0, "end": 1, "caption": "lost"}]},
    )
    spans, refused = read_annotations(SourceDataset.open(root), path)
    assert [s.caption for s in spans[0]] == ["all of it"]
    assert 1 not in spans
    assert [s.caption for s in spans[2]] == ["grab it", "place it"] and spans[2][-1].end == lengths[2]
    assert len(refused) == 2 and "1000 s" in refused[0] and "99" in refused[1]
    assert read_annotations(SourceDataset.open(tiny_dataset)) == ({}, [])


def test_prepare_uses_them_and_reports_the_unusable(tiny_dataset, tmp_path):
    path = write_file(
        tmp_path / "a.json",
        {"episode_index": 0, "spans": [{"level": "L1", "start": 0, "end": 10, "caption": "Tidy up"}]},
        {"episode_index": 1, "spans": [{"level": "L1", "start": 0, "end": 9999, "caption": "too long"}]},
    )
    config = PrepareConfig(
        dataset=DatasetConfig(root=tiny_dataset),
        out=OutputConfig(root=tmp_path / "out"),
        annotations=path,
        quiet=True,
    )
    summary = prepare(config)
    assert summary["annotated_episodes"] == 1
    assert any("9999" in line and "not used" in line for line in summary["warnings"])
    found = [e for e in read_events(tmp_path / "out" / "events.parquet") if e.caption == "Tidy up"]
    assert [(e.episode_index, e.level, e.start, e.end) for e in found] == [(0, "action", 0, 10)]
