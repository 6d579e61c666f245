"""Memberships: approved, declined, suspended, let back in, with what each affiliate brought."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Affiliate, Membership
from core.catalogue_rules import flaws_of
from core.clock import DAY, HOUR
from core.errors import Conflict
from core.flaws import known_of
from portal.merchant_affiliates import ACTIONS, acted, actions_of
from store.catalogue import find, put
from tests.fakes import NOON
from tests.people import MARTHA, STELLA
from tests.portal.conftest import cast_catalogue, click, order, words_of

PATH = "/merchant/affiliates"
WAITS = Membership("north", "main", "dora", "applied", NOON - DAY)


@pytest.fixture
def dora(portal, sqlite_books, clock):
    """Dora applied yesterday."""
    with sqlite_books.writing() as connection:
        put(connection, Affiliate("dora", "Dora Films", "dora@video.example", "https://video.example"), "tests", clock())
        put(connection, WAITS, "tests", clock())
    return "dora"


def membership(books, affiliate="dora", tenant="north"):
    with books.reading() as connection:
        return find(connection, Membership, tenant, "main", affiliate)


def act(portal, action, affiliate="dora", as_=MARTHA):
    return portal.post(PATH, {"programme_id": "main", "affiliate_id": affiliate, "action": action}, as_=as_)


def test_who_waits_is_shown_first_with_how_to_reach_them(portal, dora):
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "Waiting for your approval" in page
    assert "Dora Films dora North affiliates dora@video.example https://video.example 20 Nov 2026 Approve" in page


def test_numbers_per_affiliate(portal, world):
    world.sells(click("c1", "anna", visitor="v1"), click("c2", "anna"), click("c3", "ben"), order("o-1", visitor="v1"))
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "Anna's Blog anna North affiliates Approved since 17 Oct 2025 2 1 €10.00 Suspend" in page
    assert "Ben Deals ben North affiliates Approved since 17 Oct 2025 1 0 – Suspend" in page


def test_what_an_affiliate_brings_another_merchant_does_not_count_here(portal, world):
    keep(world.books, Membership("south", "main", "anna", "approved", NOON - DAY, NOON - DAY))
    at = NOON - HOUR
    world.sells(click("s1", "anna", at, "v1", tenant="south"), order("o-s", visitor="v1", tenant="south"), click("n1", "anna"))

    assert "Anna's Blog anna North affiliates Approved since 17 Oct 2025 1 0 – Suspend" in words_of(portal.get(PATH, as_=MARTHA))
    assert "Anna's Blog anna South affiliates Approved since 20 Nov 2026 1 1 $2.00 Suspend" in words_of(portal.get(PATH, as_=STELLA))


def keep(books, record):
    with books.writing() as connection:
        put(connection, record, "tests", NOON)


def test_approved_then_suspended_then_let_back_in(portal, sqlite_books, clock, dora):
    assert act(portal, "approve").status_code == 303
    assert membership(sqlite_books) == Membership("north", "main", "dora", "approved", NOON - DAY, NOON)

    clock.advance(HOUR)
    act(portal, "suspend")
    assert membership(sqlite_books) == Membership("north", "main", "dora", "suspended", NOON - DAY, NOON, NOON + HOUR)

    clock.advance(HOUR)
    act(portal, "reinstate")
    assert membership(sqlite_books) == Membership("north", "main", "dora", "approved", NOON - DAY, NOON)


def test_software_is_marked_and_unmarked_and_nothing_else_moves(portal, sqlite_books):
    before = membership(sqlite_books, "anna")
    assert act(portal, "software", "anna").status_code == 303
    assert membership(sqlite_books, "anna") == msgspec.structs.replace(before, software=True)
    page = words_of(portal.get(PATH, as_=MARTHA))
    assert "Anna's Blog anna North affiliates Approved Software since 17 Oct 2025" in page
    assert "Not software Anna's Blog in North affiliates" in page

    assert act(portal, "software", "anna").status_code == 409
    act(portal, "not_software", "anna")
    assert membership(sqlite_books, "anna") == before


def test_a_group_and_a_recruiter_are_set_and_nothing_else_moves(portal, sqlite_books):
    before = membership(sqlite_books, "anna")
    fields = {"programme_id": "main", "affiliate_id": "anna", "group": " gold ", "recruited_by": "ben"}
    assert portal.post(f"{PATH}/terms", fields, as_=MARTHA).status_code == 303

    assert membership(sqlite_books, "anna") == msgspec.structs.replace(before, group="gold", recruited_by="ben")
    assert "Approved gold since 17 Oct 2025 recruited by ben" in words_of(portal.get(PATH, as_=MARTHA))
    portal.post(f"{PATH}/terms", fields | {"group": "", "recruited_by": ""}, as_=MARTHA)
    assert membership(sqlite_books, "anna") == before


def test_recruiters_that_go_round_or_do_not_exist_are_told_at_their_field(portal, sqlite_books):
    anna = {"programme_id": "main", "affiliate_id": "anna", "group": "", "recruited_by": "ben"}
    portal.post(f"{PATH}/terms", anna, as_=MARTHA)
    for typed in (
        {"affiliate_id": "ben", "recruited_by": "anna"},
        {"affiliate_id": "ben", "recruited_by": "charlie"},
        {"affiliate_id": "ben", "recruited_by": "", "group": "x" * 65},
    ):
        page = portal.post(f"{PATH}/terms", anna | typed, as_=MARTHA)
        field = "group" if typed.get("group") else "recruited_by"

        assert (page.status_code, f'id="{field}-main-ben-fault"' in page.text) == (422, True), typed
    assert membership(sqlite_books, "ben").recruited_by == ""
    assert portal.post(f"{PATH}/terms", anna | {"affiliate_id": "charlie"}, as_=MARTHA).status_code == 404


def test_who_was_declined_may_be_approved_later(portal, sqlite_books, dora):
    act(portal, "decline")
    assert membership(sqlite_books) == Membership("north", "main", "dora", "suspended", NOON - DAY, None, NOON)

    act(portal, "approve")
    assert membership(sqlite_books).active_at(NOON)


def test_an_action_that_no_longer_fits_is_a_conflict_and_changes_nothing(portal, sqlite_books, dora):
    act(portal, "approve")
    page = act(portal, "decline")

    assert page.status_code == 409
    assert "cannot decline dora: the membership is approved; look at the list again" in words_of(page)
    assert membership(sqlite_books).status == "approved"


def test_nonsense_changes_nothing(portal, sqlite_books):
    assert act(portal, "promote", "anna").status_code == 303
    assert membership(sqlite_books, "anna").status == "approved"
    assert act(portal, "suspend", "nobody").status_code == 404


def test_another_merchants_membership_is_not_found_and_stays(portal, sqlite_books, dora):
    assert act(portal, "approve", "dora", as_=STELLA).status_code == 404
    assert act(portal, "suspend", "charlie").status_code == 404

    assert membership(sqlite_books) == WAITS
    assert membership(sqlite_books, "charlie", "south").status == "approved"


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5)), max_size=8))
def test_any_row_of_actions_keeps_the_membership_sound_and_never_moves_the_first_approval_forward(steps):
    known = known_of(cast_catalogue())
    known.affiliates["dora"] = Affiliate("dora", "Dora", "dora@video.example")
    now, at = WAITS, WAITS.applied_at
    for action, wait in steps:
        at += wait
        if action not in actions_of(now):
            with pytest.raises(Conflict):
                acted(now, action, at)
            continue
        after = acted(now, action, at)
        assert flaws_of(after, known) == []
        assert now.approved_at is None or after.approved_at == now.approved_at
        now = after
