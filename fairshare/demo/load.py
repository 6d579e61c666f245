"""Loads the demo world through the real route: catalogue file, spool, drain, attribution, accrual, batches. Plainly I/O.

Every step is one that a running installation takes, at the demo's own times, and may be repeated: a load that was killed
is finished by the next one. Two cursors in the books say which world this is (``demo:anchor``) and how far it came
(``demo:stage``).
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlalchemy import insert

from attribution.run import Memory, run_once
from core.catalogue_file import write_catalogue
from core.clock import MINUTE, Clock, Instant, start_of_day
from core.events import Event, Touch, encode_event
from core.settings import Settings
from fairshare.catalog import import_into
from fairshare.demo.cards import reference_rates
from fairshare.demo.cast import APPROVER, EXAMPLE_COUPON, EXAMPLE_LINK, NORTH, PREPARER, SIGN_INS, TOKENS, demo_catalogue
from fairshare.demo.stages import Stage, received_in, stages
from fairshare.demo.world import SEED, World, build_world
from payouts.accrue import accrue_once
from payouts.batches import approve, prepare, settle
from payouts.holds import release_due
from payouts.rates import import_rates
from store import schema
from store.batches import Batch, read_batches
from store.books import Books
from store.catalogue import catalogue_version
from store.cursors import move_cursor, read_cursor
from store.events import EventsStore
from store.installation import installation_secret
from store.receipts import find_receipt
from tracker.conversion import ConversionEvent, seal
from tracker.drain import Drain
from tracker.files import replace_durably
from tracker.spool import frame

ANCHOR, STAGE = "demo:anchor", "demo:stage"
SPOOL_ID = "demo"
EXAMPLE_LOYALTY_ID = "L-100001"
"""North's first customer, whose clicks are on record."""

Progress = Callable[[int, int], None]
"""Told ``(done, total)``, in events."""


class DemoReport(msgspec.Struct, frozen=True):
    """What was found or done, and what a newcomer may try.

    ``state``: ``loaded`` now; ``present``, so nothing was done; or ``not_empty``: the installation holds a catalogue of its
    own, so nothing was done and nothing of the rest applies. ``order`` is a body for ``POST /v1/orders``, ``token`` an
    API key of the same merchant, ``link`` a code of the affiliate that the order will credit, ``sign_ins`` are
    ``role: (e-mail, password)``.
    """

    state: Literal["loaded", "present", "not_empty"]
    link: str = ""
    token: str = ""
    order: dict[str, Any] = {}
    sign_ins: dict[str, tuple[str, str]] = {}
    anchor: Instant = 0
    events: int = 0
    seconds: float = 0.0


def load_demo(settings: Settings, books: Books, events: EventsStore, clock: Clock, progress: Progress, seed: int = SEED) -> DemoReport:
    """Fill an empty installation with the demo world that ends at midnight (UTC) of today, or finish what an earlier load began.

    Raises:
        Unavailable: a store or the disk cannot take it now; the next load goes on where this one stopped.
    """
    began = time.monotonic()
    anchor = _claim_installation(books, clock())
    if anchor is None:
        return DemoReport("not_empty")
    plan, done = stages(anchor), _stages_done(books)
    if done == len(plan):
        return _report("present", anchor)
    import_rates(books, reference_rates(anchor), clock)
    world, memory = build_world(anchor, installation_secret(settings), seed), Memory()
    for stage in plan[done:]:
        arrived = received_in(world.events, plan, stage)
        progress(sum(event.received_at < arrived[0].received_at for event in world.events), len(world.events))
        _play(settings, books, events, stage, arrived, memory)
        _move(books, STAGE, stage.number, stage.prepared_at)
    progress(len(world.events), len(world.events))
    return _report("loaded", anchor, world, time.monotonic() - began)


def example_order() -> dict[str, Any]:
    """A body for ``POST /v1/orders`` of north that pays commission: a known customer, at a till, with Anna's coupon."""
    return {
        "order_id": "EXAMPLE-1",
        "currency": "EUR",
        "channel": "pos",
        "store": "berlin",
        "customer": {"loyalty_id": EXAMPLE_LOYALTY_ID, "status": "returning"},
        "coupons": [EXAMPLE_COUPON],
        "lines": [
            {"line_id": "1", "sku": "N-SHOE-TR", "name": "Trail shoes", "category": "shoes", "quantity": 1, "net": "98.25"},
            {"line_id": "2", "sku": "N-SOCK-WL", "name": "Wool socks", "category": "clothing", "quantity": 2, "net": "28.66"},
        ],
        "tax": "24.11",
        "total": "151.02",
    }


def _report(state: Literal["loaded", "present"], anchor: Instant, world: World | None = None, seconds: float = 0.0) -> DemoReport:
    return DemoReport(
        state, EXAMPLE_LINK, TOKENS[NORTH], example_order(), SIGN_INS, anchor, len(world.events) if world else 0, round(seconds, 1)
    )


def _claim_installation(books: Books, now: Instant) -> Instant | None:
    """The anchor of the demo world in these books; None where they hold another catalogue.

    Catalogue and anchor appear together, so that a demo world is never taken for somebody's own catalogue.
    """
    with books.writing() as connection:
        anchor = read_cursor(connection, ANCHOR)
        if anchor:
            return anchor
        if catalogue_version(connection):
            return None
        anchor = start_of_day(now)
        report = import_into(connection, write_catalogue(demo_catalogue(anchor)), "demo", now)
        assert not report.faults, f"the demo's catalogue is sound, but: {report.faults[0]}"
        move_cursor(connection, ANCHOR, anchor, now)
        return anchor


def _stages_done(books: Books) -> int:
    with books.reading() as connection:
        return read_cursor(connection, STAGE)


def _move(books: Books, name: str, position: int, at: Instant) -> None:
    with books.writing() as connection:
        move_cursor(connection, name, position, at)


# --- one stage -------------------------------------------------------------------------------------------------------


def _play(settings: Settings, books: Books, events: EventsStore, stage: Stage, arrived: Sequence[Event], memory: Memory) -> None:
    at = _booking_time(books, stage)
    touches = [event for event in arrived if isinstance(event, Touch)]
    conversions = [event for event in arrived if not isinstance(event, Touch)]
    _give_receipts(books, conversions)
    # Touches first: attribution asks of each touch that is stored after an order whether it came too late for it.
    parts: tuple[tuple[Sequence[Event], Instant], ...] = ((touches, at - MINUTE), (conversions, at))
    for number, (part, stored_at) in enumerate(parts):
        _spool(settings.spool / SPOOL_ID, stage.booked_at * 1000 + number, part)
        _drain_and_decide(settings, books, events, stored_at, memory)
    accrue_once(events, books, lambda: at)
    release_due(books, at)
    _pay(books, stage)


def _drain_and_decide(settings: Settings, books: Books, events: EventsStore, at: Instant, memory: Memory) -> None:
    with Drain(settings, events, lambda: at) as drain:
        while drain.step().records:
            pass
    run_once(events, books, lambda: at, memory=memory)


def _booking_time(books: Books, stage: Stage) -> Instant:
    """The stage's own time. Later only where the engine ran between two halves of a load: pollers never look behind their cursors."""
    with books.reading() as connection:
        newest = max(read_cursor(connection, name) for name in ("attribution", "accrual:decisions", "accrual:refunds"))
    return stage.booked_at if newest <= stage.booked_at else newest + 2 * MINUTE


def _spool(folder: Path, sequence: int, arrived: Sequence[Event]) -> None:
    """One finished segment, in place as a whole. Written again it has the same name and the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_durably(folder / f"{sequence:020d}.log", (frame(encode_event(event)) for event in arrived))


def _give_receipts(books: Books, conversions: Sequence[ConversionEvent]) -> None:
    """Conversions keep their ids for ever: nobody may send another order under one of the demo's. All of a stage, or none."""
    rows = [_receipt(event) for event in conversions]
    with books.writing() as connection:
        if find_receipt(connection, *(rows[0][name] for name in ("tenant_id", "kind", "external_id"))) is None:
            connection.execute(insert(schema.receipts), rows)


def _receipt(event: ConversionEvent) -> dict[str, Any]:
    known = seal(event, event.occurred_at)
    return {
        "tenant_id": event.tenant_id,
        "kind": known.kind,
        "external_id": known.external_id,
        "body_hash": known.content_hash,
        "event_id": event.event_id,
        "event": encode_event(event),
        "recorded": True,
        "received_at": event.received_at,
    }


def _pay(books: Books, stage: Stage) -> None:
    """Take the stage's batch as far as it goes, from wherever an earlier load left it."""
    batch = _batch_of(books, stage)
    if batch is None:
        batch = prepare(books, NORTH, "EUR", stage.cutoff_at, PREPARER, stage.prepared_at)
    if batch.state == "prepared" and stage.approved_at is not None:
        batch = approve(books, NORTH, batch.batch_id, APPROVER, batch.content_hash, stage.approved_at)
    if batch.state == "approved" and stage.settled_at is not None:
        settle(books, NORTH, batch.batch_id, PREPARER, stage.settled_at)


def _batch_of(books: Books, stage: Stage) -> Batch | None:
    with books.reading() as connection:
        return next((batch for batch in read_batches(connection, NORTH) if batch.prepared_at == stage.prepared_at), None)
