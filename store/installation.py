"""What belongs to one installation's data folder: its secret. I/O: the file ``DIR/secret``."""

import os
import secrets
from pathlib import Path

from core.errors import Unavailable
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
