# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint's README.md: only what its files and measurements say, and plainly what nobody measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lerobot_wallwm import __version__
from lerobot_wallwm.hub.card.check_report import CheckReport
from lerobot_wallwm.hub.card.evaluations import Evaluation
from lerobot_wallwm.hub.card.measurements import held_out, latency, sensitivity, success, verdict
from lerobot_wallwm.hub.card.text import code_block, facts, section, shown
from lerobot_wallwm.hub.card.training_command import training_command
from lerobot_wallwm.hub.card.view_facts import ViewFacts
from lerobot_wallwm.hub.files.backbones import BACKBONES
from lerobot_wallwm.hub.files.safe_files import is_repo_id
from lerobot_wallwm.language.event_grammar import END
from lerobot_wallwm.language.markdown import table

# Our choice: a grammar of a large dataset is in config.json, and the card shows its beginning.
_TEMPLATES = 40


@dataclass(frozen=True)
class WeightsFacts:
    """The published weights.

    Attributes:
        parameters: Numbers in the whole `model.safetensors`.
        size: Its bytes.
        sha256: Its sum.
    """

    parameters: int
    size: int
    sha256: str


@dataclass(frozen=True)
class CardFacts:
    """All that a card is made from.

    Attributes:
        repo_id: Where it is published, or None.
        config: `config.json`, portable.
        train: `train_config.json`, portable, or None.
        weights: See `WeightsFacts`; None while they are not written yet.
        view: The training data, or None.
        check: Report of `wallwm check`, or None.
        evaluations: Of `lerobot-eval`.
        figures: Paths in the repository.
        license: What the publisher states, or None.
        data: `repo_id`, episodes and frames as LeRobot knows them, where there is no view.
    """

    repo_id: str | None
    config: Mapping[str, Any]
    train: Mapping[str, Any] | None = None
    weights: WeightsFacts | None = None
    view: ViewFacts | None = None
    check: CheckReport | None = None
    evaluations: Sequence[Evaluation] = ()
    figures: Sequence[str] = ()
    license: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def model_card(facts_: CardFacts) -> str:
    """The card's text, front matter first."""
    f = facts_
    title = shown(f.repo_id.split("/")[-1] if f.repo_id else "WALL-WM checkpoint")
    command = f"lerobot-rollout --policy.path={f.repo_id or '<this repository>'} ..."
    lines = [
        "---",
        _front_matter(f),
        "---",
        "",
        f"# {title}",
        "",
        "A WALL-WM policy (an event-grounded world action model) for [LeRobot](https://github.com/huggingface/lerobot), "
        f"trained and published with `lerobot_policy_wallwm` {__version__}. Everything below was counted or measured; "
        "what was not is called so.",
        "",
        "It runs where that plugin is installed beside LeRobot:",
        "",
        *code_block(command),
        *section("Intended arms", _arms(f)),
        *section("Data", _data(f)),
        *section("Events", _events(f)),
        *section("Training", _training(f)),
        *held_out(f.check),
        *success(f.evaluations),
        *sensitivity(f.check),
        *latency(f.check),
        *verdict(f.check),
        *(section("Figures", _figures(f)) if f.figures else []),
        *section("Files", _files(f)),
        *section("Licences", _licences(f)),
        *section("Limits", _limits(f)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _front_matter(f: CardFacts) -> str:
    from huggingface_hub import ModelCardData

    backbone, start = f.config.get("backbone"), f.config.get("pretrained_path")
    base = [BACKBONES[backbone].repo_id] if backbone in BACKBONES else []
    if isinstance(start, str) and is_repo_id(start) and start != f.repo_id:
        base.append(start)
    dataset = _dataset_name(f)
    tags = [tag for tag in (f.config.get("tags") or []) if isinstance(tag, str)]
    data = ModelCardData(
        license=f.license,
        library_name="lerobot",
        pipeline_tag="robotics",
        tags=list(dict.fromkeys(["robotics", "lerobot", "wallwm", "world-model", *tags])),
        datasets=[dataset] if dataset and is_repo_id(dataset) and not _only_local(dataset) else None,
        base_model=base or None,
    )
    return data.to_yaml().strip()


def _dataset_name(f: CardFacts) -> str | None:
    data = (f.train or {}).get("dataset")
    name = data.get("repo_id") if isinstance(data, Mapping) else None
    return name if isinstance(name, str) else f.data.get("repo_id")


def _only_local(dataset: str) -> bool:
    """Whether a name is a placeholder such as ``local/cups``, which a link must not be made of. Our convention, and LeRobot users'."""
    return dataset.split("/")[0] == "local"


def _names(f: CardFacts, key: str) -> str:
    names = f.config.get(key)
    return ", ".join(shown(name) for name in names) if isinstance(names, list) and names else "not stated"


def _cameras(f: CardFacts) -> str:
    features = f.config.get("input_features") or {}
    images = [
        f"{shown(key)} ({' x '.join(map(str, value.get('shape', ())))})"
        for key, value in features.items()
        if isinstance(value, Mapping) and value.get("type") == "VISUAL"
    ]
    return ", ".join(images) or "none"


def _arms(f: CardFacts) -> list[str]:
    robot = (f.view.robot if f.view else None) or f.data.get("robot_type")
    fps = f.config.get("fps")
    rows = {
        "robot of the training data": shown(robot) if robot else "not stated",
        "actions, in this order": _names(f, "action_feature_names"),
        "state, in this order": _names(f, "state_feature_names"),
        "cameras (channels x height x width)": _cameras(f),
        "rate": f"{fps:g} Hz" if isinstance(fps, int | float) else "not stated",
    }
    note = "Any other arm, joint order, camera or place of a camera was not measured."
    return [*facts(rows), note, ""]


def _data(f: CardFacts) -> list[str]:
    name = _dataset_name(f)
    rows = {"dataset": "not stated"}
    if name:
        rows["dataset"] = shown(name) + (" (on the trainer's computer only)" if _only_local(name) else "")
    if f.view is None:
        for key in ("episodes", "frames"):
            rows[key] = str(f.data[key]) if key in f.data else "not stated"
        return facts(rows)
    v = f.view
    rows |= {
        "carved from": shown(v.source) + (f", {shown(v.split)} split" if v.split else ""),
        "demonstrations": str(v.source_episodes),
        "events": f"{v.events} ({shown(v.level)}), written as {v.copies} episodes",
        "frames": f"{v.frames} at {v.fps:g} Hz",
        "captions": f"{v.captions} different ones",
        "licence of the data": shown(v.license) if v.license else "not stated",
    }
    head = ["event", "events", "copies", "median s", "shortest s", "longest s"]
    counts = [
        [shown(e.label), e.events, e.copies, f"{e.median:.2f}", f"{e.shortest:.2f}", f"{e.longest:.2f}"]
        for e in v.labels
    ]
    return [*facts(rows), *table(head, counts), ""]


def _events(f: CardFacts) -> list[str]:
    """The grammar that the policy learned, from its configuration."""
    longest, fps = f.config.get("event_max_frames") or {}, f.config.get("fps")
    follow = f.config.get("event_transitions") or {}
    if not longest:
        return ["The checkpoint holds no event grammar: it was not trained on a carved dataset.", ""]
    rows = []
    for template, frames in list(longest.items())[:_TEMPLATES]:
        after = sorted((follow.get(template) or {}).items(), key=lambda item: (-item[1], item[0]))[:3]
        then = "; ".join(f"{_next(name)} ({count})" for name, count in after) or "-"
        seconds = f"{frames / fps:.2f}" if fps else "-"
        rows.append([shown(template, 80), seconds, then])
    more = len(longest) - len(rows)
    lines = [
        f"Kinds of events: {len(longest)}. How they follow each other in the training data (`event_transitions` in "
        "config.json has all counts):",
        "",
        *table(["event", "longest s", "then (times seen)"], rows),
        "",
    ]
    return lines + ([f"and {more} more.", ""] if more else [])


def _next(template: str) -> str:
    return "the end" if template == END else shown(template, 60)


def _training(f: CardFacts) -> list[str]:
    rows = {key: shown(f.config[key]) for key in ("backbone", "stage") if f.config.get(key)}
    start, nano = f.config.get("pretrained_path"), f.config.get("backbone") == "nano"
    rows["started from"] = shown(start) if start else "random weights" if nano else "its backbone"
    if f.train is None:
        return [*facts(rows), "The command was not recorded: there is no train_config.json.", ""]
    rows |= {key.replace("_", " "): shown(f.train.get(key)) for key in ("steps", "batch_size", "seed")}
    intro = "The command, as LeRobot recorded it, without folders and without flags at their defaults:"
    return [*facts(rows), intro, "", *code_block(*training_command(f.train))]


# What `wallwm check` draws, by how its files' names begin.
_FIGURES = (
    (
        "actions",
        "Actions of a held-out episode: recorded, and what the policy would have done from each look",
    ),
    ("errors by joint", "Mean absolute error of each joint"),
    ("errors by event", "Mean absolute error in each kind of event (how many)"),
    ("errors", "Mean absolute error, beside that of simple predictions"),
    ("sensitivity", "How far the actions move when one input is exchanged for another episode's"),
    ("video", "Held-out event: recorded above, imagined below"),
    ("remaining", "Frames to the event's end, predicted over recorded"),
    ("latency", "Time of a look and of a tick"),
    ("ranges action", "Actions in the training data and in the held-out data"),
    ("ranges state", "States in the training data and in the held-out data"),
)


def _figures(f: CardFacts) -> list[str]:
    lines = ["Written by `wallwm check`.", ""]
    for path in f.figures:
        name = path.rsplit("/", 1)[-1].removesuffix(".png").replace("_", " ")
        what = next((said for word, said in _FIGURES if name.startswith(word)), shown(name))
        lines += [f"**{what}**", "", f"![{shown(name)}]({path})", ""]
    return lines


def _files(f: CardFacts) -> list[str]:
    w = f.weights
    if w is None:
        return ["Weights in safetensors, settings in JSON; no pickles.", ""]
    rows = {
        "parameters and buffers": f"{w.parameters:,}",
        "model.safetensors": f"{w.size:,} bytes, sha256 `{w.sha256}`",
    }
    return [*facts(rows), "Weights in safetensors, settings in JSON; no pickles.", ""]


def _licences(f: CardFacts) -> list[str]:
    rows = [
        [
            "this checkpoint",
            shown(f.license) if f.license else "not stated; ask its author before you use it",
        ],
        ["the data", shown(f.view.license) if f.view and f.view.license else "not stated"],
        ["lerobot\\_policy\\_wallwm, LeRobot", "Apache-2.0"],
    ]
    backbone = f.config.get("backbone")
    if backbone in BACKBONES:
        name = BACKBONES[backbone].repo_id
        pinned = f.config.get("backbone_revision")
        at = f" at `{pinned}`" if isinstance(pinned, str) and pinned.isalnum() else ""
        rows.append(
            [
                f"{name}{at}",
                "Apache-2.0, as published by Wan-AI; its VAE and umT5 are not part of this repository",
            ]
        )
    return [*table(["", ""], rows), ""]


def _limits(f: CardFacts) -> list[str]:
    c = f.config
    lines = [
        "* The figures hold for the data, arm, cameras and machine named above, and for no others.",
        "* Held-out data resembles the training data; errors in open loop do not say whether a task succeeds.",
    ]
    if c.get("stage") == "video":
        lines.append("* This is a checkpoint of stage `video`: it imagines, and refuses to act.")
    if c.get("backbone") == "nano":
        lines.append(
            "* `nano` learned its words from these captions and knows no others, and its imagined video is small and blurred."
        )
    if not f.evaluations:
        lines.append("* Success in closed loop was not measured, neither in simulation nor on an arm.")
    else:
        lines.append(
            "* Whether the evaluations ran on an arm or in simulation is theirs to say; see their names."
        )
    if f.check is None:
        lines.append("* Held-out errors, sensitivity and latency were not measured.")
    lines.append(
        "* Before it moves an arm, run `wallwm check` on your own recordings and stay at the power switch."
    )
    return [*lines, ""]
