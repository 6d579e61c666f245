"""The demo world's totals, worked out a second time: plain lists and loops over ``python -m fairshare.demo --json``.

Written from the documents alone (docs/attribution.md, docs/money.md) and from nothing of Fairshare's code; slow and simple
on purpose, and everything from the beginning at each booking: no cursor, no cache, no "what changed". Amounts are minor
units, instants milliseconds.

Taken on trust from the facts: ``human`` of each touch (whether a user agent is a machine's is not judged again here), the three
``stages`` (when was booked, prepared, settled), and that keys which are equal are the same customer's.

Where the documents leave a choice, the docstring of the function says what was chosen.

Read in this order: who earned (:func:`decisions`), what a line earns (``oracle_cards``), what was booked and paid when (:func:`book`),
sums (:func:`commissions_by_state`, :func:`ledger`, :func:`credited`).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.fairshare.oracle_cards import Granted, Place, Sale, due, laid_over, sale_of

Facts = dict[str, Any]
Row = dict[str, Any]
OrderKey = tuple[str, str]

HOUR = 3_600_000
DAY = 24 * HOUR
STEPS, JUNK, PERSON, LATEST = 6, 200, 500, 250


class Outcome(NamedTuple):
    """An order's result code, and who earned it by which touch (empty where nobody did)."""

    result: str
    affiliate_id: str = ""
    touch_id: str = ""
    programme_id: str = ""
    policy_version: int = 0


# --- who earned: docs/attribution.md ---------------------------------------------------------------------------------


def decisions(facts: Facts, known_until: int) -> dict[OrderKey, Outcome]:
    """Every order received before ``known_until``, decided by everything received before it."""
    known = {name: received_before(facts[name], known_until) for name in ("touches", "leads", "orders")}
    found = {}
    for tenant in facts["catalogue"]["tenants"]:
        own = {name: [event for event in events if event["tenant_id"] == tenant["tenant_id"]] for name, events in known.items()}
        neighbours = links_between_keys(own["touches"], own["leads"], own["orders"])
        clicks = {touch["event_id"]: touch for touch in own["touches"] if touch["kind"] == "click"}
        of_visitor = grouped(own["touches"], "visitor_id")
        for order in own["orders"]:
            person = keys_of_person(own_keys(order), neighbours)
            touches = {name: clicks[name] for kind, name in person if kind == "click" and name in clicks}
            for kind, name in person:
                if kind == "visitor":
                    touches |= {touch["event_id"]: touch for touch in of_visitor.get(name, [])}
            found[order["tenant_id"], order["order_id"]] = decide(order, list(touches.values()), facts["catalogue"])
    return found


def statuses(facts: Facts, known_until: int) -> dict[OrderKey, str]:
    """Every order's customer status, by what was received before ``known_until``.

    What the shop sent; else ``returning`` where the person has an earlier order, ``lapsed`` where the latest of them is more than
    the tenant's days old, ``new`` where there is none, and unknown where there is none and the order has no customer key.
    """
    known = {name: received_before(facts[name], known_until) for name in ("touches", "leads", "orders")}
    found = {}
    for tenant in facts["catalogue"]["tenants"]:
        own = {name: [event for event in events if event["tenant_id"] == tenant["tenant_id"]] for name, events in known.items()}
        neighbours = links_between_keys(own["touches"], own["leads"], own["orders"])
        for order in own["orders"]:
            person = keys_of_person(own_keys(order), neighbours)
            earlier = [
                other["occurred_at"]
                for other in own["orders"]
                if not other["test"]
                and (other["occurred_at"], other["event_id"]) < (order["occurred_at"], order["event_id"])
                and own_keys(other) & person
            ]
            gap = order["occurred_at"] - max(earlier, default=0)
            history = "lapsed" if gap > tenant["lapsed_after_days"] * DAY else "returning"
            fresh = "new" if order["customer_keys"] else ""
            found[order["tenant_id"], order["order_id"]] = order["customer_status"] or (history if earlier else fresh)
    return found


def received_before(events: Iterable[Row], known_until: int) -> list[Row]:
    return [event for event in events if event["received_at"] < known_until]


def own_keys(event: Row) -> set[tuple[str, str]]:
    """The keys that a lead or an order carries: its click, its visitor, its customer."""
    keys = {("click", event["click_id"]), ("visitor", event["visitor_id"])} | {("customer", key) for key in event["customer_keys"]}
    return {(kind, name) for kind, name in keys if name}


def links_between_keys(touches: list[Row], leads: list[Row], orders: list[Row]) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Which keys were seen together: on a lead, on an order, or as a click and its visitor."""
    neighbours = defaultdict(set)
    together = [own_keys(event) for event in leads + orders]
    for touch in touches:
        if touch["kind"] == "click" and touch["visitor_id"]:
            together.append({("click", touch["event_id"]), ("visitor", touch["visitor_id"])})
    for keys in together:
        for key in keys:
            neighbours[key] |= keys - {key}
    return neighbours


def keys_of_person(start: set[tuple[str, str]], neighbours: dict[tuple[str, str], set[tuple[str, str]]]) -> set[tuple[str, str]]:
    """Everything within six steps of an order's own keys. Junk leads nowhere, and is not reached by others."""
    reached, edge = set(start), set(start)
    for _ in range(STEPS):
        near = {other for key in edge if len(neighbours[key]) <= JUNK for other in neighbours[key]}
        edge = {key for key in near - reached if len(neighbours[key]) <= JUNK}
        reached |= edge
    assert len(reached) <= PERSON, "the demo has nobody whose keys would be cut; if it had, nearest first would have to be settled"
    return reached


def decide(order: Row, touches: list[Row], catalogue: Row) -> Outcome:
    """Last click of the strongest class, or why nobody earned.

    A coupon's credit is recorded on its affiliate's last click that may earn, where there is one.
    """
    at, tenant_id = order["occurred_at"], order["tenant_id"]
    programme = programme_of(order, catalogue)
    if programme is None:
        return Outcome("test_event" if order["test"] else "program_not_active")
    programme_id = programme["programme_id"]
    policy = version_in_force(catalogue["policies"], tenant_id, programme_id, at) or DEFAULT_POLICY
    verdicts, earning = [], []
    for candidate in clicks_and_views(order, touches, policy) + coupons(order, catalogue):
        found = verdict(candidate, order, programme_id, policy, catalogue)
        if found is None:
            rank = [one["touch"] for one in policy["classes"]].index(candidate["class"])
            earning.append((-rank, candidate["at"], candidate["touch_id"], candidate["affiliate_id"], candidate["class"]))
        else:
            verdicts.append(found)
    if order["test"]:
        return Outcome("test_event", programme_id=programme_id, policy_version=policy["version"])
    if earning:
        _, _, touch_id, affiliate_id, touch_class = max(earning)
        clicks = [(at, name) for _, at, name, whose, kind in earning if kind == "click" and whose == affiliate_id]
        if touch_class == "coupon" and clicks:
            _, touch_id = max(clicks)
        return Outcome("credited", affiliate_id, touch_id, programme_id, policy["version"])
    return Outcome(why_nobody(order, touches, verdicts), programme_id=programme_id, policy_version=policy["version"])


DEFAULT_POLICY = {
    "version": 0,
    "classes": [
        {"touch": "coupon", "window_hours": 0},
        {"touch": "click", "window_hours": 720},
        {"touch": "impression", "window_hours": 24},
    ],
}


def programme_of(order: Row, catalogue: Row) -> Row | None:
    """The tenant's programme that names the order's store, else the one that names none."""
    own = [programme for programme in catalogue["programmes"] if programme["tenant_id"] == order["tenant_id"]]
    naming = [programme for programme in own if order["store_id"] in programme["stores"]]
    open_to_all = [programme for programme in own if not programme["stores"]]
    return (naming + open_to_all + [None])[0]


def version_in_force(versions: list[Row], tenant_id: str, programme_id: str, at: int) -> Row | None:
    """The latest version whose first millisecond is not after ``at``."""
    begun = [
        version
        for version in versions
        if (version["tenant_id"], version["programme_id"]) == (tenant_id, programme_id) and version["effective_from"] <= at
    ]
    return max(begun, key=lambda version: version["effective_from"], default=None)


def clicks_and_views(order: Row, touches: list[Row], policy: Row) -> list[Row]:
    """The person's touches as far back as the longest window and 30 days more, up to the order; a named click always.

    A touch after the order, which the order does not name, is no candidate: the documents look *back*.
    """
    at = order["occurred_at"]
    oldest = at - max(one["window_hours"] for one in policy["classes"]) * HOUR - 30 * DAY
    near = [touch for touch in touches if oldest <= touch["occurred_at"] <= at or touch["event_id"] == order["click_id"]]
    for human in (True, False):
        for kind in ("click", "impression"):
            count = sum(touch["human"] == human and touch["kind"] == kind for touch in near)
            assert count <= LATEST, "the demo has nobody whose touches would be cut"
    return [touch | {"class": touch["kind"], "touch_id": touch["event_id"], "at": touch["occurred_at"]} for touch in near]


def coupons(order: Row, catalogue: Row) -> list[Row]:
    """The order's codes that the catalogue knows, each a candidate of the order's own time."""
    return [
        coupon | {"class": "coupon", "touch_id": f"coupon:{coupon['code']}", "at": order["occurred_at"], "human": True}
        for coupon in catalogue["coupons"]
        if coupon["tenant_id"] == order["tenant_id"] and coupon["code"] in order["coupons"]
    ]


def verdict(candidate: Row, order: Row, programme_id: str, policy: Row, catalogue: Row) -> str | None:
    """The first rule of the documents' table that keeps a candidate from earning, or None."""
    windows = {one["touch"]: one["window_hours"] * HOUR for one in policy["classes"]}
    age = order["occurred_at"] - candidate["at"]
    if candidate["programme_id"] != programme_id:
        return "wrong_program"
    if candidate["class"] not in windows:
        return "class_excluded"
    if not candidate["human"]:
        return "bot"
    if candidate["class"] == "coupon" and not within(candidate["at"], candidate["valid_from"], candidate["valid_to"]):
        return "coupon_not_valid"
    if age < 0:
        return "after_order"
    if age > windows[candidate["class"]]:
        return "outside_window"
    if not active_member(candidate, catalogue):
        return "affiliate_not_active"
    return None


def within(at: int, begin: int | None, end: int | None) -> bool:
    return (begin is None or begin <= at) and (end is None or at < end)


def active_member(candidate: Row, catalogue: Row) -> bool:
    names = ("tenant_id", "programme_id", "affiliate_id")
    for member in catalogue["memberships"]:
        if all(member[name] == candidate[name] for name in names):
            return member["approved_at"] is not None and within(candidate["at"], member["approved_at"], member["suspended_at"])
    return False


def why_nobody(order: Row, touches: list[Row], verdicts: list[str]) -> str:
    """The first line that holds of the documents' second table.

    ``before_click`` is read as "one candidate came after the order, and no line above holds", not as "all did".
    """
    if order["click_id"] and order["click_id"] not in {touch["event_id"] for touch in touches}:
        return "unknown_click_id"
    for result, verdict_of_it in (
        ("affiliate_not_active", "affiliate_not_active"),
        ("before_click", "after_order"),
        ("outside_window", "outside_window"),
        ("invalid_touch", "bot"),
    ):
        if verdict_of_it in verdicts:
            return result
    return "no_touch" if own_keys(order) or order["coupons"] else "no_identity"


# --- what was booked, and paid: docs/money.md ------------------------------------------------------------------------


def refunded(order: Row, refunds: list[Row]) -> tuple[dict[str, int], set[str]]:
    """What is left of each line's net, and which lines went back whole, after refunds in the order of their time."""
    left = {line["line_id"]: line["net_minor"] for line in order["lines"]}
    gone: set[str] = set()
    for refund in sorted(refunds, key=lambda refund: (refund["occurred_at"], refund["refund_id"])):
        if refund["currency"] != order["currency"]:
            continue
        if refund["lines"]:
            taken = defaultdict(int)
            for line in refund["lines"]:
                taken[line["line_id"]] += line["net_minor"]
        elif refund["net_minor"] is not None:
            asked = min(refund["net_minor"], sum(left.values()))
            taken = dict(zip(left, laid_over(asked, list(left.values())), strict=True))
        else:
            taken = dict(left)
            gone |= set(left)
        for line_id in left:
            left[line_id] = max(0, left[line_id] - taken.get(line_id, 0))
            if left[line_id] == 0 and taken.get(line_id, 0) > 0:
                gone.add(line_id)
    return left, gone


class Books(NamedTuple):
    """Everything booked over the three stages.

    ``commissions`` are differences; ``batches`` name what each affiliate got; ``sales`` and ``granted`` say by which rules the credited
    orders are priced in the end, and what limits left; ``left`` what is left of each order's net.
    """

    commissions: list[Row]
    batches: list[Row]
    outcomes: dict[OrderKey, Outcome]
    left: dict[OrderKey, int]
    sales: dict[OrderKey, Sale]
    granted: dict[OrderKey, Granted]


def book(facts: Facts) -> Books:
    """The three stages: decide, book the difference, release what is due, prepare north's batch, settle it."""
    commissions: list[Row] = []
    batches = []
    outcomes, left, sales, granted = {}, {}, {}, {}
    for stage in facts["stages"]:
        outcomes = decisions(facts, stage["booked_at"])
        left, sales = sold(facts, stage["booked_at"], outcomes)
        granted = book_differences(facts, stage["booked_at"], sales, commissions)
        for row in commissions:
            over_at = stage["prepared_at"] if row["tenant_id"] == "north" else stage["booked_at"]
            if row["state"] == "pending" and row["hold_until"] <= over_at:
                row["state"] = "approved"
        batches.append(pay(facts["catalogue"], stage, commissions))
    return Books(commissions, batches, outcomes, left, sales, granted)


def sold(facts: Facts, booked_at: int, outcomes: dict[OrderKey, Outcome]) -> tuple[dict[OrderKey, int], dict[OrderKey, Sale]]:
    """What is left of each order's net, and the credited orders to price."""
    refunds, customers = received_before(facts["refunds"], booked_at), statuses(facts, booked_at)
    catalogue = facts["catalogue"]
    remaining, sales = {}, {}
    for order in received_before(facts["orders"], booked_at):
        key = (order["tenant_id"], order["order_id"])
        left, gone = refunded(order, [refund for refund in refunds if (refund["tenant_id"], refund["order_id"]) == key])
        remaining[key] = sum(left.values())
        if outcomes[key].affiliate_id:
            card = version_in_force(catalogue["rate_cards"], order["tenant_id"], outcomes[key].programme_id, order["occurred_at"])
            assert card is not None, "every order of the demo is placed under some version"
            sales[key] = sale_of(order, card, outcomes[key].affiliate_id, customers[key], left, gone, catalogue)
    return remaining, sales


def book_differences(facts: Facts, booked_at: int, sales: dict[OrderKey, Sale], commissions: list[Row]) -> dict[OrderKey, Granted]:
    """Append what each line earns now, less what was booked of it before. Returns what limits left of each order.

    What is taken back without being due any more is held as long as what was given.
    """
    booked: dict[Place, int] = defaultdict(int)
    terms: dict[Place, tuple[str, int]] = {}
    for row in commissions:
        place = (row["tenant_id"], row["order_id"], row["line_id"], row["affiliate_id"], row["part"])
        booked[place] += row["amount_minor"]
        terms[place] = (row["currency"], row["hold_until"])
    targets, granted = {}, {}
    for programme in facts["catalogue"]["programmes"]:
        tenant_id, programme_id = programme["tenant_id"], programme["programme_id"]
        own = [sale for sale in sales.values() if (sale.card["tenant_id"], sale.card["programme_id"]) == (tenant_id, programme_id)]
        found, limits = due(own, facts["catalogue"], facts["rates"])
        targets |= found
        granted |= {(tenant_id, order_id): one for order_id, one in limits.items()}
    for place in sorted(targets.keys() | booked.keys()):
        amount, *term = targets.get(place, (0, *terms.get(place, ())))
        if amount != booked[place]:
            commissions.append(commission(place, amount - booked[place], *term, booked_at))
    return granted


def commission(place: Place, amount_minor: int, currency: str, hold_until: int, posted_at: int) -> Row:
    tenant_id, order_id, line_id, affiliate_id, part = place
    return {
        "tenant_id": tenant_id, "order_id": order_id, "line_id": line_id, "affiliate_id": affiliate_id, "part": part, "currency": currency,
        "amount_minor": amount_minor, "hold_until": hold_until, "posted_at": posted_at, "state": "pending",
    }  # fmt: skip


def pay(catalogue: Row, stage: Row, commissions: list[Row]) -> Row:
    """North's batch of a stage: all that is payable of everybody with a balance above zero and an account.

    The documents speak of a minimum but state none: taken as nought.
    """
    due = [
        row for row in commissions if row["tenant_id"] == "north" and row["state"] == "approved" and row["posted_at"] < stage["cutoff_at"]
    ]
    with_account = {who["affiliate_id"] for who in catalogue["affiliates"] if who["iban"] and who["account_holder"]}
    payouts = {}
    for affiliate_id, rows in grouped(due, "affiliate_id").items():
        total = sum(row["amount_minor"] for row in rows)
        if total > 0 and affiliate_id in with_account:
            payouts[affiliate_id] = total
            for row in rows:
                row["state"] = "payable" if stage["settled_at"] is None else "paid"
    return {"state": "prepared" if stage["settled_at"] is None else "settled", "prepared_at": stage["prepared_at"], "payouts": payouts}


def grouped(rows: Iterable[Row], name: str) -> dict[str, list[Row]]:
    """Rows by one field's value; rows where it is empty are left out."""
    groups = defaultdict(list)
    for row in rows:
        if row[name]:
            groups[row[name]].append(row)
    return groups


# --- sums ------------------------------------------------------------------------------------------------------------


def commissions_by_state(books: Books) -> dict[tuple[str, str, str], dict[str, int]]:
    """(tenant, affiliate, currency) → pending, approved, payable and paid, where not zero."""
    sums: dict[tuple[str, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in books.commissions:
        sums[row["tenant_id"], row["affiliate_id"], row["currency"]][row["state"]] += row["amount_minor"]
    return {who: {state: amount for state, amount in states.items() if amount} for who, states in sums.items()}


def ledger(books: Books) -> dict[tuple[str, str], dict[str, int]]:
    """(tenant, currency) → balance of each account, where not zero; ``expense`` mirrors all others (granted less taken back)."""
    balances: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in books.commissions:
        accounts = balances[row["tenant_id"], row["currency"]]
        accounts[row["state"]] += row["amount_minor"]
        accounts["expense"] -= row["amount_minor"]
    return {whose: {account: amount for account, amount in accounts.items() if amount} for whose, accounts in balances.items()}


def credited(facts: Facts, books: Books) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """(tenant, affiliate, currency) → credited orders, their net as sold, and what is left of it after refunds."""
    sums: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    for order in facts["orders"]:
        key = (order["tenant_id"], order["order_id"])
        who = (order["tenant_id"], books.outcomes[key].affiliate_id, order["currency"])
        if who[1]:
            count, sold, left = sums.get(who, (0, 0, 0))
            sums[who] = (count + 1, sold + sum(line["net_minor"] for line in order["lines"]), left + books.left[key])
    return sums
