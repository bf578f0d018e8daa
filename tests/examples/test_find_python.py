# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The script that finds a Python for `make install`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/find_python.sh"


def fake(folder, name, body):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def find(path, home, **variables):
    shell = shutil.which("sh")
    environment = {"PATH": str(path), "HOME": str(home), **variables}
    return subprocess.run([shell, str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folders(tmp_path):
    path, home = tmp_path / "bin", tmp_path / "home"
    path.mkdir()
    home.mkdir()
    return path, home


def test_without_any_python_it_says_what_is_missing(folders):
    result = find(*folders)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "no Python >= 3.12" in result.stderr
    assert "apt-get install python3.12" in result.stderr


def test_old_python_is_refused_and_named(folders):
    # Fails the version check, and answers 3.9 when asked.
    fake(folders[0], "python3", 'case "$2" in *ensurepip*) exit 1;; *) echo 3.9;; esac')
    result = find(*folders)
    assert result.returncode == 1
    assert "python3(3.9)" in result.stderr


def test_broken_shim_is_passed_over(folders):
    fake(folders[0], "python3.12", "exit 127")
    (folders[0] / "python3").symlink_to(sys.executable)
    result = find(*folders)
    assert result.returncode == 0
    assert os.access(result.stdout.strip(), os.X_OK)


def test_python_variable_comes_first_and_pyenv_versions_are_found(folders):
    path, home = folders
    bin_folder = home / ".pyenv/versions/3.13.1/bin"
    bin_folder.mkdir(parents=True)
    fake(bin_folder, "python", 'case "$2" in *executable*) echo from-pyenv;; esac')
    assert find(path, home).stdout.strip() == "from-pyenv"
    mine = fake(home, "mine", 'case "$2" in *executable*) echo mine;; esac')
    assert find(path, home, PYTHON=str(mine)).stdout.strip() == "mine"


def test_uv_is_asked_last(folders):
    path, home = folders
    found = fake(home, "uvpython", 'case "$2" in *executable*) echo from-uv;; esac')
    fake(path, "uv", f'[ "$1 $2" = "python find" ] && echo {found}')
    assert find(path, home).stdout.strip() == "from-uv"
