# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What LeRobot's policies do with the Hub, done our way: one commit, and our card."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lerobot_wallwm.hub.publish.trainer import push_trained, trained_card
from lerobot_wallwm.policies.geometry.calibration import Calibration


class HubHooks:
    """Goes before `PreTrainedPolicy` among a policy's bases."""

    config: Any

    def push_model_to_hub(
        self,
        cfg: Any,
        peft_model: Any = None,
        state_dict: dict[str, Tensor] | None = None,
        dataset_meta: Any = None,
    ) -> None:
        """LeRobot's hook at the end of a training run: the whole checkpoint in one commit; see `push_trained`.

        Raises:
            ValueError: The checkpoint cannot be published, or the Hub refused.
        """
        if peft_model is not None:
            super().push_model_to_hub(cfg, peft_model=peft_model, dataset_meta=dataset_meta)  # type: ignore[misc]
            return
        push_trained(self, cfg, state_dict, dataset_meta, Calibration.model_validate_json)

    def generate_model_card(
        self,
        dataset_repo_id: str | None = None,
        model_type: str = "wallwm",
        license: str | None = None,
        tags: list[str] | None = None,
        cfg: Any = None,
        dataset_meta: Any = None,
    ) -> Any:
        """LeRobot's hook: our card, of what is known when a training run ends."""
        return trained_card(self.config, dataset_repo_id, license, cfg, dataset_meta)
