import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import delete

from core.catalogue import (
    Affiliate,
    ApiKey,
    Catalogue,
    Coalition,
    CoalitionMember,
    Condition,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Rule,
    Segment,
    Tenant,
    User,
)
from core.errors import Conflict, NotFound
from store import schema
from store.books import Books
from store.catalogue import (
    KINDS,
    add,
    catalogue_version,
    coupons_of,
    describe,
    find,
    find_api_key,
    find_coupon,
    find_link,
    find_user,
    links_of,
    load_catalogue,
    memberships_of,
    next_version,
    partner_names,
    policies_of,
    programmes_of,
    put,
    rate_cards_of,
    recent_changes,
    remove,
    tenants_of,
)
from tests.strategies import catalogues

NORTH = Tenant("north", "North Outdoor", "EUR")
SOUTH = Tenant("south", "South Books", "GBP")
MAIN = Programme("north", "main", "North", "https://north.example/", ("north.example",))
BOOKS = Programme("south", "books", "Books", "https://south.example/", ("south.example",))
ANNA = Affiliate("anna", "Anna's trail blog", "anna@blog.example")
BEN = Affiliate("ben", "Ben's deals", "ben@deals.example")
CHARLIE = Affiliate("charlie", "Charlie's app", "charlie@app.example")
TRAIL = Link("trail", "north", "main", "anna", "https://north.example/trail")
CATALOGUE = Catalogue(
    tenants=(NORTH, SOUTH),
    programmes=(MAIN, BOOKS),
    affiliates=(ANNA, BEN, CHARLIE),
    memberships=(
        Membership("north", "main", "anna", "approved", 1, 2),
        Membership("north", "main", "ben", "applied", 3),
        Membership("south", "books", "anna", "approved", 1, 2),
        Membership("south", "books", "charlie", "approved", 1, 2),
    ),
    links=(Link("novel", "south", "books", "anna", "https://south.example/novel"), TRAIL),
    coupons=(Coupon("north", "TRAIL10", "main", "anna", None, 99),),
    policies=(Policy("north", "main", 1, 0), Policy("north", "main", 2, 50)),
    rate_cards=(RateCard("north", "main", 1, 0, 30, (Rule("all", percent_bps=750), Rule("new", fixed_minor=500, per="order"))),),
    users=(
        User("anna@blog.example", "Anna", "affiliate", "", affiliate_id="anna"),
        User("frank@north.example", "Frank", "finance", "", tenant_id="north"),
        User("stella@south.example", "Stella", "merchant", "", tenant_id="south"),
    ),
    api_keys=(ApiKey("shop", "north", "Shop", "ab" * 32),),
)


def fill(books: Books, catalogue: Catalogue = CATALOGUE) -> None:
    with books.writing() as connection:
        for kind in KINDS.values():
            for record in getattr(catalogue, kind):
                put(connection, record, "tests", 7)


def load(books: Books, tenant_id: str | None = None) -> Catalogue:
    with books.reading() as connection:
        return load_catalogue(connection, tenant_id)


def test_what_was_put_is_what_is_loaded(books):
    fill(books)

    assert load(books) == CATALOGUE


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(catalogues())
def test_every_catalogue_loads_as_it_was_put(sqlite_books, catalogue):
    with sqlite_books.writing() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            if table.name in KINDS.values():
                connection.execute(delete(table))
    fill(sqlite_books, catalogue)

    assert load(sqlite_books) == catalogue


def test_one_tenant_is_loaded_with_its_own_staff_and_members_only(books):
    fill(books)

    north = load(books, "north")

    assert north.tenants == (NORTH,)
    assert north.programmes == (MAIN,)
    assert [affiliate.affiliate_id for affiliate in north.affiliates] == ["anna", "ben"]
    assert {membership.tenant_id for membership in north.memberships} == {"north"}
    assert north.links == (TRAIL,)
    assert [user.email for user in north.users] == ["frank@north.example"]
    assert load(books, "nowhere") == Catalogue()


def test_a_coalition_is_loaded_by_its_members_and_tells_them_no_more_than_names(books):
    west = Tenant("west", "West Tea", "EUR")
    pair = Coalition("pair", "Pair", (CoalitionMember("north", 1), CoalitionMember("south", 2, 9)), ("click", "call"), "south")
    tea = Coalition("tea", "Tea", (CoalitionMember("south", 1), CoalitionMember("west", 2)))
    fill(books)
    fill(books, Catalogue(tenants=(west,), coalitions=(pair, tea)))

    assert load(books).coalitions == (pair, tea)
    assert load(books, "north").coalitions == (pair,)
    assert load(books, "south").coalitions == (pair, tea)
    with books.reading() as connection:
        assert partner_names(connection, "north") == {"north": "North Outdoor", "south": "South Books"}
        assert partner_names(connection, "west") == {"south": "South Books", "west": "West Tea"}
        assert partner_names(connection, "nowhere") == {}


def test_a_segment_may_change_and_the_change_names_its_fields(books):
    fill(books)
    firms = Segment("north", "firms", "Firms", (Condition("account_type", ("b2b",)),))
    with books.writing() as connection:
        assert put(connection, firms, "martha", 8) == "added"
        wider = msgspec.structs.replace(firms, conditions=(Condition("account_type", ("b2b", "public")),))
        assert put(connection, wider, "martha", 9) == "changed"
        assert [change.what for change in recent_changes(connection, 2)] == [
            "changed segment north firms: conditions",
            "added segment north firms",
        ]
    assert load(books, "north").segments == (wider,)
    assert load(books, "south").segments == ()


def test_put_says_what_it_did_and_notes_it_without_values(books):
    fill(books)
    with books.writing() as connection:
        before = catalogue_version(connection)
        renamed = Affiliate("anna", "Anna on foot", "anna@blog.example", iban="DE89370400440532013000")

        assert put(connection, renamed, "martha", 8) == "changed"
        assert put(connection, renamed, "martha", 9) == "unchanged"
        assert put(connection, Affiliate("dora", "Dora", "d@x.example"), "martha", 10) == "added"

        newest = recent_changes(connection, limit=2)
        assert [(change.changed_by, change.changed_at, change.what) for change in newest] == [
            ("martha", 10, "added affiliate dora"),
            ("martha", 8, "changed affiliate anna: name, iban"),
        ]
        assert catalogue_version(connection) == newest[0].version == before + 2
        assert find(connection, Affiliate, "anna") == renamed


def test_an_untouched_catalogue_has_version_zero(books):
    with books.reading() as connection:
        assert catalogue_version(connection) == 0


def test_a_version_of_a_policy_or_rate_card_never_changes(books):
    fill(books)
    for other in (
        Policy("north", "main", 1, 5),
        Policy("north", "main", 1, 0, lock_days=61),
        RateCard("north", "main", 1, 0, 31, (Rule("all", percent_bps=750),)),
    ):
        with pytest.raises(Conflict, match="a version never changes; add the next version"), books.writing() as connection:
            put(connection, other, "martha", 8)
    with books.writing() as connection:
        assert put(connection, CATALOGUE.policies[0], "martha", 8) == "unchanged"
    assert load(books) == CATALOGUE


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (Link("trail", "south", "books", "anna", "https://south.example/"), "link trail is taken"),
        (User("frank@north.example", "F", "finance", "", tenant_id="south"), "user frank@north.example is taken"),
        (ApiKey("shop", "south", "Shop", "cd" * 32), "API key shop is taken"),
        (Tenant("north", "North", "GBP"), "keeps its currency EUR"),
        (Link("lost", "north", "nope", "anna", "https://north.example/"), "does not fit what the books hold"),
        (Membership("north", "main", "nobody", "applied", 1), "does not fit what the books hold"),
        (User("x@x.example", "X", "finance", ""), "does not fit what the books hold"),
        (ApiKey("other", "north", "Same hash", "ab" * 32), "does not fit what the books hold"),
    ],
)
def test_what_belongs_to_another_or_names_nothing_is_refused(books, taken, said):
    fill(books)

    with pytest.raises(Conflict, match=said), books.writing() as connection:
        put(connection, taken, "stella", 8)
    assert load(books) == CATALOGUE


def test_add_never_overwrites(books):
    fill(books)

    with pytest.raises(Conflict, match="link trail exists already"), books.writing() as connection:
        add(connection, Link("trail", "north", "main", "ben", "https://north.example/"), "ben", 8)
    with books.writing() as connection:
        add(connection, Link("deal", "north", "main", "ben", "https://north.example/"), "ben", 8)
        assert [link.code for link in links_of(connection, "ben")] == ["deal"]


def test_coupons_and_api_keys_can_be_removed_and_it_is_noted(books):
    fill(books)
    with books.writing() as connection:
        remove(connection, Coupon, "north", "TRAIL10", changed_by="martha", at=8)
        remove(connection, ApiKey, "shop", changed_by="martha", at=9)

        assert find_coupon(connection, "north", "TRAIL10") is None
        assert find_api_key(connection, "ab" * 32) is None
        assert [change.what for change in recent_changes(connection, 2)] == ["removed API key shop", "removed coupon north TRAIL10"]
        with pytest.raises(NotFound, match="there is no coupon north TRAIL10"):
            remove(connection, Coupon, "north", "TRAIL10", changed_by="martha", at=10)


def test_what_events_name_is_never_removed(sqlite_books):
    with pytest.raises(AssertionError, match="a link is never removed"), sqlite_books.writing() as connection:
        remove(connection, Link, "trail", changed_by="martha", at=8)


def test_look_ups(books):
    fill(books)
    with books.reading() as connection:
        assert find_link(connection, "trail") == TRAIL
        assert find_link(connection, "TRAIL") is None
        assert find_user(connection, " Frank@North.example ") == CATALOGUE.users[1]
        assert find_user(connection, "nobody@north.example") is None
        assert find_api_key(connection, "ab" * 32) == CATALOGUE.api_keys[0]
        assert find_coupon(connection, "north", "trail10") == CATALOGUE.coupons[0]
        assert find_coupon(connection, "south", "TRAIL10") is None
        assert tenants_of(connection, "anna") == [NORTH, SOUTH]
        assert [one.tenant_id for one in memberships_of(connection, "anna")] == ["north", "south"]
        assert [one.tenant_id for one in memberships_of(connection, "anna", "south")] == ["south"]
        assert [link.code for link in links_of(connection, "anna")] == ["novel", "trail"]
        assert links_of(connection, "anna", "north") == [TRAIL]
        assert coupons_of(connection, "anna", "south") == []
        assert programmes_of(connection, "north") == (MAIN,)
        assert policies_of(connection, "north", "main") == CATALOGUE.policies
        assert rate_cards_of(connection, "north", "main") == CATALOGUE.rate_cards
        assert (next_version(connection, Policy, "north", "main"), next_version(connection, RateCard, "south", "books")) == (3, 1)


def test_a_record_is_described_by_its_key():
    assert describe(CATALOGUE.policies[1]) == "policy north main 2"
    assert describe(TRAIL) == "link trail"
