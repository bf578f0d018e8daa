# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""SIGKILL at any moment of `prepare`: the next run finishes, and its output is that of an unbroken run, byte for byte."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# Forks run after run, so that a kill costs no imports. `kill` is a number of seconds, or "#n": at the n-th thing that the run
# asks of the file system in or beside its output (Python's audit events: open, mkdir, rename, link, remove ...); "=folder"
# moves the output's folder away and goes on in an empty one.
DRIVER = """
import os, signal, sys, time
import pandas, av, scipy.ndimage, ruptures, pyarrow.parquet, filelock, draccus
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.processors.prepare.config import PrepareConfig

source, out, overwrite, *kills = sys.argv[1:]
place = os.path.dirname(out)

def child(kill):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event.split(".")[0] in ("open", "os", "shutil") and any(str(a).startswith(place) for a in arguments):
            count += 1
            if f"#{count}" == kill:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    prepare(PrepareConfig(DatasetConfig(root=source), OutputConfig(root=out), quiet=True,
                          heldout=0.3, prune_quasi_static=0.02, overwrite=overwrite == "overwrite"))
    return count

for kill in kills:
    if kill.startswith("="):
        os.rename(place, kill[1:])
        os.mkdir(place)
        print(0, 0, 0.0, flush=True)
        continue
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        code = 1
        try:
            with open(os.devnull, "w") as null:
                os.dup2(null.fileno(), 2) if kill != "none" else None
            os.write(write, str(child(kill)).encode())
            code = 0
        except FileExistsError:
            code = 3
        finally:
            os._exit(code)
    os.close(write)
    begun = time.perf_counter()
    if kill != "none" and not kill.startswith("#"):
        time.sleep(float(kill))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    count = os.read(read, 20).decode() or "0"
    os.close(read)
    print(os.waitstatus_to_exitcode(status), count, time.perf_counter() - begun, flush=True)
"""


def drive(source: Path, out: Path, kills: list[str], overwrite: bool = False) -> list[tuple[int, int, float]]:
    """Exit code, number of file-system events and seconds of each run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    arguments = [str(source), str(out), "overwrite" if overwrite else "new", *kills]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, check=True, timeout=600
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(kills), done.stderr
    return [(int(code), int(count), float(seconds)) for code, count, seconds in lines]


def content(out: Path) -> dict[str, bytes | dict]:
    """All files of an output, times aside."""
    files: dict[str, bytes | dict] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        files[path.relative_to(out).as_posix()] = path.read_bytes()
    summary = json.loads(files.pop("summary.json"))
    for key in ("seconds", "real_time_factor"):
        summary.pop(key)
    return files | {"summary.json": summary}


def source_state(root: Path) -> dict[str, tuple]:
    return {
        str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in root.rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="module")
def damaged_source(tiny_dataset, tmp_path_factory):
    """With an episode that cleaning leaves out, so that its report is part of what must be equal."""
    root = shutil.copytree(tiny_dataset, tmp_path_factory.mktemp("killed") / "source")
    path = next((root / "data").glob("*/*.parquet"))
    frame = pq.read_table(path).to_pandas()
    states = frame["observation.state"].tolist()
    states[frame.index[frame["episode_index"] == 2][3]][1] = np.nan
    frame["observation.state"] = states
    schema = pq.read_schema(path)
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)
    return root


@pytest.fixture(scope="module")
def unbroken(damaged_source, tmp_path_factory):
    """Content, number of file-system events and seconds of a run that nothing disturbs."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    ((code, count, seconds),) = drive(damaged_source, out, ["none"])
    assert code == 0 and count > 30
    return content(out), count, seconds


def survive(source: Path, place: Path, kills: list[str], expected: dict, *, fresh: bool) -> int:
    """Kills runs and lets the next one finish. Returns how many kills hit a run that was not done yet.

    Args:
        fresh: Let a run finish after every kill; else after all of them.
    """
    before = source_state(source)
    rounds = [[kill] for kill in kills] if fresh else [kills]
    script = [[*kill, "none", f"={place}-{number}"] for number, kill in enumerate(rounds)]
    results = drive(source, place / "out", [step for steps in script for step in steps])
    hit = 0
    for number, steps in enumerate(script):
        *killed, last, _ = [results.pop(0)[0] for _ in steps]
        hit += killed.count(-signal.SIGKILL)
        # 3: the output is there, because a kill came after its last rename or not at all.
        assert set(killed) <= {-signal.SIGKILL, 0, 3} and last in (0, 3)
        kept = Path(f"{place}-{number}")
        assert os.listdir(kept) == ["out"] and content(kept / "out") == expected
        shutil.rmtree(kept)
    assert source_state(source) == before
    return hit


def test_three_kills_at_chosen_steps(damaged_source, unbroken, tmp_path):
    expected, count, _ = unbroken
    kills = [f"#{round(count * part)}" for part in (0.15, 0.5, 0.95)]
    assert survive(damaged_source, tmp_path / "place", kills, expected, fresh=False) == 3


@pytest.mark.slow
def test_twenty_kills_at_random_moments(damaged_source, unbroken, tmp_path):
    expected, _, seconds = unbroken
    moments = np.random.default_rng().uniform(0, seconds, 20)
    print("moments of the kills, seconds:", np.round(moments, 4).tolist())
    hit = survive(damaged_source, tmp_path / "place", [f"{m:.4f}" for m in moments], expected, fresh=True)
    print(f"{hit} of 20 kills hit a run that was not done yet")
    assert hit >= 10, "most kills came when the run was done already"


@pytest.mark.slow
def test_a_kill_at_every_step_of_the_file_system(damaged_source, unbroken, tmp_path):
    expected, count, _ = unbroken
    kills = [f"#{n}" for n in range(1, count + 1)]
    # One after the other, each killing the run that would have cleaned up after the one before.
    assert survive(damaged_source, tmp_path / "place", kills, expected, fresh=False) > 0.8 * count
    assert (
        survive(damaged_source, tmp_path / "place", kills[:: max(1, count // 20)], expected, fresh=True) > 10
    )


@pytest.mark.slow
def test_a_killed_overwrite_has_the_old_output_or_the_new_one(damaged_source, unbroken, tmp_path):
    expected, count, _ = unbroken
    out = tmp_path / "place" / "out"
    kills = [f"#{n}" for n in range(count - 4, count + 12, 3)]
    first, *killed, last = (
        code for code, _, _ in drive(damaged_source, out, ["none", *kills, "none"], overwrite=True)
    )
    assert first == last == 0 and set(killed) <= {-signal.SIGKILL, 0} and -signal.SIGKILL in killed
    assert content(out) == expected
    assert os.listdir(out.parent) == ["out"]
