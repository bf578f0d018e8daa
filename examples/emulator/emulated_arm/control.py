# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Commands to a running emulator: one line in, one line of JSON out, over a socket in its folder or over its stdin."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from emulated_arm.arm import EmulatedArm
from emulated_arm.camera_server import connect, listen
from emulated_arm.faults import Fault
from emulated_arm.hand import along, led_in, read_actions, through_ranges, to_middle, to_posture
from emulated_arm.shared import folder_of

HELP = {
    "status": "joints, counts, and what the simulated world says",
    "hand middle [SECONDS]": "move the limp joints to the middle of their ranges",
    "hand ranges [SECONDS]": "move them from stop to stop and back to the middle; seconds for each way",
    "hand move JOINT=VALUE ... [SECONDS]": "move some of them, in LeRobot's units",
    "hand play DATASET[:EPISODES] [loop]": "bring them to the start of recorded actions, and along these",
    "hand wait": "answer when the hand has come to its end",
    "hand release": "take the hand away",
    "fault KIND [KEY=VALUE ...]": "inject a fault; keys: at after seconds count ids camera ms bits",
    "faults clear": "end all faults and forget those to come",
    "connect all | connect JOINT": "plug in all servos, or one only, as for lerobot-setup-motors",
    "power cycle": "switch the servos off and on: what was not saved is lost",
    "reset SEED": "set the simulated world up anew (mujoco)",
    "flush": "bring the journal to its file; says whether faults are active or to come, and how many there were",
    "quit": "end the emulator",
}


class Console:
    """Carries out commands.

    Args:
        arm: The arm.
        reset: Sets the world up anew for a seed; raises ValueError where there is none.
        world: What the world says of itself, for ``status``.
        quit_: Ends the emulator.
    """

    def __init__(
        self,
        arm: EmulatedArm,
        reset: Callable[[int], None],
        world: Callable[[], dict],
        quit_: Callable[[], None],
    ) -> None:
        self._arm, self._reset, self._world, self._quit = arm, reset, world, quit_

    def execute(self, line: str) -> dict:
        """Carries out a line; a line that makes no sense gives ``{"error": ...}``."""
        try:
            words = shlex.split(line)
            if not words:
                return {}
            handler = getattr(self, f"_do_{words[0]}", None)
            if handler is None:
                raise ValueError(f"unknown command {words[0]!r}; known: {'; '.join(HELP)}")
            return {"ok": True, **(handler(words[1:]) or {})}
        except (ValueError, TypeError, KeyError, IndexError, TimeoutError, OSError) as error:
            return {"error": str(error) or type(error).__name__}

    def _do_help(self, words: list[str]) -> dict:
        return {"commands": HELP}

    def _do_status(self, words: list[str]) -> dict:
        return {**self._arm.status(), "world": self._world()}

    def _do_hand(self, words: list[str]) -> dict | None:
        arm, what, rest = self._arm, words[0], words[1:]
        now = [servo.shaft for servo in arm.servos]
        if what == "release":
            arm.release()
        elif what == "wait":
            limit = time.monotonic() + (float(rest[0]) if rest else 60.0)
            while arm.hand_busy:
                if time.monotonic() > limit:
                    raise TimeoutError("the hand is still moving")
                time.sleep(0.01)
        elif what in ("middle", "ranges"):
            way = to_middle if what == "middle" else through_ranges
            arm.play(way(arm.kind, arm.travels, now, float(rest[0]) if rest else 1.0))
        elif what == "move":
            seconds = float(rest[-1]) if "=" not in rest[-1] else 1.0
            names = [joint.name for joint in arm.kind.joints]
            posture = {}
            for word in (w for w in rest if "=" in w):
                name, _, value = word.partition("=")
                if name not in names:
                    raise ValueError(f"there is no joint {name!r}; there are {', '.join(names)}")
                posture[names.index(name)] = arm.travels[names.index(name)].to_shaft(float(value))
            arm.play(to_posture(posture, now, seconds))
        elif what == "play":
            rows, fps = read_actions(rest[0], arm.kind)
            motion = along(rows, fps, arm.travels, loops="loop" in rest[1:])
            arm.play(motion if motion.loops else led_in(motion, now))
            return {"rows": len(rows), "fps": fps}
        else:
            raise ValueError(f"hand {what}? known: middle, ranges, move, play, wait, release")
        return None

    def _do_fault(self, words: list[str]) -> dict:
        settings: dict = {}
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key == "ids":
                settings[key] = tuple(int(i) for i in value.split(","))
            elif key in ("after", "count", "bits"):
                settings[key] = int(value)
            else:
                settings[key] = value if key == "camera" else float(value)
        fault = Fault(words[0], **settings)
        with self._arm.lock:
            self._arm.faults.add(fault, self._arm.seconds)
            self._arm.tick()
        return {"fault": fault.describe()}

    def _do_faults(self, words: list[str]) -> None:
        if words != ["clear"]:
            raise ValueError("faults clear")
        with self._arm.lock:
            self._arm.faults.clear()
            self._arm.mark_faults()

    def _do_connect(self, words: list[str]) -> None:
        names = [joint.name for joint in self._arm.kind.joints]
        if words[0] != "all" and words[0] not in names:
            raise ValueError(f"there is no joint {words[0]!r}; there are {', '.join(names)}")
        with self._arm.lock:
            for name, servo in zip(names, self._arm.servos, strict=True):
                servo.connected = words[0] in ("all", name)

    def _do_power(self, words: list[str]) -> None:
        if words != ["cycle"]:
            raise ValueError("power cycle")
        with self._arm.lock:
            for servo in self._arm.servos:
                servo.power_cycle()

    def _do_reset(self, words: list[str]) -> None:
        self._reset(int(words[0]))

    def _do_flush(self, words: list[str]) -> dict:
        faults = self._arm.faults
        self._arm.journal.flush(force=True)
        return {"faults_busy": faults.busy, "injected": sum(faults.injected.values())}

    def _do_quit(self, words: list[str]) -> None:
        self._quit()


class ControlServer(threading.Thread):
    """Listens on the socket ``control`` in a folder; each connection has its own thread."""

    def __init__(self, folder: Path, console: Console) -> None:
        super().__init__(name="control", daemon=True)
        self._console = console
        self._listener = listen(folder, "control")

    def run(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        with (
            link,
            contextlib.suppress(OSError),
            link.makefile("r", encoding="utf-8", errors="replace") as lines,
        ):
            for line in lines:
                link.sendall(json.dumps(self._console.execute(line)).encode() + b"\n")

    def close(self) -> None:
        """Stops listening."""
        self._listener.close()


class Remote:
    """Talks to a running emulator.

    Args:
        port: The emulator's ``--port``.

    Raises:
        ConnectionError: No emulator runs there.
    """

    def __init__(self, port: str | Path) -> None:
        self.port = Path(port)
        try:
            self._link = connect(folder_of(self.port), "control")
        except OSError as error:
            raise ConnectionError(
                f"no emulator runs at {port} ({error}). Fix: start one with `emulated-arm --port={port} --arm=...`."
            ) from error
        self._lines = self._link.makefile("r", encoding="utf-8")

    def ask(self, command: str) -> dict:
        """Sends a command and returns its answer.

        Raises:
            ValueError: The emulator refused it; the message says why.
            ConnectionError: It has gone.
        """
        self._link.sendall(command.replace("\n", " ").encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise ConnectionError(f"the emulator at {self.port} has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def close(self) -> None:
        """Hangs up."""
        self._lines.close()
        self._link.close()
