# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Captions, the grammar of events, and one client of vision-language models; both wings stand on it."""
