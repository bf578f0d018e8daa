#!/bin/sh
# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
# usage: rendering_libraries.sh <python>
# Checks that MuJoCo can render off screen. Installs the libraries where it may (root, apt-get); otherwise prints the
# one command. Always exits 0: only the simulated rollouts need to render, and the rest of the demo goes on without.
set -u
python=$1
packages="libosmesa6 libegl1 libegl-mesa0 libgl1-mesa-dri"
sudo=""
export DEBIAN_FRONTEND=noninteractive

works() {
    "$python" -c 'from lerobot_env_so101_sim.rendering import choose_backend; choose_backend()' >/dev/null 2>&1
}

if works; then exit 0; fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing rendering libraries: $packages"
    # shellcheck disable=SC2086
    if { apt-get install -y -qq $packages || { apt-get update -qq && apt-get install -y -qq $packages; }; } \
        >/dev/null 2>&1 </dev/null && works; then
        exit 0
    fi
else
    sudo="sudo "
fi
echo "warning: MuJoCo cannot render off screen here; simulated rollouts will be skipped." >&2
echo "  Fix: ${sudo}apt-get install -y $packages" >&2
exit 0
