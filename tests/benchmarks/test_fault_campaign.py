# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The fault campaign: its plan, its judgement, its table, and a few real faults on both buses."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

pytest.importorskip("emulated_arm")

from benchmarks.arm.control_loop import commands  # noqa: E402
from benchmarks.faults.campaign import Book, deal, in_order  # noqa: E402
from benchmarks.faults.hung_server import HungServer  # noqa: E402
from benchmarks.faults.judge import End, Goals, judge, last_words, summary, weigh  # noqa: E402
from benchmarks.faults.lane import servo_units  # noqa: E402
from benchmarks.faults.plan import KINDS, plan  # noqa: E402
from emulated_arm.arms import ARMS, calibration_of, travel_as_built  # noqa: E402

REPO = Path(__file__).parents[2]
LOW, HIGH, STEP = np.full(2, 1000.0), np.full(2, 3000.0), np.full(2, 50.0)
MOVING = Goals(count=20, margin=100, step=0.5, moved=True)
STILL = Goals(count=20, margin=100)
REASON = "ConnectionError: Failed to sync read 'Present_Position' on ids=[1] after 3 tries."


def goal(t: float, joint: int, ticks: int, low: int = 900, high: int = 3100) -> dict:
    outside = not low <= ticks <= high
    place = {"ticks": ticks, "low": low, "high": high, "outside": outside}
    return {"event": "goal", "t": t, "id": joint, **place}


def verdict(during=MOVING, after=MOVING, end=None, words=("sync read",), relax=True, moved=True, **facts):
    return judge(words, during, after, end, relax=relax, goal_was_written=moved, **facts)


# --- the plan


@given(count=st.integers(1, 300), seed=st.integers(0, 5))
def test_a_plan_has_its_count_and_is_the_same_for_the_same_seed(count, seed):
    faults = plan(count, seed)
    assert [f.number for f in faults] == list(range(count))
    assert faults == plan(count, seed)
    for fault in faults:
        assert fault.phase == "run" or KINDS[fault.kind].where == "bus"


def test_two_thousand_faults_are_of_every_kind_on_every_arm_and_half_on_each_bus():
    faults = plan(2000, 0)
    pairs = {(f.kind, f.arm) for f in faults}
    assert pairs == {(k, a) for k in KINDS for a in ("so100_follower", "so101_follower", "koch_follower")}
    on_feetech = sum(f.protocol == "feetech" for f in faults)
    assert abs(on_feetech - 1000) < 25
    assert plan(2000, 1)[:20] != faults[:20]
    with pytest.raises(ValueError, match="unknown coffee"):
        plan(10, 0, ("coffee",))


def test_lanes_are_about_as_full_as_each_other_and_hold_one_arm_each():
    faults = plan(2000, 0)
    lanes = deal(faults)
    assert len(lanes) == 4 and sum(map(len, lanes.values())) == 2000
    assert max(map(len, lanes.values())) < 1.2 * min(map(len, lanes.values()))
    for name, dealt in lanes.items():
        assert {f.arm for f in dealt} == {name.removesuffix("_1").removesuffix("_2")}
        assert sorted(in_order(dealt), key=lambda f: f.number) == dealt


def test_a_book_knows_what_is_done_and_what_belongs_to_another_plan(tmp_path):
    first, second = plan(2, 0)
    book = Book(tmp_path, 0)
    book.add(first, verdict(), 1.0, 0.0)
    book.set_aside(second, "the fault hit nothing")
    again = Book(tmp_path, 0)
    assert again.done(first) and not again.done(second)
    assert not again.done(dataclasses.replace(first, arm="another"))
    assert json.loads((tmp_path / "not_counted.jsonl").read_text())["why"] == "the fault hit nothing"
    with pytest.raises(ValueError, match="another seed"):
        Book(tmp_path, 1)


# --- goals


def test_goals_are_weighed_against_limits_range_and_step():
    lines = [goal(0.0, 1, 2000), goal(0.0, 2, 2000), goal(0.1, 1, 2101), goal(0.1, 2, 2000)]
    assert weigh(lines, LOW, HIGH, STEP, rate=20).step == 1.0  # one command was lost on the way
    goals = weigh(lines, LOW, HIGH, STEP, rate=10)
    assert (goals.count, goals.outside, goals.margin, goals.beyond_data, goals.moved) == (2, 0, 999, 0, True)
    assert goals.step == 2.0  # 101 ticks, one of them rounding, where 50 are allowed
    goals = weigh([*lines, goal(0.2, 1, 3102), goal(0.2, 2, 3050)], LOW, HIGH, STEP, rate=10)
    assert goals.outside == 1 and goals.margin == -2 and goals.beyond_data == 101
    own = weigh([*lines, goal(0.2, 1, 3050), goal(0.2, 2, 2000)], LOW, HIGH, STEP, free_from=0.15, rate=10)
    assert own.beyond_data == 0 and own.step == 2.0 and own.count == 3  # LeRobot's own way home


def test_no_goals_weigh_nothing():
    assert weigh([], LOW, HIGH, STEP) == Goals()


# --- the verdict


def test_outcomes():
    assert verdict().outcome == "recovered"
    assert verdict(during=STILL).outcome == "held"
    assert verdict(after=None, end=End(1, reason=REASON)).outcome == "ended"


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"during": Goals(9, outside=2, margin=-5)}, "2 goals outside the calibrated limits"),
        ({"after": Goals(9, beyond_data=7.0)}, "7 ticks beyond the data's range"),
        ({"during": Goals(9, step=1.5)}, "1.5 times the limit"),
        ({"after": Goals(0)}, "writes no goals"),
        ({"after": None, "end": End(1)}, "no reason"),
        ({"after": None, "end": End(1, reason="ValueError: x")}, "does not name the fault"),
        ({"after": None, "end": End(-9, hung=True, reason=REASON)}, "hung"),
        ({"after": None, "end": End(1, reason=REASON, torque=2)}, "not relaxed: 2 of 6"),
        ({"after": None, "end": End(1, reason=REASON, torque=5), "relax": False}, "not held: 5 of 6"),
        ({"after": None, "end": End(1, reason=REASON, data="does not load: x")}, "does not load"),
        ({"after": None, "end": End(1, reason=REASON, data="empty", expect_data=True)}, "no episode"),
    ],
)
def test_failures_are_named(facts, what):
    result = verdict(**facts)
    assert result.outcome == "FAILED" and what in "; ".join(result.what)


def test_what_is_no_failure():
    assert verdict(during=Goals(9, step=1.5, moved=True), rate_free=True).outcome == "recovered"
    end = End(1, reason=REASON, torque=6, data="empty")
    assert verdict(after=None, end=end, moved=False).outcome == "ended"  # nothing had been sent to the arm
    untold = End(1, reason="ConnectionError: Failed to write 'Torque_Enable' on id_=2", torque=5)
    left = {"after": None, "end": untold, "words": ("write '",)}
    assert verdict(**left, bus_fault=True).outcome == "powered"  # a dead bus carries no order to let go
    assert (
        verdict(**left).outcome == "FAILED"
        and verdict(**left, bus_fault=True, relax=False).outcome == "FAILED"
    )
    own = End(0, reason="said: Shutdown signal")
    assert verdict(after=None, end=own, own_end=True).outcome == "ended"
    assert verdict(after=None, end=End(-15), own_end=True, moved=False).outcome == "ended"
    assert verdict(after=None, end=End(-15), own_end=True).outcome == "FAILED"


def test_last_words():
    log = "INFO a\nTraceback (most recent call last):\n  File x\nlerobot.x.SafetyError: held\nmore\n"
    assert last_words(log) == "SafetyError: held"
    assert last_words("RuntimeError: \n\nMissing motor IDs\n") == "RuntimeError: Missing motor IDs"
    assert last_words("INFO Shutdown signal 2 received") == "said: Shutdown signal"
    assert last_words("INFO nothing\n") == ""
    bad = "Traceback (most recent call last):\nConnectionError: bad packet\n\n"
    chain = f"{bad}The above exception was the direct cause of the following exception:\n\n"
    last = "Traceback (most recent call last):\nConnectionError: \nno such port\n"
    assert (
        last_words(chain + last) == "ConnectionError: no such port (because of ConnectionError: bad packet)"
    )
    assert last_words(f"{chain}{last}\nIn the end:\n\n{last}") == "ConnectionError: no such port"


def test_the_table_adds_up():
    def result(kind, protocol, came, **facts):
        fault, came = {"kind": kind, "arm": "so100_follower"}, dataclasses.asdict(came)
        return {"fault": fault, "protocol": protocol, "verdict": {**came, **facts}}

    ended = verdict(after=None, end=End(1, reason=REASON))
    results = [
        result("corrupt", "feetech", verdict()),
        result("corrupt", "feetech", verdict(during=Goals(9, outside=3, margin=-8))),
        result("late", "dynamixel", ended),
        result("stall", "feetech", ended),
        result("stall", "feetech", ended, outcome="powered"),
    ]
    rows = list(summary(results))
    assert [(row["fault"], row["bus"]) for row in rows[:2]] == [("corrupt", "feetech"), ("late", "dynamixel")]
    outcomes = ("count", "recovered", "held", "ended", "powered", "FAILED", "goals outside limits")
    assert [rows[0][name] for name in outcomes] == [2, 1, 0, 0, 0, 1, 3]
    assert rows[0]["nearest goal to a limit, ticks"] == -8 and rows[0]["largest step / limit"] == 0.5
    assert "sync read" in rows[1]["notes"]
    assert rows[3]["fault"] == "stall, bus still down at the end" and rows[3]["powered"] == 1
    assert rows[4]["fault"] == "all"
    assert [rows[4][name] for name in outcomes] == [5, 1, 0, 2, 1, 1, 3]


# --- the journal


def test_commands_are_put_together_and_a_broken_one_is_left_out(tmp_path):
    lines = [goal(1.0, 1, 10, 0, 99), goal(1.0, 2, 20, 0, 99), goal(1.1, 1, 11, 0, 99)]
    lines += [goal(1.2, 1, 12, 0, 99), goal(1.2, 2, 120, 0, 99)]
    journal = tmp_path / "journal.jsonl"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "go')
    times, ticks, outside = commands(journal, 2)
    assert times.tolist() == [1.0, 1.2] and ticks.tolist() == [[10, 20], [12, 120]]
    assert outside.tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize("name", ["so101_follower", "koch_follower"])
def test_units_are_those_of_the_arm(name):
    arm = ARMS[name]
    travels = travel_as_built(arm, 3)
    calibration = calibration_of(arm, travels)
    zero, scale = servo_units(arm, calibration)
    low, high = (np.array([calibration[j.name][k] for j in arm.joints]) for k in ("range_min", "range_max"))
    for ends, ticks in (("low", low), ("high", high)):
        expected = [t.to_units(getattr(t, ends)) for t in travels]
        np.testing.assert_allclose((ticks - zero) / scale, expected, atol=0.1)


@pytest.mark.parametrize("how", ["silent", "close", "refuse"])
def test_a_server_answers_so_often_and_hangs_then(how):
    import requests

    server = HungServer(how, answers=2)
    for caption in ("swing to the right", "swing to the left"):
        answer = requests.post(
            f"{server.url}/chat/completions", json={"messages": ["?" * 100_000]}, timeout=5
        )
        said = json.loads(answer.json()["choices"][0]["message"]["content"])
        assert said == {"decision": "Next", "event": caption}
    with pytest.raises(requests.exceptions.RequestException) as caught:
        requests.post(f"{server.url}/chat/completions", json={}, timeout=0.5)
    assert isinstance(caught.value, requests.exceptions.Timeout) == (how == "silent")
    server.close()


def test_a_hung_server_takes_questions_and_says_nothing():
    import socket

    server = HungServer("silent")
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=5) as link:
        link.sendall(b"GET / HTTP/1.1\r\n\r\n")
        link.settimeout(0.3)
        with pytest.raises(TimeoutError):
            link.recv(1)
    server.close()
    with pytest.raises(ValueError, match="one of these ways"):
        HungServer("politely")


# --- for real


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["so101_follower", "koch_follower"])
def test_a_few_real_faults_and_the_campaign_goes_on_where_it_was(arm, tmp_path):
    kinds = "corrupt,silent,camera_gone,nan_weights,sigterm"
    command = [sys.executable, "-m", "benchmarks", "faults", "campaign", "--count=12"]
    command += [f"--kinds={kinds}", f"--arms={arm}", f"--out={tmp_path}", "--lanes=1", "--fresh_every=0"]
    paths = [str(REPO), str(REPO / "examples" / "emulator"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    wanted = [f.number for f in plan(12, 0, tuple(kinds.split(","))) if f.arm == arm]
    assert {r["fault"]["number"] for r in results} <= set(wanted) and len(results) >= len(wanted) - 1
    outside = [g["outside"] for r in results for g in r["verdict"]["goals"].values() if g]
    assert sum(outside) == 0
    again = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=900)
    assert again.returncode == 0 and "  all" in again.stdout
    later = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in later][: len(results)] == results
