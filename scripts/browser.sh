#!/bin/sh
# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
# usage: browser.sh
# Checks that a Chromium is there for the tests of the inspect page. Installs Debian's where it may (root, apt-get); otherwise prints the one command.
# Always exits 0: only those tests need it, and skip without.
set -u
export DEBIAN_FRONTEND=noninteractive
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium for the tests of the inspect page"
    if { apt-get install -y -qq --no-install-recommends chromium || {
        apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }; } >/dev/null 2>&1 </dev/null; then
        exit 0
    fi
fi
echo "note: the tests of the inspect page need a browser: sudo apt-get install -y chromium" >&2
exit 0
