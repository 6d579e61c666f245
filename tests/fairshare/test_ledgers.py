"""``fairshare anchor`` and ``fairshare adjust``: what is written about the ledger from outside the portal."""

import msgspec
import pytest

from core.catalogue import Affiliate, Membership, Programme, Tenant, User
from core.errors import BadInput, NotFound
from core.settings import Settings
from fairshare.ledgers import adjust, anchor_heads, anchors_of
from fairshare.questions import verify_books
from payouts.adjustments import Proposal
from payouts.anchors import read_anchors
from store.catalogue import put

FRANK = "frank@north.example"
ASKED = Proposal("anna", 0, "", "a click was lost")


@pytest.fixture
def settings(sqlite_books, sqlite_url, tmp_path, clock):
    with sqlite_books.writing() as connection:
        for record in (
            Tenant("north", "North", "EUR", adjustment_limit_minor=50_00),
            Tenant("south", "South", "JPY"),
            Programme("north", "main", "Main", "https://north.example/"),
            Affiliate("anna", "Anna", "anna@blog.example"),
            Membership("north", "main", "anna", "approved", clock(), clock()),
            User(FRANK, "Frank", "finance", "", "north"),
            User("off@north.example", "Off", "finance", "", "north", disabled=True),
            User("martha@north.example", "Martha", "merchant", "", "north"),
            User("sam@south.example", "Sam", "finance", "", "south"),
        ):
            put(connection, record, "tests", clock())
    return Settings(data=tmp_path, books_url=sqlite_url)


def test_within_the_limit_it_is_booked_above_it_it_waits(settings, clock):
    small, said = adjust(settings, clock, "north", ASKED, "-50.00", FRANK)
    assert (small.state, said) == ("booked", "adj_1: -50.00 EUR for anna, booked")

    large, said = adjust(settings, clock, "north", ASKED, "50.01", "Frank@North.example")
    assert (large.state, large.proposed_by) == ("proposed", FRANK)
    assert said == (
        "adj_2: 50.01 EUR for anna, proposed: above the limit of 50.00, another finance user approves it in the portal, under Adjustments"
    )


@pytest.mark.parametrize("who", ["nobody@north.example", "off@north.example", "martha@north.example", "sam@south.example"])
def test_only_finance_users_of_the_merchant_propose(settings, clock, who):
    with pytest.raises(BadInput, match=f"'{who}' is not a finance user of north"):
        adjust(settings, clock, "north", ASKED, "1.00", who)


def test_bad_terms_are_told(settings, clock):
    with pytest.raises(NotFound, match="there is no tenant 'west'"):
        adjust(settings, clock, "west", ASKED, "1.00", FRANK)
    with pytest.raises(BadInput, match="amount"):
        adjust(settings, clock, "north", ASKED, "1.001", FRANK)
    with pytest.raises(BadInput, match=r"1\.50"):
        adjust(settings, clock, "north", msgspec.structs.replace(ASKED, currency="JPY"), "1.50", FRANK)


def test_heads_are_anchored_and_verify_compares_them(settings, clock):
    plain, said = anchor_heads(settings, clock)
    assert (plain["anchored"], said) == ([], f"nothing moved since the last line of {anchors_of(settings)}")

    adjust(settings, clock, "north", ASKED, "1.00", FRANK)
    plain, said = anchor_heads(settings, clock)
    (line,) = read_anchors(anchors_of(settings)).lines
    assert plain["anchored"] == [{"tenant": "north", "entries": 1, "hash": line.hash}]
    assert said.splitlines()[0] == f"north: entry 1 {line.hash}"

    report, plain, text = verify_books(settings, None, True, lambda *_: None)
    assert (report.ok, plain["anchors"], text) == (True, 1, "all is well: 1 entries, 1 commissions, 0 batches, 1 anchors")
    anchors_of(settings).write_text(anchors_of(settings).read_text().replace(line.hash, "0" * 64))
    _, plain, text = verify_books(settings, None, True, lambda *_: None)
    assert (plain["ok"], "the ledger was rewritten" in text) == (False, True)
