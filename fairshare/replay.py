"""``fairshare replay``: a period decided again under other policies, the difference as a table or JSON, and what applying writes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from core.catalogue import Catalogue, Policy
from core.clock import Clock, Instant, format_instant, parse_instant
from core.errors import BadInput, Conflict, NotFound
from core.money import format_amount
from core.settings import Settings
from core.toml_tables import Fault
from fairshare.books import opened_books
from fairshare.output import Advance, say
from fairshare.stores import opened_events
from fairshare.text_file import read_text_file
from fairshare.trial_file import read_versions
from portal.replay import Changed, Plan, Question, Row, Tally, apply, begin, plan_of, run_replay, tally_of
from store.books import Books
from store.catalogue import load_catalogue
from store.installation import installation_secret
from store.replays import Replay, changes_of

PAGE = 1_000
SHOWN = 20
"""Changed orders in the text; the JSON has them all."""
BY = "command line"


class Answer(msgspec.Struct, frozen=True):
    """A replay that is done. ``plan`` is what applying it would write; None where it cannot be applied, for the reason in ``refusal``."""

    replay: Replay
    tally: Tally
    changes: list[Changed]
    plan: Plan | None
    refusal: str = ""


# --- the question ----------------------------------------------------------------------------------------------------


def read_question(books: Books, tenant_id: str, from_text: str, to_text: str | None, file: Path) -> Question:
    """The command's options. A day stands for its midnight, UTC.

    Raises:
        NotFound: there is no such tenant.
        BadInput: a time or the file cannot be used; every fault of the file with its line.
    """
    with books.reading() as connection:
        held = load_catalogue(connection, tenant_id)
    if not held.tenants:
        raise NotFound(f"there is no tenant {tenant_id!r:.80}")
    from_at, to_at = read_time(from_text, "--from"), read_time(to_text, "--to") if to_text else None
    if to_at is not None and from_at >= to_at:
        raise BadInput("malformed", "--from must lie before --to", "from")
    tried, faults = read_policies(read_text_file(file), held)
    if faults:
        raise BadInput("malformed", "; ".join(f"{file.name} {fault}" for fault in faults), "policy")
    return Question(tenant_id, from_at, to_at, tried)


def read_time(text: str, option: str) -> Instant:
    """``2026-11-21`` or RFC 3339."""
    return parse_instant(f"{text}T00:00:00Z" if len(text) == len("2026-11-21") else text, option)


def read_policies(text: str, held: Catalogue) -> tuple[tuple[Policy, ...], list[Fault]]:
    """The ``[[policy]]`` tables of a file, for the one tenant of ``held``, and every fault by line.

    What they may leave out is in :mod:`fairshare.trial_file`.
    """
    catalogue, faults = read_versions(text, held, "policy")
    return catalogue.policies, faults


# --- the answer ------------------------------------------------------------------------------------------------------


def replay_period(
    settings: Settings, clock: Clock, tenant_id: str, from_text: str, to_text: str | None, file: Path, advance: Advance
) -> Answer:
    """Replay to the end, from where an earlier start of the same command came. Ctrl-C keeps what was found.

    Raises:
        Conflict: the facts changed meanwhile, somebody stopped it, or another process works on the same replay.
    """
    with opened_books(settings) as books, opened_events(settings) as events:
        secret = installation_secret(settings)
        replay = begin(books, events, secret, read_question(books, tenant_id, from_text, to_text, file), BY, clock())
        if replay.after and replay.state != "done":
            say(f"going on behind {tally_of(replay).orders:,} of {replay.total:,} orders")
        replay = require_done(run_replay(books, events, secret, clock, replay, advance))
        tally, changes = tally_of(replay), list(_changes(books, replay))
        try:
            return Answer(replay, tally, changes, plan_of(books, secret, replay, clock()))
        except Conflict as refusal:
            return Answer(replay, tally, changes, None, str(refusal))


def require_done(replay: Replay) -> Replay:
    """The same. Conflict: it is not done, so that what it found is not the answer yet."""
    if replay.state not in ("done", "applied"):
        raise Conflict(
            f"this replay was stopped, or another process works on it ({tally_of(replay).orders:,} of {replay.total:,} orders so far); "
            "the same command goes on from there"
        )
    return replay


def apply_answer(settings: Settings, clock: Clock, answer: Answer) -> Plan:
    """Write what the answer's plan says, if the difference still holds."""
    with opened_books(settings) as books, opened_events(settings) as events:
        return apply(books, events, installation_secret(settings), answer.replay.tenant_id, answer.replay.replay_id, BY, clock())


def _changes(books: Books, replay: Replay) -> Iterator[Changed]:
    after = ""
    while True:
        with books.reading() as connection:
            page = changes_of(connection, replay.tenant_id, replay.replay_id, after, PAGE)
        found = [msgspec.convert(one, Changed) for one in page]
        yield from found
        if len(found) < PAGE:
            return
        after = found[-1].change.sale.order_id


def as_plain(answer: Answer) -> dict[str, Any]:
    """For programs: amounts in minor units, shares as exact fractions, times in RFC 3339."""
    replay, tally = answer.replay, answer.tally
    return {
        "tenant": replay.tenant_id,
        "from": format_instant(replay.from_at),
        "to": None if replay.to_at is None else format_instant(replay.to_at),
        "fingerprint": replay.fingerprint,
        "orders": tally.orders,
        "changed": tally.changed,
        "locked": tally.locked,
        "locked_changed": tally.locked_changed,
        "undecided": tally.undecided,
        "unpriced": tally.unpriced,
        "affiliates": [_plain_row(row) for row in tally.rows],
        "changes": [_plain_change(one) for one in answer.changes],
        "plan": [_plain_version(policy) for policy in answer.plan.versions] if answer.plan else [],
    }


def _plain_row(row: Row) -> dict[str, Any]:
    def figures(name: str) -> dict[str, int]:
        return {
            "before": getattr(row, f"{name}_before"),
            "after": getattr(row, f"{name}_after"),
            "difference": getattr(row, name),
        }

    names = {"orders": "orders", "value_minor": "value", "commission_minor": "commission"}
    return {"affiliate": row.affiliate_id or None, "currency": row.currency} | {key: figures(name) for key, name in names.items()}


def _plain_change(one: Changed) -> dict[str, Any]:
    change = one.change
    return {
        "order": change.sale.order_id,
        "ordered_at": format_instant(change.sale.ordered_at),
        "currency": change.sale.currency,
        "net_minor": change.sale.net_minor,
        "locked": change.locked,
        "before": _plain_outcome(change.before),
        "after": _plain_outcome(change.after),
        "why": [{"affiliate": why.affiliate_id, "verdict": why.verdict, "sentence": why.why} for why in change.reasons],
        "pays": [{"affiliate": who, "currency": currency, "difference_minor": minor} for who, currency, minor in one.pays],
    }


def _plain_outcome(outcome: Any) -> dict[str, Any]:
    credits = [{"affiliate": one.affiliate_id, "touch": one.touch_id, "share": str(one.share)} for one in outcome.credits]
    return {"result": outcome.result, "policy_version": outcome.policy_version, "credits": credits}


def _plain_version(policy: Policy) -> dict[str, Any]:
    return {
        "programme": policy.programme_id,
        "segment": policy.segment,
        "version": policy.version,
        "effective_from": format_instant(policy.effective_from),
    }


def as_text(answer: Answer) -> str:
    """For a terminal: the difference per affiliate, then the orders that change and why."""
    tally, lines = answer.tally, list[str]()
    lines.append(f"{tally.orders:,} orders decided again, {tally.changed:,} come out differently")
    if tally.locked:
        lines.append(f"{tally.locked:,} of them are locked and keep their decision; {tally.locked_changed:,} would come out differently")
    if tally.undecided:
        lines.append(f"{tally.undecided:,} have no decision yet and are left out")
    if tally.unpriced:
        lines.append(f"{tally.unpriced:,} cannot be booked, so that their commissions are left out")
    return "\n".join([*lines, "", *_table(tally.rows), *_changed_lines(answer)])


def _table(rows: Sequence[Row]) -> Iterator[str]:
    head = ("affiliate", "currency", "orders", "", "", "value", "", "", "commission", "", "")
    under = ("", "", *("before", "after", "difference") * 3)
    cells = [head, under, *(_cells(row) for row in rows)]
    widths = [max(len(cell[column]) for cell in cells) for column in range(len(head))]
    for cell in cells:
        left = [text.ljust(width) for text, width in zip(cell[:2], widths[:2], strict=True)]
        yield "  ".join([*left, *(text.rjust(width) for text, width in zip(cell[2:], widths[2:], strict=True))]).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    value = [format_amount(minor, row.currency) for minor in (row.value_before, row.value_after)]
    paid = [format_amount(minor, row.currency) for minor in (row.commission_before, row.commission_after)]
    return (
        row.affiliate_id or "(nobody)",
        row.currency,
        *(f"{row.orders_before:,}", f"{row.orders_after:,}", f"{row.orders:+,}"),
        *(*value, _signed(row.value, row.currency)),
        *(*paid, _signed(row.commission, row.currency)),
    )


def _signed(minor: int, currency: str) -> str:
    return ("+" if minor > 0 else "") + format_amount(minor, currency)


def _changed_lines(answer: Answer) -> Iterator[str]:
    for one in answer.changes[:SHOWN]:
        change = one.change
        locked = " (locked)" if change.locked else ""
        yield ""
        yield f"{change.sale.order_id}{locked}: {_outcome(change.before)} -> {_outcome(change.after)}"
        yield from (f"  {why.affiliate_id}: {why.why}" for why in change.reasons)
    if len(answer.changes) > SHOWN:
        yield f"\n... and {len(answer.changes) - SHOWN:,} more orders; --json has them all"


def _outcome(outcome: Any) -> str:
    shares = [f"{who} {share}" if share != 1 else who for who, share in sorted(outcome.shares.items())]
    return f"{outcome.result} ({', '.join(shares)})" if shares else str(outcome.result)


def plan_as_text(plan: Plan) -> str:
    """What applying writes, for the person who is asked."""
    lines = [
        f"policy {policy.programme_id}{f', segment {policy.segment}' if policy.segment else ''}, version {policy.version}, "
        f"for orders from {format_instant(policy.effective_from)}"
        for policy in plan.versions
    ]
    period = f"orders placed from {format_instant(plan.from_at)} until {format_instant(plan.to_at)} are decided anew, but for locked ones"
    return "\n".join(["this will be written:", *(f"  {line}" for line in lines), f"  {period}; the differences are booked"])
