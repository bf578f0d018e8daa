# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint's README.md: only what its files and measurements say, and plainly what nobody measured.

The words are in `model_card.md`, a Jinja template; here are the facts, and the functions by which text from elsewhere
shows as it is and does nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lerobot_wallwm import __version__
from lerobot_wallwm.hub.card.check_report import CheckReport
from lerobot_wallwm.hub.files.backbones import BACKBONES
from lerobot_wallwm.hub.files.portable import portable_command, without_folders
from lerobot_wallwm.hub.files.safe_files import is_repo_id, read_object
from lerobot_wallwm.hub.files.safe_settings import policy_config
from lerobot_wallwm.language.event_grammar import END
from lerobot_wallwm.language.markdown import differing, plain
from lerobot_wallwm.language.view_facts import ViewFacts

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData

_TEMPLATE = Path(__file__).with_name("model_card.md")
# Our choice: the card shows the beginning of a large dataset's grammar; the checkpoint's files have all of it.
_EVENTS = 40
# What `wallwm check` draws, by how its files' names begin.
_FIGURES = {
    "actions": "Actions of a held-out episode: recorded, and what the policy would have done from each look",
    "errors by joint": "Mean absolute error of each joint",
    "errors by event": "Mean absolute error in each kind of event (how many)",
    "errors": "Mean absolute error, beside that of simple predictions",
    "sensitivity": "How far the actions move when one input is exchanged for another episode's",
    "sight": "How far it ends from where events ended, with its own inputs and with exchanged ones",
    "video": "Held-out event: recorded above, imagined below",
    "remaining": "Frames to the event's end, predicted over recorded",
    "latency": "Time of a look and of a tick",
    "ranges action": "Actions in the training data and in the held-out data",
    "ranges state": "States in the training data and in the held-out data",
}


# Settings that are not in the card's training command: written by LeRobot or the policy itself, or where a run
# happened, and not what it was.
_NOT_CHOSEN = re.compile(
    r"type|(input|output)_features|pretrained_(path|revision)|push_to_hub|repo_id|private|device"
)
_ELSEWHERE = re.compile(
    r"output_dir|job_name|resume|checkpoint_path|config_path|reward_model|job|optimizer|scheduler"
    r"|wandb|trackio|parallelism|accelerator|num_workers|log_freq|save_checkpoint|save_freq|policy"
)


class WeightsFacts(NamedTuple):
    """The published `model.safetensors`: how many numbers, how many bytes, and their sum."""

    parameters: int
    size: int
    sha256: str


class Evaluation(NamedTuple):
    """One row of the success table, with Wilson's 95 % interval."""

    name: str  # what was evaluated, in the publisher's words
    task: str  # group and number of the environment's task, as `lerobot-eval` names them
    successes: int
    episodes: int
    interval: tuple[float, float]


def read_evaluations(argument: str) -> list[Evaluation]:
    """Counts the successes of each task in what `lerobot-eval` wrote.

    Args:
        argument: ``PATH`` or ``NAME=PATH`` of an `eval_info.json`, or of the folder that holds it.

    Raises:
        ValueError: The file holds no outcomes of single episodes.
    """
    from scipy.stats import binomtest

    name, _, path = argument.rpartition("=")
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "eval_info.json"
    tasks = read_object(file).get("per_task")
    if not isinstance(tasks, list) or not tasks:
        fix = "give an eval_info.json that lerobot-eval 0.6 wrote"
        raise ValueError(f"{file}: 'per_task' holds no task. Fix: {fix}")
    rows = []
    for number, task in enumerate(tasks):
        metrics = task.get("metrics") if isinstance(task, dict) else None
        outcomes = metrics.get("successes") if isinstance(metrics, dict) else None
        if not isinstance(outcomes, list) or not outcomes or not all(type(o) is bool for o in outcomes):
            raise ValueError(
                f"{file}: per_task.{number}.metrics.successes must be a list of true and false, one an episode. "
                "Fix: run lerobot-eval again"
            )
        label = f"{task.get('task_group', '')} {task.get('task_id', '')}".strip()
        wins, trials = sum(outcomes), len(outcomes)
        interval = binomtest(wins, trials).proportion_ci(method="wilson")
        ends = float(interval.low), float(interval.high)
        rows.append(Evaluation(name or file.parent.name, label, wins, trials, ends))
    return rows


@dataclass(frozen=True)
class CardFacts:
    """All that a card is made from."""

    repo_id: str | None  # where it is published, or None
    config: Mapping[str, Any]  # the checkpoint's settings and what it learned, portable
    train: Mapping[str, Any] | None = None  # `train_config.json`, portable, or None
    weights: WeightsFacts | None = None  # None while they are not written yet
    view: ViewFacts | None = None  # the training data, or None
    from_folder: bool = False  # whether it was read from a folder, so that its name need not be on the Hub
    check: CheckReport | None = None  # report of `wallwm check`, or None
    evaluations: Sequence[Evaluation] = ()  # of `lerobot-eval`
    figures: Sequence[str] = ()  # paths in the repository
    license: str | None = None  # what the publisher states, or None
    # `repo_id`, episodes and frames as LeRobot knows them, where there is no view.
    data: Mapping[str, Any] = field(default_factory=dict)


def shown(text: Any, letters: int = 160) -> str:
    """Text from elsewhere as one line that a renderer neither links nor interprets."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(text))
    line = plain(printable, letters)
    # Bare addresses would become links and mentions.
    line = line.replace("://", "&#58;//").replace("@", "&#64;")
    return re.sub(r"\bwww\.", "www&#46;", line, flags=re.I)


def stated(text: Any) -> str:
    """`shown`, or that it is not stated."""
    return shown(text) if text else "not stated"


def number(value: float | None, digits: int = 2) -> str:
    """A measured number, or that it was not measured."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "not measured"


def code_block(*lines: str) -> str:
    """A fenced block; what could close the fence is replaced."""
    texts = (
        "".join(c if c.isprintable() else " " for c in text).replace("`", "'").rstrip() for text in lines
    )
    return "\n".join(["```", *texts, "```"])


def model_card(facts: CardFacts) -> ModelCard:
    """The card, front matter first.

    Raises:
        ValueError: `train` is no training configuration of this policy.
    """
    from huggingface_hub import ModelCard

    f, data = facts, facts.check and facts.check.dataset
    trained_on = (f.train or {}).get("dataset")
    named = trained_on.get("repo_id") if isinstance(trained_on, Mapping) else None
    dataset = named if isinstance(named, str) else f.data.get("repo_id")
    # Users of LeRobot name what is nowhere else ``local/cups``, which a link must not be made of.
    only_local = dataset is not None and (f.from_folder or dataset.split("/")[0] == "local")
    backbone, pinned = f.config.get("backbone"), f.config.get("backbone_revision")
    base = BACKBONES[backbone].repo_id if backbone in BACKBONES else None
    counts = {key: getattr(data, key, None) for key in ("episodes", "events", "frames")}
    longest = f.config.get("event_max_frames") or {}
    card = ModelCard.from_template(
        _front_matter(f, None if only_local else dataset, base),
        template_path=str(_TEMPLATE),
        f=f,
        check=f.check,
        version=__version__,
        title=f.repo_id.split("/")[-1] if f.repo_id else "WALL-WM checkpoint",
        robot=(f.view.robot if f.view else None) or f.data.get("robot_type"),
        actions=", ".join(map(str, f.config.get("action_feature_names") or ())),
        states=", ".join(map(str, f.config.get("state_feature_names") or ())),
        cameras=", ".join(
            f"{key} ({' x '.join(map(str, value.get('shape', ())))})"
            for key, value in (f.config.get("input_features") or {}).items()
            if isinstance(value, Mapping) and value.get("type") == "VISUAL"
        ),
        dataset=dataset,
        only_local=only_local,
        events=[_event(f, template, frames) for template, frames in list(longest.items())[:_EVENTS]],
        event_count=len(longest),
        command=training_command(f.train) if f.train is not None else [],
        heldout_counts=", ".join(f"{n} {what}" for what, n in counts.items() if n is not None),
        figures=[_figure(path) for path in f.figures],
        backbone=base and base + (f" at `{pinned}`" if isinstance(pinned, str) and pinned.isalnum() else ""),
        shown=shown,
        stated=stated,
        number=number,
        code_block=code_block,
        portable_command=portable_command,
        without_folders=without_folders,
    )
    return ModelCard(re.sub(r"\n{3,}", "\n\n", str(card)).rstrip() + "\n")


def _front_matter(f: CardFacts, dataset: str | None, backbone: str | None) -> ModelCardData:
    from huggingface_hub import ModelCardData

    start = f.config.get("pretrained_path")
    base = [backbone] if backbone else []
    if isinstance(start, str) and is_repo_id(start) and start != f.repo_id:
        base.append(start)
    tags = [tag for tag in (f.config.get("tags") or []) if isinstance(tag, str)]
    return ModelCardData(
        license=f.license,
        library_name="lerobot",
        pipeline_tag="robotics",
        tags=list(dict.fromkeys(["robotics", "lerobot", "wallwm", "world-model", *tags])),
        datasets=[dataset] if dataset and is_repo_id(dataset) else None,
        base_model=base or None,
    )


def _event(f: CardFacts, template: str, frames: int) -> tuple[str, str, str]:
    """An event's text, its longest seconds, and what follows how often, the commonest three."""
    fps, follow = f.config.get("fps"), (f.config.get("event_transitions") or {}).get(template) or {}
    after = sorted(follow.items(), key=lambda item: (-item[1], item[0]))[:3]
    then = (f"{'the end' if name == END else shown(name, 60)} ({count})" for name, count in after)
    return template, f"{frames / fps:.2f}" if fps else "-", "; ".join(then) or "-"


def _figure(path: str) -> tuple[str, str, str]:
    """A figure's path, name and caption, the latter as Markdown."""
    name = path.rsplit("/", 1)[-1].removesuffix(".png").replace("_", " ")
    return path, name, next((said for start, said in _FIGURES.items() if name.startswith(start)), shown(name))


def training_command(train: Mapping[str, Any]) -> list[str]:
    """Lines of the `lerobot-train` command that repeats a run, with the flags that differ from their defaults.

    Args:
        train: A `train_config.json` that is `portable`.

    Raises:
        ValueError: It is no training configuration of this policy.
    """
    import draccus
    from lerobot.configs import PreTrainedConfig
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig

    policy = train.get("policy")
    if not isinstance(policy, Mapping) or policy.get("type") != "wallwm":
        raise ValueError(
            "train_config.json: 'policy' is not of type 'wallwm'. Fix: publish the whole checkpoint"
        )
    backbone = policy.get("backbone")
    try:
        plain = policy_config()(device="cpu", **({"backbone": backbone} if isinstance(backbone, str) else {}))
    except ValueError as error:
        raise ValueError(f"train_config.json: policy.backbone: {error}") from error
    defaults = draccus.encode(TrainPipelineConfig(dataset=DatasetConfig(repo_id="")))
    start = policy.get("pretrained_path")
    flags = [
        f"--policy.path={start}" if isinstance(start, str) and is_repo_id(start) else "--policy.type=wallwm"
    ]
    own = {key: value for key, value in policy.items() if not _NOT_CHOSEN.fullmatch(key)}
    flags += _flags("policy.", own, draccus.encode(plain, PreTrainedConfig))
    rest = {key: value for key, value in train.items() if not _ELSEWHERE.fullmatch(key)}
    flags += _flags("", rest, defaults)
    if train.get("use_policy_training_preset") is False:
        for name in ("optimizer", "scheduler"):
            flags += _flags(f"{name}.", train.get(name) or {}, {})
    words = ["lerobot-train", *(shlex.quote(" ".join(flag.split())) for flag in flags)]
    return [f"{word} \\" for word in words[:-1]] + words[-1:]


def _flags(prefix: str, ours: Mapping[str, Any], defaults: Any) -> list[str]:
    told = [(name, value) for name, value in differing(ours, defaults, prefix) if value is not None]
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in told]
