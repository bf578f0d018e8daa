# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The command line.

    emulated-arm --arm=so101_follower --port=DIR/follower [--calibration=FILE] [--world=mujoco] [--clock=sim] ...
    emulated-arm send DIR/follower hand middle
    emulated-arm calibration --arm=so101_follower --out=FILE

Each line on its standard input is a command too (``help`` lists them).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from emulated_arm.arms import ARMS, calibration_of, read_calibration, travel_as_built
from emulated_arm.control import Remote
from emulated_arm.emulator import Emulator, Settings
from emulated_arm.faults import read_faults


def parser() -> argparse.ArgumentParser:
    """The parser of the command that runs an arm."""
    run = argparse.ArgumentParser(
        prog="emulated-arm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run.add_argument("--arm", required=True, choices=sorted(ARMS))
    run.add_argument(
        "--port", required=True, type=Path, help="name for the serial port, to be given to LeRobot"
    )
    run.add_argument("--calibration", type=Path, help="LeRobot's JSON; without it the arm is not calibrated")
    run.add_argument("--world", default="first_order", choices=("first_order", "mujoco"))
    run.add_argument("--views", help="the cameras' names, separated by commas (default: wrist,overhead)")
    run.add_argument("--clock", default="real", choices=("real", "sim"))
    run.add_argument(
        "--fps", type=float, help="steps a second of the simulated clock (default 30; mujoco: 20)"
    )
    run.add_argument("--seed", type=int, default=0, help="of the assembly, the faults' noise, and the world")
    run.add_argument("--split", default="seen", help="mujoco: colour pairs, seen, left_out or all")
    run.add_argument(
        "--play", metavar="DATASET[:EPISODES]", help="move the limp joints along recorded actions"
    )
    run.add_argument("--loop", action="store_true", help="play again and again")
    run.add_argument("--faults", type=Path, help="JSON script of faults")
    run.add_argument("--journal", type=Path, help="JSONL of goals and faults (default: in the port's folder)")
    run.add_argument("--fresh", action="store_true", help="servos as shipped: id 1, factory baud rate")
    run.add_argument("--any_baudrate", action="store_true", help="answer at every baud rate")
    return run


def _send(words: list[str]) -> int:
    send = argparse.ArgumentParser(prog="emulated-arm send")
    send.add_argument("port", type=Path)
    send.add_argument("command", nargs=argparse.REMAINDER)
    arguments = send.parse_args(words)
    try:
        remote = Remote(arguments.port)
        print(json.dumps(remote.ask(" ".join(arguments.command)), indent=2))
    except (ConnectionError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _calibration(words: list[str]) -> int:
    write = argparse.ArgumentParser(prog="emulated-arm calibration")
    write.add_argument("--arm", required=True, choices=sorted(ARMS))
    write.add_argument("--out", required=True, type=Path, help="the JSON file to write")
    write.add_argument("--seed", type=int, default=0, help="of the assembly")
    arguments = write.parse_args(words)
    arm = ARMS[arguments.arm]
    calibration = calibration_of(arm, travel_as_built(arm, arguments.seed))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = arguments.out.with_name(f".{arguments.out.name}.partial")
    unfinished.write_text(json.dumps(calibration, indent=4) + "\n", encoding="utf-8")
    unfinished.rename(arguments.out)
    print(arguments.out)
    return 0


def _run(words: list[str]) -> int:
    arguments = parser().parse_args(words)
    arm = ARMS[arguments.arm]
    ended = threading.Event()
    try:
        calibration = read_calibration(arguments.calibration, arm) if arguments.calibration else None
        emulator = Emulator(
            Settings(
                arm=arm,
                port=arguments.port,
                calibration=calibration,
                world=arguments.world,
                views=tuple((arguments.views or "wrist,overhead").split(",")),
                simulated_clock=arguments.clock == "sim",
                fps=arguments.fps,
                seed=arguments.seed,
                split=arguments.split,
                play=arguments.play,
                loop=arguments.loop,
                faults=read_faults(arguments.faults) if arguments.faults else [],
                journal=arguments.journal,
                fresh=arguments.fresh,
                check_baudrate=not arguments.any_baudrate,
            ),
            quit_=ended.set,
        )
    except (OSError, ValueError, RuntimeError) as error:
        print(f"emulated-arm: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=_commands, args=(emulator,), daemon=True).start()
    print(f"ready: {arguments.arm} at {arguments.port} ({emulator.line.device})", flush=True)
    try:
        return emulator.run(ended)
    finally:
        emulator.close()


def _commands(emulator: Emulator) -> None:
    for line in sys.stdin:
        answer = emulator.console.execute(line)
        if answer:
            print(json.dumps(answer), flush=True)


def main() -> None:
    """The command line."""
    words = sys.argv[1:]
    if words and words[0] == "send":
        code = _send(words[1:])
    elif words and words[0] == "calibration":
        code = _calibration(words[1:])
    else:
        code = _run(words)
    sys.stdout.flush()
    # A thread may still sit in a read of the standard input, which a normal exit would wait for.
    os._exit(code)


if __name__ == "__main__":
    main()
