"""What pages ask of the books, on both engines."""

from core.catalogue import Affiliate, Membership, Programme, Tenant
from core.clock import DAY, HOUR
from payouts.ledger import Draft, post, transfer
from store.catalogue import put
from store.commissions import Commission, insert_commissions
from store.reports import (
    Earned,
    Payee,
    Release,
    earned_by_affiliate,
    earned_by_order,
    earned_by_state,
    entries_before,
    payees,
    releases,
)
from tests.fakes import NOON

MIDNIGHT = NOON - 12 * HOUR


def fill(books):
    """Two tenants; Anna earns in both, Ben in one, and one line of an order earns nobody anything."""
    with books.writing() as connection:
        for tenant in ("north", "south"):
            put(connection, Tenant(tenant, tenant.title(), "EUR"), "tests", NOON)
            put(connection, Programme(tenant, "main", "Main", "https://x.example/"), "tests", NOON)
        put(connection, Affiliate("anna", "Anna", "anna@x.example", "", "Anna B", "DE89370400440532013000"), "tests", NOON)
        put(connection, Affiliate("ben", "Ben", "ben@x.example"), "tests", NOON)
        for tenant, affiliate in (("north", "anna"), ("north", "ben"), ("south", "anna")):
            put(connection, Membership(tenant, "main", affiliate, "approved", NOON, NOON), "tests", NOON)
        insert_commissions(
            connection,
            [
                commission("c1", "north", "o-1", "anna", 500, "pending", hold_until=MIDNIGHT + DAY),
                commission("c2", "north", "o-1", "anna", -200, "pending", hold_until=MIDNIGHT + DAY + HOUR),
                commission("c3", "north", "o-2", "ben", 70, "pending", "CHF", hold_until=MIDNIGHT - 1),
                commission("c4", "north", "o-3", "ben", 900, "paid", ordered_at=NOON - 60 * DAY),
                commission("c5", "north", "o-2", "", 0, "none"),
                commission("c6", "south", "o-1", "anna", 10_000, "pending", hold_until=MIDNIGHT + DAY),
            ],
        )


def commission(commission_id, tenant, order, affiliate, amount, state, currency="EUR", hold_until=NOON, ordered_at=NOON):
    facts = {"base_minor": 0, "rate_card_version": 1, "rule_id": "all", "reason": "", "touch_id": "", "decision_revision": 1}
    more = {"policy_version": 1, "inputs_hash": "", "posted_at": NOON, "entry_number": None, "idempotency_key": f"{order}:{commission_id}"}
    ids = {"tenant_id": tenant, "commission_id": commission_id, "programme_id": "main", "order_id": order, "line_id": "1"}
    own = {"affiliate_id": affiliate, "kind": "sale", "currency": currency, "amount_minor": amount, "state": state}
    return Commission(**ids, **facts, **more, **own, ordered_at=ordered_at, hold_until=hold_until)


def test_earned_by_state_of_recent_orders_of_one_tenant(books):
    fill(books)
    with books.reading() as connection:
        assert earned_by_state(connection, "north") == {"pending": {"EUR": 300, "CHF": 70}, "paid": {"EUR": 900}}
        assert earned_by_state(connection, "north", NOON - DAY) == {"pending": {"EUR": 300, "CHF": 70}}
        assert earned_by_state(connection, "nowhere") == {}


def test_earned_by_affiliate_of_one_tenant(books):
    fill(books)
    with books.reading() as connection:
        assert earned_by_affiliate(connection, "north") == [
            Earned("main", "anna", "EUR", 300),
            Earned("main", "ben", "CHF", 70),
            Earned("main", "ben", "EUR", 900),
        ]


def test_earned_by_order_of_one_tenant(books):
    fill(books)
    with books.reading() as connection:
        assert earned_by_order(connection, "north", ["o-1", "o-2", "o-9"]) == {"o-1": {"EUR": 300}, "o-2": {"CHF": 70}}
        assert earned_by_order(connection, "north", []) == {}


def test_releases_by_day_and_currency_before_a_moment(books):
    fill(books)
    with books.reading() as connection:
        assert releases(connection, "north", MIDNIGHT + 2 * DAY) == [
            Release(MIDNIGHT - DAY, "CHF", 70, 1),
            Release(MIDNIGHT + DAY, "EUR", 300, 2),
        ]
        assert releases(connection, "north", MIDNIGHT + DAY) == [Release(MIDNIGHT - DAY, "CHF", 70, 1)]


def test_payees_are_those_who_joined_the_tenant(books):
    fill(books)
    with books.reading() as connection:
        assert payees(connection, "north") == {"anna": Payee("Anna", "Anna B", "DE89370400440532013000"), "ben": Payee("Ben", "", "")}
        assert list(payees(connection, "south")) == ["anna"]
        assert [one.has_bank_details for one in payees(connection, "north").values()] == [True, False]


def test_entries_newest_first_and_a_screen_at_a_time(books):
    fill(books)
    with books.writing() as connection:
        for number in range(5):
            post(
                connection,
                Draft(
                    "north", "release", f"k{number}", NOON + number, postings=transfer("anna", "EUR", 100 + number, "pending", "approved")
                ),
            )
        post(connection, Draft("south", "release", "k0", NOON, postings=transfer("anna", "EUR", 7, "pending", "approved")))
    with books.reading() as connection:
        assert [entry.number for entry in entries_before(connection, "north", None, 3)] == [5, 4, 3]
        assert [entry.number for entry in entries_before(connection, "north", 3, 3)] == [2, 1]
        assert [posting.amount_minor for posting in entries_before(connection, "north", 2, 3)[0].postings] == [-100, 100]
        assert [entry.tenant_id for entry in entries_before(connection, "south", None, 3)] == ["south"]
        assert entries_before(connection, "north", 1, 3) == []
