#!/bin/sh
# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
# Prints the path of a Python >= 3.12 that can make virtual environments, or says what is missing and exits 1.
# PYTHON=/path/to/python is tried first. 3.12 goes before newer ones because LeRobot 0.6.1 is tested on it and the
# versions of numpy that it allows have no wheels for 3.14.
set -u

fits() {
    command -v "$1" >/dev/null 2>&1 || return 1
    # A pyenv shim exists for versions that are not selected, and fails when run: so run it.
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] < (3, 12))' >/dev/null 2>&1
}

report() {
    "$1" -c 'import sys; print(sys.executable)'
    exit 0
}

tried=""
old=""
try() {
    tried="$tried $1"
    if fits "$1"; then report "$1"; fi
    if command -v "$1" >/dev/null 2>&1; then
        version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=""
        # No version: a shim that does not run. A new enough one that did not fit lacks venv or ensurepip.
        if [ -n "$version" ]; then old="$old $1($version)"; fi
    fi
}

if [ -n "${PYTHON:-}" ]; then try "$PYTHON"; fi
for name in python3.12 python3.13 python3.14 python3 python; do try "$name"; done

pyenv_root=${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}
for minor in 12 13 14; do
    for candidate in "$pyenv_root"/versions/3.$minor*/bin/python; do
        if [ -x "$candidate" ]; then try "$candidate"; fi
    done
done

if command -v uv >/dev/null 2>&1; then
    tried="$tried uv"
    found=$(uv python find '>=3.12' 2>/dev/null) || found=""
    if [ -z "$found" ] && uv python install 3.12 >&2; then
        found=$(uv python find 3.12 2>/dev/null) || found=""
    fi
    if [ -n "$found" ]; then try "$found"; fi
fi

{
    echo "error: no Python >= 3.12 with venv and ensurepip was found."
    echo "  tried:$tried"
    if [ -n "$old" ]; then echo "  too old, or without venv/ensurepip:$old"; fi
    echo "  Fix, one of:"
    echo "    apt-get install python3.12 python3.12-venv     (Debian, Ubuntu; or python3.13)"
    echo "    pyenv install 3.12"
    echo "    uv python install 3.12"
    echo "    make PYTHON=/path/to/python3.12 ..."
} >&2
exit 1
