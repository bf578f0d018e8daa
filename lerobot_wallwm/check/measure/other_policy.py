# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A trained checkpoint of any LeRobot policy with its pipelines, asked for the actions that it would execute.

Shapes: B batch, T observations that it sees at once, H steps of a plan, D dimensions of an action.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.checkpoint import rename_map, trained_range
from lerobot_wallwm.check.measure.observations import Prediction
from lerobot_wallwm.storage.errors import DataError

# Policies whose `predict_action_chunk` is no batch of plans: theirs is what `select_action` gives tick by tick.
TICK_BY_TICK = frozenset({"tdmpc"})


class OtherPolicy:
    """A trained policy that is not wallwm.

    Args:
        path: ``pretrained_model`` folder of a lerobot-train checkpoint.
        meta: Metadata of the data that it will see; LeRobot asks for it where an adapter is loaded.
        device: Where it computes; None for where it was trained, if that is there.

    Attributes:
        trained: Its configuration as it was saved.
        history: T.

    Raises:
        DataError: A package that this policy needs is missing.
    """

    def __init__(self, path: str | Path, meta: Any, device: str | None = None):
        from lerobot.configs import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_policy, make_pre_post_processors

        config = PreTrainedConfig.from_pretrained(path)
        self.trained = copy.deepcopy(config)
        config.device, config.pretrained_path = device or config.device, Path(path)
        there: Any = {"device_processor": {"device": config.device}}
        with contextlib.redirect_stdout(io.StringIO()):  # LeRobot prints where weights come from
            try:
                self.preprocess, self.postprocess = make_pre_post_processors(
                    config, str(path), preprocessor_overrides=there
                )
                self.rename = rename_map(self.preprocess)
                if config.use_peft:
                    self.policy = make_policy(config, ds_meta=meta, rename_map=self.rename)
                else:
                    self.policy = get_policy_class(config.type).from_pretrained(path, config=config)
            except ImportError as error:
                fix = f"install what LeRobot asks for: pip install 'lerobot[{config.type}]'"
                raise DataError(f"{path}/config.json", "type", f"{config.type}: {error}", fix) from error
        self.policy.eval()
        self.config = config
        self.history = sum(step <= 0 for step in config.observation_delta_indices or [0])
        self.horizon = len([step for step in config.action_delta_indices or [0] if step >= 0])

    def try_out(self, item: dict[str, Any], task: str) -> None:
        """Asks for one plan, whose length is the horizon from now on: some hand out less than they learn."""
        self.horizon = self.predict(self.observation([item], [item], [task]), 0).actions.shape[1]

    def action_range(self) -> np.ndarray | None:
        """Lowest and highest actions of the training data ``(2, D)``; None where the checkpoint does not say."""
        found = trained_range(self.postprocess, "action")
        return trained_range(self.preprocess, "action") if found is None else found

    def observation(
        self, shown: Sequence[dict[str, Any]], felt: Sequence[dict[str, Any]], tasks: list[str]
    ) -> dict[str, Any]:
        """Items as a robot's observations, preprocessed: pictures of ``shown``, the rest of ``felt``."""
        import torch

        raw: dict[str, Any] = {}
        for key in shown[0]:
            name = self.rename.get(key, key)
            if name in self.config.input_features:
                items = shown if name in self.config.image_features else felt
                raw[key] = torch.stack([item[key] for item in items])
        with torch.no_grad():
            batch = self.preprocess(raw | {"task": tasks})
        return {key: value for key, value in batch.items() if key != "action" and value is not None}

    def last(self, item: dict[str, Any]) -> dict[str, Any]:
        """The newest of an item's T observations, as one tick of a robot."""
        if self.history == 1:
            return item
        seen = [key for key in item if self.rename.get(key, key) in self.config.input_features]
        return item | {key: item[key][-1] for key in seen}

    def chunk(self, own: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]]) -> None:
        """Nothing: what it remembers is in its observation."""

    def predict(self, observation: dict[str, Any], seed: int, chunk: Any | None = None) -> Prediction:
        """What it would do, with this seed of the sampling noise."""
        import torch

        torch.manual_seed(seed)
        self.policy.reset()
        with torch.no_grad():
            sent = self._plan(observation).float()
            # The pipeline may refuse what is not finite; the share of it is reported.
            actions = self.postprocess(torch.nan_to_num(sent, nan=0.0, posinf=0.0, neginf=0.0))
        out = actions.detach().cpu().numpy().astype(np.float64)
        bad = ~np.isfinite(sent.cpu().numpy()).all(-1)
        out[bad] = np.nan
        return Prediction(out, np.full(len(out), float(out.shape[1])), self._normalized(out))

    def _normalized(self, actions: np.ndarray) -> np.ndarray:
        span = self.action_range()
        if span is None or span.shape[1] != actions.shape[2]:
            return np.where(np.isfinite(actions), 0.0, np.nan)
        low, high = span
        return 2 * (actions - low) / np.maximum(high - low, 1e-9) - 1

    def _plan(self, observation: dict[str, Any]) -> Any:
        """Actions ``(B, H, D)`` as they leave the policy."""
        import torch

        last = observation
        if self.history > 1:
            last = self._remember(observation)
        if self.config.type not in TICK_BY_TICK:
            with contextlib.suppress(NotImplementedError):
                actions = self.policy.predict_action_chunk(last)
                return actions if actions.ndim == 3 else actions[:, None]
        ticks = [self.policy.select_action(dict(last)) for _ in range(self.steps_between_looks)]
        return torch.stack(ticks, dim=1)

    def _remember(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Fills the queues of a policy that sees T observations, as T ticks would; returns the last one.

        LeRobot's own way in, `select_action`, would also plan at the first of them.
        """
        import torch
        from lerobot.policies.utils import populate_queues

        tick: dict[str, Any] = {}
        for t in range(self.history):
            tick = {k: v[:, t] if k in self.config.input_features else v for k, v in observation.items()}
            if self.config.image_features:
                pictures = [tick[key] for key in self.config.image_features]
                tick["observation.images"] = torch.stack(pictures, dim=-4)
            self.policy._queues = populate_queues(self.policy._queues, tick, exclude_keys=["action"])
        return tick

    @property
    def steps_between_looks(self) -> int:
        """Actions of a plan that are executed."""
        if getattr(self.config, "temporal_ensemble_coeff", None) is not None:
            return 1
        steps = getattr(self.config, "n_action_steps", None) or getattr(
            self.config, "action_chunk_size", None
        )
        return int(steps or 1)
