"""Decisions as rows: what is compared with the one in force, when it is locked, and the bytes of a block to be stored. Pure.

Changed means another programme, policy version, result, credit, customer status, segment or override, the credited touch included. A
candidate that arrives later and changes none of these makes no revision: a decision is the record of what was known when it was
taken, and everything that follows it (commissions, postbacks) would run again for nothing.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
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
    return InForce(row.revision, row.programme_id, row.policy_version, row.result, credits, row.customer_status, row.segments, row.override)


def revision_of(decision: Decision, ordered_at: Instant, before: InForce | None) -> Revision | None:
    """What to store of a decision, None where the one in force says the same."""
    number = before.revision if before else 0
    now = InForce(
        number,
        decision.programme_id,
        decision.policy_version,
        decision.result,
        decision.credits,
        decision.customer_status,
        decision.segments,
        override_text(decision.override),
    )
    return None if now == before else Revision(decision, number + 1, ordered_at)


def override_text(override: Override | None) -> str:
    """An override as it is stored beside its decision; empty for none."""
    return _encode(override).decode() if override else ""


def is_locked(terms: Terms, before: InForce, ordered_at: Instant, at: Instant) -> bool:
    """Is it too late at ``at`` to change the decision, by the policy that took it?"""
    versions = terms.policies.get(before.programme_id, ())
    days = next((policy.lock_days for policy in versions if policy.version == before.policy_version), USUAL_LOCK_DAYS)
    return ordered_at + days * DAY <= at


# --- blocks ----------------------------------------------------------------------------------------------------------


def blocks_of(revisions: Iterable[Revision], at: Instant, traces: bool = True) -> list[Block]:
    """Revisions decided at ``at``, by month, each month's by tenant and order."""
    by_month: dict[int, list[Revision]] = {}
    for revision in revisions:
        ordered = as_datetime(revision.ordered_at)
        by_month.setdefault(ordered.year * 100 + ordered.month, []).append(revision)
    return [
        Block(month, len(block), _columns(block, at, traces), token_of(block))
        for month, found in sorted(by_month.items())
        for block in (sorted(found, key=lambda one: (one.decision.tenant_id, one.decision.order_id)),)
    ]


def token_of(block: Sequence[Revision]) -> str:
    """The same revisions give the same token, whenever they are written: a block that is sent again is stored once."""
    content = [(one.decision.tenant_id, one.decision.order_id, one.revision, one.decision.inputs_hash) for one in block]
    return "decisions:" + hashlib.sha256(_encode(content)).hexdigest()


COLUMNS = 17
"""So many columns :func:`_columns` writes; :func:`native` adds the time of storing."""


def native(blocks: Sequence[Block], stored_at: Instant) -> bytes:
    """Blocks as one body in ClickHouse's Native format (https://clickhouse.com/docs/en/interfaces/formats/Native)."""
    return b"".join(
        chain.from_iterable(
            (_varint(COLUMNS + 1), _varint(block.rows), block.columns, _instants("stored_at", [stored_at] * block.rows)) for block in blocks
        )
    )


def _columns(block: Sequence[Revision], at: Instant, traces: bool) -> bytes:
    """Column by column: a name, a type, the values."""
    decisions = [one.decision for one in block]
    credits = [decision.credits for decision in decisions]
    flat = list(chain.from_iterable(credits))
    offsets = _offsets(credits)
    trace = [_encode(decision.trace) if traces else b"[]" for decision in decisions]
    texts = (
        ("tenant_id", [decision.tenant_id for decision in decisions]),
        ("order_id", [decision.order_id for decision in decisions]),
        ("programme_id", [decision.programme_id for decision in decisions]),
        ("result", [decision.result for decision in decisions]),
        ("inputs_hash", [decision.inputs_hash for decision in decisions]),
        ("customer_status", [decision.customer_status for decision in decisions]),
        ("override", [override_text(decision.override) for decision in decisions]),
    )
    parts = [_column(name, "String", _strings([text.encode() for text in values])) for name, values in texts]
    parts += [
        _column("trace", "String", _strings(trace)),
        _column("revision", "UInt32", struct.pack(f"<{len(block)}I", *(one.revision for one in block))),
        _column("policy_version", "UInt32", struct.pack(f"<{len(block)}I", *(one.policy_version for one in decisions))),
        _instants("ordered_at", [one.ordered_at for one in block]),
        _instants("decided_at", [at] * len(block)),
        _column("credits.affiliate_id", "Array(String)", offsets + _strings([one.affiliate_id.encode() for one in flat])),
        _column("credits.touch_id", "Array(String)", offsets + _strings([one.touch_id.encode() for one in flat])),
        _column("credits.numerator", "Array(Int64)", offsets + struct.pack(f"<{len(flat)}q", *(one.numerator for one in flat))),
        _column("credits.denominator", "Array(Int64)", offsets + struct.pack(f"<{len(flat)}q", *(one.denominator for one in flat))),
    ]
    segments = [decision.segments for decision in decisions]
    named = [name.encode() for name in chain.from_iterable(segments)]
    parts.append(_column("segments", "Array(String)", _offsets(segments) + _strings(named)))
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
    return b"".join(chain.from_iterable(zip(map(_varint, map(len, values)), values, strict=True)))


def _varint(number: int) -> bytes:
    """A length in LEB128."""
    if number < len(_LENGTHS):
        return _LENGTHS[number]
    return bytes((number & 127 | 128,)) + _varint(number >> 7)


_LENGTHS: list[bytes] = [bytes((number,)) for number in range(128)]
_LENGTHS += [bytes((number & 127 | 128, number >> 7)) for number in range(128, 16_384)]
