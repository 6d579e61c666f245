"""A link table as bytes, to be put down somewhere and taken up by another tracker. Pure.

A snapshot is a head and its chunks, one for each shelf of :class:`tracker.links.Links`, named by their SHA-256: a chunk can
only be what the head says, and one link that changes makes one new chunk. The head carries an HMAC under a key that is derived
from the installation's secret, so that nothing but a tracker of this installation can have written it: not another
installation on the same Redis, not a half-written file, nobody with a mind to send visitors elsewhere.

What is in it: link codes, destinations and caps; tenants, programmes and coalitions; SHA-256 hashes of API keys (of 256 random bits, so
that they tell nothing). What is not: the secret, tenants' hashing keys (each tracker derives them), anything about visitors.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence

import msgspec

from core.catalogue import Coalition, Programme, Tenant
from core.clock import Instant
from tracker.links import BUCKETS, SHELVES, Links, LinkTable, build_table

FORMAT = 2
MAC_BYTES = 32
HEAD_BYTES = 64 << 20
"""No head is larger: a quarter of a million programmes."""


class Head(msgspec.Struct, frozen=True):
    """All but the links themselves: ``chunks`` are the digests of the shelves, in their order."""

    format: int
    version: int
    changed_at: Instant
    what: str
    count: int
    tenants: tuple[Tenant, ...]
    programmes: tuple[Programme, ...]
    coalitions: tuple[Coalition, ...]
    keys: dict[str, str]
    chunks: tuple[bytes, ...]


_read_head = msgspec.msgpack.Decoder(Head).decode
_read_shelf = msgspec.msgpack.Decoder(list[bytes]).decode
_write = msgspec.msgpack.Encoder().encode


def digest_of(chunk: bytes) -> bytes:
    return hashlib.sha256(chunk).digest()


def pack_shelf(shelf: list[bytes]) -> bytes:
    return _write(shelf)


def unpack_shelf(chunk: bytes, digest: bytes) -> list[bytes] | None:
    """The shelf of a chunk; None where it is not the one that ``digest`` names."""
    if digest_of(chunk) != digest:
        return None
    shelf = _read_shelf(chunk)
    return shelf if len(shelf) == BUCKETS else None


def pack_head(table: LinkTable, chunks: Sequence[bytes], secret: bytes) -> bytes:
    """The head of a table whose shelves have these digests."""
    records = (table.tenant_records, table.programme_records, table.coalition_records, table.keys)
    body = _write(Head(FORMAT, table.version, table.changed_at, table.what, len(table.links), *records, tuple(chunks)))
    return hmac.digest(_key(secret), body, "sha256") + body


def unpack_head(data: bytes, secret: bytes) -> Head | None:
    """What :func:`pack_head` made; None where it was anybody else, or another version of this program."""
    body = data[MAC_BYTES:]
    if len(data) > HEAD_BYTES or not hmac.compare_digest(hmac.digest(_key(secret), body, "sha256"), data[:MAC_BYTES]):
        return None
    try:
        head = _read_head(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return head if head.format == FORMAT and len(head.chunks) == SHELVES else None


def table_of(head: Head, shelves: Sequence[list[bytes]], secret: bytes) -> LinkTable:
    """The table that was packed."""
    bare = build_table(
        head.version,
        head.tenants,
        head.programmes,
        (),
        head.keys,
        secret,
        changed_at=head.changed_at,
        what=head.what,
        coalitions=head.coalitions,
    )
    return msgspec.structs.replace(bare, links=Links(bare.programmes, tuple(shelves), head.count))


def installation_name(secret: bytes) -> str:
    """What tells installations apart that share a Redis: twelve hex digits, which do not give the secret away."""
    return hmac.digest(secret, b"name of the installation", "sha256")[:6].hex()


def salt_of(secret: bytes) -> int:
    """32 bits that all trackers of an installation begin their checksums of addresses with."""
    return int.from_bytes(hmac.digest(secret, b"checksums of addresses", "sha256")[:4], "big")


def _key(secret: bytes) -> bytes:
    return hmac.digest(secret, b"snapshot of the links", "sha256")


class Packed:
    """Remembers the chunks of the table that was packed last, so that the next one packs what changed."""

    def __init__(self) -> None:
        self._shelves: Sequence[list[bytes]] = ()
        self._digests: Sequence[bytes] = ()

    def digests(self, table: LinkTable, pause: Callable[[], None] = lambda: None) -> list[bytes]:
        """The digest of each shelf of a table. Shelves never change, so that an old one keeps its digest."""
        known = {id(shelf): digest for shelf, digest in zip(self._shelves, self._digests, strict=True)}
        found = []
        for shelf in table.links.shelves:
            digest = known.get(id(shelf))
            if digest is None:
                digest = known[id(shelf)] = digest_of(pack_shelf(shelf))
                pause()
            found.append(digest)
        self._shelves, self._digests = table.links.shelves, found
        return found
