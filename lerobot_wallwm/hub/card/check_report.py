# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`check.json`, what `wallwm check` measured: its one schema, for the check that writes it and the card that reads it.

Read strictly: a number of the wrong kind is no number, and a name that is not in the schema is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from lerobot_wallwm.hub.files.safe_files import check_name, read_object

FILE, FORMAT = "check.json", "wallwm-check/1"
_PNG = b"\x89PNG\r\n\x1a\n"
# Our choice: a card is read in a browser.
MAX_FIGURE_BYTES = 5_000_000

Count = Annotated[int, Field(ge=0)]
Number = float | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Policy(_Part):
    """The checkpoint that was measured: its path as the user gave it, and the sum of its weights."""

    path: str | None = None
    sha256: str | None = None


class Dataset(_Part):
    """The held-out data, named as the user did; ``events`` is None where it was not carved."""

    repo_id: str | None = None
    root: str | None = None
    episodes: Count | None = None
    events: Count | None = None
    frames: Count | None = None


class Machine(_Part):
    """Where it was measured; ``gpu`` is None where there is none."""

    cpu: str | None = None
    cores: Count | None = None
    gpu: str | None = None
    torch: str | None = None
    lerobot: str | None = None
    device: str | None = None
    python: str | None = None


class Errors(_Part):
    """Mean absolute error just after the keyframe, and over the whole event."""

    near: float | None = None
    event: float | None = None


class KindErrors(Errors):
    """Errors in one kind of event, those of holding the pose, and from how many observations."""

    hold_near: float | None = None
    hold_event: float | None = None
    observations: Count | None = None


class NearContact(_Part):
    """Error close to grasps or to releases, that of holding the pose, and from how many steps."""

    error: float | None = None
    hold: float | None = None
    steps: Count | None = None


class OpenLoop(_Part):
    """Predicted against recorded actions; ``unit`` is that of errors over joints, ``joint_unit`` that of one joint."""

    events: Count | None = None
    observations: Count | None = None
    unit: str | None = None
    joint_unit: str | None = None
    error: Errors | None = None
    # 95 % over episodes; None where there is but one episode.
    intervals: dict[Literal["near", "event"], tuple[float, float] | None] | None = None
    baselines: dict[str, Errors] = {}
    by_joint: dict[str, float] = {}
    by_event: dict[str, KindErrors] = {}
    critical: dict[Literal["grasp", "release"], NearContact] = {}


class Sight(_Part):
    """Error at the end of events whose ends only pictures tell, mean absolute over the arm's joints, by what was exchanged.

    ``events`` counts them by kind; ``times`` is the error as a multiple of that without an exchange, and ``by_event`` the
    error by exchange and kind of event.
    """

    observations: Count | None = None
    events: dict[str, Count] = {}
    error: dict[str, float | None] = {}
    times: dict[str, float | None] = {}
    by_event: dict[str, dict[str, float | None]] = {}


class Latency(_Part):
    """Of one event, in milliseconds."""

    median: float | None = None
    p99: float | None = None
    n: Count | None = None


class Verdict(_Part):
    """Whether the arm should be switched on, in the checker's view."""

    switch_on: bool | None = None
    level: Literal["yes", "care", "no"] | None = None
    reasons: list[str] = []


class CheckReport(_Part):
    """A whole `check.json`; absent parts were not measured.

    Attributes:
        figures: Names of the PNG files beside it.
        details: What the rules saw beyond the fixed part, for people.
    """

    format: Literal["wallwm-check/1"]
    policy: Policy = Policy()
    dataset: Dataset | None = None
    command: str | None = None
    machine: Machine | None = None
    open_loop: OpenLoop | None = None
    video: dict[Literal["psnr", "repeat_keyframe_psnr"], Number] | None = None  # of imagined frames, dB
    # Change of the actions when one input is exchanged.
    sensitivity: (
        dict[Literal["other_images", "other_caption", "other_noise", "other_state"], Number] | None
    ) = None
    sight: Sight | None = None
    remaining: dict[Literal["error_frames"], Number] | None = (
        None  # mean error of the predicted end of the event
    )
    latency_ms: dict[str, Latency] = {}
    verdict: Verdict | None = None
    figures: list[str] = []
    details: dict[str, JsonValue] = {}


def write_check(file: Path, content: Mapping[str, Any]) -> CheckReport:
    """Writes a `check.json`.

    Args:
        file: Where to.
        content: What `CheckReport` holds, as plain values. Floats are rounded to six digits, more than any figure here
            deserves; what is not finite becomes null.

    Raises:
        ValidationError: A name or a type that is not in the schema.
    """
    rounded = json.loads(
        json.dumps(content),
        parse_float=lambda text: float(f"{float(text):.6g}"),
        parse_constant=lambda name: None,
    )
    report = CheckReport.model_validate_json(json.dumps(rounded))
    file.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return report


def read_check(folder: Path, weights_sha256: str) -> tuple[CheckReport, list[Path]]:
    """Reads a folder that `wallwm check` wrote.

    Args:
        folder: With `check.json` and its figures.
        weights_sha256: Of the `model.safetensors` that is about to be published.

    Returns:
        The report, and its figures.

    Raises:
        ValueError: No report, wrong types, another checkpoint's, or a figure that is no PNG in that folder.
    """
    file = folder / FILE if folder.is_dir() else folder
    again = "run `wallwm check` on this checkpoint again"
    raw = read_object(file)
    try:
        # From JSON text and not from Python values, so that strict mode takes lists for lists.
        report = CheckReport.model_validate_json(json.dumps(raw, allow_nan=True))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5])
        raise ValueError(f"{file}: {found}. Fix: {again}") from None
    if report.policy.sha256 != weights_sha256:
        raise ValueError(
            f"{file}: policy.sha256 is {report.policy.sha256}, but model.safetensors has {weights_sha256}: these are "
            f"figures of another checkpoint. Fix: {again}"
        )
    return report, [_figure(file.parent, name) for name in report.figures]


def _figure(folder: Path, name: str) -> Path:
    check_name(name)
    path = folder / name
    fix = "run `wallwm check` again, or take the figure out of check.json"
    if not name.endswith(".png") or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path}: the figure is no PNG file of this folder. Fix: {fix}")
    with path.open("rb") as stream:
        if stream.read(8) != _PNG:
            raise ValueError(f"{path}: is no PNG picture. Fix: {fix}")
    if path.stat().st_size > MAX_FIGURE_BYTES:
        raise ValueError(f"{path}: has more than {MAX_FIGURE_BYTES} bytes. Fix: make the figure smaller")
    return path
