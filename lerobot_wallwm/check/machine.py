# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a check ran on, so that its times mean something elsewhere."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from lerobot_wallwm.policies.background import cores


def load_of_machine() -> tuple[float, int] | None:
    """Mean number of running processes over the last minute, and the cores; None where the system does not tell."""
    return (os.getloadavg()[0], cores()) if hasattr(os, "getloadavg") else None


def machine_facts(device: str) -> dict[str, Any]:
    """``cpu, cores, gpu, torch, lerobot, device, python``; ``gpu`` is None where there is none.

    Args:
        device: Where the policy computes.
    """
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "lerobot": importlib.metadata.version("lerobot"),
        "device": device,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
