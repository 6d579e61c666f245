"""Canonical bytes and their SHA-256: of ledger entries, commissions and batches. Pure.

Every hash covers a domain tag and a version, so that bytes of one kind can never stand for another. The bytes are JSON
arrays in a fixed order without spaces, UTF-8; a golden test holds them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from hashlib import sha256
from operator import itemgetter
from struct import Struct
from typing import Any

import msgspec

from store.commissions import Commission
from store.ledger import Posting

VERSION = "1"
WITH_PERIOD = "2"
"""The version of entries that belong to an accounting month; those of earlier versions of the program do not, and stay as they are."""
_NOT_CONTENT = ("commission_id", "state", "entry_number")
_EVERY = tuple(name for name in Commission.__struct_fields__ if name not in _NOT_CONTENT)
_encode = msgspec.json.Encoder().encode


def _values(names: Iterable[str]) -> Callable[[Any], tuple[Any, ...]]:
    return itemgetter(*map(Commission.__struct_fields__.index, names))


_whole = _values(_EVERY)
_content, _added = _values(_EVERY[: -len(Commission.__struct_defaults__)]), _values(_EVERY[-len(Commission.__struct_defaults__) :])
_PERIOD = 7
_NOTHING_ADDED = tuple(Commission.__struct_defaults__)


def entry_bytes(
    tenant_id: str,
    number: int,
    kind: str,
    idempotency_key: str,
    posted_at: int,
    memo: str,
    evidence_hash: str,
    postings: Sequence[Posting],
    period: str = "",
) -> bytes:
    """An entry as its hash sees it. A posting that was converted tells from what and at which rate; others are four fields."""
    head: list[Any] = [tenant_id, number, kind, idempotency_key, posted_at, memo, evidence_hash]
    if period:
        head.append(period)
    head.append([_side(posting) for posting in postings])
    return _encode(head)


def chain(previous_hash: str, content: bytes, version: str = VERSION) -> str:
    """The hash of an entry: over the hash of the entry before (empty for the first) and its own bytes."""
    return _digest(version, "fairshare/entry", previous_hash.encode(), content)


def chained(previous_hash: str, values: tuple[Any, ...], sides: Sequence[Sequence[Any]]) -> str:
    """The hash of an entry from its plain values (``store.ledger.Page``), without a Struct on the way."""
    if values[_PERIOD]:
        return chain(previous_hash, _encode((*values[: _PERIOD + 1], sides)), WITH_PERIOD)
    return chain(previous_hash, _encode((*values[:_PERIOD], sides)))


def _side(posting: Posting) -> tuple[Any, ...]:
    if not posting.original_currency:
        return (posting.account, posting.affiliate_id, posting.currency, posting.amount_minor)
    plain = (posting.account, posting.affiliate_id, posting.currency, posting.amount_minor)
    return (*plain, posting.original_currency, posting.original_minor, posting.rate, posting.rate_source, posting.rate_date)


def commission_bytes(row: Commission) -> bytes:
    """A commission's content: everything but its id, its state and its entry's number.

    Rows of earlier versions of the program have nothing in the fields that came later, and are the bytes that they were.
    """
    return _bytes_of(msgspec.structs.astuple(row))


def commission_id(row: Commission) -> str:
    """``c_`` and 128 bits of the content's hash: a row that was edited no longer fits its id."""
    return id_of(msgspec.structs.astuple(row))


def id_of(values: tuple[Any, ...]) -> str:
    """The :func:`commission_id` of a commission from its plain values."""
    return "c_" + digest("fairshare/commission", _bytes_of(values))[:32]


def _bytes_of(values: tuple[Any, ...]) -> bytes:
    return _encode(_content(values) if _added(values) == _NOTHING_ADDED else _whole(values))


def evidence(commission_ids: Iterable[str]) -> str:
    """What an accrual entry says about the commissions it books, by their ids in order."""
    return digest("fairshare/evidence", _encode(sorted(commission_ids)))


def content_hash(header: Sequence[Any], payouts: Sequence[Sequence[Any]]) -> str:
    """What a second person approves: a batch's header and every payout with its account and its lines."""
    return digest("fairshare/batch", msgspec.json.encode([list(header), [list(payout) for payout in payouts]]))


def digest(domain: str, *parts: bytes) -> str:
    """SHA-256 in hex over domain, version and parts, each led by its length."""
    return _digest(VERSION, domain, *parts)


def _digest(version: str, domain: str, *parts: bytes) -> str:
    if len(parts) == 1:  # nearly always, and millions of times
        return sha256(_domain(domain, version) + _length(len(parts[0])) + parts[0]).hexdigest()
    framed = [_domain(domain, version)]
    for part in parts:
        framed += _length(len(part)), part
    return sha256(b"".join(framed)).hexdigest()


_length = Struct(">Q").pack


@cache
def _domain(domain: str, version: str) -> bytes:
    """What the hashed bytes of one kind begin with. There are a handful of kinds."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in (domain.encode(), version.encode()))
