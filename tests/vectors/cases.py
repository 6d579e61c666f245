"""Files of expected results: which format one has, by its columns or shape alone, and its cases, run through the product's functions."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import islice, pairwise, permutations
from pathlib import Path
from typing import Any, NamedTuple, cast

from attribution.households import Seen, part
from attribution.identity import IdentityRules
from attribution.markov import markov
from attribution.paths import chained, parse_path, transform
from attribution.shapley import game_of, set_shapley, shapley_value
from attribution.tally import Row, paths_of
from attribution.weights import stepwise_time_decay, weights
from core.catalogue import Model, Policy, Rule
from core.clock import HOUR
from core.events import Line
from core.money import allocate
from payouts.earnings import Share, moments
from payouts.refunds import Kept
from tests.attribution.scenarios import played

CLOSE = 1e-9
Rows = list[dict[str, str]]
Check = Callable[[], str]
"""Raises AssertionError where a case fails; returns a remark, most often empty."""


class Case(NamedTuple):
    """One line of the report."""

    name: str
    check: Check


# --- formats ---------------------------------------------------------------------------------------------------------

PATHS = {"set", "path", "total_conversions"}
COLUMNS: dict[str, set[str]] = {
    "heuristic paths": {"path_id", "path", "hours_before_conversion"},
    "heuristics": {"path_id", "model", "position", "weight_exact", "weight"},
    "markov": {"set", "order", "channel", "removal_effect_conv_exact", "attributed_conv_exact"},
    "shapley": {"set", "channel", "shapley_exact"},
    "paths": PATHS,
}


def format_of(content: Any) -> str:
    """The format of a file's content; empty where it is none that we know."""
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        return _format_of_list(content)
    if isinstance(content, dict) and content.keys() & {"splits", "refund", "alabama_paradox_examples"}:
        return "cents"
    if isinstance(content, dict) and content and all(isinstance(one, dict) and _is_game(one) for one in content.values()):
        return "games"
    return ""


def _format_of_list(content: list[dict[str, Any]]) -> str:
    keys = set.intersection(*(set(one) for one in content))
    by_columns = next((name for name, columns in COLUMNS.items() if columns <= keys), "")
    if by_columns:
        return by_columns
    if {"transform", "path", "expected"} <= keys:
        return "transforms"
    if {"order", "events", "expected"} <= keys:
        return "linkage"
    return "identity" if "expected" in keys and all(one.keys() & {"edges", "profiles", "events"} for one in content) else ""


def _is_game(table: dict[str, Any]) -> bool:
    return "" in table and all(re.fullmatch(r"-?\d+(/\d+|\.\d+)?", str(worth)) for worth in table.values())


def read(file: Path) -> Any:
    """A file's content: a list of dicts for CSV; None where it is neither."""
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as lines:
                return list(csv.DictReader(lines))
        return json.loads(file.read_text("utf-8-sig")) if file.suffix == ".json" else None
    except (ValueError, RecursionError, csv.Error):
        return None


class Folder:
    """The files of a folder by format, and which inputs belong to which expected results."""

    def __init__(self, folder: Path) -> None:
        self.contents = {file.name: read(file) for file in sorted(folder.iterdir()) if file.is_file()}
        self.formats = {name: format_of(content) for name, content in self.contents.items()}

    def of(self, wanted: str) -> list[str]:
        return [name for name, found in self.formats.items() if found == wanted]

    def input_of(self, name: str, wanted: str, key: str, needed: Iterable[str]) -> Rows:
        """The input file that holds all that ``name`` expects something of; of several, the one whose name is most like it."""
        ids = set(needed)
        fitting = [other for other in self.of(wanted) if ids <= {row[key] for row in self.contents[other]}]
        assert fitting, f"no file of {wanted} has all of {sorted(ids)[:5]}"
        return cast(Rows, self.contents[max(fitting, key=lambda other: (_alike(name, other), other))])

    def cases(self, name: str) -> Iterator[Case]:
        """What a file of expected results expects; nothing of a file that is only an input."""
        make = MAKERS.get(self.formats[name])
        return make(self, name, self.contents[name]) if make else iter(())


def _alike(one: str, other: str) -> int:
    """How many letters two names begin with alike."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def assert_close(got: Fraction | float, wanted: str | float, what: str) -> None:
    assert abs(float(got) - float(wanted)) <= CLOSE * max(1.0, abs(float(wanted))), f"{what} is {float(got)!r}, not {wanted}"


def assert_exact(got: Fraction, wanted: str, what: str) -> None:
    assert got == Fraction(wanted), f"{what} is {got}, not {wanted}"


# --- rule models -----------------------------------------------------------------------------------------------------


def heuristics(folder: Folder, name: str, rows: Rows) -> Iterator[Case]:
    groups: dict[tuple[str, str], Rows] = {}
    for row in rows:
        groups.setdefault((row["path_id"], row["model"]), []).append(row)
    for (path_id, model), expected in groups.items():
        yield Case(
            f"{model} of {path_id}",
            lambda path_id=path_id, model=model, expected=expected: _heuristic(folder, name, path_id, model, expected),
        )


def _heuristic(folder: Folder, name: str, path_id: str, model: str, expected: Rows) -> str:
    every = cast(Rows, folder.contents[name])
    inputs = folder.input_of(name, "heuristic paths", "path_id", (row["path_id"] for row in every))
    given = next(row for row in inputs if row["path_id"] == path_id)
    path = parse_path(given["path"])
    ages = [int(Fraction(hours.strip()) * HOUR) for hours in given["hours_before_conversion"].split(">")]
    found = weights_of(model, path, ages)
    assert [path[int(row["position"])] for row in expected] == [row["channel"] for row in expected] == list(path)
    assert sum(found) == 1, f"weights sum to {sum(found)}"
    for row, weight in zip(expected, found, strict=True):
        if row["weight_exact"]:
            assert_exact(weight, row["weight_exact"], f"weight {row['position']}")
        assert_close(weight, row["weight"], f"weight {row['position']}")
    if "cents_largest_remainder" in expected[0]:
        cents = allocate(int(Decimal(given["value"]) * 100), found)
        assert cents == [int(row["cents_largest_remainder"]) for row in expected], f"cents are {cents}"
    return ""


def weights_of(model: str, path: tuple[str, ...], ages: list[int]) -> tuple[Fraction, ...]:
    """A model by the name that others give it."""
    players = ["" if channel == "Direct" else channel for channel in path]
    if match := re.fullmatch(r"position_(\d+)_(\d+)_(\d+)", model):
        settings = Policy("", "", 0, 0, first_bps=int(match[1]) * 100, last_bps=int(match[3]) * 100)
        return weights("position", players, ages, settings)
    if match := re.fullmatch(r"time_decay_(\d+)(d|h)(_stepwise)?", model):
        hours = int(match[1]) * (24 if match[2] == "d" else 1)
        if match[3]:
            return stepwise_time_decay(ages, hours * HOUR)
        return weights("time_decay", players, ages, Policy("", "", 0, 0, half_life_hours=hours))
    names = {"last_touch": "last", "first_touch": "first", "last_click": "last", "first_click": "first"}
    return weights(cast(Model, names.get(model, model)), players, ages)


def transforms(_folder: Folder, _name: str, content: list[dict[str, Any]]) -> Iterator[Case]:
    for number, one in enumerate(content, 1):
        yield Case(f"{number} {one['transform']}({one.get('arg') or ''}) of {' > '.join(one['path'])}", lambda one=one: _transform(one))


def _transform(one: dict[str, Any]) -> str:
    names, args = one["transform"], one.get("arg")
    steps = (
        [transform(names, args)]
        if isinstance(names, str)
        else [transform(*each) for each in zip(names, args or [None] * len(names), strict=True)]
    )
    found = list(chained(steps)(tuple(one["path"])))
    assert found == one["expected"], f"gives {found}, not {one['expected']}"
    return ""


# --- Markov and Shapley ----------------------------------------------------------------------------------------------


def rows_of(inputs: Rows, name: str) -> list[Row]:
    def number(row: dict[str, str], column: str) -> Fraction:
        return Fraction(row.get(column) or 0)

    columns = ("total_conversions", "total_conversion_value", "total_null")
    return [Row(parse_path(row["path"]), *(number(row, column) for column in columns)) for row in inputs if row["set"] == name]


def markovs(folder: Folder, name: str, rows: Rows) -> Iterator[Case]:
    groups: dict[tuple[str, int], Rows] = {}
    for row in rows:
        groups.setdefault((row["set"], int(row["order"])), []).append(row)
    for (each, order), expected in groups.items():
        yield Case(f"{each} order {order}", lambda each=each, order=order, expected=expected: _markov(folder, name, each, order, expected))


def _markov(folder: Folder, name: str, each: str, order: int, expected: Rows) -> str:
    inputs = folder.input_of(name, "paths", "set", {row["set"] for row in folder.contents[name]})
    found = markov(paths_of(rows_of(inputs, each)), order)
    assert set(found.shares) == {row["channel"] for row in expected}
    for row in expected:
        effect, share = found.effects[row["channel"]], found.shares[row["channel"]]
        figures = {
            "removal_effect_conv": effect.conversions,
            "removal_effect_value": effect.value,
            "attributed_conv": share.conversions,
            "attributed_value": share.value,
            "p_conv": found.conversion_rate,
        }
        for column, figure in figures.items():
            if found.is_exact and row.get(f"{column}_exact"):
                assert_exact(figure, row[f"{column}_exact"], f"{column} of {row['channel']}")
            if row.get(column):
                assert_close(figure, row[column], f"{column} of {row['channel']}")
    return "exact" if found.is_exact else "in floats"


def shapleys(folder: Folder, name: str, rows: Rows) -> Iterator[Case]:
    groups: dict[str, Rows] = {}
    for row in rows:
        groups.setdefault(row["set"], []).append(row)
    for each, expected in groups.items():
        yield Case(each, lambda each=each, expected=expected: _shapley(folder, name, each, expected))


def _shapley(folder: Folder, name: str, each: str, expected: Rows) -> str:
    game = next((folder.contents[other][each] for other in folder.of("games") if each in folder.contents[other]), None)
    if game is not None:
        worths = {_coalition(members): Fraction(str(worth)) for members, worth in game.items()}
        found = shapley_value(worths, frozenset().union(*worths))
        values: dict[str, Fraction] = {}
    else:
        paths = paths_of(rows_of(folder.input_of(name, "paths", "set", [each]), each))
        shares = set_shapley(paths)
        found = {channel: share.conversions for channel, share in shares.items()}
        values = {channel: share.value for channel, share in shares.items()}
        assert found == shapley_value(game_of(paths), paths.channels), "the closed form is not the definition"
    assert set(found) == {row["channel"] for row in expected}
    for row in expected:
        assert_exact(found[row["channel"]], row["shapley_exact"], row["channel"])
        if values and row.get("shapley_value_weighted"):
            assert_close(values[row["channel"]], row["shapley_value_weighted"], f"value of {row['channel']}")
    return "a game as a table" if game is not None else "equals the definition over all coalitions"


def _coalition(members: str) -> frozenset[str]:
    """``AB`` or ``A,B`` or ``A+B``."""
    parts = re.split(r"\s*[,+|;]\s*", members) if re.search(r"[,+|;]", members) else list(members)
    return frozenset(part for part in parts if part)


# --- linkage and identity --------------------------------------------------------------------------------------------


def linkages(_folder: Folder, _name: str, content: list[dict[str, Any]]) -> Iterator[Case]:
    for one in content:
        yield Case(one.get("name", "?"), lambda one=one: _linkage(one))


def _linkage(one: dict[str, Any]) -> str:
    decision, expected = played(one), one["expected"]
    found = [(credit.affiliate_id, credit.touch_id) for credit in decision.credits]
    wanted = [(expected["winner"], expected.get("via"))] if expected.get("winner") else []
    if wanted and wanted[0][1] is None:
        found = [(affiliate, None) for affiliate, _ in found]
    assert found == wanted, f"credits {found or 'nobody'} ({decision.result}), not {wanted or 'nobody'}"
    return decision.result


def identities(_folder: Folder, _name: str, content: list[dict[str, Any]]) -> Iterator[Case]:
    for one in content:
        yield Case(one.get("name", "?"), lambda one=one: _identity(one))


def _identity(one: dict[str, Any]) -> str:
    """Exactly, where the expected components are a list. Else the case tells of another system: ours is held to its own rules."""
    rules, seen = _identity_rules(one.get("rules", {})), list(_seen(one))
    persons = persons_of(seen, rules)
    for shuffled in islice(permutations(seen), 120):
        assert persons_of(shuffled, rules) == persons, "the order of arrival changes who is one person"
    if isinstance(one["expected"], list):
        assert persons == sorted(sorted(group) for group in one["expected"]), f"persons are {persons}"
        return ""
    for person in persons:
        for kind in rules.unique:
            assert sum(key.startswith(f"{kind}:") for key in person) <= 1, f"{person} holds two of {kind}"
        assert len(person) == 1 or not any(rules.blocks(key) for key in person), f"{person} was joined by a blocked value"
    if not rules.unique and not rules.blocked:
        assert len(persons) == 1, f"persons are {persons}"
    contrast = "a contrast, the other system depends on the order of arrival; " if rules.unique else ""
    return contrast + "ours: " + " | ".join(" ".join(person) for person in persons)


def persons_of(seen: Iterable[Seen], rules: IdentityRules) -> list[list[str]]:
    """Keys that are one person, by the product's rules; a blocked value stands alone."""
    keys = {key for one in seen for key in one.keys}
    links = [Seen(tuple(key for key in one.keys if not rules.blocks(key)), one.at) for one in seen]
    household = part({key for key in keys if not rules.blocks(key)}, [one for one in links if one.keys], rules)
    return sorted([*(list(person) for person in household.persons), *([key] for key in keys if rules.blocks(key))])


def _identity_rules(told: dict[str, Any]) -> IdentityRules:
    """A limit of one value is what we call unique."""
    unique = [*told.get("unique", ()), *(kind for kind, limit in told.get("limits", {}).items() if limit == 1)]
    return IdentityRules(blocked=tuple(told.get("blocked", ())), unique=tuple(dict.fromkeys(unique)))


def _seen(one: dict[str, Any]) -> Iterator[Seen]:
    yield from (Seen(tuple(edge)) for edge in one.get("edges", ()))
    told = [*one.get("profiles", ()), *one.get("events", ()), *([one["event"]] if "event" in one else [])]
    for facts in told:
        keys = [
            f"{kind}:{value}" for kind, values in facts.items() if kind not in ("id", "created", "ts", "at") for value in _listed(values)
        ]
        yield Seen(tuple(keys))


def _listed(values: Any) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else [str(values)]


# --- cents -----------------------------------------------------------------------------------------------------------


def cents(_folder: Folder, _name: str, content: dict[str, Any]) -> Iterator[Case]:
    for number, one in enumerate(content.get("splits", ()), 1):
        yield Case(f"split {number} of {one['cents']}", lambda one=one: _split(one))
    refunds = content.get("refund", [])
    for one in refunds if isinstance(refunds, list) else [refunds]:
        yield Case(one.get("name", "refund"), lambda one=one: _refund(one))
    for one in content.get("alabama_paradox_examples", ()):
        yield Case(f"alabama {one['model']}", lambda one=one: _alabama(one))


def _split(one: dict[str, Any]) -> str:
    found = allocate(one["cents"], _weights(one))
    assert found == one["expected"], f"parts are {found}, not {one['expected']}"
    assert sum(found) == one["cents"]
    return ""


def _refund(one: dict[str, Any]) -> str:
    """Sold and refunded as the product does it: off the remaining credit, so that nobody's ever rises."""
    total, weights_given, refunded = one["order_cents"], _weights(one), one["refund_cents_cumulative"]
    traced = credits_after(total, weights_given, refunded)
    for net, parts in zip((total - back for back in refunded), traced, strict=True):
        assert sum(parts) == net, f"{parts} do not sum to {net}"
    for before, after in pairwise(traced):
        assert all(new <= old for old, new in zip(before, after, strict=True)), f"a credit rose: {before} to {after}"
    recomputed = [allocate(total - back, weights_given) for back in refunded]
    assert recomputed == one["expected_net"], f"what is left splits into {recomputed}, not {one['expected_net']}"
    assert traced[0] == recomputed[0]
    if refunded[-1] == total:
        assert not any(traced[-1]), f"a full refund left {traced[-1]}"
    differing = sum(ours != theirs for ours, theirs in zip(traced, one["expected_net"], strict=True))
    told = "rule differs from 'recompute': refunds come off the remaining credit; sums exact, none rises"
    return f"{told}; {differing} of {len(traced)} steps differ"


def _alabama(one: dict[str, Any]) -> str:
    total, weights_given, place = one["total_cents_before"], _weights(one), one["touch_index"]
    after = one["after_refund_of_1_cent"]
    sold, left = credits_after(total, weights_given, [0, total - after])
    assert allocate(total, weights_given)[place] == one["credit_before_refund"] == sold[place]
    assert allocate(after, weights_given)[place] == one["credit_after_refund"], "the paradox is not there"
    assert sum(left) == after
    assert all(new <= old for old, new in zip(sold, left, strict=True)), f"a credit rose: {sold} to {left}"
    return f"rule differs from 'recompute', which would raise it to {one['credit_after_refund']}; ours stays at {left[place]}"


def credits_after(total: int, shares: list[Fraction], refunded: list[int]) -> list[list[int]]:
    """What each share holds after each of the cumulative refunds, by the function that posts commissions."""
    line, rule = Line("1", total), Rule("all", percent_bps=10_000)
    steps = [(Kept(total - back, returned=back == total),) for back in refunded]
    bases = tuple((total - back,) for back in refunded)
    found = []
    for count in range(1, len(steps) + 1):
        own = [Share(f"a{place}", f"t{place}", share, (rule,), bases[:count]) for place, share in enumerate(shares)]
        found.append(moments([line], own, steps[:count])[1].amounts[0])
    return found


def _weights(one: dict[str, Any]) -> list[Fraction]:
    return [Fraction(str(weight)) for weight in one["weights"]]


MAKERS: dict[str, Callable[[Folder, str, Any], Iterator[Case]]] = {
    "heuristics": heuristics,
    "transforms": transforms,
    "markov": markovs,
    "shapley": shapleys,
    "linkage": linkages,
    "identity": identities,
    "cents": cents,
}
INPUTS = ("heuristic paths", "paths", "games")
