# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Stages run once per input; commands are quiet and their failures speak."""

import sys

import pytest
from so101_demo.budget import StepTime, steps_for
from so101_demo.commands import CommandError, run_command, tree_memory_gb
from so101_demo.stages import Stages, fingerprint_path
from so101_demo.training_log import last_step, parse_training_log


class Counter:
    """An action that writes its output and counts its calls."""

    def __init__(self, output):
        self.output, self.calls = output, 0

    def __call__(self):
        self.calls += 1
        self.output.write_text(f"made {self.calls}")
        return {"calls": self.calls}


def run(root, inputs, action, fresh=False, **kwargs):
    stages = Stages(root, fresh=fresh, say=lambda line: None)
    return stages.run("stage", inputs, [action.output], action, **kwargs)


def test_second_run_reuses_and_changed_inputs_redo(tmp_path):
    action = Counter(tmp_path / "output.txt")
    first = run(tmp_path, {"steps": 1}, action)
    again = run(tmp_path, {"steps": 1}, action)
    assert (first.reused, again.reused, action.calls) == (False, True, 1)
    assert again.values == {"calls": 1}
    assert again.fingerprint == first.fingerprint
    changed = run(tmp_path, {"steps": 2}, action)
    assert not changed.reused
    assert action.output.read_text() == "made 2"
    assert changed.fingerprint != first.fingerprint


def test_missing_output_and_fresh_redo(tmp_path):
    action = Counter(tmp_path / "output.txt")
    run(tmp_path, {}, action)
    action.output.unlink()
    assert not run(tmp_path, {}, action).reused
    assert not run(tmp_path, {}, action, fresh=True).reused
    assert action.calls == 3


def test_interrupted_stage_is_not_done_and_only_a_resumable_one_keeps_its_outputs(tmp_path):
    output = tmp_path / "output.txt"
    found = []

    def interrupted():
        output.write_text("half")
        raise KeyboardInterrupt

    def complete():
        found.append(output.exists())
        output.write_text("whole")
        return {}

    for resumable in (False, True):
        stages = Stages(tmp_path, fresh=True, say=lambda line: None)
        with pytest.raises(KeyboardInterrupt):
            stages.run("stage", {"a": 1}, [output], interrupted, resumable=resumable)
        assert not stages.run("stage", {"a": 1}, [output], complete, resumable=resumable).reused
    # On other inputs even a resumable stage starts clean.
    stages.run("stage", {"a": 2}, [output], complete, resumable=True)
    assert found == [False, True, False]


def test_fingerprint_sees_names_and_contents(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.py").write_text("1")
    (folder / "b.log").write_text("1")
    whole, code = fingerprint_path(folder), fingerprint_path(folder, suffixes=(".py",))
    (folder / "b.log").write_text("2")
    assert fingerprint_path(folder) != whole
    assert fingerprint_path(folder, suffixes=(".py",)) == code
    (folder / "a.py").rename(folder / "c.py")
    assert fingerprint_path(folder, suffixes=(".py",)) != code


def test_failed_command_shows_the_end_of_its_log(tmp_path):
    log = tmp_path / "logs/run.log"
    script = "import sys; print('working'); sys.exit('the disc is missing')"
    with pytest.raises(CommandError, match=r"(?s)exited with 1.*the disc is missing") as error:
        run_command([sys.executable, "-c", script], log)
    assert str(log) in str(error.value)
    assert "working" in log.read_text()


def test_missing_command_names_the_fix(tmp_path):
    with pytest.raises(CommandError, match="make install"):
        run_command([str(tmp_path / "lerobot-dance")], tmp_path / "log")


def test_command_measures_memory_of_the_tree_and_appends(tmp_path):
    log = tmp_path / "log"
    child = "import time; block = bytearray(200_000_000); block[::4096] = b'x' * len(block[::4096]); time.sleep(2)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    result = run_command([sys.executable, "-c", parent], log)
    assert 0.2 < result.peak_gb < 1.0
    run_command([sys.executable, "-c", "print('second')"], log, append=True)
    run_command([sys.executable, "-c", "print('third')"], log, append=True)
    assert log.read_text() == "second\nthird\n"


def test_memory_of_a_process_that_is_gone_is_zero():
    assert tree_memory_gb(2**22 + 1) == 0.0


LOG = (
    "INFO 2026-01-01 10:00:00 ot_train.py:655 step:10 smpl:160 ep:5 epch:0.04 loss:1.500 grdn:2.1 lr:1.0e-03 "
    "updt_s:0.40 data_s:0.10 smp/s:32 loss_action:1.2\r\n"
    "Training:  50%|#####     | 10/20 [00:05<00:05,  2.00step/s]\r"
    "INFO 2026-01-01 10:00:05 ot_train.py:655 step:1K smpl:2K ep:9 epch:0.08 loss:0.500 grdn:nan lr:9.0e-04 "
    "updt_s:0.20 data_s:0.00 smp/s:32 loss_action:0.4 loss_video:0.02\n"
)


def test_training_log_gives_curves_and_counts_steps_by_lines():
    log = parse_training_log(LOG, log_freq=10)
    assert log.steps == [10, 20]
    assert log.curves["loss"] == [1.5, 0.5]
    assert log.curves["lr"] == [1e-3, 9e-4]
    assert log.curves["loss_video"][1] == 0.02
    assert log.curves["loss_video"][0] != log.curves["loss_video"][0]  # NaN where the line lacks it
    assert log.mean("updt_s") == pytest.approx(0.2)
    assert parse_training_log(LOG, 10, start_step=100).steps == [110, 120]
    assert last_step(LOG) == "10/20"
    assert last_step("nothing yet") is None


def test_steps_fit_the_time():
    step = StepTime(load=0.5, compute=1.0)
    alone = steps_for(10, step, start_up=30, workers=0)
    helped = steps_for(10, step, start_up=55, workers=1, cores=2)
    assert 0.85 * 570 / 1.5 < alone <= 570 / 1.5
    assert 0.85 * 545 / 1.25 < helped <= 545 / 1.25
    assert alone % 10 == helped % 10 == 0
    assert steps_for(0.1, step, start_up=30, workers=0) == 10
