"""One installation's data folder: its secret, its lock, its engine's address. I/O: ``secret``, ``lock``, ``engine.json``."""

import fcntl
import os
import secrets
import time
from pathlib import Path

import msgspec

from core.clock import Instant
from core.errors import InUse, Unavailable
from core.settings import Settings

SECRET_BYTES = 32


def installation_secret(settings: Settings) -> bytes:
    """The secret that keys are derived from: the setting, else ``DIR/secret``, made at the first call and kept for ever.

    Losing the file would end all sessions and split every customer's history, so it is never made anew over a damaged
    one. Programs that start at the same moment get the same secret.

    Raises:
        Unavailable: the file is damaged, or the folder cannot be written.
    """
    if settings.secret:
        return settings.secret.encode()
    path = settings.data / "secret"
    try:
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        raise Unavailable(f"the secret {path} cannot be read or made: {error.strerror}") from error
    if len(secret) != SECRET_BYTES:
        raise Unavailable(f"the secret {path} has {len(secret)} bytes instead of {SECRET_BYTES}: restore it from a backup")
    return secret


def known_secret(settings: Settings) -> bytes:
    """The installation's secret where it has one already; empty where it has none, and none is made."""
    return installation_secret(settings) if settings.secret or (settings.data / "secret").exists() else b""


def _create(path: Path) -> None:
    """Write it whole under another name, then link: of several programs, the first link wins and the rest read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(SECRET_BYTES))
        os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- one owner at a time ---------------------------------------------------------------------------------------------


class DataLock:
    """The data folder is this process's until :meth:`release`, or until the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> "DataLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_data(settings: Settings, patience_s: float = 0.0) -> DataLock:
    """Take the data folder for this process, through an exclusive lock on ``DIR/lock``; it is made if need be.

    Raises:
        InUse: another process still has it after ``patience_s`` ("the data folder var is in use by another
            Fairshare (process 1234)").
        Unavailable: the folder cannot be made or written.
    """
    deadline = time.monotonic() + patience_s
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(settings.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unavailable(f"the data folder {settings.data} cannot be used: {error.strerror}") from error
    while not _locked(descriptor):
        if time.monotonic() >= deadline:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise InUse(f"the data folder {settings.data} is in use by another Fairshare (process {owner or 'unknown'})")
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return DataLock(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(descriptor: int) -> int:
    """The process that wrote itself into the lock file, 0 where none did."""
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else 0


class Door(msgspec.Struct, frozen=True):
    """``DIR/engine.json``: where the process that owns the data folder offers its events store. Holds a password."""

    pid: int
    events_url: str
    started_at: Instant


def publish_door(settings: Settings, events_url: str, started_at: Instant) -> None:
    """Tell this installation's commands where the engine's events store is. Call it with the data lock held."""
    path = settings.data / "engine.json"
    draft = path.with_name(f"engine.json.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(Door(os.getpid(), events_url, started_at)))
    finally:
        os.close(descriptor)
    draft.rename(path)


def remove_door(settings: Settings) -> None:
    """The engine stops: commands open the folder themselves from now on."""
    (settings.data / "engine.json").unlink(missing_ok=True)


def door_of_owner(settings: Settings) -> str | None:
    """The events URL that the folder's present owner published; None where it published none.

    Ask after :func:`lock_data` failed, so that there is an owner. What a killed engine left behind does not count: the
    lock names another process by then.
    """
    try:
        door = msgspec.json.decode((settings.data / "engine.json").read_bytes(), type=Door)
        descriptor = os.open(settings.data / "lock", os.O_RDONLY)
    except (OSError, msgspec.DecodeError):
        return None
    try:
        return door.events_url if _owner(descriptor) == door.pid else None
    finally:
        os.close(descriptor)
