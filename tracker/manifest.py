"""What the drain writes down: the blocks it is about to insert, and how far it has come. Plainly I/O.

Two files in each spool folder. ``manifest`` holds one range of a segment and the very bytes it became, written before the
first of them is inserted: so a retry, even by a newer program with newer lists, sends the same bytes under the same tokens
for ever. ``cursor.json`` holds the position behind the last range that the store acknowledged. Both are replaced whole:
written beside, synced, renamed, and the folder synced.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from core.clock import Instant
from core.errors import Unavailable
from tracker.files import SYSTEM, FileSystem, replace_durably

CURSOR = "cursor.json"
MANIFEST = "manifest"


class Passed(msgspec.Struct, frozen=True):
    """A segment that is stored to its end: since when, and the latest ``received_at`` it holds."""

    passed_at: Instant
    received_at: Instant


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far one spool folder is stored.

    ``segment`` (a file name) is stored up to byte ``offset``. ``stored_at`` and ``received_at`` are the highest given out
    and seen so far. ``passed`` are earlier segments still on disk. Before ``complete_from`` some may have been deleted.
    """

    segment: str = ""
    offset: int = 0
    stored_at: Instant = 0
    received_at: Instant = 0
    complete_from: Instant = 0
    passed: dict[str, Passed] = {}


class Block(msgspec.Struct, frozen=True):
    """Rows of one table and one month, inserted as one under ``token``. ``positions`` are their records' offsets."""

    table: str
    month: int
    token: str
    positions: list[int]
    lines: bytes = b""


class Manifest(msgspec.Struct, frozen=True):
    """One range of one segment, ``[start, end)`` in bytes, and the blocks it became, in loading order."""

    spool_id: str
    segment: str
    start: int
    end: int
    stored_at: Instant
    received_at: Instant
    records: int
    bad: int
    blocks: list[Block]


class _Head(msgspec.Struct, frozen=True):
    manifest: Manifest
    sizes: list[int]


def read_cursor(folder: Path) -> Cursor:
    """The folder's cursor; the beginning where it has none.

    Raises:
        Unavailable: the file does not hold a cursor.
    """
    try:
        return msgspec.json.decode((folder / CURSOR).read_bytes(), type=Cursor)
    except FileNotFoundError:
        return Cursor()
    except msgspec.DecodeError as error:
        raise Unavailable(f"{folder / CURSOR} is damaged ({error}); move it away to store this folder's events again") from error


def last_segment(folder: Path) -> str:
    """The highest segment that cursor and manifest speak of; empty where they speak of none, or cannot be read."""
    known = [""]
    with contextlib.suppress(OSError, msgspec.DecodeError):
        known.append(msgspec.json.decode((folder / CURSOR).read_bytes(), type=Cursor).segment)
    with contextlib.suppress(OSError, msgspec.DecodeError), (folder / MANIFEST).open("rb") as file:
        known.append(msgspec.json.decode(file.readline(), type=_Head).manifest.segment)
    return max(known)


def write_cursor(folder: Path, cursor: Cursor, files: FileSystem = SYSTEM) -> None:
    """Make a cursor durable: when this returns, it survives a power loss."""
    replace_durably(folder / CURSOR, (msgspec.json.encode(cursor),), files)


def read_manifest(folder: Path) -> Manifest | None:
    """The range that is being stored, None where there is none.

    Raises:
        Unavailable: the file does not hold a manifest.
    """
    path = folder / MANIFEST
    try:
        first, _, body = path.read_bytes().partition(b"\n")
        head = msgspec.json.decode(first, type=_Head)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Unavailable(f"{path} is damaged ({error}); move it away to read its range again") from error
    if sum(head.sizes) != len(body):
        raise Unavailable(f"{path} is damaged (it holds {len(body)} of {sum(head.sizes)} bytes); move it away to read its range again")
    return msgspec.structs.replace(head.manifest, blocks=list(_with_lines(head, body)))


def write_manifest(folder: Path, manifest: Manifest, files: FileSystem = SYSTEM) -> None:
    """Make a range's blocks durable, before the first of them is inserted."""
    bare = [msgspec.structs.replace(block, lines=b"") for block in manifest.blocks]
    head = _Head(msgspec.structs.replace(manifest, blocks=bare), [len(block.lines) for block in manifest.blocks])
    replace_durably(folder / MANIFEST, (msgspec.json.encode(head), b"\n", *(block.lines for block in manifest.blocks)), files)


def remove_manifest(folder: Path, files: FileSystem = SYSTEM) -> None:
    """The range is stored and the cursor behind it. If the removal is lost, the cursor shows that the manifest is old."""
    files.remove(folder / MANIFEST)


def _with_lines(head: _Head, body: bytes) -> Iterable[Block]:
    start = 0
    for block, size in zip(head.manifest.blocks, head.sizes, strict=True):
        yield msgspec.structs.replace(block, lines=body[start : start + size])
        start += size
