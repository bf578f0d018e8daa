# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The journal of a long step: whatever a kill cuts off, what is read back is what was put in."""

import os
import shutil

import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.processors.clean.cleaner import EpisodeCleaner
from lerobot_wallwm.processors.clean.dataset import DatasetCleaner
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.work_folder import Journal, source_fingerprint, work_folder

RESULTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.text(), RESULTS), max_size=6), st.data())
def test_a_journal_cut_anywhere_gives_back_what_is_whole_and_goes_on(tmp_path_factory, entries, data):
    path = tmp_path_factory.mktemp("journal") / "step.jsonl"
    journal = Journal(path)
    ends = [0]
    for key, result in entries:
        journal.put(key, result)
        ends.append(path.stat().st_size)
    journal.close()
    cut = data.draw(st.integers(0, ends[-1]))
    if path.exists():
        os.truncate(path, cut)
    whole = sum(end <= cut for end in ends) - 1
    expected = dict(entries[:whole])
    journal = Journal(path)
    assert {key: journal.get(key) for key in expected} == expected and len(journal) == len(expected)
    journal.put("next", [1.5, float("inf")])
    journal.close()
    again = Journal(path)
    assert again.get("next") == [1.5, float("inf")]
    assert {key: again.get(key) for key in expected if key != "next"} == {
        key: value for key, value in expected.items() if key != "next"
    }


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_is_not_believed(tmp_path_factory, at, change):
    path = tmp_path_factory.mktemp("journal") / "step.jsonl"
    journal = Journal(path)
    for number in range(8):
        journal.put(str(number), [number] * 5)
    journal.close()
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= change
    path.write_bytes(content)
    journal = Journal(path)
    for number in range(8):
        assert journal.get(str(number)) in (None, [number] * 5)


def test_results_are_found_by_the_same_step_source_and_parameters_only(tmp_path, tiny_dataset):
    source = shutil.copytree(tiny_dataset, tmp_path / "source")
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "out", source) as work:
        work.journal("clean", {"a": 1}).put("0", "kept")
        raise KeyboardInterrupt
    assert (tmp_path / ".out.work").is_dir()
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "out", source) as work:
        assert work.journal("clean", {"a": 1}).get("0") == "kept"
        assert work.journal("clean", {"a": 2}).get("0") is None
        assert work.journal("caption", {"a": 1}).get("0") is None
        raise KeyboardInterrupt
    os.utime(source / "meta" / "info.json", (1, 1))
    with work_folder(tmp_path / "out", source) as work:
        assert work.journal("clean", {"a": 1}).get("0") is None
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_an_error_leaves_nothing_behind(tmp_path, tiny_dataset):
    with pytest.raises(ValueError), work_folder(tmp_path / "out", tiny_dataset) as work:
        work.journal("clean", {}).put("0", 1)
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_knows_names_sizes_and_times(tmp_path):
    (tmp_path / "meta").mkdir()
    prints = [source_fingerprint(tmp_path)]
    path = tmp_path / "meta" / "info.json"
    for content, when in (("{}", 1), ("{ }", 1), ("{ }", 2)):
        path.write_text(content)
        os.utime(path, (when, when))
        prints.append(source_fingerprint(tmp_path))
    path.rename(path.with_name("other.json"))
    prints.append(source_fingerprint(tmp_path))
    assert len(set(prints)) == 5
    assert source_fingerprint(tmp_path) == prints[-1]


def test_cleaning_reads_no_episode_twice(tmp_path, tiny_dataset, monkeypatch):
    source = SourceDataset.open(tiny_dataset)
    plain = DatasetCleaner(EpisodeCleaner())(source)

    class Killed(BaseException):
        pass

    def stop_after_four(count, done=[]):  # noqa: B006 - counts over calls
        done.append(count)
        if len(done) == 4:
            raise Killed

    path = tmp_path / "clean.jsonl"
    with pytest.raises(Killed):
        DatasetCleaner(EpisodeCleaner(), Journal(path))(source, stop_after_four)
    read = []
    original = SourceDataset.rows
    monkeypatch.setattr(
        SourceDataset, "rows", lambda self, meta: read.append(meta["episode_index"]) or original(self, meta)
    )
    assert DatasetCleaner(EpisodeCleaner(), Journal(path))(source) == plain
    assert set(read) == {4, 5}
