"""What the demo's lines earn by its rate cards, worked out a second time from docs/money.md and docs/catalogue.md alone.

Slow and simple on purpose: every order of a programme is priced from the beginning each time, in the order of its time. The demo credits
an order to one affiliate whole, so nothing is shared here.

Read in this order: which rule pays a line (:func:`rule_for`), what that comes to (:func:`priced`), where an affiliate stands among its
orders (:func:`reached`), what limits leave (:func:`limited`), what recruiters have (:func:`recruited`), bonuses (:func:`bonuses`), in which
currency (:func:`settled`); all of it together (:func:`due`), and why a line has nothing (:func:`why_nothing`).
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Row = dict[str, Any]
Place = tuple[str, str, str, str, str]
"""Tenant, order, line, affiliate, and the part of a recruiter (else empty)."""


class Sale(NamedTuple):
    """An order to price: its card and credit, and what refunds left. ``rules`` are those that fit, by line."""

    order: Row
    card: Row
    affiliate_id: str
    status: str
    group: str
    coupon_classes: list[str]
    store_segment: str
    left: dict[str, int]
    gone: set[str]
    month: str
    rules: dict[str, Row | None]

    @property
    def when(self) -> tuple[int, str]:
        return self.order["occurred_at"], self.order["order_id"]

    @property
    def net(self) -> dict[str, int]:
        return {line["line_id"]: line["net_minor"] for line in self.order["lines"]}


def sale_of(order: Row, card: Row, affiliate_id: str, status: str, left: dict[str, int], gone: set[str], catalogue: Row) -> Sale:
    """Everything that a rule may ask for. Whose code has a class has it, be the code still valid or not."""
    tenant_id = order["tenant_id"]
    member = member_of(catalogue, card, affiliate_id)
    classes = [coupon["coupon_class"] for coupon in of_tenant(catalogue, "coupons", tenant_id) if coupon["code"] in order["coupons"]]
    segments = [store["segment"] for store in of_tenant(catalogue, "stores", tenant_id) if store["store_id"] == order["store_id"]]
    zone = next(tenant["time_zone"] for tenant in catalogue["tenants"] if tenant["tenant_id"] == tenant_id)
    sale = Sale(
        order, card, affiliate_id, status, member["group"] if member else "", classes, "".join(segments), left, gone,
        datetime.fromtimestamp(order["occurred_at"] / 1000, ZoneInfo(zone)).strftime("%Y-%m"), {},
    )  # fmt: skip
    sale.rules.update({line["line_id"]: rule_for(line, sale, card["rules"]) for line in order["lines"]})
    return sale


def of_tenant(catalogue: Row, kind: str, tenant_id: str) -> list[Row]:
    return [record for record in catalogue[kind] if record["tenant_id"] == tenant_id]


def member_of(catalogue: Row, card: Row, affiliate_id: str) -> Row | None:
    names = {"tenant_id": card["tenant_id"], "programme_id": card["programme_id"], "affiliate_id": affiliate_id}
    return next((member for member in catalogue["memberships"] if names.items() <= member.items()), None)


# --- which rule ------------------------------------------------------------------------------------------------------


def rule_for(line: Row, sale: Sale, rules: Iterable[Row], any_status: bool = False, any_value: bool = False) -> Row | None:
    """The rule with the smallest priority, most tests, first id; ``any_…`` leaves the customer's status or the order's value aside."""
    matching = [
        rule
        for rule in rules
        if (not rule["categories"] or any(below(line["category"], name) for name in rule["categories"]))
        and (not rule["skus"] or line["sku"].lower() in [sku.lower() for sku in rule["skus"]])
        and (any_status or rule["customer_status"] in ("", sale.status))
        and (rule["when"] is None or holds(rule["when"], line, sale, any_value))
    ]
    return min(matching, key=lambda rule: (rule["priority"], -tests_of(rule), rule["rule_id"]), default=None)


def below(category: str, name: str) -> bool:
    return f"{category} > ".lower().startswith(f"{name} > ".lower())


def tests_of(rule: Row) -> int:
    return bool(rule["categories"]) + bool(rule["skus"]) + bool(rule["customer_status"]) + (leaves(rule["when"]) if rule["when"] else 0)


def leaves(clause: Row) -> int:
    return sum(leaves(one) for one in clause["all"] + clause["any"]) if clause["all"] or clause["any"] else 1


def holds(clause: Row, line: Row, sale: Sale, any_value: bool) -> bool:
    if clause["all"]:
        return all(holds(one, line, sale, any_value) for one in clause["all"])
    if clause["any"]:
        return any(holds(one, line, sale, any_value) for one in clause["any"])
    name, values = f"{clause['entity']}.{clause['attribute']}", clause["values"]
    if name == "order.value" and any_value:
        return True
    known = attribute(name, line, sale)
    match clause["operator"]:
        case "equals_to" | "in":
            return bool({text.lower() for text in known} & {text.lower() for text in values})
        case "greater_than":
            return known[0] > Fraction(values[0])
        case "greater_than_or_equal":
            return known[0] >= Fraction(values[0])
    raise AssertionError(f"the demo does not ask {clause['operator']}")


def attribute(name: str, line: Row, sale: Sale) -> list[Any]:
    """What is known; amounts in whole units of the currency, as conditions have them."""
    match name:
        case "order.value":
            return [Fraction(sum(sale.net.values()), 100)]
        case "item.quantity":
            return [Fraction(line["quantity"])]
        case "order.channel":
            return [sale.order["channel"]]
        case "order.store":
            return [sale.order["store_id"]]
        case "order.store_segment":
            return [sale.store_segment]
        case "order.coupon_classes":
            return sale.coupon_classes
        case "affiliate.group":
            return [sale.group] if sale.group else []
    raise AssertionError(f"the demo does not ask for {name}")


# --- what it pays ----------------------------------------------------------------------------------------------------


def priced(sale: Sale, left: dict[str, int], gone: set[str], steps: dict[str, Row]) -> dict[str, int]:
    """What each line earns before limits, with ``left`` of its net. ``steps`` are the tiers reached, by rule; they replace the rates."""
    if too_small(sale):
        return dict.fromkeys(sale.net, 0)
    bases, earned = bases_of(sale, left), dict.fromkeys(sale.net, 0)
    for rule_id in {rule["rule_id"] for rule in sale.rules.values() if rule}:
        rule = next(one for one in sale.card["rules"] if one["rule_id"] == rule_id)
        rates = steps.get(rule_id, rule)
        lines = [line for line in sale.order["lines"] if is_of(sale.rules[line["line_id"]], rule_id) and line["line_id"] not in gone]
        amounts = [
            bases[line["line_id"]] * (rates["percent_bps"] or 0) // 10_000
            + fixed_of(line, rule["per"], rates["fixed_minor"] or 0, left[line["line_id"]])
            for line in lines
        ]
        if rule["per"] == "order" and rates["fixed_minor"] and lines:
            parts = laid_over(rates["fixed_minor"], [left[line["line_id"]] for line in lines])
            amounts = [amount + part for amount, part in zip(amounts, parts, strict=True)]
        if rule["most_minor"] is not None and sum(amounts) > rule["most_minor"]:
            amounts = laid_over(rule["most_minor"], amounts)
        earned |= {line["line_id"]: amount for line, amount in zip(lines, amounts, strict=True)}
    return earned


def too_small(sale: Sale) -> bool:
    """As sold, below the card's minimum: no rule prices it."""
    return bool(sum(sale.net.values()) < sale.card["minimum_order_minor"])


def is_of(rule: Row | None, rule_id: str) -> bool:
    return rule is not None and rule["rule_id"] == rule_id


def bases_of(sale: Sale, left: dict[str, int]) -> dict[str, int]:
    """What percentages are taken of: the net that is left, and in proportion the shipping that was laid over the lines."""
    assert set(sale.card["pays_on"]) <= {"shipping"}, "the demo pays on nothing else"
    bases = dict(left)
    if sale.card["pays_on"]:
        parts = laid_over(sale.order["shipping_minor"], list(sale.net.values()))
        for (line_id, net), part in zip(sale.net.items(), parts, strict=True):
            bases[line_id] += part * left[line_id] // net if net else part
    return bases


def fixed_of(line: Row, per: str, amount: int, left: int) -> int:
    """For a line, or for the units that are left of it; what is per order is laid over the lines elsewhere."""
    if per == "unit":
        units = -(-line["quantity"] * left // line["net_minor"]) if line["net_minor"] else line["quantity"]
        return int(units * amount)
    return amount if per == "line" else 0


def laid_over(total: int, weights: list[int]) -> list[int]:
    """Parts of ``total`` by ``weights``: largest remainder, ties to the earlier. Without any weight all goes to the first."""
    whole = sum(weights)
    if whole == 0:
        return [total] + [0] * (len(weights) - 1)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts


# --- among other orders ----------------------------------------------------------------------------------------------


def reached(sales: list[Sale], measure: str) -> int:
    """Orders of which a line is left, the net that is left of them, or the commission on it at the rules' own rates."""
    if measure == "orders":
        return sum(sale.net.keys() > sale.gone for sale in sales)
    if measure == "revenue":
        return sum(sum(sale.left.values()) for sale in sales)
    return sum(sum(priced(sale, sale.left, sale.gone, {}).values()) for sale in sales)


def steps_of(sale: Sale, month: list[Sale]) -> dict[str, Row]:
    """The step of each rule with tiers; ``month`` are all orders of the affiliate in it."""
    steps = {}
    for rule in sale.card["rules"]:
        if rule["tiers"]:
            assert rule["tiers"]["period"] == "month"
            counting = month if rule["tiers"]["retroactive"] else [other for other in month if other.when < sale.when]
            count = reached(counting, rule["tiers"]["measure"])
            for step in rule["tiers"]["steps"]:
                if step["at_least"] <= count:
                    steps[rule["rule_id"]] = step
    return steps


class Granted(NamedTuple):
    """By line: what the rules pay for it as sold, what limits leave of that; what the rules pay for what is left of it, and what is due."""

    asked: dict[str, int]
    granted: dict[str, int]
    now: dict[str, int]
    due: dict[str, int]


def limited(sales: list[Sale]) -> dict[str, Granted]:
    """A programme's orders by time, each with what the limits leave; by order id.

    A limit is read as one of the versions that state it: an order of another version neither is bound by it nor takes of it. A line
    that was cut as sold is due what refunds leave of it, up to what it was granted; one that was not cut is not cut later either.
    """
    of_month = defaultdict(list)
    for sale in sales:
        of_month[sale.affiliate_id, sale.month].append(sale)
    taken: dict[tuple[str, str, str], int] = defaultdict(int)
    found = {}
    for sale in sorted(sales, key=lambda one: one.when):
        steps = steps_of(sale, of_month[sale.affiliate_id, sale.month])
        asked, now = priced(sale, sale.net, set(), steps), priced(sale, sale.left, sale.gone, steps)
        room = dict(taken)
        granted = {line_id: grant(amount, sale, line_id, room) for line_id, amount in asked.items()}
        due_now = {line_id: now[line_id] if granted[line_id] == asked[line_id] else min(now[line_id], granted[line_id]) for line_id in now}
        for line_id, amount in due_now.items():
            for _, bucket in limits_of(sale, line_id):
                taken[bucket] += amount
        found[sale.order["order_id"]] = Granted(asked, granted, now, due_now)
    return found


def grant(amount: int, sale: Sale, line_id: str, taken: dict[tuple[str, str, str], int]) -> int:
    """As much of ``amount`` as every limit has left; it is taken there."""
    limits = limits_of(sale, line_id)
    for limit, bucket in limits:
        amount = min(amount, max(0, limit["amount_minor"] - taken.get(bucket, 0)))
    for _, bucket in limits:
        taken[bucket] = taken.get(bucket, 0) + amount
    return amount


def limits_of(sale: Sale, line_id: str) -> list[tuple[Row, tuple[str, str, str]]]:
    """The limits that bind a line, and whose month each counts: the affiliate's or everybody's."""
    rule = sale.rules[line_id]
    assert all(limit["period"] == "month" for limit in sale.card["limits"])
    return [
        (limit, (limit["limit_id"], sale.month, "" if limit["shared"] else sale.affiliate_id))
        for limit in sale.card["limits"]
        if rule is not None and (not limit["rules"] or rule["rule_id"] in limit["rules"])
    ]


def recruited(sale: Sale, due_now: dict[str, int], catalogue: Row) -> dict[tuple[str, str, str], int]:
    """(line, recruiter, part) → what whoever recruited the affiliate has, level by level.

    ``revenue`` is what percentages are taken of, of the lines that pay the affiliate something now.
    """
    paying = [line_id for line_id, amount in due_now.items() if amount]
    whole = due_now if sale.card["recruiter_of"] == "commission" else bases_of(sale, sale.left)
    weights = [whole[line_id] for line_id in paying]
    found, member, seen = {}, member_of(catalogue, sale.card, sale.affiliate_id), {sale.affiliate_id}
    for level, bps in enumerate(sale.card["recruiter_bps"], 1):
        recruiter = member["recruited_by"] if member else ""
        if not recruiter or recruiter in seen:
            break
        seen.add(recruiter)
        member = member_of(catalogue, sale.card, recruiter)
        assert member is not None
        if paying and active(member, sale.order["occurred_at"]):
            parts = laid_over(sum(weights) * bps // 10_000, weights)
            found |= {(line_id, recruiter, f"recruiter:{level}"): part for line_id, part in zip(paying, parts, strict=True)}
    return found


def active(member: Row, at: int) -> bool:
    approved, suspended = member["approved_at"], member["suspended_at"]
    return approved is not None and approved <= at and (suspended is None or at < suspended)


def bonuses(sales: list[Sale], currency: str) -> dict[Place, tuple[int, str, int]]:
    """Each bonus that an affiliate has in a month: amount, currency, end of its hold.

    The order that reaches it is the first whose version states the bonus and by which the month's measure is there.
    """
    found = {}
    of_month = defaultdict(list)
    for sale in sorted(sales, key=lambda one: one.when):
        month = of_month[sale.affiliate_id, sale.month]
        month.append(sale)
        card = sale.card
        for bonus in card["bonuses"]:
            assert bonus["period"] == "month"
            order_id = f" bonus:{sale.month}:{bonus['bonus_id']}:{card['programme_id']}:{sale.affiliate_id}"
            place = (card["tenant_id"], order_id, sale.month, sale.affiliate_id, "")
            if place not in found and reached(month, bonus["measure"]) >= bonus["at_least"]:
                found[place] = (bonus["pays_minor"], currency, held_until(sale))
    return found


def held_until(sale: Sale) -> int:
    return int(sale.order["occurred_at"] + sale.card["hold_days"] * 86_400_000)


# --- in which currency -----------------------------------------------------------------------------------------------


def settled(amount: int, sale: Sale, rates: dict[str, dict[str, str]]) -> int:
    """Pounds to euros by the last rate on or before the order's day (UTC), at most a week old; half a cent goes to the even one."""
    if sale.card["settle_in"] in ("", sale.order["currency"]):
        return amount
    assert (sale.order["currency"], sale.card["settle_in"], sale.card["fx_rounding"]) == ("GBP", "EUR", "half_even")
    day = datetime.fromtimestamp(sale.order["occurred_at"] / 1000, UTC).date()
    days = [(day - timedelta(days=ago)).isoformat() for ago in range(8)]
    value = next(rates[on]["GBP"] for on in days if on in rates)
    return round(Fraction(amount) / Fraction(Decimal(value)))


# --- all of it -------------------------------------------------------------------------------------------------------


def due(
    sales: list[Sale], catalogue: Row, rates: dict[str, dict[str, str]]
) -> tuple[dict[Place, tuple[int, str, int]], dict[str, Granted]]:
    """What is due of one programme's credited orders: amount, currency and end of hold by place; and what limits left, by order id."""
    targets: dict[Place, tuple[int, str, int]] = {}
    granted = limited(sales)
    for sale in sales:
        tenant_id, order_id = sale.order["tenant_id"], sale.order["order_id"]
        own = granted[order_id].due
        parts = {(line_id, sale.affiliate_id, ""): amount for line_id, amount in own.items()} | recruited(sale, own, catalogue)
        currency = sale.card["settle_in"] or sale.order["currency"]
        whose: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for line in sale.order["lines"]:
            for (line_id, affiliate_id, part), amount in parts.items():
                if line_id == line["line_id"]:
                    whose[affiliate_id, part][line_id] = amount
        for (affiliate_id, part), amounts in whose.items():
            shared = laid_over(settled(sum(amounts.values()), sale, rates), list(amounts.values()))
            for line_id, amount in zip(amounts, shared, strict=True):
                targets[tenant_id, order_id, line_id, affiliate_id, part] = (amount, currency, held_until(sale))
    if sales:
        targets |= bonuses(sales, sales[0].order["currency"])
    return targets, granted


def why_nothing(line: Row, sale: Sale, granted: Granted) -> str:
    """The reason of a credited line that earns nothing in the end. All of the demo is in its tenants' currencies.

    A line without net, of an order that goes back, "did not earn and went back": it is ``zero_base``.
    """
    line_id = line["line_id"]
    rule = sale.rules[line_id]
    if too_small(sale):
        return "below_min_order"
    if rule is None:
        paying = [one for one in sale.card["rules"] if one["percent_bps"] or one["fixed_minor"]]
        if rule_for(line, sale, paying, any_status=True):
            return "returning_customer"
        return "below_min_order" if rule_for(line, sale, paying, any_status=True, any_value=True) else "no_rule"
    if not rule["percent_bps"] and not rule["fixed_minor"]:
        return "excluded_item" if rule["skus"] else "excluded_category" if rule["categories"] else "no_rule"
    if not granted.asked[line_id]:
        return "zero_base"
    return "cap_reached" if granted.now[line_id] else "refunded"
