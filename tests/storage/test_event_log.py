# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import copy
import json
import threading

from lerobot_wallwm.storage.line_log import LineLog


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_hold_what_happened_in_order(tmp_path):
    path = tmp_path / "new" / "events.jsonl"
    log = LineLog(path)
    log.write("begin", 3, 1, caption="grasp the “cup”\n")
    log.write("end", 9, 1, why="remaining", frames=6)
    log.flush()
    first, second = lines(path)
    assert first["kind"] == "begin" and first["caption"] == "grasp the “cup”\n" and first["tick"] == 3
    assert second["robot"] == 1 and second["time"] >= first["time"] > 1.7e9
    assert log.counts == {"begin": 1, "end": 1}


def test_a_later_rollout_appends(tmp_path):
    path = tmp_path / "events.jsonl"
    for tick in range(2):
        log = LineLog(path)
        log.write("look", tick)
        log.flush()
    assert [line["tick"] for line in lines(path)] == [0, 1]


def test_several_threads_lose_and_tear_no_line(tmp_path):
    log = LineLog(tmp_path / "events.jsonl")
    threads = [
        threading.Thread(target=lambda i=i: [log.write("look", t, i, text="x" * 200) for t in range(100)])
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush(10)
    assert len(lines(tmp_path / "events.jsonl")) == 400 == log.counts["look"]


def test_a_disk_that_fails_costs_lines_and_nothing_else(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    log = LineLog(tmp_path / "file" / "events.jsonl")  # a folder that cannot be made
    for tick in range(3):
        log.write("look", tick)
    log.flush()
    assert log.lost == 3 and log.counts["look"] == 3
    assert caplog.text.count("cannot be written") == 1


def test_without_a_path_it_counts(tmp_path):
    before = threading.active_count()
    log = LineLog()
    log.write("look", 0)
    log.flush()
    assert log.counts == {"look": 1} and threading.active_count() <= before
    assert copy.deepcopy(log) is log
