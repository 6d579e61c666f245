"""The commands that ask and check: each returns a record for programs and a text for people."""

from typing import Any

from attribution.explain import as_json, as_text, explain
from core.errors import NotFound
from core.settings import Settings
from fairshare.catalog import ImportReport
from fairshare.output import Advance
from fairshare.stores import opened_books, opened_events
from payouts.verify import VerifyReport, verify


def explain_order(settings: Settings, tenant_id: str, order_id: str) -> tuple[dict[str, Any], str]:
    """Why an order was credited or not.

    Raises:
        NotFound: the tenant has no such order, or it is not decided yet.
    """
    with opened_events(settings) as events:
        found = explain(events, tenant_id, order_id)
    if found is None:
        raise NotFound(f"tenant {tenant_id} has no decided order {order_id}; a new one is decided within seconds of its arrival")
    return as_json(found), as_text(found)


def verify_books(settings: Settings, tenant_id: str | None, advance: Advance) -> tuple[VerifyReport, dict[str, Any], str]:
    """Whether the ledger is whole, and the first row that is not."""
    with opened_books(settings) as books:
        report = verify(books, tenant_id, lambda done: advance(done, 0))
    plain = {
        "ok": report.ok,
        "entries": report.entries,
        "commissions": report.commissions,
        "batches": report.batches,
        "heads": [{"tenant": head.tenant_id, "entries": head.number, "hash": head.hash} for head in report.heads],
        "fault": str(report.fault) if report.fault else None,
    }
    checked = f"{report.entries:,} entries, {report.commissions:,} commissions, {report.batches:,} batches"
    text = f"broken: {report.fault}" if report.fault else f"all is well: {checked}"
    return report, plain, text


def import_as_text(report: ImportReport, file: str) -> str:
    """For a terminal: the counts, or every fault as ``FILE line N: what``."""
    if report.faults:
        lines = [f"{file} line {fault.line}: {fault.message}" for fault in report.faults]
        return "\n".join([*lines, f"{len(lines)} faults; nothing was imported"])
    return f"{len(report.added)} added, {len(report.changed)} changed, {len(report.unchanged)} unchanged"
