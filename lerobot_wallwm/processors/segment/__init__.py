# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From one episode to events: by rules, by annotations, by a person."""
