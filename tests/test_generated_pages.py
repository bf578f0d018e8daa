# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pages of the documentation that are made from the source: they are complete and up to date."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from lerobot.configs import PreTrainedConfig

from lerobot_wallwm import WallwmConfig

REPO = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "page"),
    [
        ("options.py", "docs/train/options.md"),
        ("troubleshooting.py", "docs/start/troubleshooting.md"),
        ("commands.py", "docs/start/commands.md"),
    ],
)
def test_a_page_is_what_its_script_writes(tmp_path, script, page):
    fresh = tmp_path / "page.md"
    subprocess.run([sys.executable, str(REPO / "scripts" / script), str(fresh)], check=True, cwd=tmp_path)
    stale = fresh.read_text() != (REPO / page).read_text()
    assert not stale, f"{page} is stale: run make docs"


def test_a_person_sets_few_options_and_each_has_its_reason():
    own = {f.name for f in dataclasses.fields(WallwmConfig)} - {
        f.name for f in dataclasses.fields(PreTrainedConfig)
    }
    page = (REPO / "docs/train/options.md").read_text()
    assert len(own) <= 60 + 5 + 2  # those of the language half, the recipe, and retries
    rows = {
        line.split("`")[1]: line.split("|")[3].strip() for line in page.splitlines() if line.startswith("| `")
    }
    assert rows.keys() == own and all(len(reason) > 10 for reason in rows.values())


def test_every_error_that_names_a_fix_is_in_troubleshooting():
    """Counted apart from the page's own script: ``Fix:`` in texts, and errors that take the fix as an argument."""
    page = (REPO / "docs/start/troubleshooting.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| it says")]
    said = raised = 0
    for path in (REPO / "lerobot_wallwm").rglob("*.py"):
        source = path.read_text()
        said += source.count("Fix: ")
        raised += sum(
            source.count(f"{name}(") for name in ("DataError", "UnsafeCheckpointError", "WeightsError")
        )
    assert raised > 50 and said > 50
    assert len(rows) > 0.85 * (
        said + raised
    )  # some say the same, and the count takes classes and docstrings too
