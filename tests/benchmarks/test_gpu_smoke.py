# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The script for whoever has a GPU, on its CPU path."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


def test_the_gpu_smoke_test_runs_on_a_cpu_and_leaves_one_json_and_one_page(tmp_path):
    pytest.importorskip("peft", reason="needs the `lora` extra")
    done = subprocess.run(
        [REPO / "scripts/gpu_smoke.sh", "--device=cpu", "--tiny", f"--out={tmp_path}"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["finished"] and record["machine"]["torch"]
    assert {row["what"]: row["result"] for row in record["rows"] if row["result"] != "works"} == {}
    asked = " ".join(row["what"] for row in record["rows"])
    for word in ("float32, packed", "bfloat16, padded", "Muon", "compile", "LoRA", "200 M", "anchor", "full"):
        assert word in asked
    page = (tmp_path / "page.md").read_text()
    assert "| what | result |" in page and "counted MB" in page
