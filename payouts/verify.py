"""Verify the books' money: recompute every hash and every sum, and name the first row that does not fit. Reads only.

The head of each tenant's chain is in the report. Heads that were written down outside the database (``payouts.anchors``) are compared:
they show a ledger that was rewritten as a whole.
"""

from collections.abc import Callable, Iterator

import msgspec
from sqlalchemy import Connection

from payouts.anchors import NO_ANCHORS, Anchors, by_tenant
from payouts.batches import content_hash, memo_of
from payouts.decided import Decided, wrong_adjustments, wrong_holds, wrong_periods
from payouts.digests import commission_id, evidence
from payouts.ledger import BOOKING, EXPENSE, REVERSED, STATES, hash_of, unbalanced
from store import batches, commissions, ledger
from store.batches import Batch
from store.books import Books
from store.commissions import Commission
from store.ledger import Entry


class Fault(msgspec.Struct, frozen=True):
    """The first row that does not fit: its table, its key, and what is wrong with it."""

    tenant_id: str
    table: str
    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.table} {self.row} of {self.tenant_id}: {self.what}"


class Head(msgspec.Struct, frozen=True):
    """The end of a tenant's chain."""

    tenant_id: str
    number: int
    hash: str


class VerifyReport(msgspec.Struct, frozen=True):
    """What was checked. ``anchors`` were compared with the chain. ``fault`` is None where everything fits."""

    entries: int = 0
    commissions: int = 0
    batches: int = 0
    heads: tuple[Head, ...] = ()
    fault: Fault | None = None
    anchors: int = 0

    @property
    def ok(self) -> bool:
        return self.fault is None


class _Seen(msgspec.Struct):
    """What one tenant's check learns on its way."""

    tenant_id: str
    entries: dict[int, Entry]
    balances: dict[tuple[str, str, str], int]
    head: Head
    decided: Decided
    commissions: int = 0
    batches: int = 0
    anchors: int = 0
    granted: dict[tuple[str, str], list[int]] = msgspec.field(default_factory=dict)


def verify(
    books: Books, tenant_id: str | None = None, progress: Callable[[int], None] | None = None, anchors: Anchors = NO_ANCHORS
) -> VerifyReport:
    """Check one tenant or all: chain, anchors, sums per entry, commissions against postings, what people decided, batches.

    Stops at the first fault. ``progress`` hears how many entries are done. One consistent view of the books per tenant.
    """
    with books.reading() as connection:
        tenants = [tenant_id] if tenant_id is not None else ledger.tenants_with_money(connection)
        if tenant_id is None:
            tenants = sorted({*tenants, *(line.tenant_id for line in anchors.lines)})
    report = VerifyReport()
    if anchors.unreadable:
        return VerifyReport(fault=Fault("every tenant", "anchors", f"line {anchors.unreadable[0]}", "it cannot be read"))
    for tenant in tenants:
        with books.reading() as connection:
            seen = _Seen(tenant, {}, {}, Head(tenant, 0, ""), Decided.read(connection, tenant))
            fault = next(_faults(connection, seen, anchors), None)
        report = VerifyReport(
            report.entries + len(seen.entries),
            report.commissions + seen.commissions,
            report.batches + seen.batches,
            (*report.heads, seen.head),
            fault,
            report.anchors + seen.anchors,
        )
        if progress:
            progress(report.entries)
        if fault:
            break
    return report


def _faults(connection: Connection, seen: _Seen, anchors: Anchors) -> Iterator[Fault]:
    yield from _chain(connection, seen)
    yield from _anchors(seen, anchors)
    yield from _commissions(connection, seen)
    yield from _states(connection, seen)
    yield from _decided(seen)
    yield from _batches(connection, seen)


# --- entries and postings --------------------------------------------------------------------------------------------


def _chain(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    for entry in ledger.read_entries(connection, seen.tenant_id):
        number, previous = seen.head.number + 1, seen.head.hash
        if entry.number != number:
            yield Fault(seen.tenant_id, "entries", str(number), f"it is missing; the next one is {entry.number}")
        if entry.previous_hash != previous:
            yield Fault(seen.tenant_id, "entries", str(number), "its previous_hash is not the hash of the entry before")
        if entry.hash != hash_of(entry, previous):
            yield Fault(seen.tenant_id, "entries", str(number), "its hash does not fit its content and postings")
        if lopsided := unbalanced(entry.postings):
            yield Fault(seen.tenant_id, "entries", str(number), "its postings of {} in {} sum to {}, not to zero".format(*lopsided))
        for posting in entry.postings:
            key = (posting.affiliate_id, posting.currency, posting.account)
            seen.balances[key] = seen.balances.get(key, 0) + posting.amount_minor
        seen.entries[number] = entry
        seen.head = Head(seen.tenant_id, number, entry.hash)
    if stray := ledger.stray_posting(connection, seen.tenant_id):
        yield Fault(seen.tenant_id, "postings", f"{stray[0]}/{stray[1]}", "there is no such entry")


def _anchors(seen: _Seen, anchors: Anchors) -> Iterator[Fault]:
    for number, lines in sorted(by_tenant(anchors.lines, seen.tenant_id).items()):
        entry = seen.entries.get(number)
        for line in lines:
            if entry is None:
                yield Fault(
                    seen.tenant_id, "entries", str(number), f"it is missing, but was the last one when it was anchored at {line.at}"
                )
            elif entry.hash != line.hash:
                what = f"its hash is not the one that was anchored at {line.at}: the ledger was rewritten"
                yield Fault(seen.tenant_id, "entries", str(number), what)
            seen.anchors += 1


def _decided(seen: _Seen) -> Iterator[Fault]:
    for check in (wrong_periods, wrong_holds, wrong_adjustments):
        yield from (Fault(seen.tenant_id, *found) for found in check(seen.decided, seen.entries))


# --- commissions -----------------------------------------------------------------------------------------------------


def _commissions(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    booked: dict[int, list[str]] = {}
    live = batches.live_batches(connection, seen.tenant_id)
    for row in commissions.read_all(connection, seen.tenant_id):
        seen.commissions += 1
        if what := _wrong(row, live.pop(row.commission_id, None), seen):
            yield Fault(seen.tenant_id, "commissions", row.commission_id, f"{what} (order {row.order_id}, line {row.line_id})")
        granted = seen.granted.setdefault((row.affiliate_id, row.currency), [0, 0])
        granted[row.amount_minor < 0] += row.amount_minor
        if row.entry_number is not None:
            booked.setdefault(row.entry_number, []).append(row.commission_id)
    for commission, _state in sorted(live.items()):
        yield Fault(seen.tenant_id, "payout_lines", commission, "it pays a commission that does not exist")
    for number, entry in seen.entries.items():
        ids = booked.get(number, [])
        if entry.kind in BOOKING and entry.evidence_hash != evidence(ids):
            what = f"the {len(ids)} commissions that name it are not those that it booked: one was added, removed or replaced"
            yield Fault(seen.tenant_id, "entries", str(number), f"{what} ({entry.memo})")


def _wrong(row: Commission, live: str | None, seen: _Seen) -> str | None:
    if commission_id(row) != row.commission_id:
        return "its content does not fit its id"
    if (row.amount_minor == 0) != (row.state == "none"):
        return f"its state is {row.state} and its amount {row.amount_minor}"
    if row.amount_minor and (row.entry_number is None or row.entry_number not in seen.entries):
        return f"it names entry {row.entry_number}, which does not exist"
    if not row.amount_minor and not row.reason:
        return "it earns nothing and says no reason"
    if what := seen.decided.wrong(row):
        return what
    due = {"payable": ("prepared", "approved"), "paid": ("settled",)}.get(row.state)
    if live == "twice":
        return "it has more than one live payout line"
    if due is not None and live not in due:
        return f"its state is {row.state}, but it is in no live payout that is {' or '.join(due)}"
    return f"its state is {row.state}, but a payout line pays it" if due is None and live is not None else None


def _states(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    said = {key: amount for key, amount in seen.balances.items() if amount and key[2] in STATES}
    rows = commissions.state_sums(connection, seen.tenant_id)
    summed = {(affiliate_id, currency, state): amount for affiliate_id, currency, state, amount in rows if amount}
    for key in sorted(said.keys() | summed.keys()):
        by_postings, by_rows = said.get(key, 0), summed.get(key, 0)
        if by_postings != by_rows:
            affiliate_id, currency, state = key
            what = f"commissions {state} sum to {by_rows} {currency} minor units, the ledger's account says {by_postings}"
            yield Fault(seen.tenant_id, "commissions", f"of affiliate {affiliate_id}", what)
    yield from _granted(seen)
    for affiliate_id, currency in sorted({key[:2] for key in seen.balances}):
        total = sum(amount for key, amount in seen.balances.items() if key[:2] == (affiliate_id, currency))
        if total:
            yield Fault(
                seen.tenant_id, "postings", f"of affiliate {affiliate_id}", f"all accounts in {currency} sum to {total}, not to zero"
            )


def _granted(seen: _Seen) -> Iterator[Fault]:
    """What was granted is the expense, and what was taken back is reversed."""
    for (affiliate_id, currency), amounts in sorted(seen.granted.items()):
        for account, amount in zip((EXPENSE, REVERSED), amounts, strict=True):
            balance = seen.balances.get((affiliate_id, currency, account), 0)
            if balance != -amount:
                what = f"commissions say {-amount} {currency} minor units of {account}, the ledger's account says {balance}"
                yield Fault(seen.tenant_id, "commissions", f"of affiliate {affiliate_id}", what)


# --- batches ---------------------------------------------------------------------------------------------------------


def _batches(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    keys = {entry.idempotency_key: entry for entry in seen.entries.values()}
    amounts = commissions.amounts_in_payouts(connection, seen.tenant_id)
    stored = sorted(batches.read_batches(connection, seen.tenant_id), key=lambda batch: (batch.prepared_at, batch.batch_id))
    for header in stored:
        batch = batches.read_batch(connection, seen.tenant_id, header.batch_id)
        assert batch is not None, "it was there a moment ago, in the same view"
        seen.batches += 1
        yield from _payouts(batch, amounts)
        yield from (Fault(seen.tenant_id, "batches", batch.batch_id, what) for what in _wrong_batch(batch, keys))
    prepared = {f"batch_prepared:{batch.batch_id}" for batch in stored}
    for key, entry in keys.items():
        if entry.kind == "batch_prepared" and key not in prepared:
            yield Fault(seen.tenant_id, "batches", key.partition(":")[2], f"entry {entry.number} prepared it, but it does not exist")


def _payouts(batch: Batch, amounts: dict[str, int]) -> Iterator[Fault]:
    live = batch.state != "void"
    for payout in batch.payouts:
        for line in payout.lines:
            row = f"{payout.payout_id}/{line.commission_id}"
            if amounts.get(line.commission_id) != line.amount_minor:
                what = f"it pays {line.amount_minor}, its commission is {amounts.get(line.commission_id)}"
                yield Fault(batch.tenant_id, "payout_lines", row, what)
            if line.live != live:
                yield Fault(batch.tenant_id, "payout_lines", row, f"live is {line.live} in a batch that is {batch.state}")
        if payout.amount_minor != sum(line.amount_minor for line in payout.lines):
            yield Fault(batch.tenant_id, "payouts", payout.payout_id, f"its amount {payout.amount_minor} is not the sum of its lines")


def _wrong_batch(batch: Batch, keys: dict[str, Entry]) -> Iterator[str]:
    prepared = keys.get(f"batch_prepared:{batch.batch_id}")
    if content_hash(batch) != batch.content_hash:
        yield "its content_hash does not fit its payouts, accounts and lines"
    if prepared is None or (prepared.evidence_hash, prepared.memo) != (batch.content_hash, memo_of(batch, "batch_prepared")):
        yield "the ledger has no entry that prepared this content"
    approved = batch.state in ("approved", "settled")
    if approved and (not batch.approved_by or batch.approved_by == batch.prepared_by or batch.approved_hash != batch.content_hash):
        yield "its approval is not that of a second person for this content"
    for state, kind in (("settled", "batch_settled"), ("void", "batch_voided")):
        entry = keys.get(f"{kind}:{batch.batch_id}")
        if (entry is not None) != (batch.state == state):
            yield f"its state is {batch.state}, but the ledger {'has' if entry else 'has no'} {kind} entry"
        if entry is not None and entry.memo != memo_of(batch, entry.kind):  # type: ignore[arg-type]
            yield f"the people of its {kind} entry are not those of its row"
