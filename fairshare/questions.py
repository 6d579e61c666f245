"""The commands that ask and check: each returns a record for programs and a text for people."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from attribution.explain import as_json, as_text, explain
from core.clock import format_instant
from core.errors import FairshareError, NotFound
from core.leads import name_of
from core.settings import Settings
from fairshare.books import opened_books
from fairshare.catalog import ImportReport
from fairshare.collector import undisturbed
from fairshare.ledgers import anchors_of
from fairshare.output import Advance
from fairshare.stores import opened_events
from payouts.anchors import read_anchors
from payouts.checkpoints import FILE as CHECKPOINTS
from payouts.checkpoints import read_checkpoints, write_checkpoints
from payouts.recompute import RecomputeReport, recompute
from payouts.verify import VerifyReport, verify
from store.installation import door_of_owner
from store.links import all_tenants
from tracker.conservation import Row, account, advice, totals
from tracker.replay import ReplayReport, replay_log
from tracker.replay import as_text as replay_as_text


def explain_order(settings: Settings, tenant_id: str, order_id: str) -> tuple[dict[str, Any], str]:
    """Why an order was credited or not, or a lead, which is asked for as ``lead:ID``.

    Raises:
        NotFound: the tenant has no such order, or it is not decided yet.
    """
    with opened_events(settings) as events:
        found = explain(events, tenant_id, order_id)
        if found is None and order_id.startswith("lead:"):
            found = explain(events, tenant_id, name_of(order_id.removeprefix("lead:")))
    if found is None:
        raise NotFound(f"tenant {tenant_id} has no decided order {order_id}; a new one is decided within seconds of its arrival")
    return as_json(found), as_text(found)


def verify_books(settings: Settings, tenant_id: str | None, full: bool, advance: Advance) -> tuple[VerifyReport, dict[str, Any], str]:
    """Whether the ledger is whole, and the first row that is not: what is new since the last run, or with ``full`` all of it.

    Raises:
        Unavailable: the books or the data folder's files cannot be used now.
    """
    path = settings.data / CHECKPOINTS
    known = read_checkpoints(path)
    with opened_books(settings) as books, undisturbed():
        report = verify(books, tenant_id, advance, read_anchors(anchors_of(settings)), {} if full else known)
    if any(known.get(one.tenant_id) != one for one in report.checkpoints):
        write_checkpoints(path, report.checkpoints, known)
    plain = {
        "ok": report.ok,
        "full": not report.earlier,
        "entries": report.entries,
        "earlier": report.earlier,
        "commissions": report.commissions,
        "batches": report.batches,
        "anchors": report.anchors,
        "heads": [{"tenant": head.tenant_id, "entries": head.number, "hash": head.hash} for head in report.heads],
        "fault": str(report.fault) if report.fault else None,
    }
    checked = f"{report.entries:,} entries, {report.commissions:,} commissions, {report.batches:,} batches, {report.anchors:,} anchors"
    text = f"broken: {report.fault}" if report.fault else f"all is well: {checked}"
    if report.earlier:
        text += f"\n{report.earlier:,} earlier entries were verified before and not read again; --full reads them"
    return report, plain, text


def recompute_commissions(settings: Settings, tenant_id: str, advance: Advance) -> tuple[RecomputeReport, dict[str, Any], str]:
    """Whether every order and every day of clicks and impressions of a tenant still comes to what is booked.

    Raises:
        NotFound: there is no such tenant.
    """
    with opened_books(settings) as books, opened_events(settings) as events:
        report = recompute(books, events, tenant_id, lambda done: advance(done, 0))
    left_out = {"waiting": report.waiting, "earlier": report.earlier, "unbooked": report.unbooked}
    plain = {
        "ok": report.ok,
        "orders": report.orders,
        "days": report.days,
        "commissions": report.commissions,
        **left_out,
        "differing": report.differing,
        "differences": [msgspec.to_builtins(one) for one in report.differences],
    }
    days = f"{counted(report.days, 'day')} of traffic, " if report.days else ""
    checked = f"{counted(report.orders, 'order')}, {days}{counted(report.commissions, 'commission')}"
    lines = [f"every cent is the same: {checked}" if report.ok else f"{counted(report.differing, 'difference')} in {checked}"]
    lines += [str(one) for one in report.differences[:DIFFERENCES_LISTED]]
    lines += [f"left out: {counted(count, 'order')} {_LEFT_OUT[name]}" for name, count in left_out.items() if count]
    return report, plain, "\n".join(lines)


def counted(count: int, noun: str) -> str:
    """``1 order``, ``2 orders``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


DIFFERENCES_LISTED = 20
_LEFT_OUT = {
    "waiting": "with news that accrual has not booked yet",
    "earlier": "booked by an earlier version of the program, which did not keep what it priced on",
    "unbooked": "that could not be booked; the finance page says why",
}


def conservation_report(settings: Settings, tenant_id: str | None) -> tuple[dict[str, Any], str]:
    """Whether every event is accounted for, by merchant and hour; in the text the sum, and whatever is off with what to do.

    Raises:
        NotFound: there is no such tenant.
        FairshareError: events are stored, but no tracker's spool folder is in sight, so that nothing can be said.
    """
    with opened_events(settings) as events:
        found = account(settings, events, tenant_id or "")
    if tenant_id is not None and not found.rows:
        _require_tenant(settings, tenant_id)
    if any(row.stored or row.bad for row in found.rows) and not found.sees_spool:
        raise FairshareError(f"there is no tracker's folder in {settings.spool}: ask on the machine that holds the spool")
    total = totals(found.rows)
    plain = {
        "balanced": found.balanced,
        "complete_from": format_instant(found.complete_from) if found.complete_from else None,
        "total": _plain(total),
        "faults": found.faults,
        "rows": [_plain(row) for row in found.rows],
    }
    off = [row for row in found.rows if not row.balanced]
    verdict = "balanced" if found.balanced else f"not balanced, {total.difference:,} unaccounted for"
    lines = [f"{_sum_of(total)}: {verdict}"]
    for row in off:
        what = "altered" if row.altered else f"off by {row.difference:,}"
        lines += [
            f"{format_instant(row.hour)} {row.tenant_id or '(nobody)'}: {_sum_of(row)}, {what}",
            f"  {advice(row, settings.has_redis_queue)}",
        ]
    lines += found.faults
    if total.imported:
        lines.append(f"{total.imported:,} more were imported: they came by no tracker, and are no part of this sum")
    if total.doubled:
        lines.append(f"{total.doubled:,} rows repeat an event that is stored already; reports count it once, nothing is to be done")
    return plain, "\n".join(lines)


def _require_tenant(settings: Settings, tenant_id: str) -> None:
    with opened_books(settings) as books, books.reading() as connection:
        if tenant_id not in {tenant.tenant_id for tenant in all_tenants(connection)}:
            raise NotFound(f"there is no tenant {tenant_id!r:.80}")


def replay(settings: Settings, file: Path, link: str, base: str, rate: float, advance: Advance) -> tuple[ReplayReport, str]:
    """Send a log's lines as clicks; what the events store has of them is told where this installation has one at hand."""
    with ExitStack() as stack:
        at_hand = bool(settings.events_url) or door_of_owner(settings) is not None
        events = stack.enter_context(opened_events(settings)) if at_hand else None
        report = replay_log(file, link, base, rate, events, advance)
    text = replay_as_text(report)
    return (
        report,
        text if at_hand else f"{text}\nrecorded: not looked up, since no engine runs on {settings.data}; name its folder with --data",
    )


def _plain(row: Row) -> dict[str, Any]:
    return {**msgspec.to_builtins(row), "hour": format_instant(row.hour), "balanced": row.balanced}


def _sum_of(row: Row) -> str:
    return f"{row.received:,} received = {row.stored:,} stored + {row.bad:,} bad + {row.pending:,} pending + {row.unrecorded:,} unrecorded"


def import_as_text(report: ImportReport, file: str) -> str:
    """For a terminal: the counts, or every fault as ``FILE line N: what``."""
    if report.faults:
        lines = [f"{file} line {fault.line}: {fault.message}" for fault in report.faults]
        return "\n".join([*lines, f"{len(lines)} faults; nothing was imported"])
    return f"{len(report.added)} added, {len(report.changed)} changed, {len(report.unchanged)} unchanged"
