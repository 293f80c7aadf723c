"""State files: only what was written comes back, whatever happens to the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitstate.core.state_file import StateFormat

FORMAT = StateFormat("test", 1)
KEY = bytes(20)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    FORMAT.write(tmp_path / "state", [b"some", b"", b"\nthing\n"], KEY)
    assert FORMAT.read(tmp_path / "state", KEY) == b"some\nthing\n"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").read_bytes().startswith(b"gitstate test 1 " + KEY.hex().encode() + b" ")
    FORMAT.write_json(tmp_path / "state", {"a": ["ü", None]})
    assert FORMAT.read_json(tmp_path / "state") == {"a": ["ü", None]}


def test_of_another_version_name_or_key_is_nothing(tmp_path: Path) -> None:
    FORMAT.write(tmp_path / "state", [b"x"], KEY)
    for other, key in ((StateFormat("test", 2), KEY), (StateFormat("tests", 1), KEY), (FORMAT, b""), (FORMAT, b"\1")):
        assert other.read(tmp_path / "state", key) is None
    assert FORMAT.read(tmp_path / "absent", KEY) is None
    assert FORMAT.read(tmp_path, KEY) is None
    assert FORMAT.read_json(tmp_path / "absent") is None


@pytest.mark.parametrize("body", [b"", b"x", b"two\nlines"])
def test_damage_of_any_byte_is_noticed(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "state"
    FORMAT.write(path, [body], KEY)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert FORMAT.read(path, KEY) is None
        path.write_bytes(whole[:place])
        assert FORMAT.read(path, KEY) is None
    path.write_bytes(whole + b"\0")
    assert FORMAT.read(path, KEY) is None
    path.write_bytes(b"x" * 5000)
    assert FORMAT.read(path, KEY) is None
    os.truncate(path, 0)
    assert FORMAT.read(path, KEY) is None
