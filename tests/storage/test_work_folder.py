# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The journal of a long step: whatever a kill cuts off, what is read back is what was put in."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.processors.clean.cleaner import DatasetCleaner, EpisodeCleaner
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.kept_results import KeptResults
from lerobot_wallwm.storage.work_folder import source_fingerprint, work_folder


@given(st.lists(st.tuples(st.text(), st.text()), max_size=6))
def test_what_is_kept_comes_back(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("kept") / "below" / "step.sqlite"
    for key, text in entries:
        with contextlib.closing(KeptResults(path)) as kept:
            kept.put(key, text)
    with contextlib.closing(KeptResults(path)) as kept:
        assert {key: kept.get(key) for key, _ in entries} == dict(entries)
        assert kept.get("nothing") is None or "nothing" in dict(entries)


def filled(path) -> bytes:
    with contextlib.closing(KeptResults(path, flush=False)) as kept:
        for number in range(40):
            kept.put(str(number), str(number) * 200)
    return path.read_bytes()


@given(st.data())
def test_damage_is_not_believed_and_is_no_error(tmp_path_factory, data):
    """The file is cut anywhere, or any of its bytes is another one."""
    path = tmp_path_factory.mktemp("kept") / "step.sqlite"
    content = bytearray(filled(path))
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        content = content[:at]
    path.write_bytes(content)
    with contextlib.closing(KeptResults(path)) as kept:
        for number in range(40):
            assert kept.get(str(number)) in (None, str(number) * 200)
        kept.put("next", "more")
        assert kept.get("next") in (None, "more")


def test_a_kill_costs_at_most_the_last_result(tmp_path):
    code = (
        "import os, sys, pathlib\n"
        "from lerobot_wallwm.storage.kept_results import KeptResults\n"
        "kept = KeptResults(pathlib.Path(sys.argv[1]), flush=False)\n"
        "for number in range(10**6):\n"
        "    kept.put(str(number), str(number) * 200)\n"
        "    print(number, flush=True)\n"
    )
    path = tmp_path / "step.sqlite"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as process:
        while int(process.stdout.readline()) < 30:
            pass
        process.kill()
        last = max([30, *map(int, process.stdout.read().split("\n")[:-1])])
    with contextlib.closing(KeptResults(path)) as kept:
        assert all(kept.get(str(number)) == str(number) * 200 for number in range(last + 1))


def test_results_are_found_by_the_same_step_source_and_parameters_only(tmp_path, tiny_dataset):
    source = shutil.copytree(tiny_dataset, tmp_path / "source")
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "out", source) as journal:
        journal("clean", {"a": 1}).put("0", "kept")
        raise KeyboardInterrupt
    assert (tmp_path / ".out.work").is_dir()
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "out", source) as journal:
        assert journal("clean", {"a": 1}).get("0") == "kept"
        assert journal("clean", {"a": 2}).get("0") is None
        assert journal("caption", {"a": 1}).get("0") is None
        raise KeyboardInterrupt
    os.utime(source / "meta" / "info.json", (1, 1))
    with work_folder(tmp_path / "out", source) as journal:
        assert journal("clean", {"a": 1}).get("0") is None
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_an_error_leaves_nothing_behind(tmp_path, tiny_dataset):
    with pytest.raises(ValueError), work_folder(tmp_path / "out", tiny_dataset) as journal:
        journal("clean", {}).put("0", "1")
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

    path = tmp_path / "clean.sqlite"
    with pytest.raises(Killed):
        DatasetCleaner(EpisodeCleaner(), KeptResults(path))(source, stop_after_four)
    read = []
    original = SourceDataset.rows
    monkeypatch.setattr(
        SourceDataset, "rows", lambda self, meta: read.append(meta["episode_index"]) or original(self, meta)
    )
    assert DatasetCleaner(EpisodeCleaner(), KeptResults(path))(source) == plain
    assert set(read) == {4, 5}
