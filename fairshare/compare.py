"""``fairshare models``: attribution models side by side, over a file of paths or over what a merchant's orders have behind them."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from attribution.comparison import MODELS, SPANS, Comparison, Dimension, Journey, Line, compare
from attribution.heuristics import rule_shares
from attribution.markov import markov
from attribution.observed import LONGEST_PERIOD, read_journeys, read_missed
from attribution.paths import write_path
from attribution.shapley import set_shapley
from attribution.tally import Paths, Shares
from core.clock import Instant, format_instant, parse_instant
from core.errors import BadInput, NotFound
from core.money import format_amount
from core.settings import Settings
from fairshare.books import opened_books
from fairshare.output import Advance, say
from fairshare.path_file import read_path_file
from fairshare.stores import opened_events
from store.links import all_tenants

MODELS_OF_PATHS = ("first", "last", "linear", "markov", "shapley")
"""Those that need nothing but the paths."""


def compare_paths(file: Path, order: int = 1, nulls: bool | None = None) -> tuple[dict[str, Any], str]:
    """What each channel of a file of paths earns under each model: as a record, and as a table.

    Args:
        order: of the Markov model, 1 to 3.
        nulls: whether it counts walks without a conversion; None where the file has them.

    Raises:
        BadInput: the file is not usable, or has no column for the nulls that are asked for.
    """
    found = read_path_file(file)
    if nulls and not found.has_nulls:
        raise BadInput("malformed", f"{file.name} has no column total_null; leave out --nulls, or add it", "total_null")
    if not len(found.paths):
        say(f"{file.name} has a header and no paths")
    models = models_of_paths(found.paths, order, found.has_nulls if nulls is None else nulls)
    return {model: _plain(shares) for model, shares in models.items()}, _as_text(models, found.paths, found.has_value)


def models_of_paths(paths: Paths, order: int, nulls: bool) -> dict[str, Shares]:
    """Shares by model, exact where the model's are."""
    rules, removed = rule_shares(paths), markov(paths, order, nulls)
    if removed.warning:
        say(f"markov: {removed.warning}")
    models = rules | {"markov": removed.shares, "shapley": set_shapley(paths)}
    return {model: models[model] for model in MODELS_OF_PATHS}


def _plain(shares: Shares) -> dict[str, dict[str, float]]:
    return {channel: {"conversions": float(share.conversions), "value": float(share.value)} for channel, share in shares.items()}


def _as_text(models: Mapping[str, Shares], paths: Paths, has_value: bool) -> str:
    """One table for conversions and, where there is any, one for value; models are columns, the last row is their sum."""
    tables = [_table("conversions", paths.channels, {model: _column(shares, "conversions") for model, shares in models.items()})]
    if has_value:
        tables.append(_table("value", paths.channels, {model: _column(shares, "value") for model, shares in models.items()}))
    return "\n\n".join(tables)


def _column(shares: Shares, figure: str) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {channel: getattr(share, figure) for channel, share in shares.items()}
    return found | {"": sum(found.values(), Fraction(0))}


def _table(title: str, channels: tuple[str, ...], columns: Mapping[str, Mapping[str, Fraction]]) -> str:
    keys = [*channels, ""]
    rows = [[title, *columns], *([key or "all", *(f"{float(column[key]):,.2f}" for column in columns.values())] for key in keys)]
    return aligned(rows)


def aligned(rows: list[list[str]]) -> str:
    """Columns side by side: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    )


# --- over orders -----------------------------------------------------------------------------------------------------

TOP_PATHS = 20
MOST_ORDERS = 1_000_000
"""Their journeys are held in memory: about two kilobytes each."""


class Asked(msgspec.Struct, frozen=True):
    """Orders of a tenant placed in ``[from_at, to_at)``; Markov's ``order``, and whether it counts visitors without an order."""

    tenant_id: str
    from_at: Instant
    to_at: Instant
    order: int = 1
    nulls: bool = True


def read_asked(tenant_id: str | None, from_text: str | None, to_text: str | None, order: int, nulls: bool | None) -> Asked:
    """The command's options. A day stands for its midnight, UTC.

    Raises:
        BadInput: something is missing, not a time, or the period is empty or longer than three years.
    """
    if tenant_id is None or from_text is None or to_text is None:
        raise BadInput("malformed", "name what to compare: --paths FILE.csv, or --tenant T --from 2026-11-01 --to 2026-12-01", "tenant")
    from_at, to_at = _moment(from_text, "--from"), _moment(to_text, "--to")
    if not 0 < to_at - from_at <= LONGEST_PERIOD:
        raise BadInput("malformed", "--from must lie before --to, and at most three years before it", "from")
    return Asked(tenant_id, from_at, to_at, order, nulls is not False)


def _moment(text: str, option: str) -> Instant:
    return parse_instant(f"{text}T00:00:00Z" if len(text) == 10 else text, option)


def compare_orders(settings: Settings, asked: Asked, advance: Advance) -> tuple[dict[str, Any], str]:
    """What each affiliate and channel earns under each model, over the journeys of stored decisions.

    Raises:
        BadInput: more than a million orders.
        NotFound: there is no such tenant.
    """
    with opened_books(settings) as books, books.reading() as connection:
        if asked.tenant_id not in {tenant.tenant_id for tenant in all_tenants(connection)}:
            raise NotFound(f"there is no tenant {asked.tenant_id}")
    with opened_events(settings) as events:
        journeys: list[Journey] = []
        for page in read_journeys(events, asked.tenant_id, asked.from_at, asked.to_at):
            journeys += page
            advance(len(journeys), 0)
            if len(journeys) > MOST_ORDERS:
                raise BadInput("too_large", f"the period has more than {MOST_ORDERS:,} orders; take a shorter one", "from")
        missed, cut = read_missed(events, asked.tenant_id, asked.from_at, asked.to_at) if asked.nulls else (None, 0)
    if cut:
        say(f"markov: {cut:,} visitors without an order took paths too rare to be counted")
    found = compare(journeys, missed, asked.order)
    for one in found:
        if one.untraced:
            say(f"{one.currency}: {one.untraced:,} orders have a decision without a trace; models see them as unattributed")
    plain = {
        "tenant": asked.tenant_id,
        "from": format_instant(asked.from_at),
        "to": format_instant(asked.to_at),
        "markov": {"order": asked.order, "nulls": asked.nulls, "visitors_without_an_order": sum(one.visitors for one in missed or ())},
        "currencies": [_plain_comparison(one) for one in found],
    }
    return plain, "\n\n".join(_comparison_as_text(one) for one in found) or "no order was placed in this period"


def _plain_comparison(one: Comparison) -> dict[str, Any]:
    return {
        "currency": one.currency,
        "orders": one.orders,
        "value_minor": one.value_minor,
        "orders_without_a_journey": one.unmet,
        "orders_without_a_trace": one.untraced,
        "by": {dimension: [_plain_line(line) for line in lines] for dimension, lines in one.lines.items()},
        "paths": {
            dimension: [{"path": write_path(way.path), "orders": way.orders, "value_minor": way.value_minor} for way in ways[:TOP_PATHS]]
            for dimension, ways in one.paths.items()
        },
        "overlap": [{"affiliates": list(both.pair), "orders": both.orders} for both in one.overlap],
        "time_to_convert": {
            "median_ms": one.waiting.median,
            "orders": {name: count for (name, _), count in zip(SPANS, one.waiting.counts, strict=True)},
        },
    }


def _plain_line(line: Line) -> dict[str, Any]:
    models = {model: {"conversions": float(one.conversions), "value_minor": one.value_minor} for model, one in line.models.items()}
    counts = {"orders": line.orders, "introduced": line.introduced, "assists": line.assists, "closed": line.closed}
    return {"key": line.key or None, "models": models} | counts


def _comparison_as_text(one: Comparison) -> str:
    """Tables for people: per affiliate, per channel, top paths, time to convert, overlap."""
    head = (
        f"{one.orders:,} orders worth {format_amount(one.value_minor, one.currency)} {one.currency}; {one.unmet:,} met nobody on their way"
    )
    tables = [_lines_as_text(one, dimension, figure) for dimension in one.lines for figure in ("orders", one.currency)]
    ways = [["top paths", "orders", one.currency]]
    ways += [
        [write_path(way.path), f"{way.orders:,}", format_amount(way.value_minor, one.currency)]
        for way in one.paths["affiliate"][:TOP_PATHS]
    ]
    times = [
        ["from first touch to order", "orders"],
        *([name, f"{count:,}"] for (name, _), count in zip(SPANS, one.waiting.counts, strict=True)),
    ]
    pairs = [["both on the way", "orders"], *([" + ".join(both.pair), f"{both.orders:,}"] for both in one.overlap)]
    return "\n\n".join([head, *tables, *(aligned(rows) for rows in (ways, times, pairs) if len(rows) > 1)])


def _lines_as_text(one: Comparison, dimension: Dimension, figure: str) -> str:
    def cell(line: Line, model: str) -> str:
        credited = line.models[model]
        return f"{float(credited.conversions):,.2f}" if figure == "orders" else format_amount(credited.value_minor, one.currency)

    rows = [[f"{figure} by {dimension}", *MODELS, "assists"]]
    rows += [[line.key or "unattributed", *(cell(line, model) for model in MODELS), f"{line.assists:,}"] for line in one.lines[dimension]]
    return aligned(rows)
