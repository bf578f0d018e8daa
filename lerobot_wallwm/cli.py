# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The `wallwm` command. Flags follow LeRobot's style: `--group.name=value`, from dataclasses (`flags`)."""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HELP = ("-h", "--help", "--help-all")


def _parse(command: str, config_class: type[Any], args: Sequence[str]) -> Any:
    from lerobot_wallwm import flags

    if asked := [arg for arg in args if arg in HELP]:
        _, does, usage = COMMANDS[command]
        print(flags.help_text(command, config_class, does, usage, everything="--help-all" in asked))
        raise SystemExit(0)
    return flags.parse(command, config_class, args)


def _prepare(args: Sequence[str]) -> int:
    from lerobot_wallwm.processors.prepare.config import PrepareConfig
    from lerobot_wallwm.processors.prepare.prepare import print_summary
    from lerobot_wallwm.processors.prepare.scale_out import prepare_in_shards
    from lerobot_wallwm.storage.places import output_root

    config = _parse("prepare", PrepareConfig, args)
    summary = prepare_in_shards(config)
    if summary is not None:
        print_summary(summary, output_root(config.out))
    return 0


def _sync(args: Sequence[str]) -> int:
    from lerobot_wallwm.processors.synchronize.dataset import SyncConfig, audit

    named = [
        f"--dataset.root={arg}" if i == 0 and not arg.startswith("-") else arg for i, arg in enumerate(args)
    ]
    audit(_parse("sync", SyncConfig, named))
    return 0


def _recover(args: Sequence[str]) -> int:
    from lerobot_wallwm.processors.recover import command as recover_module

    recover_module.recover(_parse("recover", recover_module.RecoverConfig, args))
    return 0


def _join(args: Sequence[str]) -> int:
    from lerobot_wallwm.processors.recover import join as join_module
    from lerobot_wallwm.storage.places import output_root

    config = _parse("join", join_module.JoinConfig, args)
    for caption, frames in join_module.join(config).items():
        print(f"{frames:8}  {caption}")
    print(f"-> {output_root(config.out)}")
    return 0


def _verify(args: Sequence[str]) -> int:
    from lerobot_wallwm.processors.view import verify as verify_module

    config = _parse("verify", verify_module.VerifyConfig, args)
    report = verify_module.verify_view(
        config.source.root, config.view.root, frames=config.frames, quiet=config.quiet
    )
    verify_module.print_report(report)
    return 0 if report.ok else 1


def _inspect(args: Sequence[str]) -> int:
    from lerobot_wallwm.inspect import build

    result = build.inspect(_parse("inspect", build.InspectConfig, args))
    print(
        f"{result['episodes']} episodes, {result['events']} events, {result['bytes'] / 1e6:.1f} MB -> {result['page']}"
    )
    return 0


def _check(args: Sequence[str]) -> int:
    from lerobot_wallwm.check import config as check_module, run

    config = _parse("check", check_module.CheckConfig, args)
    with contextlib.suppress(OSError, AttributeError):
        # glibc's M_MMAP_THRESHOLD: else it keeps what large pictures leave, 90 MB of two cameras at 640 x 480.
        ctypes.CDLL(None).mallopt(-3, 1_000_000)
    verdict = run.check(config, args, _events_of)
    print(f"{run.summary(verdict)}\n{config.out / run.PAGE}")
    return 0 if verdict.switch_on else 1


def _events_of(root: Path, episodes: Sequence[int]) -> dict[int, list[tuple[int, int, str]]]:
    """The events ``(start, end, label)`` of whole episodes, as `wallwm prepare` would cut them without being told more."""
    from lerobot_wallwm.processors.prepare.config import PrepareConfig
    from lerobot_wallwm.processors.prepare.stages import annotator, open_source
    from lerobot_wallwm.storage.places import DatasetConfig

    config = PrepareConfig(dataset=DatasetConfig(root=root), quiet=True)
    source = open_source(config)
    annotate = annotator(config, source.instructions)
    source = source.subset(episodes)
    found = {}
    for position in range(len(source)):
        episode = source.read(position)
        events = annotate(episode)
        found[episode.index] = [(e.start, e.end, e.label) for e in events if e.level == "action"]
    return found


def _publish(args: Sequence[str]) -> int:
    from lerobot_wallwm.hub.publish import checkpoint as publish_module

    config = _parse("publish", publish_module.PublishConfig, publish_module.gather_evaluations(args))
    publish_module.check_config(config)
    import lerobot_policy_wallwm  # noqa: F401  registers the policy with LeRobot, which `hub` asks for it
    from lerobot_wallwm.policies.geometry.calibration import Calibration

    done = publish_module.publish(config, Calibration.model_validate_json)
    print(f"not published; see {done}" if config.dry_run else f"published: {getattr(done, 'url', done)}")
    return 0


def _pull(args: Sequence[str]) -> int:
    from lerobot_wallwm.hub.remote import pull as pull_module

    named = [f"--repo_id={arg}" if i == 0 and not arg.startswith("-") else arg for i, arg in enumerate(args)]
    config = _parse("pull", pull_module.PullConfig, named)
    pull_module.check_name(config.repo_id)
    import lerobot_policy_wallwm  # noqa: F401  registers the policy with LeRobot, which `hub` asks for it

    print(f"--policy.path={pull_module.pull(config)}")
    return 0


# Name: what runs it, what it does, and how it is called.
COMMANDS = {
    "prepare": (_prepare, "cut a LeRobotDataset at its events", "--dataset.root=DIR --out.root=DIR"),
    "sync": (_sync, "how late each camera is, and which episodes contradict that", "DIR"),
    "recover": (_recover, "starts near recorded contacts, to record recoveries from", "--dataset.root=DIR"),
    "join": (
        _join,
        "give each frame of a recorded rollout the event that the policy was in",
        "--dataset.root=DIR --log=FILE --out.root=DIR",
    ),
    "verify": (_verify, "compare a carved view with its source", "--source.root=DIR --view.root=DIR"),
    "inspect": (
        _inspect,
        "write a page on which a person looks at the events and corrects them",
        "--dataset.root=DIR --out.root=DIR",
    ),
    "check": (
        _check,
        "whether an arm should be switched on with a checkpoint, from held-out data",
        "--policy.path=DIR --dataset.root=DIR --out=DIR",
    ),
    "publish": (
        _publish,
        "put a checkpoint, or a carved dataset, on the Hub in one commit",
        "[--policy.path=DIR --repo_id=me/cups --check=DIR --eval=FILE] [--dataset.root=DIR --dataset.repo_id=me/events]",
    ),
    "pull": (_pull, "get one revision of a checkpoint, checked", "me/cups [--revision=...] [--out=DIR]"),
}
USAGE = "\n".join(
    [
        "usage: wallwm <command> [--flag=value ...]",
        "",
        "commands:",
        *(f"  {name:9} {does}\n{'':12}wallwm {name} {flags}" for name, (_, does, flags) in COMMANDS.items()),
        "",
        "`wallwm <command> --help` lists a command's flags, `wallwm --version` says which version this is.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0 on success and for help, 1 if a view differs from its source or a check says no, 2 on bad input."""
    args = list(sys.argv[1:] if argv is None else argv)
    if len(args) > 1 and args[0] in (*HELP, "help") and args[1] in COMMANDS:
        args = [args[1], "--help", *args[2:]]
    if not args or args[0] in (*HELP, "help"):
        print(USAGE)
        return 0
    if args[0] in ("-V", "--version", "version"):
        versions = {
            name: importlib.metadata.version(name) for name in ("lerobot_policy_wallwm", "lerobot", "torch")
        }
        print("wallwm {lerobot_policy_wallwm} (lerobot {lerobot}, torch {torch})".format(**versions))
        return 0
    if args[0] not in COMMANDS:
        alike = difflib.get_close_matches(args[0], [*COMMANDS, "--version", "--help"], n=1)
        meant = f". Did you mean `wallwm {alike[0]}`?" if alike else "."
        print(
            f"error: unknown command {args[0]!r}{meant} Fix: use one of {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    try:
        return COMMANDS[args[0]][0](args[1:])
    except (ValueError, FileExistsError, BlockingIOError) as error:
        # DataError is a ValueError: what the user can mend gets one line, what is our fault keeps its traceback.
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
