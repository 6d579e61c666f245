"""How far each ledger was verified, so that the next run reads what is new. I/O: a file in the data folder.

A note of that kind inside the database would be worth nothing: whoever rewrites old entries would rewrite it with them. So it is a file
beside the anchors (``verified.jsonl``), with the hash of the last entry that was checked. That entry's hash covers all before it: a
ledger that was rewritten up to there has another one. What lies before is then not read again, and ``--full`` believes no checkpoint.

It is as good as the folder that it lies in. Nobody has to keep it: without it verify begins at the first entry, as it does where a line
cannot be read.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from core.errors import Unavailable

FILE = "verified.jsonl"


class Checkpoint(msgspec.Struct, frozen=True):
    """A line of the file: all entries up to ``number`` fit when they were read at ``at``. ``hash`` is that entry's, empty for number 0.

    ``steps``: so many holds, releases and rejections were said by then.
    """

    at: str
    tenant_id: str
    number: int
    hash: str
    steps: int = 0


def read_checkpoints(path: Path) -> dict[str, Checkpoint]:
    """The checkpoint of each tenant; a line that cannot be read counts as none, and so does a file that is not there."""
    found: dict[str, Checkpoint] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return found
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    for line in lines:
        try:
            one = msgspec.json.decode(line, type=Checkpoint)
        except msgspec.DecodeError:
            continue
        if one.number > 0 and one.steps >= 0:
            found[one.tenant_id] = one
    return found


def write_checkpoints(path: Path, new: Iterable[Checkpoint], known: Mapping[str, Checkpoint]) -> None:
    """Replace the file as a whole, on the disk: ``new`` for their tenants, ``known`` for all others.

    Raises:
        Unavailable: it cannot be written.
    """
    lines = {**known, **{one.tenant_id: one for one in new}}
    content = b"".join(msgspec.json.encode(line) + b"\n" for _, line in sorted(lines.items()))
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise Unavailable(f"how far the ledgers were verified cannot be written to {path}: {error.strerror}") from error
