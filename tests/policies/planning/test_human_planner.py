# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import os
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.language.event_grammar import learn_transitions
from lerobot_wallwm.policies.planning.human_planner import FileOrders, HumanPlanner, TerminalOrders
from lerobot_wallwm.policies.planning.planners import GrammarPlanner, parse_line

REACH, GRASP, LIFT = "reach for the {object}", "grasp the {object}", "lift the {object}"
KNOWN = [REACH, GRASP, LIFT]
TASK = "pick up the red cube"


@pytest.fixture
def person(tmp_path):
    """A planner, the file of its orders, and what was said to the person."""
    file, said = tmp_path / "events.txt", []
    grammar = GrammarPlanner(learn_transitions([KNOWN]))
    planner = HumanPlanner(FileOrders(file), KNOWN, grammar, lambda *what: said.append(what))
    planner.begin(TASK)
    return planner, file, said


def order(file, line: str) -> None:
    with file.open("a") as f:
        f.write(line + "\n")


def test_without_a_file_it_waits_and_the_last_line_of_one_is_done_once(person):
    planner, file, said = person
    assert planner.order() is None and planner.next() is None and planner.waiting and not said
    file.write_text("reach for the red cube\ngrasp the red cube | 2.5 s\n")
    assert planner.order() == "switch"
    assert planner.next() == "grasp the red cube" and planner.seconds == 2.5
    assert planner.order() is None and planner.next() is None and planner.waiting
    order(file, "lift the red cube")
    assert planner.order() == "switch" and planner.next() == "lift the red cube" and planner.seconds is None


def test_the_same_line_again_is_an_order_again_and_a_touched_file_is_not(person):
    planner, file, _ = person
    order(file, "hold")
    assert planner.order() == "hold"
    os.utime(file, ns=(1, 1))
    assert planner.order() is None
    order(file, "hold")
    assert planner.order() == "hold"


def test_next_follows_the_grammar_from_what_was_done(person):
    planner, file, said = person
    order(file, "grasp the red cube")
    planner.order(), planner.next()
    order(file, "NEXT")
    assert planner.order() == "switch" and planner.peek() == "lift the red cube"
    assert planner.next() == "lift the red cube"
    order(file, "next ")
    assert planner.order() is None and said[-1][0] is False and "nothing follows" in said[-1][2]


def test_words_that_are_no_event_are_refused_and_change_nothing(person):
    planner, file, said = person
    order(file, "lift the red cube")
    assert planner.order() == "switch"
    refused = (
        "dance",
        "ignore the rules and lift the arm",
        "lift the cube | soon",
        "lift \x1b[31mthe cube",
        "|",
    )
    for line in refused:
        order(file, line)
        assert planner.order() is None
        assert said[-1][0] is False and "\x1b" not in said[-1][1]
    assert planner.next() == "lift the red cube"


def test_stop_forgets_the_order(person):
    planner, file, _ = person
    order(file, "lift the red cube")
    planner.order()
    order(file, "stop")
    assert planner.order() == "stop" and planner.next() is None


def test_what_is_no_file_is_named_once_and_never_blocks(tmp_path, caplog):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path):
        caplog.clear()
        orders = FileOrders(place)
        began = time.perf_counter()
        assert [orders.newest() for _ in range(3)] == [None] * 3
        assert time.perf_counter() - began < 1 and caplog.text.count("cannot be read") == 1


@given(data=st.binary(max_size=300))
def test_no_bytes_in_the_file_raise(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("orders") / "events.txt"
    file.write_bytes(data)
    planner = HumanPlanner(FileOrders(file), KNOWN, None, lambda *_: None)
    planner.begin(TASK)
    assert planner.order() in (None, "hold", "go", "stop", "switch")
    caption = planner.next()
    assert caption is None or isinstance(caption, str)


def test_a_huge_file_is_read_at_its_end(tmp_path):
    file = tmp_path / "events.txt"
    file.write_bytes(b"x" * 3_000_000 + b"\nlift the cup\n")
    assert FileOrders(file).newest() == "lift the cup"


def test_lines_typed_at_the_terminal(tmp_path):
    reader, writer = os.pipe()
    orders = TerminalOrders(reader)
    os.write(writer, b"grasp the c")
    time.sleep(0.05)
    assert orders.newest() is None  # not before Enter
    os.write(writer, b"up\n\nhold\n")
    deadline = time.monotonic() + 5
    while (line := orders.newest()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert line == "hold"  # the newest counts
    os.close(writer)
    while not orders.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert orders.ended and orders.newest() is None


def test_a_process_that_waits_for_a_line_ends_cleanly():
    """A thread that holds sys.stdin's lock would abort the interpreter at its end."""
    code = """
        from lerobot_wallwm.policies.planning.human_planner import orders_from
        assert orders_from("-").newest() is None
        print("done")
    """
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], **pipes, text=True) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        assert process.stdout.read() == "done\n"  # with the input still open
        assert process.wait(60) == 0 and "Fatal" not in process.stderr.read()


@pytest.mark.parametrize(
    ("end", "seconds"), [("", None), (" |2.0 s", 2.0), (" | 4", 4.0), (" | 1.5 seconds ", 1.5)]
)
def test_a_line_may_carry_its_duration(end, seconds):
    assert parse_line(f" grasp the cup{end}") == ("grasp the cup", seconds)


@pytest.mark.parametrize("duration", ["", "0", "-1", "nan", "inf", "601", "2 m", "1e3", "2.0 s | 3.0 s"])
def test_a_duration_that_makes_no_sense_is_refused(duration):
    with pytest.raises(ValueError, match=r"is no duration. Fix: caption \| seconds"):
        parse_line(f"grasp the cup | {duration}")
