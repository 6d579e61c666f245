"""``fairshare simulate`` and ``fairshare reasons``: what other rate cards would have paid for a period, and why orders earned nothing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from core.catalogue import Catalogue, RateCard
from core.clock import Clock, Instant, format_instant
from core.errors import BadInput, NotFound
from core.money import format_amount
from core.settings import Settings
from core.toml_tables import Fault
from fairshare.books import opened_books
from fairshare.collector import undisturbed
from fairshare.output import Advance
from fairshare.replay import read_time
from fairshare.stores import opened_events
from fairshare.text_file import read_text_file
from fairshare.trial_file import read_versions
from payouts import outcomes
from payouts.outcomes import Report, shares_bps
from payouts.simulate import Paid, Row, Simulation, always, simulate
from store.books import Books
from store.catalogue import load_catalogue

Cards = dict[str, tuple[RateCard, ...]]
"""By programme, the versions to try."""


def simulate_period(
    settings: Settings, clock: Clock, tenant_id: str, from_text: str, to_text: str | None, file: Path, advance: Advance
) -> Simulation:
    """Try the rate cards of a file on the orders of a period; nothing is written.

    Raises:
        NotFound: there is no such tenant.
        BadInput: a time or the file cannot be used; every fault of the file with its line.
    """
    with opened_books(settings) as books:
        held = _catalogue(books, tenant_id)
        from_at, to_at = read_period(from_text, to_text, clock())
        cards, faults = read_cards(read_text_file(file), held)
        if faults:
            raise BadInput("malformed", "; ".join(f"{file.name} {fault}" for fault in faults), "rate_card")
        with opened_events(settings) as events, undisturbed():
            return simulate(events, books, tenant_id, from_at, to_at, cards, advance)


def reasons_of_period(settings: Settings, clock: Clock, tenant_id: str, from_text: str, to_text: str | None, advance: Advance) -> Report:
    """What became of the orders of a period, as they are booked.

    Raises:
        NotFound: there is no such tenant.
        BadInput: a time cannot be used.
    """
    from_at, to_at = read_period(from_text, to_text, clock())
    with opened_books(settings) as books, opened_events(settings) as events:
        return outcomes.report(books, events, tenant_id, from_at, to_at, advance)


def read_period(from_text: str, to_text: str | None, now: Instant) -> tuple[Instant, Instant]:
    """``[from, to)``; a day stands for its midnight, UTC; without ``to``: up to now."""
    from_at, to_at = read_time(from_text, "--from"), read_time(to_text, "--to") if to_text else now
    if from_at >= to_at:
        raise BadInput("malformed", "--from must lie before --to", "from")
    return from_at, to_at


def read_cards(text: str, held: Catalogue) -> tuple[Cards, list[Fault]]:
    """The ``[[rate_card]]`` tables of a file, by programme, and every fault by line.

    Of each programme the first version holds for whatever came before the second one, since ever: a card that is to begin next month
    can be tried on last month's orders as it is.
    """
    catalogue, faults = read_versions(text, held, "rate_card")
    cards: Cards = {}
    for card in sorted(catalogue.rate_cards, key=lambda card: (card.effective_from, card.version)):
        mine = cards.get(card.programme_id, ())
        cards[card.programme_id] = (*mine, card if mine else always(card))
    return cards, faults


def _catalogue(books: Books, tenant_id: str) -> Catalogue:
    with books.reading() as connection:
        held = load_catalogue(connection, tenant_id)
    if not held.tenants:
        raise NotFound(f"there is no tenant {tenant_id!r:.80}")
    return held


# --- for programs ----------------------------------------------------------------------------------------------------


def as_plain(found: Simulation) -> dict[str, Any]:
    """Amounts in minor units, times in RFC 3339."""
    before = {name: pair[0] for name, pair in found.outcomes.items()}
    after = {name: pair[1] for name, pair in found.outcomes.items()}
    return {
        "tenant": found.tenant_id,
        "from": format_instant(found.from_at),
        "to": format_instant(found.to_at),
        "programmes": list(found.programmes),
        "orders": found.orders,
        "lines": found.lines,
        "others": found.others,
        "undecided": found.undecided,
        "waiting": found.waiting,
        "cost": [{"currency": currency, **_figures(*pair)} for currency, pair in found.costs.items()],
        "affiliates": [_plain_row(row) for row in found.rows],
        "pays": [msgspec.to_builtins(one) for one in found.paid],
        "outcomes": {"before": plain_outcomes(before), "after": plain_outcomes(after)},
    }


def report_as_plain(found: Report) -> dict[str, Any]:
    return {
        "tenant": found.tenant_id,
        "from": format_instant(found.from_at),
        "to": format_instant(found.to_at),
        "orders": found.orders,
        "outcomes": plain_outcomes(found.outcomes),
    }


def plain_outcomes(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """By outcome: orders, and basis points of all orders, which sum to 10,000."""
    bps = shares_bps(counts)
    return {name: {"orders": count, "share_bps": bps[name]} for name, count in counts.items() if count}


def _plain_row(row: Row) -> dict[str, Any]:
    orders = {"before": row.orders_before, "after": row.orders_after, "difference": row.orders_after - row.orders_before}
    return {
        "affiliate": row.affiliate_id,
        "currency": row.currency,
        "orders": orders,
        "commission_minor": _figures(row.before_minor, row.after_minor),
    }


def _figures(before: int, after: int) -> dict[str, int]:
    return {"before": before, "after": after, "difference": after - before}


# --- for people ------------------------------------------------------------------------------------------------------


def as_text(found: Simulation) -> str:
    """Cost, winners and losers, what each rule pays, and what became of the orders."""
    placed = f"placed from {format_instant(found.from_at)} until {format_instant(found.to_at)}"
    head = f"{found.orders:,} orders with {found.lines:,} lines, {placed}"
    lines = [head, *_beside(found), ""]
    cells = [("affiliate", "currency", "before", "after", "difference")]
    cells += [(row.affiliate_id, row.currency, *_amounts(row.before_minor, row.after_minor, row.currency)) for row in by_difference(found)]
    cells += [("(all)", currency, *_amounts(*pair, currency)) for currency, pair in found.costs.items()]
    lines += [*table(cells, 2), ""]
    pays = [("pays", "programme", "currency", "lines", "amount", "cut off")]
    pays += [(part_name(one), one.programme_id, one.currency, f"{one.lines:,}", *_money(one)) for one in found.paid]
    lines += [*table(pays, 3), ""]
    return "\n".join([*lines, *table(_outcome_cells(found.outcomes), 1)])


def report_as_text(found: Report) -> str:
    bps = shares_bps(found.outcomes)
    cells = [("orders that", "orders", "%")]
    cells += [(name, f"{count:,}", _percent(bps[name])) for name, count in found.outcomes.items()]
    return "\n".join(table([*cells, ("(all)", f"{found.orders:,}", _percent(sum(bps.values())))], 1))


def by_difference(found: Simulation) -> list[Row]:
    """Winners first, the largest difference on top; losers last."""
    return sorted(found.rows, key=lambda row: (row.currency, -row.difference_minor, row.affiliate_id))


def part_name(one: Paid) -> str:
    """``rule shoes``, ``recruiters, level 1``, ``bonus club``."""
    return f"recruiters, level {one.name}" if one.kind == "recruiters" else f"{one.kind} {one.name}".rstrip()


def table(cells: Sequence[tuple[str, ...]], texts: int) -> Iterator[str]:
    """Columns under each other: the first ``texts`` to the left, figures to the right."""
    widths = [max(len(cell[column]) for cell in cells) for column in range(len(cells[0]))]
    for cell in cells:
        padded = (
            text.ljust(width) if column < texts else text.rjust(width)
            for column, (text, width) in enumerate(zip(cell, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()


def _beside(found: Simulation) -> Iterator[str]:
    if found.waiting:
        yield f"{found.waiting:,} of them have news that is not booked yet: their difference is not the rate card's alone"
    if found.others:
        yield f"{found.others:,} more are of other programmes, or of none"
    if found.undecided:
        yield f"{found.undecided:,} more have no decision yet"


def _outcome_cells(outcomes: Mapping[str, tuple[int, int]]) -> list[tuple[str, ...]]:
    both = [{name: pair[place] for name, pair in outcomes.items()} for place in (0, 1)]
    shares = [shares_bps(counts) for counts in both]
    cells: list[tuple[str, ...]] = [("orders that", "before", "%", "after", "%")]
    for name in outcomes:
        cells.append((name, *(text for place in (0, 1) for text in (f"{both[place][name]:,}", _percent(shares[place][name])))))
    sums = (text for place in (0, 1) for text in (f"{sum(both[place].values()):,}", _percent(sum(shares[place].values()))))
    return [*cells, ("(all)", *sums)]


def _amounts(before: int, after: int, currency: str) -> tuple[str, str, str]:
    sign = "+" if after > before else ""
    return format_amount(before, currency), format_amount(after, currency), sign + format_amount(after - before, currency)


def _money(one: Paid) -> tuple[str, str]:
    return format_amount(one.amount_minor, one.currency), format_amount(one.capped_minor, one.currency)


def _percent(bps: int) -> str:
    return f"{bps // 100}.{bps % 100:02}"
