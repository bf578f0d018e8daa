# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The harness: rows, tables, results with the machine, and a benchmark of each cheap group run in this process."""

import json

import pytest

from benchmarks.harness.command import benchmarks, listing, main
from benchmarks.harness.rows import Mean, Row, Share, Spread, bar, tables
from benchmarks.harness.timing import WARM_UP, in_turns, ratios


def test_calls_take_turns_after_the_warm_up():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = in_turns(calls, 3)
    assert order == ["a", "b"] * (3 + WARM_UP)
    assert [len(values) for values in times.values()] == [3, 3]
    assert ratios({"a": [2.0, 3.0], "b": [1.0, 2.0]}, "a", "b") == [2.0, 1.5]


def test_cells_know_their_spread_and_their_counts():
    assert str(Spread.of([1.0, 2.0, 3.0])) == "2 (1.200 to 2.800)"
    assert str(Share(32, 50)) == "32/50 (50 to 76 %)" and str(Share(0, 0)) == "0/0"
    assert str(Mean.of([1.0, 3.0])) == "2 ± 1.414" and Mean.of([1.0]).interval is None
    low, high = Mean.of([1.0, 2.0, 3.0, 4.0]).interval
    assert low < 2.5 < high


def test_tables_in_a_terminal_and_in_markdown():
    rows = [
        Row("speed", {"what": "a|b", "ms": 1.5}),
        Row("speed", {"what": "c", "more": True}),
        bar("F1", 0.5, 0.8),
    ]
    plain = tables(rows)
    assert plain.splitlines()[:3] == ["speed", "  what     ms  more", "  a|b   1.500"]
    assert rows[2].passes is False and bar("F1", 0.5, most=1).passes
    assert "| a/b | 1.500 |  |" in tables(rows, markdown=True)


def test_every_benchmark_is_listed_with_one_line():
    found = benchmarks()
    assert set(found) == {"arm", "faults", "learning", "preparing", "segmentation", "so101", "speed"}
    for names in found.values():
        for name, what in names.items():
            assert what.endswith((".", "?")) and name in listing()


def test_an_unknown_benchmark_is_refused(capsys):
    assert main(["speed", "nothing"]) == 2
    assert "no benchmark speed nothing" in capsys.readouterr().err


@pytest.mark.parametrize("group, name", [(g, n) for g, names in benchmarks().items() for n in names])
def test_help_of_each(group, name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([group, name, "--help"])
    assert ended.value.code == 0 and "--quick" in capsys.readouterr().out


def quick(group, name, out, *flags):
    code = main([group, name, "--quick", "--markdown", f"--out={out}", *flags])
    return code, json.loads((out / "result.json").read_text())


def test_a_result_says_where_and_how_it_was_made(tmp_path, capsys):
    code, result = quick("segmentation", "suite", tmp_path)
    assert code == 0 and result["finished"] and result["options"]["quick"]
    assert {"processor", "cores", "load", "torch", "threads"} <= set(result["machine"])
    assert len(result["commit"]) in (0, 40)
    row = next(r for r in result["rows"] if r["table"] == "cuts by confidence")
    assert {"hits", "of", "interval_95"} <= set(row["right"])
    assert "| task | episodes |" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "group, name",
    [
        ("speed", "policy"),
        ("learning", "jitter"),
        ("arm", "control_loop"),
        ("so101", "over_the_bus"),
        ("faults", "campaign"),
    ],
)
def test_quick_runs_end(group, name, tmp_path):
    code, result = quick(group, name, tmp_path)
    assert code == 0 and result["finished"] and result["rows"]
