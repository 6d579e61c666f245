"""Decisions as rows: what is compared with the one in force, when it is locked, and the bytes of a block to be stored. Pure.

Changed means another programme, policy version, result, credit, customer status, segment, override, number of the customer's order or
time of their first, the credited touch included. A
candidate that arrives later and changes none of these makes no revision: a decision is the record of what was known when it was
taken, and everything that follows it (commissions, postbacks) would run again for nothing.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, chain

import msgspec

from attribution.policy import Terms
from core.clock import DAY, Instant, as_datetime
from core.credit import Credit, Decision, Override, Result
from core.events import CustomerStatus

USUAL_LOCK_DAYS = 60
"""Where the policy of a decision is not on record any more, or was none."""


class InForce(msgspec.Struct, frozen=True):
    """What makes two decisions the same, and the number of the stored one. ``override`` is that record as it is stored."""

    revision: int
    programme_id: str
    policy_version: int
    result: Result
    credits: tuple[Credit, ...]
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()
    override: str = ""
    order_number: int = 0
    first_ordered_at: Instant = 0


class InForceRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A decision as ``queries/latest_decisions.sql`` gives it."""

    order_id: str
    revision: int
    programme_id: str
    policy_version: int
    result: Result
    ordered_at: Instant
    affiliate_ids: tuple[str, ...]
    touch_ids: tuple[str, ...]
    numerators: tuple[int, ...]
    denominators: tuple[int, ...]
    customer_status: CustomerStatus
    segments: tuple[str, ...]
    override: str
    order_number: int
    first_ordered_at: Instant


class Revision(msgspec.Struct, frozen=True):
    """A decision to be stored, with the time of its order."""

    decision: Decision
    revision: int
    ordered_at: Instant


class Block(msgspec.Struct, frozen=True):
    """Revisions of one month, encoded but for the time of storing. ``digest`` follows from what is stored alone."""

    month: int
    rows: int
    columns: bytes
    digest: str


decode_in_force = msgspec.json.Decoder(InForceRow).decode_lines
_encode = msgspec.json.Encoder().encode


def in_force_of(row: InForceRow) -> InForce:
    """What a stored decision says."""
    credits = tuple(map(Credit, row.affiliate_ids, row.touch_ids, row.numerators, row.denominators))
    customer = (row.customer_status, row.segments, row.override, row.order_number, row.first_ordered_at)
    return InForce(row.revision, row.programme_id, row.policy_version, row.result, credits, *customer)


def revision_of(decision: Decision, ordered_at: Instant, before: InForce | None) -> Revision | None:
    """What to store of a decision, None where the one in force says the same."""
    if before is None:
        return Revision(decision, 1, ordered_at)
    now = InForce(
        before.revision,
        decision.programme_id,
        decision.policy_version,
        decision.result,
        decision.credits,
        decision.customer_status,
        decision.segments,
        override_text(decision.override),
        decision.order_number,
        decision.first_ordered_at,
    )
    return None if now == before else Revision(decision, before.revision + 1, ordered_at)


def override_text(override: Override | None) -> str:
    """An override as it is stored beside its decision; empty for none."""
    return _encode(override).decode() if override else ""


def is_locked(terms: Terms, before: InForce, ordered_at: Instant, at: Instant) -> bool:
    """Is it too late at ``at`` to change the decision, by the policy that took it?"""
    versions = terms.policies.get(before.programme_id, ())
    days = next((policy.lock_days for policy in versions if policy.version == before.policy_version), USUAL_LOCK_DAYS)
    return ordered_at + days * DAY <= at


# --- blocks ----------------------------------------------------------------------------------------------------------


def blocks_of(revisions: Iterable[Revision], at: Instant) -> list[Block]:
    """Revisions decided at ``at``, by month, each month's by tenant and order."""
    by_month: dict[int, list[Revision]] = {}
    for revision in revisions:
        by_month.setdefault(_month_of(revision.ordered_at // DAY), []).append(revision)
    return [
        Block(month, len(block), _columns(block, at), token_of(block))
        for month, found in sorted(by_month.items())
        for block in (sorted(found, key=lambda one: (one.decision.tenant_id, one.decision.order_id)),)
    ]


@lru_cache
def _month_of(day: int) -> int:
    ordered = as_datetime(day * DAY)
    return ordered.year * 100 + ordered.month


def token_of(block: Sequence[Revision]) -> str:
    """The same revisions give the same token, whenever they are written: a block that is sent again is stored once."""
    content = [
        (one.decision.tenant_id, one.decision.order_id, one.revision, one.decision.inputs_hash or _said(one.decision)) for one in block
    ]
    return "decisions:" + hashlib.sha256(_encode(content)).hexdigest()


def _said(decision: Decision) -> tuple[object, ...]:
    what = decision.programme_id, decision.policy_version, decision.result, decision.credits
    customer = decision.customer_status, decision.segments, override_text(decision.override)
    return *what, *customer, decision.order_number, decision.first_ordered_at


REMEMBERED = 10_000
"""So many texts that come again are kept as they are written."""
COLUMNS = 19
"""So many columns :func:`_columns` writes; :func:`native` adds the time of storing."""


def native(blocks: Sequence[Block], stored_at: Instant) -> bytes:
    """Blocks as one body in ClickHouse's Native format (https://clickhouse.com/docs/en/interfaces/formats/Native)."""
    return b"".join(
        chain.from_iterable(
            (_varint(COLUMNS + 1), _varint(block.rows), block.columns, _instants("stored_at", [stored_at] * block.rows)) for block in blocks
        )
    )


def _columns(block: Sequence[Revision], at: Instant) -> bytes:
    """Column by column: a name, a type, the values."""
    decisions = [one.decision for one in block]
    credits = [decision.credits for decision in decisions]
    flat = list(chain.from_iterable(credits))
    offsets = _offsets(credits)
    trace = [_encode(decision.trace) for decision in decisions]
    few = (
        ("tenant_id", [decision.tenant_id for decision in decisions]),
        ("programme_id", [decision.programme_id for decision in decisions]),
        ("result", [decision.result for decision in decisions]),
        ("customer_status", [decision.customer_status for decision in decisions]),
        ("override", [override_text(decision.override) for decision in decisions]),
    )
    parts = [_column(name, "String", _texts(values)) for name, values in few]
    parts += [
        _column("order_id", "String", _strings([decision.order_id.encode() for decision in decisions])),
        _column("inputs_hash", "String", _strings([decision.inputs_hash.encode() for decision in decisions])),
        _column("trace", "String", _strings(trace)),
        _column("revision", "UInt32", struct.pack(f"<{len(block)}I", *(one.revision for one in block))),
        _column("policy_version", "UInt32", struct.pack(f"<{len(block)}I", *(one.policy_version for one in decisions))),
        _column("order_number", "UInt32", struct.pack(f"<{len(block)}I", *(one.order_number for one in decisions))),
        _instants("first_ordered_at", [one.first_ordered_at for one in decisions]),
        _instants("ordered_at", [one.ordered_at for one in block]),
        _instants("decided_at", [at] * len(block)),
        _column("credits.affiliate_id", "Array(String)", offsets + _texts([one.affiliate_id for one in flat])),
        _column("credits.touch_id", "Array(String)", offsets + _strings([one.touch_id.encode() for one in flat])),
        _column("credits.numerator", "Array(Int64)", offsets + struct.pack(f"<{len(flat)}q", *(one.numerator for one in flat))),
        _column("credits.denominator", "Array(Int64)", offsets + struct.pack(f"<{len(flat)}q", *(one.denominator for one in flat))),
    ]
    segments = [decision.segments for decision in decisions]
    parts.append(_column("segments", "Array(String)", _offsets(segments) + _texts(list(chain.from_iterable(segments)))))
    return b"".join(parts)


def _column(name: str, kind: str, values: bytes) -> bytes:
    return _strings([name.encode(), kind.encode()]) + values


def _instants(name: str, values: Sequence[Instant]) -> bytes:
    return _column(name, "DateTime64(3, 'UTC')", struct.pack(f"<{len(values)}q", *values))


def _offsets(lists: Iterable[Sequence[object]]) -> bytes:
    """Where each array ends."""
    ends = list(accumulate(map(len, lists)))
    return struct.pack(f"<{len(ends)}Q", *ends)


def _strings(values: Sequence[bytes]) -> bytes:
    lengths = list(map(len, values))
    short = max(lengths, default=0) < len(_LENGTHS)
    return b"".join(chain.from_iterable(zip(map(_LENGTHS.__getitem__ if short else _varint, lengths), values, strict=True)))


class _Remembered(dict[str, bytes]):
    """Texts that come again and again, each behind its length."""

    def __missing__(self, text: str) -> bytes:
        if len(self) >= REMEMBERED:
            self.clear()
        encoded = text.encode()
        self[text] = whole = _varint(len(encoded)) + encoded
        return whole


_remembered = _Remembered()


def _texts(values: Sequence[str]) -> bytes:
    """The same as :func:`_strings` for texts of which there are few different ones."""
    return b"".join(map(_remembered.__getitem__, values))


def _varint(number: int) -> bytes:
    """A length in LEB128."""
    if number < len(_LENGTHS):
        return _LENGTHS[number]
    return bytes((number & 127 | 128,)) + _varint(number >> 7)


_LENGTHS: list[bytes] = [bytes((number,)) for number in range(128)]
_LENGTHS += [bytes((number & 127 | 128, number >> 7)) for number in range(128, 16_384)]
