"""After whatever happened to an installation: is everything that was acknowledged stored, once, and is the money right?

Clicks: acknowledged ids = stored ids, each in one row. Above that only what a request without an answer may have left.
Orders: every one that was confirmed, each counted once by reports; one that was sent again may have several equal rows.
Money: each order earns its commission once, and the ledger's hash chain holds. And conservation must agree with all that.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec

from attribution.run import run_once
from benchmarks.household import TENANT, Household, answers, wait_for
from benchmarks.witness import Witness
from core.clock import system_clock
from payouts.accrue import accrue_once
from payouts.verify import verify
from portal.merchant import read_overview
from store.books import Books, open_books
from store.events import EventsStore, connect_events, read_query
from store.installation import door_of_owner
from store.reports import earned_by_state
from tracker.conservation import account, totals
from tracker.drain import pending_bytes
from tracker.manifest import read_cursor
from tracker.spool import spool_folders

STORED_IDS = read_query(__file__, "stored_ids")
COMMISSION_MINOR = 1_00
"""Ten per cent of the 10.00 of an order of :mod:`benchmarks.witness`."""

CAUGHT_UP_WITHIN_S = 120.0


class Findings(msgspec.Struct):
    """What was found; ``faults`` says in words what must not be."""

    figures: dict[str, Any] = {}
    faults: list[str] = []


def audit(household: Household, witness: Witness) -> Findings:
    """Look at everything that ``witness``, which has stopped, was told. The installation runs; it is waited for."""
    began = time.monotonic()
    wait_for("the drain to catch up", lambda: is_drained(household), CAUGHT_UP_WITHIN_S)
    drained_s = time.monotonic() - began
    with closing(open_books(household.settings.books)) as books, opened(household) as events:
        if household.kind == "apart":  # nobody else decides and books there
            run_once(events, books, system_clock)
            accrue_once(events, books, system_clock)
        found = compare_ids(events, witness)
        found.figures["caught_up_after_s"] = round(drained_s, 2)
        check_money(found, books, len(witness.orders))
        check_reports(found, books, events)
        accounted = account(household.settings, events)
    total = totals(accounted.rows)
    found.figures["conservation"] = {name: getattr(total, name) for name in ("received", "stored", "bad", "pending", "unrecorded")}
    if not accounted.balanced or total.pending:
        found.faults.append(f"conservation: {total} {accounted.faults}")
    return found


def compare_ids(events: EventsStore, witness: Witness) -> Findings:
    """Acknowledged ids against stored ids."""
    copies: dict[str, dict[str, int]] = {"click": {}, "order": {}}
    for kind, id_, number in events.select(STORED_IDS):
        copies[kind][id_] = number
    clicks, orders = copies["click"], copies["order"]
    missing = [*(witness.clicks - clicks.keys()), *(witness.orders - orders.keys())]
    doubled = [id_ for id_, number in clicks.items() if number > 1]
    repeated = sum(number - 1 for number in orders.values())
    surplus = len(clicks.keys() - witness.clicks)
    figures = {
        "acknowledged": witness.acknowledged,
        "stored": len(clicks) + len(orders),
        "missing": len(missing),
        "doubled": len(doubled) + witness.told_twice,
        "raw_duplicates": {"clicks": sum(clicks.values()) - len(clicks), "orders": repeated},
        "stored_without_an_answer": surplus,
    }
    faults = [
        *(f"{len(missing)} acknowledged events are missing, {missing[0]} for one" for _ in missing[:1]),
        *(f"{len(doubled)} clicks are stored twice, {doubled[0]} for one" for _ in doubled[:1]),
    ]
    if witness.told_twice:
        faults.append(f"{witness.told_twice} click ids were given out twice")
    unanswered_clicks = witness.unanswered - witness.unanswered_orders
    if surplus > unanswered_clicks:
        faults.append(f"{surplus} clicks are stored that nobody was told of, but only {unanswered_clicks} requests got no answer")
    if repeated > witness.unanswered_orders:
        faults.append(f"orders have {repeated} rows too many, but only {witness.unanswered_orders} had to be sent again")
    if witness.sent_orders > len(witness.orders):
        faults.append(f"{witness.sent_orders - len(witness.orders)} orders were never confirmed")
    return Findings(figures, faults)


def check_money(found: Findings, books: Books, orders: int) -> None:
    """Every order earned its commission, once; the ledger verifies. Waits for a running engine to have booked it."""
    expected = {"EUR": orders * COMMISSION_MINOR} if orders else {}
    deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
    while (earned := _earned(books)) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    if earned != expected:
        found.faults.append(f"the commissions are {earned} instead of {expected}")
    report = verify(books)
    found.figures["ledger_entries"] = report.entries
    if not report.ok:
        found.faults.append(f"the ledger does not verify: {report.fault}")


def check_reports(found: Findings, books: Books, events: EventsStore) -> None:
    """What a merchant's first page counts: each click and each order once, however many rows it has."""
    overview = read_overview(books, events, TENANT, system_clock())
    counted = sum(day.clicks for day in overview.days) + overview.orders
    if counted != found.figures["stored"]:
        found.faults.append(f"the merchant's page counts {counted} clicks and orders, {found.figures['stored']} are stored")


def is_drained(household: Household) -> bool:
    """True where the spool holds nothing that waits for the store."""
    return not any(pending_bytes(folder, read_cursor(folder)) for folder in spool_folders(household.settings.spool))


@contextmanager
def opened(household: Household) -> Iterator[EventsStore]:
    """The installation's events store: through the running engine's door, or its server."""
    url = household.settings.events
    if household.kind == "embedded":
        wait_for("the engine", lambda: answers(household.settings.portal_port))
        url = wait_for("the engine's door", lambda: door_of_owner(household.settings))
    with closing(connect_events(url)) as events:
        yield events


def _earned(books: Books) -> dict[str, int]:
    earned: dict[str, int] = {}
    with books.reading() as connection:
        for by_currency in earned_by_state(connection, TENANT).values():
            for currency, minor in by_currency.items():
                earned[currency] = earned.get(currency, 0) + minor
    return earned
