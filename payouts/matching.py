"""Which rule pays: a rate card compiled, so that a line costs hardly more under 500 rules than under five. Pure.

After the bit vectors of packet filters (Lakshman and Stiliadis 1998, "High-speed policy-based packet forwarding"): rules are numbered in
the order in which they are tried, and each attribute's value gives the set of rules that it does not rule out, as the bits of one
integer. The rules that fit are what is left of all these sets; the lowest bit is the rule that pays. A value's set is found by look-up:
equality in a dict, trees and beginnings by their levels and lengths, numbers by bisection, and what was found is remembered.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from typing import Any

from core.catalogue import Clause, Entity, RateCard, Rule, Subject
from core.conditions import ORDERING, POSITIVE, TREE, Kind, kind_of, leaves_of, parse_value
from payouts.rate_card import Reason, clauses, pays, rank

Value = str | tuple[str, ...] | int | Fraction | None
"""What is known of an attribute: text, texts, a number, minor units. Empty or None: unknown, of which nothing positive holds."""
Values = Mapping[str, Value]
"""By name, ``item.sku``. What is missing is unknown."""
Key = tuple[Entity, str]
Masks = dict[str, int]

NEAR: tuple[tuple[frozenset[Key], Reason], ...] = (
    (frozenset({("customer", "status")}), "returning_customer"),
    (frozenset({("customer", "segments")}), "other_segment"),
    (frozenset({("order", "value")}), "below_min_order"),
    (frozenset({("customer", "months"), ("customer", "orders")}), "recurring_limit"),
)
"""What stands in the way of a rule that would pay, in the order of asking: the last that has to be passed over names the reason."""

_PLACES: dict[Entity, int] = {"item": 0, "affiliate": 1, "touch": 1, "customer": 2, "order": 2, "lead": 2}
"""In which of the three mappings of a match an entity's attributes are."""
_REMEMBERED = 4096
"""Values of one attribute, and sets of rules, that are remembered before all are forgotten."""
_CARDS = 64
"""Cards that are kept compiled, and objects that are known to be one of them."""


class Compiled:
    """A rate card's rules for one subject, ready to be asked. Holds nothing but the card and what was looked up before."""

    def __init__(self, card: RateCard, currency: str, subject: Subject) -> None:
        self.card = card
        self.rules = tuple(sorted((rule for rule in card.rules if rule.subject == subject), key=rank))
        self._currency = currency
        self._minimum_minor = card.minimum_order_minor if subject == "order" else 0
        self._sieve = Sieve([clauses(rule) for rule in self.rules], currency)

    def match(self, item: Values, affiliate: Values, order: Values) -> Rule | Reason:
        """The rule that pays, or why none does.

        Args:
            item: attributes of the line; empty for what is no line.
            affiliate: of the affiliate and of its touch.
            order: of the customer, the order or the lead.

        An order below the card's minimum earns nothing whatever its lines are. Where no rule fits, the reason is what stands in the
        way of one that would pay something: the customer's status, the order's segments, its value, the customer's age, asked in this
        order, each together with those before it; else ``no_rule``.
        """
        return self.asking(order, (item,))(affiliate)[0]

    def asking(self, order: Values, items: Sequence[Values]) -> Callable[[Values], list[Rule | Reason]]:
        """:meth:`match` for all lines of an order, an affiliate at a time: what does not depend on the affiliate is asked once."""
        why = self._below_minimum(order)
        if why is not None:
            return lambda _affiliate: [why] * len(items)
        before = self._sieve.of_order(order)
        return partial(self._matched, before, [self._sieve.of_item(before, item, order) for item in items], order, items)

    @cached_property
    def asks(self) -> frozenset[str]:
        """The names of all attributes that any rule asks for: no other makes a difference, but for the order's value."""
        return frozenset(".".join(key) for rule in self.rules for clause in clauses(rule) for key in _keys(clause))

    def _matched(
        self, before: int, of_items: Sequence[int], order: Values, items: Sequence[Values], affiliate: Values
    ) -> list[Rule | Reason]:
        sieve, rules = self._sieve, self.rules
        before = sieve.of_affiliate(before, affiliate, order)
        found: list[Rule | Reason] = []
        for item, of_item in zip(items, of_items, strict=True):
            fitting = sieve.of_both(before & of_item, (item, affiliate, order))
            found.append(rules[(fitting & -fitting).bit_length() - 1] if fitting else self._near_miss((item, affiliate, order)))
        return found

    def _below_minimum(self, order: Values) -> Reason | None:
        value = order.get("order.value")
        if not self._minimum_minor or (isinstance(value, int) and value >= self._minimum_minor):
            return None
        return "below_min_order" if isinstance(value, int) else "currency_not_supported"  # nobody can say whether it is below

    def _near_miss(self, values: tuple[Values, Values, Values]) -> Reason:
        for reason, sieve in self._nearly:
            if sieve.fitting(values):
                unknown = reason == "below_min_order" and values[2].get("order.value") is None
                return "currency_not_supported" if unknown else reason
        return "no_rule"

    @cached_property
    def _nearly(self) -> list[tuple[Reason, "Sieve"]]:
        """For each reason what it leaves of the conditions of rules that pay; reasons that no rule has are left out."""
        demands = [clauses(rule) for rule in self.rules if pays(rule) or rule.tiers]
        found: list[tuple[Reason, Sieve]] = []
        for keys, reason in NEAR:
            if any(_keys(clause) & keys for demand in demands for clause in demand):
                demands = [_without(demand, keys) for demand in demands]
                found.append((reason, Sieve(demands, self._currency)))
        return found


_met: dict[tuple[int, str, Subject], tuple[RateCard, Compiled]] = {}


def compile_card(card: RateCard, currency: str, subject: Subject = "order") -> Compiled:
    """A card ready to be asked; the same card again costs a look-up. ``currency`` is the tenant's, of the amounts in conditions.

    Cards of equal content share what is compiled, so a rule that it names is equal to the card's own, and may be another object.
    """
    key = (id(card), currency, subject)
    found = _met.get(key)
    if found is None:  # by identity first: a card's hash takes longer than a match. The card is held, so its id is not given anew
        while len(_met) >= _CARDS:
            _met.pop(next(iter(_met)), None)
        found = _met[key] = (card, _compile(card, currency, subject))
    return found[1]


_compile = lru_cache(maxsize=_CARDS)(Compiled)


# --- sets of rules -----------------------------------------------------------------------------------------------------


class Sieve:
    """Which of several demands hold for given values: bit n of an answer stands for the n-th. A demand is clauses that all must hold."""

    def __init__(self, demands: Sequence[Sequence[Clause]], currency: str) -> None:
        self._all = (1 << len(demands)) - 1
        flat = [[one for clause in demand for one in _conjuncts(clause)] for demand in demands]
        columns = {key: _column(key, leaves, currency) for key, leaves in _leaves(flat).items()}
        asked: dict[tuple[Key, ...], dict[int, list[Clause]]] = {}
        for number, parts in enumerate(flat):
            for part in parts:
                asked.setdefault(tuple(sorted(_keys(part))), {}).setdefault(number, []).append(part)
        joints = [_joint([columns[key] for key in keys], parts, self._all) for keys, parts in asked.items()]
        self._of_order, self._of_item, self._of_affiliate, self._of_both = (
            [joint for joint in joints if joint.places & {0, 1} == about] for about in (set(), {0}, {1}, {0, 1})
        )

    def of_order(self, order: Values) -> int:
        """The demands that hold as far as customer and order alone are asked: the same for all lines and affiliates."""
        return _sifted(self._of_order, self._all, (_NOTHING, _NOTHING, order))

    def of_item(self, before: int, item: Values, order: Values) -> int:
        """Of those that held ``before``: as far as a line is asked, whoever the affiliate is."""
        return _sifted(self._of_item, before, (item, _NOTHING, order))

    def of_affiliate(self, before: int, affiliate: Values, order: Values) -> int:
        """Of those that held ``before``: as far as an affiliate is asked, whatever the line is."""
        return _sifted(self._of_affiliate, before, (_NOTHING, affiliate, order))

    def of_both(self, before: int, values: "Three") -> int:
        """Of those that held ``before``: as far as one clause asks for line and affiliate."""
        return _sifted(self._of_both, before, values) if self._of_both else before

    def fitting(self, values: "Three") -> int:
        """The demands that hold."""
        item, affiliate, order = values
        before = self.of_order(order)
        return self.of_both(self.of_item(before, item, order) & self.of_affiliate(before, affiliate, order), values)


Three = tuple[Values, Values, Values]
"""Of the line, of the affiliate, of the order."""
_NOTHING: Values = {}


def _sifted(joints: Iterable["Joint"], left: int, values: Three) -> int:
    for joint in joints:
        if not left:
            break
        left &= joint.fitting(values)
    return left


class Joint:
    """The parts of demands that are about the same attributes: mostly one, several where a clause says ``any`` of them."""

    def __init__(self, columns: Sequence["Column"], asked: Mapping[int, Sequence[Clause]], everything: int) -> None:
        self._columns = columns
        self.places = {column.place for column in columns}
        depth = max(map(len, asked.values()))
        layers = [{number: parts[level] for number, parts in asked.items() if len(parts) > level} for level in range(depth)]
        self._layers = [Layer(columns, layer, everything) for layer in layers]

    def fitting(self, values: Three) -> int:
        """The demands whose parts here hold, and those that have none."""
        raise NotImplementedError

    def _of_masks(self, masks: tuple[int, ...]) -> int:
        found = -1
        for layer in self._layers:
            found &= layer.fitting(masks)
        return found


class JointOfWords(Joint):
    """About one attribute that is text. Remembers by the text."""

    def __init__(self, column: "Words", asked: Mapping[int, Sequence[Clause]], everything: int) -> None:
        super().__init__([column], asked, everything)
        self._column, self._place, self._name = column, column.place, column.name
        self._seen: dict[Value, int] = {}
        self._by_mask: dict[int, int] = {}

    def fitting(self, values: Three) -> int:
        value = values[self._place].get(self._name)
        found = self._seen.get(value)
        return self._ask(value) if found is None else found

    def _ask(self, value: Value) -> int:
        mask = self._column.find(value)
        found = self._by_mask.get(mask)
        if found is None:
            found = _remember(self._by_mask, mask, self._of_masks((mask,)))
        return _remember(self._seen, value, found)


class JointOfNumbers(Joint):
    """About one attribute that is a number: what holds at each place among the numbers that are asked for is found beforehand."""

    def __init__(self, column: "Numbers", asked: Mapping[int, Sequence[Clause]], everything: int) -> None:
        super().__init__([column], asked, everything)
        self._column, self._place, self._name = column, column.place, column.name
        self._by_place = [self._of_masks((mask,)) for mask in column.masks]
        self._unknown = self._of_masks((0,))

    def fitting(self, values: Three) -> int:
        place = self._column.place_of(values[self._place].get(self._name))
        return self._unknown if place is None else self._by_place[place]


class JointOfSeveral(Joint):
    """About several attributes at once. Remembers by what holds of each."""

    def __init__(self, columns: Sequence["Column"], asked: Mapping[int, Sequence[Clause]], everything: int) -> None:
        super().__init__(columns, asked, everything)
        self._seen: dict[tuple[int, ...], int] = {}

    def fitting(self, values: Three) -> int:
        masks = tuple([one.holds(values[one.place].get(one.name)) for one in self._columns])
        found = self._seen.get(masks)
        return _remember(self._seen, masks, self._of_masks(masks)) if found is None else found


def _joint(columns: Sequence["Column"], asked: Mapping[int, Sequence[Clause]], everything: int) -> Joint:
    match columns:
        case [Words() as column]:
            return JointOfWords(column, asked, everything)
        case [Numbers() as column]:
            return JointOfNumbers(column, asked, everything)
    return JointOfSeveral(columns, asked, everything)


def _remember(seen: dict[Any, int], key: Any, found: int) -> int:
    if len(seen) >= _REMEMBERED:
        seen.clear()
    seen[key] = found
    return found


class Layer:
    """One part each of several demands. A part that is a single test is turned by its bit; others are asked one by one."""

    def __init__(self, columns: Sequence["Column"], asked: Mapping[int, Clause], everything: int) -> None:
        self._otherwise = everything
        """The demands that hold where no test does: those that have no part here, and those whose part is a negative test."""
        self._turned: dict[int, int] = {}
        """By the bit of a test: the demands that it turns, to held or to not held."""
        self._groups: list[tuple[int, Test]] = []
        places = {column.key: place for place, column in enumerate(columns)}
        for number, part in asked.items():
            if not part.operator:
                self._groups.append((1 << number, _test(part, places, columns)))
            else:
                bit = columns[0].bit_of(part)
                self._turned[bit] = self._turned.get(bit, 0) | 1 << number
            if part.operator not in POSITIVE:
                self._otherwise &= ~(1 << number)

    def fitting(self, masks: tuple[int, ...]) -> int:
        """By the masks of what holds, one for each attribute."""
        found = self._otherwise | sum(bit for bit, test in self._groups if test(masks))
        if self._turned:
            for bit in _bits(masks[0]):
                found ^= self._turned.get(bit, 0)
        return found


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield mask & -mask
        mask &= mask - 1


Test = Callable[[tuple[int, ...]], bool]


def _test(clause: Clause, places: Mapping[Key, int], columns: Sequence["Column"]) -> Test:
    """A clause as a question to masks of what holds, one mask for each column."""
    if clause.operator:
        key = _key(clause)
        place, bit = places[key], columns[places[key]].bit_of(clause)
        negative = clause.operator in POSITIVE
        return lambda masks: bool(masks[place] & bit) is not negative
    inner = [_test(one, places, columns) for one in clause.any or clause.all]
    if clause.any:
        return lambda masks: any(test(masks) for test in inner)
    return lambda masks: all(test(masks) for test in inner)


def _conjuncts(clause: Clause) -> Iterable[Clause]:
    """What all has to hold, told apart; what ``any`` joins stays together."""
    if clause.operator or clause.any:
        return (clause,)
    return (one for inner in clause.all for one in _conjuncts(inner))


def _without(demand: Sequence[Clause], keys: frozenset[Key]) -> tuple[Clause, ...]:
    """A demand with every test of these attributes taken as passed."""
    return tuple(left for clause in demand if (left := _passed_over(clause, keys)) is not None)


def _passed_over(clause: Clause, keys: frozenset[Key]) -> Clause | None:
    """None where nothing is left to ask."""
    if clause.operator:
        return None if _key(clause) in keys else clause
    left = [_passed_over(inner, keys) for inner in clause.any or clause.all]
    rest = tuple(one for one in left if one is not None)
    if clause.any:
        return Clause(any=rest) if len(rest) == len(left) else None
    return Clause(all=rest) if rest else None


def _leaves(demands: Iterable[Iterable[Clause]]) -> dict[Key, list[Clause]]:
    found: dict[Key, list[Clause]] = {}
    for demand in demands:
        for clause in demand:
            for leaf in leaves_of(clause):
                found.setdefault(_key(leaf), []).append(leaf)
    return found


def _keys(clause: Clause) -> frozenset[Key]:
    return frozenset(map(_key, leaves_of(clause)))


def _key(leaf: Clause) -> Key:
    assert leaf.entity, "a test names an entity"
    return (leaf.entity, leaf.attribute)


# --- one attribute -----------------------------------------------------------------------------------------------------


class Column:
    """All tests of one attribute, each positive one a bit. Equal tests of several rules share it."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.place = _PLACES[key[0]]
        self.name = ".".join(key)
        self._bits: dict[tuple[str, frozenset[object]], int] = {}

    def bit_of(self, leaf: Clause) -> int:
        """The bit of a test, of its positive form where it is a negative one."""
        return self._bits[self._test_of(leaf)]

    def holds(self, value: Value) -> int:
        """The bits of the tests that hold."""
        raise NotImplementedError

    def _test_of(self, leaf: Clause) -> tuple[str, frozenset[object]]:
        raise NotImplementedError

    def _add(self, leaf: Clause) -> tuple[str, frozenset[object], int] | None:
        """Operator, values and bit of a test that was not there yet."""
        test = self._test_of(leaf)
        if test in self._bits:
            return None
        self._bits[test] = bit = 1 << len(self._bits)
        return (*test, bit)


def _column(key: Key, leaves: Sequence[Clause], currency: str) -> Column:
    kind = kind_of(*key)
    assert kind is not None, f"there is no attribute {'.'.join(key)}"
    return Words(key, leaves) if kind in ("text", "texts") else Numbers(key, leaves, currency, is_amount=kind == "amount")


class Words(Column):
    """Tests of text, without regard to letter case. Of several texts at once a positive test holds where one of them fits."""

    def __init__(self, key: Key, leaves: Iterable[Clause]) -> None:
        super().__init__(key)
        self._equal: Masks = {}
        self._trees: Masks = {}
        self._begins: dict[int, Masks] = {}
        self._ends: dict[int, Masks] = {}
        self._contains: Masks = {}
        self._seen: dict[Value, int] = {}
        for added in filter(None, map(self._add, leaves)):
            operator, values, bit = added
            for text in map(str, values):
                self._masks(operator, text)[text] = self._masks(operator, text).get(text, 0) | bit

    def holds(self, value: Value) -> int:
        found = self._seen.get(value)
        return _remember(self._seen, value, self.find(value)) if found is None else found

    def find(self, value: Value) -> int:
        """:meth:`holds`, without remembering."""
        found = 0
        for text in value if isinstance(value, tuple) else (value if isinstance(value, str) else "",):
            found |= self._of_text(text.casefold())
        return found

    def _of_text(self, text: str) -> int:
        found = self._equal.get(text, 0)
        if self._trees:
            found |= self._in_trees(text)
        for length, masks in self._begins.items():
            found |= masks.get(text[:length], 0)
        for length, masks in self._ends.items():
            found |= masks.get(text[-length:], 0)
        for part, bit in self._contains.items():
            if part in text:
                found |= bit
        return found

    def _in_trees(self, text: str) -> int:
        found, end = self._trees.get(text, 0), text.find(TREE)
        while end >= 0:
            found |= self._trees.get(text[:end], 0)
            end = text.find(TREE, end + 1)
        return found

    def _masks(self, operator: str, text: str) -> Masks:
        if operator == "starts_with":
            return self._begins.setdefault(len(text), {})
        if operator == "ends_with":
            return self._ends.setdefault(len(text), {})
        return {"in": self._equal, "under": self._trees, "contains": self._contains}[operator]

    def _test_of(self, leaf: Clause) -> tuple[str, frozenset[object]]:
        return _positive(leaf), frozenset(value.casefold() for value in leaf.values)


class Numbers(Column):
    """Tests of numbers and amounts, by where a value stands between all the numbers that are asked for."""

    def __init__(self, key: Key, leaves: Sequence[Clause], currency: str, *, is_amount: bool) -> None:
        super().__init__(key)
        self._kind: Kind = "amount" if is_amount else "number"
        self._currency = currency
        self._marks = sorted({self._read(text) for leaf in leaves for text in leaf.values})
        self.masks = [0] * (2 * len(self._marks) + 1)
        for added in filter(None, map(self._add, leaves)):
            operator, values, bit = added
            for place in range(len(self.masks)):
                if any(_stands(operator, place, 2 * self._marks.index(value) + 1) for value in values):  # type: ignore[arg-type]
                    self.masks[place] |= bit

    def holds(self, value: Value) -> int:
        place = self.place_of(value)
        return 0 if place is None else self.masks[place]

    def place_of(self, value: Value) -> int | None:
        """Where a number stands: odd at a mark, even between two. None: it is no number."""
        if type(value) is int:
            mark = value * 20_000
        elif value is None or isinstance(value, (str, tuple)):
            return None
        else:
            mark = _mark(value)
        marks = self._marks
        place = bisect_left(marks, mark)
        return 2 * place + (place < len(marks) and marks[place] == mark)

    def _test_of(self, leaf: Clause) -> tuple[str, frozenset[object]]:
        return _positive(leaf), frozenset(map(self._read, leaf.values))

    def _read(self, text: str) -> int:
        value = parse_value(self._kind, text, self._currency)
        assert not isinstance(value, str), "numbers and amounts are read as numbers"
        return _mark(value)


def _mark(value: int | Fraction) -> int:
    """A whole number that stands among those of all values of a condition (at most four decimals) as the value does: twice its ten
    thousandths, and one more where it lies between two of them. So numbers compare exactly, and as fast as whole ones.
    """
    if isinstance(value, int):
        return value * 20_000
    whole, rest = divmod(value.numerator * 10_000, value.denominator)
    return 2 * whole + (rest > 0)


def _positive(leaf: Clause) -> str:
    """The operator without its "not"; one value that is equal is one of one."""
    operator = POSITIVE.get(leaf.operator, leaf.operator) if leaf.operator else ""
    return "in" if operator == "equals_to" else operator


def _stands(operator: str, place: int, mark: int) -> bool:
    """Places are odd at a mark and even between two."""
    if operator not in ORDERING:
        return place == mark
    return {
        "greater_than": place > mark,
        "greater_than_or_equal": place >= mark,
        "less_than": place < mark,
        "less_than_or_equal": place <= mark,
    }[operator]
