# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm inspect`: one self-contained HTML page on which a person judges and corrects a prepared dataset."""
