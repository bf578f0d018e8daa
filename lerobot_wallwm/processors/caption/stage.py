# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The captioning step of `wallwm prepare`: kinematic captions stay, or a vision-language model words them anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event

CAPTIONERS = ("kinematic", "vlm")


class CaptionStage:
    """Made before anything is read, so that wrong flags are refused at once; called with the finished event table.

    Args:
        captioner: One of `CAPTIONERS`.
        vlm: Settings of the model.
        kinematics: How state and action are read.
        out: The output folder, beside which the answers are kept unless `vlm.cache` says otherwise.
        source: The source dataset's folder.

    Attributes:
        report: What was done, for `summary.json`; None for kinematic captions.

    Raises:
        ValueError: An unknown captioner, no model, or a cache folder inside the source or the output.
    """

    def __init__(
        self, captioner: str, vlm: VlmConfig, kinematics: KinematicsConfig, out: Path, source: Path
    ) -> None:
        if captioner not in CAPTIONERS:
            raise ValueError(f"--captioner must be one of {', '.join(CAPTIONERS)}, got {captioner!r}")
        self.report: dict[str, Any] | None = None
        self._captioner: Any = None
        if captioner == "vlm":
            from lerobot_wallwm.processors.caption.vlm_captioner import VlmCaptioner

            out = Path(os.path.abspath(out))
            cache = vlm.cache or out.with_name(f"{out.name}.vlm_answers")
            for folder, flag in ((out, "--out.root"), (source, "--dataset.root")):
                if cache.resolve().is_relative_to(folder.resolve()):
                    raise ValueError(
                        f"--vlm.cache={cache} lies inside {flag}. Fix: keep the answers elsewhere"
                    )
            vlm.api_key()
            self._captioner = VlmCaptioner(vlm, cache, kinematics=kinematics)

    def __call__(
        self, source: SourceDataset, events: Sequence[Event], folder: Path, quiet: bool
    ) -> list[Event]:
        """The events with their final captions; writes `captions.parquet` into `folder` if a model was asked."""
        if self._captioner is None:
            return list(events)
        from tqdm import tqdm

        from lerobot_wallwm.processors.caption.records import write_records

        with tqdm(desc="caption", unit=" requests", file=sys.stderr, disable=quiet) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done)

            captioned = self._captioner.caption(source, events, progress)
        write_records(captioned.records, folder / "captions.parquet")
        self.report = captioned.report
        return captioned.events
