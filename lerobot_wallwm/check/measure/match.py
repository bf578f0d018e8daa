# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Do the data (and the arm that recorded them) match what the checkpoint was trained on: joints, units, cameras, clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.checkpoint import Checkpoint, trained_range
from lerobot_wallwm.check.measure.other_policy import OtherPolicy
from lerobot_wallwm.check.measure.views import HeldOut
from lerobot_wallwm.storage.errors import DataError

# Our choice: a value this part of the range beyond its end is not yet outside; calibrations differ by as much.
EDGE = 0.05
# Our choice: a joint whose range is less than this part of its largest value stands still.
STILL = 1e-3


@dataclass
class JointRange:
    """One joint's values, in the dataset's units."""

    name: str  # for people
    # Lowest and highest of the training data, or None where the checkpoint does not know.
    trained: tuple[float, float] | None
    here: tuple[float, float]  # the same of the data that is checked
    outside: float  # share of the latter that lies outside of the former


@dataclass
class CameraMatch:
    """One camera: its picture (height, width) in training and in the data, None where it is not there."""

    name: str
    trained: tuple[int, int] | None
    here: tuple[int, int] | None


@dataclass
class Match:
    """What agrees and what does not."""

    states: list[JointRange]  # by joint
    actions: list[JointRange]  # by joint
    names: str | None  # what differs about the joints' names or order; None if nothing does
    cameras: list[CameraMatch]  # all of either side
    still: list[str]  # joints that never moved in training
    still_here: list[str]  # joints that moved in training but not in the data
    trained_fps: float | None  # of the training data; None where the checkpoint does not know
    data_fps: float  # of the data
    control_fps: float  # of the arm
    captions: int
    # Captions that are of no kind that the checkpoint was trained on.
    unknown_captions: list[str] = field(default_factory=list)


def require_same_shape(config: Any, heldout: HeldOut, shown: str, rename: dict[str, str]) -> None:
    """Raises DataError for data, which the user named ``shown``, that the checkpoint cannot be run on.

    They have another number of joints, lack a camera, or have other sizes of a camera's pictures where these matter.

    Args:
        config: The checkpoint's configuration.
        heldout: The data.
        shown: Their name.
        rename: What the checkpoint's pipeline calls their features otherwise.
    """
    problems, ours = [], config.type == "wallwm"
    old = {new: name for name, new in rename.items()}
    expected_of = {"observation.state": config.robot_state_feature, "action": config.action_feature}
    for feature, expected in expected_of.items():
        if expected is None:
            continue
        name = old.get(feature, feature)
        if name not in heldout.meta.features:
            problems.append(f"{name} is missing")
            continue
        found = tuple(heldout.meta.features[name]["shape"])
        if tuple(expected.shape) != found:
            problems.append(f"{name} has shape {found}, in training {tuple(expected.shape)}")
    here = _picture_sizes(heldout, rename)
    spare = getattr(config, "allow_missing_cameras", False) or hasattr(config, "empty_cameras")
    for key, feature in config.image_features.items():
        size = tuple(feature.shape[1:])
        if key not in here:
            if not spare:
                called = f" (which the checkpoint renames to {key})" if key in old else ""
                problems.append(
                    f"camera {old.get(key, key)} is missing{called} (there: {', '.join(here) or 'none'})"
                )
        elif ours and here[key] != size:
            problems.append(
                f"camera {key} has {here[key][1]} x {here[key][0]} pixels, in training {size[1]} x {size[0]}"
            )
    if config.image_features and not set(config.image_features) & set(here):
        problems.append("there is no camera that the checkpoint knows")
    if problems:
        raise DataError(
            f"{shown}/meta/info.json",
            "features",
            "not those of the checkpoint: " + "; ".join(problems),
            "check on data of the arm and the cameras that the checkpoint was trained for, or train on these",
        )


def _picture_sizes(heldout: HeldOut, rename: dict[str, str]) -> dict[str, tuple[int, int]]:
    """Height and width of each camera's pictures, by the checkpoint's name for it."""
    sizes = {}
    for key in heldout.meta.camera_keys:
        shape, names = (heldout.meta.features[key][name] for name in ("shape", "names"))
        first = int(names is not None and str(names[0]).startswith("channel"))
        sizes[rename.get(key, key)] = (int(shape[first]), int(shape[first + 1]))
    return sizes


def measure_match(checkpoint: Checkpoint | OtherPolicy, heldout: HeldOut, fps: float) -> Match:
    """Compares configuration and statistics of a checkpoint with the data, and with the arm's control rate in Hz."""
    config = checkpoint.trained
    state_names = [n.removesuffix(".pos").replace("_", " ") for n in heldout.names("observation.state")]
    states = heldout.column("state")
    state_names = state_names or [f"state {d + 1}" for d in range(states.shape[1])]
    trained_action = _of_width(checkpoint.action_range(), len(heldout.joints))
    actions = _ranges(heldout.joints, trained_action, heldout.column("action"))
    rests = [(j.name, j.trained is not None and _rests(*j.trained), _rests(*j.here)) for j in actions]
    here = _picture_sizes(heldout, checkpoint.rename)
    trained = {key: (int(f.shape[1]), int(f.shape[2])) for key, f in config.image_features.items()}
    captions = sorted({event.caption for event in heldout.events})
    trained_state = _of_width(trained_range(checkpoint.preprocess, "observation.state"), states.shape[1])
    learned = getattr(config, "learned", None)
    return Match(
        states=_ranges(state_names, trained_state, states),
        actions=actions,
        names=_difference(config, heldout),
        cameras=[
            CameraMatch(key, trained.get(key), here.get(key)) for key in dict.fromkeys([*trained, *here])
        ],
        still=[name for name, then, _ in rests if then],
        still_here=[name for name, then, now in rests if now and not then],
        trained_fps=None if learned is None else learned.fps,
        data_fps=float(heldout.meta.fps),
        control_fps=fps,
        captions=len(captions),
        unknown_captions=[] if learned is None else _unknown(captions, config),
    )


def _rests(low: float, high: float) -> bool:
    return high - low <= STILL * max(abs(low), abs(high))


def _of_width(values: np.ndarray | None, width: int) -> np.ndarray | None:
    """A range ``(2, D)``; None where it is of another number of dimensions, as some pretrained policies keep it."""
    return None if values is None or values.shape[1] != width or not width else values


def _unknown(captions: list[str], config: Any) -> list[str]:
    """Captions that are of no kind that a wallwm checkpoint was trained on."""
    from lerobot_wallwm.language.event_grammar import is_known
    from lerobot_wallwm.policies.planning.choice import known_templates

    templates = known_templates(config)
    return [caption for caption in captions if not is_known(caption, templates)]


def _ranges(names: list[str], trained: np.ndarray | None, values: np.ndarray) -> list[JointRange]:
    if not names:
        return []
    here = zip(names, values.min(0).tolist(), values.max(0).tolist(), strict=True)
    if trained is None:
        return [JointRange(name, None, (low, high), 0.0) for name, low, high in here]
    low_high = trained.astype(np.float64)
    # A joint that stood still in training has no range: an edge of its own size keeps noise inside.
    edge = np.maximum(EDGE * (low_high[1] - low_high[0]), STILL * np.abs(low_high).max(0))
    outside = ((values < low_high[0] - edge) | (values > low_high[1] + edge)).mean(0).tolist()
    rows = zip(here, low_high[0].tolist(), low_high[1].tolist(), outside, strict=True)
    return [JointRange(name, (a, b), (low, high), share) for (name, low, high), a, b, share in rows]


def _difference(config: Any, heldout: HeldOut) -> str | None:
    learned, actions = getattr(config, "learned", None), getattr(config, "action_feature_names", None)
    known = {"observation.state": learned and learned.state_feature_names, "action": actions}
    for feature, trained in known.items():
        here = heldout.names(feature)
        if not trained or not here or list(trained) == here:
            continue
        what = "come in another order" if sorted(trained) == sorted(here) else "have other names"
        return f"the joints of {feature} {what}: {', '.join(here)}; in training {', '.join(trained)}"
    return None
