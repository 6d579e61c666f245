"""Verify the books' money: recompute hashes and sums, and name the first row that does not fit. Reads only.

From the first entry on it is the whole guarantee. Behind a checkpoint (``payouts.checkpoints``) it reads what is new: the entries since,
the commissions that they book, and what people decided by them; docs/money.md says what it then does not see. Either way it takes one
walk over entries and their commissions, page by page, so that memory does not grow with the ledger.

The head of each tenant's chain is in the report. Heads that were written down outside the database (``payouts.anchors``) are compared,
all of them each time: they show a ledger that was rewritten as a whole.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from core.clock import Clock, Instant, format_instant, system_clock
from payouts.anchors import NO_ANCHORS, Anchor, Anchors, by_tenant
from payouts.batches import content_hash, memo_of
from payouts.checkpoints import Checkpoint
from payouts.decided import HOLDING, Decided, wrong_adjustments, wrong_closings, wrong_holds
from payouts.digests import chained, commission_id, evidence, id_of
from payouts.ledger import BOOKING, EXPENSE, REVERSED, STATES, unbalanced
from payouts.traffic_accrual import recompute_traffic
from store import batches, commissions, holds, ledger
from store.batches import Batch
from store.books import Books
from store.commissions import Commission
from store.ledger import Entry, Page, Posting, Values, entry_of

OF_BATCHES = ("batch_prepared", "batch_settled", "batch_voided")
NAMED = frozenset({*HOLDING, *OF_BATCHES, "adjustment"})
"""The kinds of entries that something else names by their idempotency key."""
PAST_HOLD = ("approved", "payable", "paid")
DUE = {"payable": ("prepared", "approved"), "paid": ("settled",)}
"""The states of a batch that pays a commission in this state; a live line pays no other."""
BATCHES_AT_ONCE = 100
NUMBER, KIND, KEY, POSTED_AT, MEMO, EVIDENCE, PERIOD, PREVIOUS, HASH = range(1, 10)
"""Where an entry's plain values are; the first is the tenant."""
AMOUNT = 3
"""Where a posting's amount is: behind account, affiliate and currency."""
Progress = Callable[[int, int], None]
"""Hears how many entries are done, of how many."""


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
    """What was checked. ``anchors`` were compared with the chain. ``fault`` is None where everything fits.

    ``earlier`` entries lie before checkpoints and were not read; ``checkpoints`` are where the next run may begin.
    """

    entries: int = 0
    commissions: int = 0
    batches: int = 0
    heads: tuple[Head, ...] = ()
    fault: Fault | None = None
    anchors: int = 0
    earlier: int = 0
    checkpoints: tuple[Checkpoint, ...] = ()

    @property
    def ok(self) -> bool:
        return self.fault is None


class _Seen(msgspec.Struct):
    """What one tenant's check learns on its way. ``known``: entries that something else names, by key.

    ``balances``: (account, affiliate, currency) -> minor units; ``granted``: (affiliate, currency, whether taken back) -> minor units.
    """

    tenant_id: str
    since: Checkpoint
    last: int
    head: Head
    decided: Decided
    newest_at: Instant = 0
    entries: int = 0
    commissions: int = 0
    batches: int = 0
    anchors: int = 0
    known: dict[str, Entry] = {}
    balances: defaultdict[Values, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    granted: defaultdict[tuple[str, str, bool], int] = msgspec.field(default_factory=lambda: defaultdict(int))
    live: dict[str, str] = {}
    early: list[Commission] = []

    @property
    def is_whole(self) -> bool:
        return self.since.number == 0


def verify(
    books: Books,
    tenant_id: str | None = None,
    progress: Progress = lambda _done, _total: None,
    anchors: Anchors = NO_ANCHORS,
    checkpoints: Mapping[str, Checkpoint] | None = None,
    clock: Clock = system_clock,
) -> VerifyReport:
    """Check one tenant or all: chain, anchors, sums per entry, commissions against postings, what people decided, batches.

    Stops at the first fault. ``checkpoints`` by tenant: where to begin; a tenant that is not there is checked from its first entry,
    and so are all without them. One consistent view of the books per tenant.
    """
    with books.reading() as connection:
        tenants = [tenant_id] if tenant_id is not None else ledger.tenants_with_money(connection)
        if tenant_id is None:
            tenants = sorted({*tenants, *(line.tenant_id for line in anchors.lines)})
        since = {tenant: (checkpoints or {}).get(tenant) or Checkpoint("", tenant, 0, "") for tenant in tenants}
        total = sum(max(0, ledger.head(connection, tenant)[0] - since[tenant].number) for tenant in tenants)
    report = VerifyReport()
    if anchors.unreadable:
        return VerifyReport(fault=Fault("every tenant", "anchors", f"line {anchors.unreadable[0]}", "it cannot be read"))
    for tenant in tenants:
        done = report.entries
        with books.reading() as connection:
            seen = _begin(connection, tenant, since[tenant])
            fault = next(_faults(connection, seen, anchors, lambda entries, done=done: progress(done + entries, total)), None)  # type: ignore[misc]
            reached = Checkpoint(format_instant(clock()), tenant, seen.last, seen.head.hash, holds.next_step(connection, tenant) - 1)
        report = VerifyReport(
            report.entries + seen.entries,
            report.commissions + seen.commissions,
            report.batches + seen.batches,
            (*report.heads, seen.head),
            fault,
            report.anchors + seen.anchors,
            report.earlier + seen.since.number,
            report.checkpoints if fault or not seen.last else (*report.checkpoints, reached),
        )
        if fault:
            break
    return report


def _begin(connection: Connection, tenant_id: str, since: Checkpoint) -> _Seen:
    last, _ = ledger.head(connection, tenant_id)
    is_whole = since.number == 0
    return _Seen(
        tenant_id,
        since,
        last,
        Head(tenant_id, since.number, since.hash),
        Decided.read(connection, tenant_id, is_whole, since.steps),
        live=batches.live_batches(connection, tenant_id) if is_whole else {},
    )


def _faults(connection: Connection, seen: _Seen, anchors: Anchors, progress: Callable[[int], None]) -> Iterator[Fault]:
    lines = by_tenant(anchors.lines, seen.tenant_id)
    yield from _missing(seen, lines)
    yield from _checkpoint(connection, seen)
    yield from _walk(connection, seen, progress)
    yield from _anchors(connection, seen, lines)
    if seen.is_whole:
        yield from _without_entry(connection, seen)
        yield from _states(connection, seen)
    yield from _granted(seen)
    yield from _early(seen)
    yield from _decided(connection, seen)
    yield from _batches(connection, seen)
    if seen.is_whole:
        yield from _traffic(connection, seen)


# --- entries and postings --------------------------------------------------------------------------------------------


def _missing(seen: _Seen, lines: Mapping[int, Sequence[Anchor]]) -> Iterator[Fault]:
    for number in sorted(lines):
        if number > seen.last:
            what = f"it is missing, but was the last one when it was anchored at {lines[number][0].at}"
            yield Fault(seen.tenant_id, "entries", str(number), what)


def _checkpoint(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    since = seen.since
    if seen.is_whole:
        return
    found = ledger.hashes_of(connection, seen.tenant_id, [since.number]).get(since.number)
    if found is None:
        yield Fault(seen.tenant_id, "entries", str(since.number), f"it is missing, but was there when it was verified at {since.at}")
    if found != since.hash:
        what = f"its hash is not the one that was verified at {since.at}: the ledger was rewritten"
        yield Fault(seen.tenant_id, "entries", str(since.number), what)


def _walk(connection: Connection, seen: _Seen, progress: Callable[[int], None]) -> Iterator[Fault]:
    """Entries behind the checkpoint in their order, page by page, each page with the commissions that it booked."""
    stray = commissions.stray_rows(connection, seen.tenant_id, seen.last)
    for page in ledger.read_values(connection, seen.tenant_id, seen.since.number):
        yield from _entries(seen, page)
        if seen.decided.closings:
            yield from _periods(connection, seen, page)
        first, last = page.entries[0][NUMBER], page.entries[-1][NUMBER]
        found = commissions.values_of_entries(connection, seen.tenant_id, first, last)
        rows = [Commission(*values) for values in found]
        if not seen.is_whole:
            seen.decided.learn(connection, [values[KEY] for values in page.entries if values[KIND] == "adjustment"], rows)
            seen.live = batches.live_batches(connection, seen.tenant_id, [row.commission_id for row in rows])
        yield from _commissions(seen, rows, map(id_of, found))
        yield from _booked(seen, page, rows, stray)
        progress(seen.entries)
    yield from _strays(seen, stray)
    if posting := ledger.stray_posting(connection, seen.tenant_id, seen.last):
        yield Fault(seen.tenant_id, "postings", f"{posting[0]}/{posting[1]}", "there is no such entry")


def _entries(seen: _Seen, page: Page) -> Iterator[Fault]:
    """A page's chain and sums. A million entries pass here, so that it is one loop over plain values."""
    number, previous, balances, sides_of = seen.head.number, seen.head.hash, seen.balances, page.sides
    for values in page.entries:
        number += 1
        sides = sides_of.get(number, ())
        if values[NUMBER] != number or values[PREVIOUS] != previous or values[HASH] != chained(previous, values, sides):
            yield Fault(seen.tenant_id, "entries", str(number), _unchained(values, number, previous))
        for side in sides:
            balances[side[:AMOUNT]] += side[AMOUNT]
        if lopsided := _lopsided(sides):
            yield Fault(seen.tenant_id, "entries", str(number), "its postings of {} in {} sum to {}, not to zero".format(*lopsided))
        if values[KIND] in NAMED:
            seen.known[values[KEY]] = entry_of(values, sides)
        previous = values[HASH]
    seen.entries += len(page.entries)
    seen.newest_at = max(seen.newest_at, max(values[POSTED_AT] for values in page.entries))
    seen.head = Head(seen.tenant_id, number, previous)


def _lopsided(sides: Sequence[Values]) -> tuple[str, str, int] | None:
    if len(sides) == 2:
        one, other = sides
        if one[AMOUNT] == -other[AMOUNT] and one[1:AMOUNT] == other[1:AMOUNT]:
            return None  # as nearly every entry
    return unbalanced([Posting(*side) for side in sides])


def _unchained(values: Values, number: int, previous: str) -> str:
    if values[NUMBER] != number:
        return f"it is missing; the next one is {values[NUMBER]}"
    if values[PREVIOUS] != previous:
        return "its previous_hash is not the hash of the entry before"
    return "its hash does not fit its content and postings"


def _periods(connection: Connection, seen: _Seen, page: Page) -> Iterator[Fault]:
    for values in page.entries:
        if what := seen.decided.wrong_period(values[NUMBER], values[PERIOD]):
            yield from _closings(connection, seen)
            yield Fault(seen.tenant_id, "entries", str(values[NUMBER]), what)


def _anchors(connection: Connection, seen: _Seen, lines: Mapping[int, Sequence[Anchor]]) -> Iterator[Fault]:
    """Every anchor against the stored hash of its entry, be it before the checkpoint or behind it."""
    hashes = ledger.hashes_of(connection, seen.tenant_id, lines)
    for number, anchored in sorted(lines.items()):
        for line in anchored:
            if hashes.get(number) != line.hash:
                what = f"its hash is not the one that was anchored at {line.at}: the ledger was rewritten"
                yield Fault(seen.tenant_id, "entries", str(number), what)
            seen.anchors += 1


def _closings(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    hashes = ledger.hashes_of(connection, seen.tenant_id, (one.head_number for one in seen.decided.closings))
    yield from (Fault(seen.tenant_id, *found) for found in wrong_closings(seen.decided, hashes))


def _decided(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    yield from _closings(connection, seen)
    for check in (wrong_holds, wrong_adjustments):
        yield from (Fault(seen.tenant_id, *found) for found in check(seen.decided, seen.known))


# --- commissions -----------------------------------------------------------------------------------------------------


def _booked(seen: _Seen, page: Page, rows: Sequence[Commission], stray: Sequence[Commission]) -> Iterator[Fault]:
    """Whether a page's commissions are those that its entries booked."""
    booked: dict[int | None, list[str]] = {}
    for row in rows:
        booked.setdefault(row.entry_number, []).append(row.commission_id)
    for values in page.entries:
        if values[KIND] not in BOOKING:
            continue
        ids = booked.get(values[NUMBER], ())
        if values[EVIDENCE] != evidence(ids):
            yield from _strays(seen, stray)  # what is missing here may name another entry
            what = f"the {len(ids)} commissions that name it are not those that it booked: one was added, removed or replaced"
            yield Fault(seen.tenant_id, "entries", str(values[NUMBER]), f"{what} ({values[MEMO]})")


def _commissions(seen: _Seen, rows: Iterable[Commission], ids: Iterable[str]) -> Iterator[Fault]:
    """Each commission by itself; ``ids`` are what theirs must be by their content."""
    live, granted = seen.live, seen.granted
    for row, its_id in zip(rows, ids, strict=True):
        seen.commissions += 1
        amount = row.amount_minor
        if what := _wrong(row, its_id, live.pop(row.commission_id, None) if live else None, seen.decided):
            yield Fault(seen.tenant_id, "commissions", row.commission_id, f"{what} (order {row.order_id}, line {row.line_id})")
        if row.hold_until > seen.newest_at and row.state in PAST_HOLD:
            seen.early.append(row)  # unless an entry comes that was posted later
        granted[row.affiliate_id, row.currency, amount < 0] += amount


def _strays(seen: _Seen, stray: Sequence[Commission]) -> Iterator[Fault]:
    for row in stray:
        what = f"it names entry {row.entry_number}, which does not exist"
        yield Fault(seen.tenant_id, "commissions", row.commission_id, f"{what} (order {row.order_id}, line {row.line_id})")


def _without_entry(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    """Rows that earn nothing, and what a payout pays that is no commission."""
    for row in commissions.without_entry(connection, seen.tenant_id):
        yield from _commissions(seen, (row,), (commission_id(row),))
    for commission, _state in sorted(seen.live.items()):
        yield Fault(seen.tenant_id, "payout_lines", commission, "it pays a commission that does not exist")


def _wrong(row: Commission, its_id: str, live: str | None, decided: Decided) -> str | None:
    if row.commission_id != its_id:
        return "its content does not fit its id"
    if (row.amount_minor == 0) != (row.state == "none"):
        return f"its state is {row.state} and its amount {row.amount_minor}"
    if row.amount_minor and row.entry_number is None:
        return f"it names entry {row.entry_number}, which does not exist"
    if not row.amount_minor and not row.reason:
        return "it earns nothing and says no reason"
    return decided.wrong(row) or _wrong_payout(row, live)


def _wrong_payout(row: Commission, live: str | None) -> str | None:
    due = DUE.get(row.state)
    if live == "twice":
        return "it has more than one live payout line"
    if due is not None and live not in due:
        return f"its state is {row.state}, but it is in no live payout that is {' or '.join(due)}"
    return f"its state is {row.state}, but a payout line pays it" if due is None and live is not None else None


def _states(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    balances = seen.balances.items()
    said = {(who, currency, state): amount for (state, who, currency), amount in balances if amount and state in STATES}
    rows = commissions.state_sums(connection, seen.tenant_id)
    summed = {(affiliate_id, currency, state): amount for affiliate_id, currency, state, amount in rows if amount}
    for key in sorted(said.keys() | summed.keys()):
        by_postings, by_rows = said.get(key, 0), summed.get(key, 0)
        if by_postings != by_rows:
            affiliate_id, currency, state = key
            what = f"commissions {state} sum to {by_rows} {currency} minor units, the ledger's account says {by_postings}"
            yield Fault(seen.tenant_id, "commissions", f"of affiliate {affiliate_id}", what)


def _granted(seen: _Seen) -> Iterator[Fault]:
    """What was granted is the expense, and what was taken back is reversed. Each entry sums to zero, so all together do."""
    booked = {(who, currency) for (account, who, currency), amount in seen.balances.items() if amount and account in (EXPENSE, REVERSED)}
    for affiliate_id, currency in sorted(booked | {key[:2] for key in seen.granted}):
        for account, is_back in ((EXPENSE, False), (REVERSED, True)):
            amount = seen.granted.get((affiliate_id, currency, is_back), 0)
            balance = seen.balances.get((account, affiliate_id, currency), 0)
            if balance != -amount:
                what = f"commissions say {-amount} {currency} minor units of {account}, the ledger's account says {balance}"
                yield Fault(seen.tenant_id, "commissions", f"of affiliate {affiliate_id}", what)


def _early(seen: _Seen) -> Iterator[Fault]:
    """What is past its order's hold got there by an entry that was posted then or later; what came to nothing together needed none."""
    early = [row for row in seen.early if row.hold_until > seen.newest_at]
    sums: dict[tuple[str, str], int] = {}
    for row in early:
        key = row.affiliate_id, row.currency
        sums[key] = sums.get(key, 0) + row.amount_minor
    for row in early:
        if sums[row.affiliate_id, row.currency]:
            what = f"its state is {row.state}, but its order's hold runs until {format_instant(row.hold_until)}"
            yield Fault(seen.tenant_id, "commissions", row.commission_id, f"{what} (order {row.order_id}, line {row.line_id})")


# --- batches ---------------------------------------------------------------------------------------------------------


def _batches(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    """Every batch, or those that new entries name; these with their earlier entries, and the commissions that they pay."""
    headers = sorted(batches.read_batches(connection, seen.tenant_id), key=lambda batch: (batch.prepared_at, batch.batch_id))
    named = {key.partition(":")[2] for key, entry in seen.known.items() if entry.kind in OF_BATCHES}
    chosen = [header.batch_id for header in headers if seen.is_whole or header.batch_id in named]
    if not seen.is_whole:
        keys = [f"{kind}:{batch_id}" for batch_id in chosen for kind in OF_BATCHES]
        for at in range(0, len(keys), BATCHES_AT_ONCE):
            seen.known |= ledger.entries_by_key(connection, seen.tenant_id, keys[at : at + BATCHES_AT_ONCE])
    amounts = commissions.amounts_in_payouts(connection, seen.tenant_id) if seen.is_whole else {}
    for batch_id in chosen:
        batch = batches.read_batch(connection, seen.tenant_id, batch_id)
        assert batch is not None, "it was there a moment ago, in the same view"
        seen.batches += 1
        if not seen.is_whole:
            amounts = commissions.amounts_in_payouts(connection, seen.tenant_id, [payout.payout_id for payout in batch.payouts])
            yield from _paid(connection, seen, batch)
        yield from _payouts(batch, amounts)
        yield from (Fault(seen.tenant_id, "batches", batch.batch_id, what) for what in _wrong_batch(batch, seen.known))
    stored = {header.batch_id for header in headers}
    for key, entry in seen.known.items():
        batch_id = key.partition(":")[2]
        if entry.kind == "batch_prepared" and batch_id not in stored:
            yield Fault(seen.tenant_id, "batches", batch_id, f"entry {entry.number} prepared it, but it does not exist")


def _paid(connection: Connection, seen: _Seen, batch: Batch) -> Iterator[Fault]:
    """The commissions of a batch: old ones too."""
    ids = sorted({line.commission_id for payout in batch.payouts for line in payout.lines if line.live})
    live = batches.live_batches(connection, seen.tenant_id, ids)
    for row in commissions.by_ids(connection, seen.tenant_id, ids):
        wrong = (
            "its content does not fit its id"
            if commission_id(row) != row.commission_id
            else _wrong_payout(row, live.get(row.commission_id))
        )
        if wrong:
            yield Fault(seen.tenant_id, "commissions", row.commission_id, f"{wrong} (order {row.order_id}, line {row.line_id})")


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


# --- clicks and impressions ------------------------------------------------------------------------------------------


def _traffic(connection: Connection, seen: _Seen) -> Iterator[Fault]:
    """Days whose commissions do not follow from their numbers. Orders are for recompute: their facts are not in the books."""
    for one in recompute_traffic(connection, seen.tenant_id):
        if one.wrong:
            yield Fault(seen.tenant_id, "traffic_days", one.order_id.strip(), one.wrong)
