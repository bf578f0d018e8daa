# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import torch

from lerobot_wallwm.storage.fingerprint import fingerprint_of_files


def test_fingerprints_tell_weights_apart_and_ignore_where_they_lie(tmp_path):
    content = bytearray(torch.arange(400_000, dtype=torch.int32).numpy().tobytes())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w").write_bytes(content)
    a, b = tmp_path / "a" / "w", tmp_path / "b" / "w"
    assert fingerprint_of_files([a]) == fingerprint_of_files([b])
    for position in (0, len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        b.write_bytes(changed)
        assert fingerprint_of_files([a]) != fingerprint_of_files([b])
    b.write_bytes(content[:-1])
    assert fingerprint_of_files([a]) != fingerprint_of_files([b])
