# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The language half: a vision-language model that names what comes next, and latents in the place of its words."""
