"""Touches, leads and orders of another system into the events store: each once, however often its file is imported. Plainly I/O.

A file is read in chunks, a chunk becomes rows, rows gather into blocks of one month, and a second thread inserts them. What
an import leaves behind when it dies is whole blocks; the same file again finishes the work, and changes nothing of what is there:

- ids follow from a touch's time and content, or from the file's own id, and readers take each id once;
- a block's token follows from what it holds, and the store drops what it has already (:mod:`tracker.shelf`);
- leads and orders claim their id in the books first, as live ones do. What is claimed but not stored is stored by the next run.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow as pa

from core.catalogue import Catalogue
from core.catalogue_rules import flaws_of
from core.clock import DAY, MINUTE, Clock, format_instant
from core.errors import Conflict, FairshareError
from core.events import decode_event, encode_event
from core.flaws import known_of
from core.identity import coalition_key, tenant_key
from core.ids import CHANCE_LETTERS, derive
from core.toml_tables import Fault
from store.books import Books
from store.catalogue import add, load_catalogue
from store.events import EventsStore, read_query
from store.receipts import Receipt, claim_all, find_receipts
from tracker.affiliates import Affiliates, records_of
from tracker.conversion import ConversionEvent
from tracker.enrich import CountryOf, rows
from tracker.links import Share
from tracker.mapping import Map, Values, place_columns, suggest
from tracker.past_conversions import ConversionReader, Gathering, Sale, Sold, hash_of
from tracker.past_touches import Ground, TouchReader, touch_digest
from tracker.sheet import Chunk, RowFault, Sheet, opened_sheet
from tracker.shelf import Inserter, Shelf

NAMED_TOUCHES = read_query(__file__, "named_touches")
STORE_CLOCK = read_query(__file__, "store_clock")

SALES_AT_ONCE = 2_000
GARBAGE_OBJECTS = 1_000_000
MOST_IN_LINES = 5_000_000
MOST_SCATTERED = 200_000
CLICKS_BACK = 400 * DAY
"""A click that a file's order names is looked for so far back."""

CLOCKS_APART_MS = 3_000
SHOWN_ROWS = 5
BY = "import"

Progress = Callable[[int, int], None]
"""Told how many rows were read, and about how many there are."""


class MapRefused(FairshareError):
    """A map that does not fit its file or the merchant's catalogue: everything that is wrong with it, by line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class ImportReport(msgspec.Struct):
    """What an import did, or would do. ``rows`` were read; of them ``imported`` went in (orders and leads: the rows of those that did),
    ``known`` were there already, ``skipped`` left out by their status, ``wrong`` told as faults.

    ``created`` are new affiliates and memberships. ``ambiguous`` and ``missing`` count times that a clock showed twice or never,
    ``early`` touches from before their affiliate was a member: they earn nothing. ``shown`` are the first rows as they are stored.
    """

    subject: str
    rows: int = 0
    imported: int = 0
    events: int = 0
    known: int = 0
    skipped: int = 0
    wrong: int = 0
    created: list[str] = []
    ambiguous: int = 0
    missing: int = 0
    early: int = 0
    blocks: int = 0
    late_blocks: int = 0
    dry_run: bool = False
    shown: list[dict[str, Any]] = []


class Work(msgspec.Struct, frozen=True):
    """What an import works with."""

    books: Books
    events: EventsStore
    secret: bytes
    clock: Clock
    country_of: CountryOf
    tolerance_ms: int = 10 * MINUTE
    dry_run: bool = False
    progress: Progress = lambda _done, _total: None
    tell: Callable[[Sequence[RowFault]], None] = lambda _faults: None


def run_import(work: Work, path: Path, map_: Map) -> ImportReport:
    """Import a file.

    Raises:
        MapRefused: the map does not fit the file or the catalogue; nothing was imported.
        FairshareError: the file cannot be read, or somebody else created its affiliates meanwhile; nothing was imported.
        Unavailable: a store does not answer. Whole blocks may be in; the same file again does the rest.
    """
    with opened_sheet(path, map_) as sheet:
        places, faults = place_columns(map_, sheet.header)
        held, more = _catalogue_of(work.books, map_)
        if faults or more:
            raise MapRefused(sorted((*faults, *more)))
    check_clocks(work)
    run = _Run(work, path, map_, places, held)
    with collector_spared():
        return run.touches() if map_.subject == "touches" else run.conversions()


@contextmanager
def collector_spared() -> Iterator[None]:
    """A chunk is a hundred thousand objects that no cycle holds: the collector would look at them over and over, a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def check_clocks(work: Work) -> None:
    """Pollers compare times of storing, so this machine and the store's must agree on the time.

    Raises:
        FairshareError: they do not.
    """
    [(now,)] = work.events.select(STORE_CLOCK)
    apart = work.clock() - now
    if abs(apart) > CLOCKS_APART_MS:
        way = "ahead of" if apart > 0 else "behind"
        raise FairshareError(f"this machine's clock is {abs(apart) / 1000:.1f} s {way} the events store's; set it right first")


# --- what the catalogue says -----------------------------------------------------------------------------------------


def _catalogue_of(books: Books, map_: Map) -> tuple[tuple[Catalogue, frozenset[str]], list[Fault]]:
    """The merchant's part of the catalogue with every account of the installation, and what the map says against them."""
    with books.reading() as connection:
        whole = load_catalogue(connection)
    tenant_id = map_.tenant_id
    accounts = frozenset(affiliate.affiliate_id for affiliate in whole.affiliates)
    tenants = [tenant.tenant_id for tenant in whole.tenants]
    programmes = tuple(programme for programme in whole.programmes if programme.tenant_id == tenant_id)
    memberships = tuple(one for one in whole.memberships if one.tenant_id == tenant_id)
    coalitions = tuple(one for one in whole.coalitions if any(member.tenant_id == tenant_id for member in one.members))
    faults = (
        []
        if tenant_id in tenants
        else [Fault(map_.line_of("import.tenant"), f"there is no tenant {tenant_id!r:.60}{suggest(tenant_id, tenants)}")]
    )
    said = map_.constants.get("programme", "")
    ours = map_.values.get("programme", Values()).known
    ids = [programme.programme_id for programme in programmes]
    if not faults and said and ours.get(said, said) not in ids:
        faults.append(Fault(map_.line_of("constants.programme"), f"{tenant_id} has no programme {said!r:.60}{suggest(said, ids)}"))
    faults += [
        Fault(map_.line_of("values.programme"), f"{tenant_id} has no programme {programme!r:.60}{suggest(programme, ids)}")
        for programme in sorted({*ours.values()} - {*ids})
        if not faults or tenant_id in tenants
    ]
    found = Catalogue(programmes=programmes, memberships=memberships, coalitions=coalitions)
    return (found, accounts), faults


def _shares(catalogue: Catalogue, tenant_id: str, secret: bytes) -> tuple[Share, ...]:
    """The merchant's coalitions, as a tracker knows them."""
    return tuple(
        Share(
            one.coalition_id,
            coalition_key(secret, one.coalition_id),
            tuple(member for member in one.members if member.tenant_id == tenant_id),
        )
        for one in sorted(catalogue.coalitions, key=lambda one: one.coalition_id)
    )


# --- one run ---------------------------------------------------------------------------------------------------------


class _Run:
    """One file's import."""

    def __init__(self, work: Work, path: Path, map_: Map, places: dict[str, int], held: tuple[Catalogue, frozenset[str]]) -> None:
        catalogue, accounts = held
        self._work = work
        self._path = path
        self._map = map_
        self._places = places
        self._now = work.clock()
        self._report = ImportReport(map_.subject, dry_run=work.dry_run)
        self._claimed: set[int] = set()
        self._programmes = [programme.programme_id for programme in catalogue.programmes]
        values = map_.values.get("affiliate", Values())
        self._affiliates = Affiliates(catalogue.memberships, accounts, values, map_.unknown_affiliates == "create")
        self._ground = Ground(
            tenant_key(work.secret, map_.tenant_id),
            _shares(catalogue, map_.tenant_id, work.secret),
            frozenset(self._programmes),
            self._affiliates,
            self._now,
            work.tolerance_ms,
            work.country_of,
        )

    def touches(self) -> ImportReport:
        """Import touches. New affiliates are created before the first of their touches is stored."""
        if self._map.unknown_affiliates == "create":
            scout = TouchReader(self._map, self._places, self._ground)
            for chunk in self._chunks("scout"):
                if chunk.lines:
                    scout.scout(chunk)
            self._create_affiliates()
        reader = TouchReader(self._map, self._places, self._ground)
        work = self._work
        with Inserter(work.events, work.books, work.clock, work.dry_run) as inserter:
            shelf = Shelf(self._map.tenant_id, inserter)
            for chunk in self._chunks():
                found = reader.read(chunk)
                self._tell(chunk.faults)
                self._tell(found.faults)
                self._count(found.skipped, found.ambiguous, found.missing)
                self._report.early += found.early
                self._report.imported += found.touches
                if found.table is not None:
                    self._show(found.table)
                    shelf.add_touches(found.table)
                    for touch in found.links:
                        shelf.add_rows(rows(touch, 0, work.country_of)[1:])
            shelf.flush()
        self._report.events = self._report.imported
        return self._ended(inserter)

    def conversions(self) -> ImportReport:
        """Import leads or orders."""
        scattered = self._scattered() if self._map.by_line else set[int]()
        reader = ConversionReader(self._map, self._places, self._ground, self._order_programme())
        gathering = Gathering(reader.name_of, scattered)
        work = self._work
        with Inserter(work.events, work.books, work.clock, work.dry_run) as inserter:
            shelf = Shelf(self._map.tenant_id, inserter)
            for chunk in self._chunks():
                self._tell(chunk.faults)
                if self._map.by_line:
                    groups = list(gathering.add(chunk.lines, chunk.rows))
                else:
                    groups = [[row] for row in zip(chunk.lines, chunk.rows, strict=True)]
                self._record(reader.read(groups), shelf)
            self._record(reader.read(gathering.rest()), shelf)
            shelf.flush()
        return self._ended(inserter)

    # --- reading

    def _chunks(self, what: str = "") -> Iterator[Chunk]:
        """The file's chunks, counted; ``what`` names a pass that only looks."""
        done = 0
        with opened_sheet(self._path, self._map) as sheet:
            for chunk in sheet.chunks():
                done += len(chunk.lines) + len({fault.line for fault in chunk.faults})
                if not what:
                    self._report.rows = done
                    self._work.progress(done, _estimate(done, chunk.position, sheet))
                yield chunk
        if done == 0:
            raise FairshareError(f"{self._path.name} holds a line with the columns' names and no rows; nothing was imported")

    def _scattered(self) -> set[int]:
        """The order ids whose rows do not stand together."""
        reader = ConversionReader(self._map, self._places, self._ground)
        done, scattered, last, rows_kept = set[int](), set[int](), 0, 0
        for chunk in self._chunks("look"):
            for row in chunk.rows:
                name = hash_of(reader.name_of(row))
                if name != last and name in done:
                    scattered.add(name)
                rows_kept += name in scattered
                last = name
                done.add(name)
            if rows_kept > MOST_SCATTERED:
                raise FairshareError(
                    f"{self._path.name}: more than {MOST_SCATTERED:,} lines stand apart from their orders'; sort the file by order id"
                )
            if len(done) > MOST_IN_LINES:
                raise FairshareError(
                    f"{self._path.name} holds more than {MOST_IN_LINES:,} orders; split it, each order's lines in one part"
                )
        return scattered

    def _order_programme(self) -> str:
        said = self._map.constants.get("programme", "")
        if said:
            return self._map.values.get("programme", Values()).known.get(said, said)
        return self._programmes[0] if len(self._programmes) == 1 else ""

    def _tell(self, faults: Sequence[RowFault]) -> None:
        if faults:
            self._report.wrong += len({fault.line for fault in faults})
            self._work.tell(faults)

    def _count(self, skipped: int, ambiguous: int, missing: int) -> None:
        self._report.skipped += skipped
        self._report.ambiguous += ambiguous
        self._report.missing += missing

    def _show(self, touches: pa.Table) -> None:
        first = touches[: SHOWN_ROWS - len(self._report.shown)]
        times = first["occurred_at"].cast(pa.int64()).to_pylist()
        for row, at in zip(first.to_pylist(), times, strict=True):
            self._report.shown.append({name: value for name, value in row.items() if value} | {"occurred_at": format_instant(at)})

    def _ended(self, inserter: "Inserter") -> ImportReport:
        self._report.blocks, self._report.late_blocks = inserter.blocks, inserter.late
        self._work.progress(self._report.rows, self._report.rows)
        return self._report

    # --- affiliates

    def _create_affiliates(self) -> None:
        """Those that the file shows and the catalogue does not know, in one transaction."""
        known = known_of(Catalogue())
        new = sorted(self._affiliates.new.values(), key=lambda member: (member.affiliate_id, member.programme_id))
        if not new:
            return
        made = [records_of(self._map.tenant_id, member) for member in new]
        for account, _ in made:
            flaws = flaws_of(account, known) if account else []
            if account and flaws:
                flaw = f"its {flaws[0].field} {flaws[0].message}"
                raise FairshareError(f"{account.name!r:.80} cannot become an affiliate: {flaw}; map it in [[values]]")
        self._report.created = [f"{member.affiliate_id} in {member.programme_id} from {format_instant(member.since)}" for member in new]
        if self._work.dry_run:
            return
        try:
            with self._work.books.writing() as connection:
                for account, membership in made:
                    # Added, never put: whoever has the id by now is somebody else, perhaps another merchant's.
                    if account:
                        add(connection, account, BY, self._now)
                    add(connection, membership, BY, self._now)
        except Conflict as error:
            why = "somebody added it while the file was read, most likely"
            raise FairshareError(f"{error} ({why}); nothing was imported, import the file again") from None

    # --- leads and orders

    def _record(self, sold: Sold, shelf: "Shelf") -> None:
        self._tell(sold.faults)
        self._count(sold.skipped, sold.ambiguous, sold.missing)
        for start in range(0, len(sold.sales), SALES_AT_ONCE):
            sales = self._with_clicks(sold.sales[start : start + SALES_AT_ONCE])
            self._record_some(sales, shelf)

    def _record_some(self, sales: Sequence[Sale], shelf: "Shelf") -> None:
        first: dict[str, Sale] = {}
        for sale in sales:
            kept = first.setdefault(sale.conversion.external_id, sale)
            if kept is not sale:
                self._repeat(sale, kept.conversion.content_hash)
        held = self._claim(first)
        again = {external_id for external_id in first if hash_of(external_id) in self._claimed}
        if len(self._claimed) < MOST_IN_LINES:
            self._claimed |= {hash_of(external_id) for external_id in first}
        for external_id, sale in first.items():
            receipt = held.get(external_id)
            own = encode_event(sale.conversion.event)
            if receipt is None:  # a dry run, and it is new
                self._take(sale, cast(ConversionEvent, sale.conversion.event), shelf)
            elif not sale.conversion.says(receipt.body_hash):
                self._refuse(sale, _conflict(sale))
            elif receipt.recorded or external_id in again:
                self._report.known += len(sale.rows)
            elif receipt.event == own or _is_imported(receipt.event):
                self._take(sale, cast(ConversionEvent, decode_event(receipt.event)), shelf)
            else:
                self._refuse(sale, "a tracker is recording it just now; import the file again in a minute")

    def _claim(self, sales: dict[str, Sale]) -> dict[str, Receipt]:
        """The receipts that hold the sales' ids; in a dry run only those that held them before."""
        kind = "order" if self._map.subject == "orders" else "lead"
        if self._work.dry_run:
            with self._work.books.reading() as connection:
                return find_receipts(connection, self._map.tenant_id, kind, list(sales))
        wanted = {
            external_id: Receipt(
                sale.conversion.content_hash, sale.conversion.event.event_id, encode_event(sale.conversion.event), recorded=False
            )
            for external_id, sale in sales.items()
        }
        with self._work.books.writing() as connection:
            return claim_all(connection, self._map.tenant_id, kind, wanted, self._now)

    def _repeat(self, sale: Sale, content_hash: str) -> None:
        """An id that stands twice in the file: said alike, it is one; said otherwise, the first counts."""
        if sale.conversion.content_hash == content_hash:
            self._report.known += len(sale.rows)
        else:
            self._refuse(sale, _conflict(sale))

    def _refuse(self, sale: Sale, why: str) -> None:
        line, cells = sale.rows[0]
        self._report.wrong += len(sale.rows)
        self._work.tell([RowFault(line, "lead_id" if self._map.subject == "leads" else "order_id", why, tuple(cells))])

    def _take(self, sale: Sale, event: ConversionEvent, shelf: "Shelf") -> None:
        placed = rows(event, 0, self._work.country_of)
        self._report.imported += len(sale.rows)
        self._report.events += 1
        if len(self._report.shown) < SHOWN_ROWS:
            shown = msgspec.to_builtins(placed[0][2]) | {"occurred_at": format_instant(event.occurred_at)}
            self._report.shown.append({name: value for name, value in shown.items() if value not in ("", (), [], {}, 0.0)})
        shelf.add_rows(placed, sale.conversion.external_id)

    def _with_clicks(self, sales: Sequence[Sale]) -> list[Sale]:
        """Clicks by their own names in a file of touches become the touches' ids, where these were imported before."""
        named = {sale.click_id for sale in sales if sale.click_id}
        if not named:
            return list(sales)
        digest = touch_digest(self._ground.key)
        letters = {derive(0, digest(name))[-CHANCE_LETTERS:]: name for name in named}
        times = [sale.conversion.event.occurred_at for sale in sales if sale.click_id]
        bounds = {"from_ms": max(0, min(times) - CLICKS_BACK), "to_ms": max(times) + DAY}
        found = self._work.events.select(NAMED_TOUCHES, tenant_id=self._map.tenant_id, letters=sorted(letters), **bounds)
        by_name = {letters[touch_id[-CHANCE_LETTERS:]]: touch_id for (touch_id,) in reversed(found)}
        return [_with_click(sale, by_name[sale.click_id]) if sale.click_id in by_name else sale for sale in sales]


def _with_click(sale: Sale, touch_id: str) -> Sale:
    # Its hash stays that of what was said: a repeat says the same name.
    event: Any = msgspec.structs.replace(cast(Any, sale.conversion.event), click_id=touch_id)
    return msgspec.structs.replace(sale, conversion=msgspec.structs.replace(sale.conversion, event=event))


def _conflict(sale: Sale) -> str:
    conversion = sale.conversion
    what = f"{conversion.kind} {conversion.external_id!r:.140}"
    return f"{what} was recorded before with another content; nothing was changed. A correction needs an id of its own"


def _is_imported(event: bytes) -> bool:
    return getattr(decode_event(event), "source", "") == "import"


def _estimate(done: int, position: int, sheet: Sheet) -> int:
    return max(done, round(done * sheet.size / position)) if position else 0
