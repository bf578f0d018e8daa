#!/bin/sh
# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
# usage: rendering_libraries.sh <python>
# Checks that MuJoCo can render off screen and that FFmpeg's libraries are there. Installs the libraries where it may (root, apt-get); otherwise prints the
# one command. Always exits 0: only the simulated rollouts need to render, and the rest of the demo goes on without.
set -u
python=$1
packages="libosmesa6 libegl1 libegl-mesa0 libgl1-mesa-dri"
sudo=""
export DEBIAN_FRONTEND=noninteractive

works() {
    "$python" -c 'from lerobot_env_so101_sim.rendering import choose_backend; choose_backend()' >/dev/null 2>&1
}

decodes() {
    "$python" -c 'from torchcodec.decoders import VideoDecoder' >/dev/null 2>&1
}

# FFmpeg's libraries are no must: without them LeRobot falls back to PyAV, which decodes training windows 2 to 3 times
# slower.
if ! decodes; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing ffmpeg for faster video decoding"
        { apt-get install -y -qq --no-install-recommends ffmpeg || {
            apt-get update -qq && apt-get install -y -qq --no-install-recommends ffmpeg; }; } >/dev/null 2>&1 </dev/null
    fi
    decodes || echo "note: training reads video faster with FFmpeg: sudo apt-get install -y ffmpeg" >&2
fi

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
