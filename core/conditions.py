"""Conditions as data: which attributes a rule may ask for, which operators fit them, and what is wrong with a clause. Pure.

The words are those of the field (equals_to, in, greater_than …), with ``under`` for trees of categories. How a clause is answered
for an order is the business of payouts.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, get_args

import msgspec

from core.catalogue import Clause, Entity, Operator, Subject
from core.credit import TouchClass
from core.errors import BadInput
from core.events import CHANNELS
from core.flaws import CONTROL, STATUSES, WORDS_LIMIT, Known
from core.money import CURRENCIES, parse_amount

Kind = Literal["text", "texts", "number", "amount"]
"""``texts``: several at once, such as an order's coupons. An operator holds where one of them fits, a negative one where none does."""
Value = str | int | Fraction
"""A clause's value, ready to compare: text in folded case, a number, or minor units."""

DEPTH_LIMIT = 5
CLAUSES_LIMIT = 50
TREE = " > "

ATTRIBUTES: dict[tuple[str, str], Kind] = {
    ("affiliate", "id"): "text",
    ("affiliate", "group"): "text",
    ("affiliate", "days"): "number",
    ("customer", "status"): "text",
    ("customer", "segments"): "texts",
    ("customer", "country"): "text",
    ("customer", "orders"): "number",
    ("customer", "months"): "number",
    ("order", "value"): "amount",
    ("order", "channel"): "text",
    ("order", "store"): "text",
    ("order", "store_segment"): "text",
    ("order", "currency"): "text",
    ("order", "coupons"): "texts",
    ("order", "coupon_classes"): "texts",
    ("order", "weekday"): "text",
    ("item", "sku"): "text",
    ("item", "name"): "text",
    ("item", "category"): "text",
    ("item", "brand"): "text",
    ("item", "kind"): "text",
    ("item", "price"): "amount",
    ("item", "quantity"): "number",
    ("item", "discount"): "number",
    ("touch", "class"): "text",
    ("touch", "country"): "text",
    ("touch", "device"): "text",
    ("touch", "channel"): "text",
    ("touch", "link"): "text",
    ("touch", "referrer"): "text",
    ("touch", "hours"): "number",
    **{("touch", f"sub{number}"): "text" for number in range(1, 6)},
    ("lead", "name"): "text",
}
"""What a clause may ask for. Any other name of an order or an item is an attribute that the shop sends with it: text."""
FREE: frozenset[str] = frozenset({"order", "item"})

EQUALITY: tuple[Operator, ...] = ("equals_to", "not_equals", "in", "not_in")
SEARCH: tuple[Operator, ...] = ("starts_with", "ends_with", "contains", "not_contains")
ORDERING: tuple[Operator, ...] = ("greater_than", "greater_than_or_equal", "less_than", "less_than_or_equal")
OPERATORS: dict[Kind, tuple[Operator, ...]] = {
    "text": EQUALITY + SEARCH,
    "texts": EQUALITY + SEARCH,
    "number": EQUALITY + ORDERING,
    "amount": EQUALITY + ORDERING,
}
"""What fits each kind. ``under`` fits an item's category and its free attributes."""
POSITIVE: dict[Operator, Operator] = {"not_equals": "equals_to", "not_in": "in", "not_contains": "contains"}
"""Each negative operator holds exactly where its positive one does not, so where the value is unknown too."""
ONE_VALUE: frozenset[Operator] = frozenset({"equals_to", "not_equals", *ORDERING})
"""These take one value; the others 1 to 200, of which one has to fit."""

ENTITIES: dict[Subject, frozenset[Entity]] = {
    "order": frozenset({"affiliate", "customer", "order", "item", "touch"}),
    "lead": frozenset({"affiliate", "touch", "lead"}),
    "click": frozenset({"affiliate", "touch"}),
    "impression": frozenset({"affiliate", "touch"}),
}
"""What is known of what a rule pays for."""
_ITSELF: frozenset[tuple[str, str]] = frozenset({("touch", "class"), ("touch", "hours")})
"""Of a touch that is paid for itself there is nothing to ask here: it has no age, and is what the rule pays for."""
_ELSEWHERE = {("order", "country"): "customer.country", ("order", "customer_status"): "customer.status"}
"""Names that are told by another attribute, which knows them too where the shop sent nothing."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ITEM_KINDS = ("product", "gift_card")
DEVICES = ("desktop", "phone", "tablet", "bot", "other")
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("customer", "status"): STATUSES,
    ("order", "channel"): CHANNELS,
    ("order", "weekday"): WEEKDAYS,
    ("item", "kind"): ITEM_KINDS,
    ("touch", "class"): get_args(TouchClass),
    ("touch", "device"): DEVICES,
    ("touch", "channel"): CHANNELS,
}
"""The only values that such an attribute can have."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NUMBER = re.compile(r"(\d{1,12})(?:\.(\d{1,4}))?", re.ASCII)
_COUNTRY = re.compile(r"[A-Za-z]{2}")


class ClauseFlaw(msgspec.Struct, frozen=True):
    """What is wrong with one clause. ``path`` leads to it, ``("all", 1, "any", 0)``, counted from 0; the whole condition's is empty."""

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        """Counted from 1, as people do: ``all[2].any[1]: …``."""
        return f"{spoken_path(self.path)}: {self.message}" if self.path else self.message


def spoken_path(path: tuple[str | int, ...]) -> str:
    """``("when", "all", 1)`` as people say it, counted from 1: ``when.all[2]``."""
    return "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def kind_of(entity: str, attribute: str) -> Kind | None:
    """None where there is no such attribute and it cannot be one that the shop sends."""
    kind = ATTRIBUTES.get((entity, attribute))
    if kind is None and entity in FREE and (entity, attribute) not in _ELSEWHERE and _NAME.fullmatch(attribute):
        return "text"
    return kind


def attributes_of(subject: Subject) -> list[tuple[str, str]]:
    """What is known of what a rule pays for, entity by entity; what the shop sends comes to it."""
    own = _ITSELF if subject in ("click", "impression") else ()
    return [place for place in ATTRIBUTES if place[0] in ENTITIES[subject] and place not in own]


def operators_of(entity: str, attribute: str) -> tuple[Operator, ...]:
    """The operators that fit an attribute; none for an attribute that does not exist."""
    kind = kind_of(entity, attribute)
    if kind is None:
        return ()
    is_tree = (entity, attribute) == ("item", "category") or (entity == "item" and ("item", attribute) not in ATTRIBUTES)
    return OPERATORS[kind] + (("under",) if is_tree else ())


def parse_value(kind: Kind, text: str, currency: str) -> Value:
    """A clause's value, ready to compare. Never rounds. ``currency`` is the tenant's, for amounts.

    Raises:
        BadInput: not a number or an amount, negative, or with more decimals than 4, or than the currency has.
    """
    if kind in ("text", "texts"):
        return text.casefold()
    if kind == "amount":
        minor = parse_amount(text, currency, "value")
        if text.startswith("-"):
            raise BadInput("malformed", f"value {text!r:.40} is negative", "values")
        return minor
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise BadInput("malformed", f"value {text!r:.40} is not a number such as 20 or 12.5, with at most four decimals", "values")
    return int(match[1]) if match[2] is None else Fraction(text)


def is_under(category: str, tree: str) -> bool:
    """True where ``category`` is ``tree`` or stands below it: ``Shoes > Running`` is under ``shoes``. Without regard to letter case."""
    category, tree = category.casefold(), tree.casefold()
    return category == tree or category.startswith(tree + TREE)


def clauses_of(clause: Clause) -> Iterator[Clause]:
    """The clause itself, then those within it, each before its own."""
    yield clause
    for inner in clause.all + clause.any:
        yield from clauses_of(inner)


def leaves_of(clause: Clause | None) -> tuple[Clause, ...]:
    """The tests that a condition is made of, in their order; None has none."""
    return () if clause is None else tuple(one for one in clauses_of(clause) if one.operator)


def clause_flaws(clause: Clause, subject: Subject, tenant_id: str, programme_id: str, known: Known) -> Iterator[ClauseFlaw]:
    """Everything wrong with a rule's condition: bounds, then each clause by its path."""
    placed = list(_placed(clause, ()))
    if len(placed) > CLAUSES_LIMIT:
        yield ClauseFlaw((), f"has {len(placed)} clauses; a rule has at most {CLAUSES_LIMIT}")
        return
    for path, one in placed:
        if depth_of(path) > DEPTH_LIMIT:
            yield ClauseFlaw(path, f"stands {depth_of(path)} levels deep; {DEPTH_LIMIT} is the most")
            return
        yield from (ClauseFlaw(path, message) for message in _flaws(one, subject, tenant_id, programme_id, known))


def depth_of(path: tuple[str | int, ...]) -> int:
    """The level at which a clause stands: the whole condition on the first."""
    return 1 + len(path) // 2


def _placed(clause: Clause, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Clause]]:
    """Each clause with its path, as :func:`clauses_of` tells them; what is deeper than the first level too deep is not looked at."""
    yield path, clause
    if depth_of(path) <= DEPTH_LIMIT:
        for name, inner in (("all", clause.all), ("any", clause.any)):
            for number, one in enumerate(inner):
                yield from _placed(one, (*path, name, number))


def _flaws(clause: Clause, subject: Subject, tenant_id: str, programme_id: str, known: Known) -> Iterator[str]:
    is_test = bool(clause.entity or clause.attribute or clause.operator or clause.values)
    if is_test + bool(clause.all) + bool(clause.any) != 1:
        yield "is not one of: entity, attribute, operator and values; or all of several clauses; or any of several clauses"
    elif is_test:
        yield from _test(clause, subject, tenant_id, programme_id, known)


def _test(clause: Clause, subject: Subject, tenant_id: str, programme_id: str, known: Known) -> Iterator[str]:
    name = f"{clause.entity}.{clause.attribute}"
    kind = kind_of(clause.entity, clause.attribute)
    if clause.entity not in get_args(Entity):
        yield f"entity {clause.entity!r:.40} is not one of {', '.join(get_args(Entity))}"
    elif clause.entity not in ENTITIES.get(subject, get_args(Entity)):
        yield f"{name} is not known of {_A[subject]}; a rule that pays for one may ask for {', '.join(sorted(ENTITIES[subject]))}"
    elif subject in ("click", "impression") and (clause.entity, clause.attribute) in _ITSELF:
        yield f"{name} is not known of {_A[subject]}: the touch is itself what is paid for"
    elif (clause.entity, clause.attribute) in _ELSEWHERE:
        yield f"{name} is asked for as {_ELSEWHERE[clause.entity, clause.attribute]}"
    elif kind is None:
        names = ", ".join(attribute for entity, attribute in ATTRIBUTES if entity == clause.entity)
        yield f"{clause.entity} has no attribute {clause.attribute!r:.80}; there are {names}{_FREE_HINT if clause.entity in FREE else ''}"
    elif clause.operator not in operators_of(clause.entity, clause.attribute):
        yield f"operator {clause.operator!r} does not fit {name}; there are {', '.join(operators_of(clause.entity, clause.attribute))}"
    else:
        yield from _values(clause, name, kind, tenant_id, programme_id, known)


_A: dict[Subject, str] = {"order": "an order", "lead": "a lead", "click": "a click", "impression": "an impression"}
_FREE_HINT = ", or what the shop sends, named by a small letter and up to 31 small letters, digits and _"


def _values(clause: Clause, name: str, kind: Kind, tenant_id: str, programme_id: str, known: Known) -> Iterator[str]:
    most = 1 if clause.operator in ONE_VALUE else WORDS_LIMIT
    if not 1 <= len(clause.values) <= most:
        yield f"{name} {clause.operator} has {len(clause.values)} values; it takes {'one' if most == 1 else f'1 to {most}'}"
    tenant = known.tenants.get(tenant_id)
    currency = tenant.currency if tenant and tenant.currency in CURRENCIES else ""
    seen = set[Value]()
    for text in clause.values:
        if not text.strip() or len(text) > 255 or CONTROL.search(text):
            yield f"{name}: value {text!r:.60} is empty, longer than 255 characters or holds a line break"
            continue
        if kind == "amount" and not currency:
            continue  # the tenant is the flaw that is told
        try:
            value = parse_value(kind, text, currency)
        except BadInput as error:
            yield f"{name}: {error}"
            continue
        if value in seen:
            yield f"{name}: value {text!r:.60} stands twice"
        seen.add(value)
        if clause.operator in EQUALITY:
            yield from (f"{name}: {message}" for message in _names(clause, text, tenant_id, programme_id, known))


def _names(clause: Clause, text: str, tenant_id: str, programme_id: str, known: Known) -> Iterator[str]:
    """A value that nothing could ever equal: a slip, since it would make a rule that never, or always, applies."""
    place, folded = (clause.entity, clause.attribute), text.casefold()
    if place in CHOICES and folded not in CHOICES[place]:
        yield f"{text!r:.60} is not one of {', '.join(CHOICES[place])}"
    elif clause.attribute == "country" and clause.entity in ("customer", "touch") and not _COUNTRY.fullmatch(text):
        yield f"{text!r:.60} is not a country such as DE"
    elif place == ("order", "currency") and text.upper() not in CURRENCIES:
        yield f"{text!r:.60} is not an ISO 4217 code such as EUR"
    elif place == ("customer", "segments") and (tenant_id, folded) not in known.segments:
        yield f"{text!r:.60} is not a segment of tenant {tenant_id}"
    elif place == ("order", "store") and (tenant_id, folded) not in known.stores:
        yield f"{text!r:.60} is not a store of tenant {tenant_id}"
    elif place == ("affiliate", "id") and (tenant_id, programme_id, folded) not in known.memberships:
        yield f"{text!r:.60} is not a member of programme {tenant_id} {programme_id}"
