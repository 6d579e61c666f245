"""The data folder: one secret for ever, one owner at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import InUse, Unavailable
from core.settings import Settings
from store.installation import door_of_owner, installation_secret, lock_data, publish_door, remove_door

PRINT_SECRET = """
import sys
from pathlib import Path
from core.settings import Settings
from store.installation import installation_secret
sys.stdin.read(1)
print(installation_secret(Settings(data=Path(sys.argv[1]))).hex())
"""
HOLD_LOCK = """
import sys
from pathlib import Path
from core.settings import Settings
from store.installation import lock_data, publish_door
settings = Settings(data=Path(sys.argv[1]))
lock = lock_data(settings)
publish_door(settings, "clickhouse://somewhere", started_at=1)
print("ready", flush=True)
sys.stdin.read(1)
"""


def test_the_secret_is_32_bytes_private_and_the_same_for_ever(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "new")
    secret = installation_secret(settings)

    assert len(secret) == 32
    assert (settings.data / "secret").stat().st_mode & 0o777 == 0o600
    assert installation_secret(settings) == secret
    assert os.listdir(settings.data) == ["secret"]


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    assert installation_secret(Settings(data=tmp_path, secret="s" * 32)) == b"s" * 32
    assert os.listdir(tmp_path) == []


def test_programs_that_start_at_once_get_the_same_secret(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRINT_SECRET, str(tmp_path)]
    programs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("g")
        program.stdin.flush()
    secrets = {program.communicate(timeout=30)[0] for program in programs}

    assert secrets == {installation_secret(Settings(data=tmp_path)).hex() + "\n"}


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_reported_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)

    with pytest.raises(Unavailable, match="instead of 32: restore it from a backup"):
        installation_secret(Settings(data=tmp_path))
    assert (tmp_path / "secret").read_bytes() == content


def test_a_data_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")

    with pytest.raises(Unavailable, match="cannot be used: File exists"):
        lock_data(Settings(data=tmp_path / "var"))
    with pytest.raises(Unavailable, match="cannot be read or made: File exists"):
        installation_secret(Settings(data=tmp_path / "var"))


def test_the_folder_has_one_owner_until_its_process_ends(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    other = subprocess.Popen([sys.executable, "-c", HOLD_LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    with pytest.raises(InUse) as caught:
        lock_data(settings)
    published = door_of_owner(settings)
    other.kill()
    other.communicate()

    assert str(caught.value) == f"the data folder {tmp_path} is in use by another Fairshare (process {other.pid})"
    assert published == "clickhouse://somewhere"
    with lock_data(settings):
        assert door_of_owner(settings) is None, "the killed process left its door behind, and it counts for nothing"


def test_a_door_is_private_and_goes_with_its_engine(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with lock_data(settings):
        publish_door(settings, "clickhouse://one", started_at=1)
        publish_door(settings, "clickhouse://two", started_at=2)
        assert (tmp_path / "engine.json").stat().st_mode & 0o777 == 0o600
        assert door_of_owner(settings) == "clickhouse://two"
        remove_door(settings)
        assert door_of_owner(settings) is None


def test_a_torn_door_is_no_door(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with lock_data(settings):
        (tmp_path / "engine.json").write_text('{"pid": 1, "events_')
        assert door_of_owner(settings) is None
