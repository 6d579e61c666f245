"""Canonical bytes and their SHA-256: of ledger entries, commissions and batches. Pure.

Every hash covers a domain tag and a version, so that bytes of one kind can never stand for another. The bytes are JSON
arrays in a fixed order without spaces, UTF-8; a golden test holds them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from store.commissions import Commission
from store.ledger import Posting

VERSION = "1"
WITH_PERIOD = "2"
"""The version of entries that belong to an accounting month; those of earlier versions of the program do not, and stay as they are."""
_NOT_CONTENT = ("commission_id", "state", "entry_number")
_EVERY = tuple(name for name in Commission.__struct_fields__ if name not in _NOT_CONTENT)
_CONTENT, _ADDED = _EVERY[: -len(Commission.__struct_defaults__)], _EVERY[-len(Commission.__struct_defaults__) :]
_NOTHING_ADDED = list(Commission.__struct_defaults__)


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
    return msgspec.json.encode([*head, *([period] if period else []), [_side(posting) for posting in postings]])


def chain(previous_hash: str, content: bytes, version: str = VERSION) -> str:
    """The hash of an entry: over the hash of the entry before (empty for the first) and its own bytes."""
    return _digest(version, "fairshare/entry", previous_hash.encode(), content)


def _side(posting: Posting) -> tuple[Any, ...]:
    plain = (posting.account, posting.affiliate_id, posting.currency, posting.amount_minor)
    if not posting.original_currency:
        return plain
    return (*plain, posting.original_currency, posting.original_minor, posting.rate, posting.rate_source, posting.rate_date)


def commission_bytes(row: Commission) -> bytes:
    """A commission's content: everything but its id, its state and its entry's number.

    Rows of earlier versions of the program have nothing in the fields that came later, and are the bytes that they were.
    """
    added = [getattr(row, name) for name in _ADDED]
    return msgspec.json.encode([getattr(row, name) for name in _CONTENT] + ([] if added == _NOTHING_ADDED else added))


def commission_id(row: Commission) -> str:
    """``c_`` and 128 bits of the content's hash: a row that was edited no longer fits its id."""
    return "c_" + digest("fairshare/commission", commission_bytes(row))[:32]


def evidence(commission_ids: Iterable[str]) -> str:
    """What an accrual entry says about the commissions it books, by their ids in order."""
    return digest("fairshare/evidence", msgspec.json.encode(sorted(commission_ids)))


def content_hash(header: Sequence[Any], payouts: Sequence[Sequence[Any]]) -> str:
    """What a second person approves: a batch's header and every payout with its account and its lines."""
    return digest("fairshare/batch", msgspec.json.encode([list(header), [list(payout) for payout in payouts]]))


def digest(domain: str, *parts: bytes) -> str:
    """SHA-256 in hex over domain, version and parts, each led by its length."""
    return _digest(VERSION, domain, *parts)


def _digest(version: str, domain: str, *parts: bytes) -> str:
    sha = hashlib.sha256()
    for part in (domain.encode(), version.encode(), *parts):
        sha.update(len(part).to_bytes(8, "big"))
        sha.update(part)
    return sha.hexdigest()
