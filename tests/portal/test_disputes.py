"""A case from both sides: what an affiliate may ask, what it may learn, what the merchant may answer."""

import re

import msgspec
import pytest

from attribution.disputes import MOST_PER_DAY, NEXT, actions_of, next_state
from core.clock import DAY
from portal.disputes import new_case
from portal.merchant_disputes import accept, read_file
from store.disputes import case_of_tenant, steps_of
from store.overrides import overrides_of
from tests.fakes import NOON
from tests.people import ANNA, BEN, CHARLIE, MARTHA, NORTH, SOUTH, STELLA
from tests.portal.conftest import click, order, words_of

SAYS = "She read my post and bought the shoes the same evening."


def claim(portal, who=ANNA, order_id="O-1", kind="untracked", tenant=NORTH, message=SAYS):
    return portal.post("/affiliate/disputes", {"tenant_id": tenant, "order_id": order_id, "kind": kind, "message": message}, as_=who)


def opened(portal, **fields) -> str:
    answer = claim(portal, **fields)
    assert answer.status_code == 303, words_of(answer)
    return answer.headers["location"].rpartition("/")[2]


def answer(portal, case_id, action, message="", who=MARTHA):
    return portal.post(f"/merchant/disputes/{case_id}/answer", {"action": action, "message": message}, as_=who)


class Asked:
    """The events store, and which questions it was asked."""

    def __init__(self, events):
        self.events, self.names = events, []

    def __getattr__(self, name):
        return getattr(self.events, name)

    def select(self, query, **params):
        self.names.append(query.name)
        return self.events.select(query, **params)


@pytest.fixture
def sold(portal, world):
    """Ben wins O-1 by a later click than Anna's."""
    world.sells(click("a", "anna", NOON - 7_200_000, visitor="v"), click("b", "ben", visitor="v"), order("O-1", visitor="v"))
    return portal


# --- asking ----------------------------------------------------------------------------------------------------------


def test_a_case_carries_the_explanation_as_each_side_may_see_it(sold):
    case_id = opened(sold, kind="incorrect")

    hers = words_of(sold.get(f"/affiliate/disputes/{case_id}", as_=ANNA))
    theirs = words_of(sold.get(f"/merchant/disputes/{case_id}", as_=MARTHA))

    assert SAYS in hers
    assert SAYS in theirs
    assert "Waiting for the merchant" in hers
    assert "Ben" not in hers
    assert "another affiliate" in hers
    assert "Credited to Ben Deals" in theirs


def test_the_evidence_stays_as_it_stood(sold, world):
    case_id = opened(sold, kind="incorrect")
    world.sells(click("later", "anna", NOON - 120_000, visitor="v"))

    page = words_of(sold.get(f"/merchant/disputes/{case_id}", as_=MARTHA))

    then, now = page.partition("The explanation as it stood")[2], page.partition("The order now")[2]
    assert "revision 1" in then
    assert "Credited to Ben Deals" in then
    assert "Credited to Anna's Blog" in now.partition("The explanation")[0]


def test_a_claim_answers_alike_whether_the_order_exists_or_not(portal, world):
    """An order of Ben's that Anna has no touch in, and an id that nobody ever used."""
    world.sells(click("b", "ben", visitor="w"), order("B-1", visitor="w"))

    pages = []
    for order_id in ("B-1", "N-1"):
        case_id = opened(portal, order_id=order_id)
        text = words_of(portal.get(f"/affiliate/disputes/{case_id}", as_=ANNA))
        pages.append(text.replace(case_id, "CASE").replace(order_id, "ORDER"))
    faults = [words_of(claim(portal, order_id=order_id, kind="incorrect")) for order_id in ("B-1", "N-1")]

    assert pages[0] == pages[1]
    assert faults[0] == faults[1]
    assert "not among your conversions" in faults[0]


@pytest.mark.parametrize("kind", ["untracked", "incorrect"])
def test_a_claim_asks_the_stores_alike_whether_the_order_exists_or_not(portal, world, kind):
    """How long an answer takes would tell as much as its words."""
    world.sells(click("b", "ben", visitor="v"), order("O-1", visitor="v"))
    portal.app.state.events = events = Asked(portal.app.state.events)
    claim(portal, kind=kind, order_id="O-1")
    of_ben, events.names = events.names, []
    claim(portal, kind=kind, order_id="NOWHERE")

    assert of_ben == events.names


def test_the_merchant_sees_what_the_affiliate_may_not(portal, world):
    world.sells(click("b", "ben", visitor="w"), order("B-1", visitor="w"))
    case_id = opened(portal, order_id="B-1")

    assert "Credited to Ben Deals" in words_of(portal.get(f"/merchant/disputes/{case_id}", as_=MARTHA))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"order_id": ""}, "Please fill this in"),
        ({"order_id": "x" * 129}, "At most 128 characters"),
        ({"kind": "unfair"}, "Please choose one of the list"),
        ({"tenant": SOUTH}, "Please choose one of the list"),
        ({"message": " \n"}, "Please say something"),
        ({"message": "x" * 2_001}, "At most 2,000 characters"),
        ({"message": "bell \x07"}, "Control characters"),
    ],
)
def test_a_claim_that_cannot_be_used_is_shown_again(sold, fields, says):
    refused = claim(sold, **fields)

    assert refused.status_code == 422
    assert says in words_of(refused)


def test_one_case_an_order_at_a_time_and_so_many_a_day(sold):
    opened(sold)
    assert "open case about this order" in words_of(claim(sold))
    for number in range(MOST_PER_DAY - 1):
        opened(sold, order_id=f"X-{number}")
    assert "which is the most" in words_of(claim(sold, order_id="X-more"))


def test_the_form_comes_filled_in_from_a_conversion(sold):
    page = sold.get(f"/affiliate/conversions/{NORTH}/O-1", as_=ANNA)
    address = re.search(r'href="(/affiliate/disputes/new[^"]+)"', page.text)[1].replace("&amp;", "&")

    form = sold.get(address, as_=ANNA).text

    assert 'value="O-1"' in form
    assert re.search(r'value="north" selected', form)
    assert re.search(r'value="incorrect" checked', form)


def test_who_was_never_approved_cannot_ask(portal, world):
    assert claim(portal, who=CHARLIE, tenant=NORTH).status_code == 422


# --- answering -------------------------------------------------------------------------------------------------------


def test_accepting_writes_an_override_with_who_when_and_why(sold, world):
    case_id = opened(sold, kind="incorrect")
    assert answer(sold, case_id, "accept", "Her receipt is from the same hour.").status_code == 303

    with world.books.reading() as connection:
        override = overrides_of(connection, NORTH, ["O-1"])["O-1"]
        case = case_of_tenant(connection, NORTH, case_id)
        last = steps_of(connection, NORTH, case_id)[-1]
    assert (override.affiliate_id, override.case_id, override.version) == ("anna", case_id, 1)
    assert (override.reason, override.decided_by, override.decided_at) == ("Her receipt is from the same hour.", MARTHA.user_id, NOON)
    assert (case.state, case.override_version, last.action, last.by) == ("valid", 1, "accepted", MARTHA.user_id)


def test_the_merchant_sees_what_accepting_would_book(sold):
    page = words_of(sold.get(f"/merchant/disputes/{opened(sold)}", as_=MARTHA))

    assert "Accepting books +€10.00 for Anna's Blog, -€10.00 for Ben Deals." in page


def test_two_affiliates_may_claim_the_same_order(sold):
    first, second = opened(sold), opened(sold, who=BEN, kind="incorrect")

    assert f"/merchant/disputes/{second}" in sold.get(f"/merchant/disputes/{first}", as_=MARTHA).text
    assert second not in sold.get(f"/affiliate/disputes/{first}", as_=ANNA).text


def test_asking_back_and_answering(sold):
    case_id = opened(sold)
    assert answer(sold, case_id, "ask", "Which post?").status_code == 303
    assert "Waiting for you" not in words_of(sold.get(f"/affiliate/disputes/{case_id}", as_=ANNA))
    assert "Which post?" in words_of(sold.get(f"/affiliate/disputes/{case_id}", as_=ANNA))

    assert sold.post(f"/affiliate/disputes/{case_id}/answer", {"message": "The one of May."}, as_=ANNA).status_code == 303
    assert "The one of May." in words_of(sold.get(f"/merchant/disputes/{case_id}", as_=MARTHA))
    assert "Waiting for the merchant" in words_of(sold.get("/affiliate/disputes", as_=ANNA))


@pytest.mark.parametrize("action", ["decline", "ask"])
def test_declining_and_asking_need_words(sold, action):
    case_id = opened(sold)

    assert answer(sold, case_id, action).status_code == 422
    assert answer(sold, case_id, action, "Because.").status_code == 303


def test_a_declined_case_stays_and_a_new_one_may_be_opened(sold):
    case_id = opened(sold)
    answer(sold, case_id, "decline", "She came by the newsletter.")

    assert "She came by the newsletter." in words_of(sold.get(f"/affiliate/disputes/{case_id}", as_=ANNA))
    assert answer(sold, case_id, "accept", "On second thoughts.").status_code == 409
    assert opened(sold) != case_id


def test_a_case_may_be_withdrawn_and_is_then_over(sold):
    case_id = opened(sold)
    assert sold.post(f"/affiliate/disputes/{case_id}/withdraw", as_=ANNA).status_code == 303
    assert sold.post(f"/affiliate/disputes/{case_id}/withdraw", as_=ANNA).status_code == 409
    assert answer(sold, case_id, "decline", "Too late.").status_code == 409


def test_a_locked_order_cannot_be_given_to_anybody(portal, world, clock):
    at = NOON - 60 * DAY
    world.sells(click("b", "ben", at - 1_000, visitor="v"), order("OLD", at, visitor="v"), order("YOUNG", at + 1, visitor="v"))
    locked, free = (opened(portal, order_id=order_id) for order_id in ("OLD", "YOUNG"))

    refused = answer(portal, locked, "accept")

    assert refused.status_code == 422
    assert "The order is locked: it was placed more than 60 days ago" in words_of(refused)
    assert 'name="action" value="accept"' not in refused.text
    assert answer(portal, free, "accept").status_code == 303


def test_what_cannot_be_accepted_says_why(portal, world):
    world.sells(click("a", "anna", visitor="v"), order("HERS", visitor="v"), order("TEST", visitor="v", test=True))
    for order_id, says in (("HERS", "has the whole credit already"), ("TEST", "This is a test order"), ("NONE", "no decided order")):
        case_id = opened(portal, order_id=order_id)
        refused = answer(portal, case_id, "accept")
        assert refused.status_code == 422
        assert says in words_of(refused), order_id


def test_a_stale_answer_meets_a_conflict(sold, world):
    """Two people of the merchant have the page open; the second one's answer does not overwrite the first one's."""
    case_id = opened(sold)
    file = read_file(world.books, world.events, NORTH, case_id, NOON)
    answer(sold, case_id, "ask", "Which post?")

    with pytest.raises(Exception, match="at the same moment"):
        accept(world.books, file, "", "two@north.example", NOON)
    with world.books.reading() as connection:
        assert overrides_of(connection, NORTH, ["O-1"]) == {}


# --- whose case it is ------------------------------------------------------------------------------------------------


def test_a_case_is_its_affiliates_and_its_merchants_alone(sold):
    case_id = opened(sold)
    for who in (BEN, CHARLIE):
        assert sold.get(f"/affiliate/disputes/{case_id}", as_=who).status_code == 404
        assert sold.post(f"/affiliate/disputes/{case_id}/withdraw", as_=who).status_code == 404
        assert "O-1" not in words_of(sold.get("/affiliate/disputes", as_=who))
    assert sold.get(f"/merchant/disputes/{case_id}", as_=STELLA).status_code == 404
    assert answer(sold, case_id, "decline", "No.", who=STELLA).status_code == 404
    assert "O-1" not in words_of(sold.get("/merchant/disputes", as_=STELLA))


def test_the_merchants_person_is_not_named_to_the_affiliate(sold):
    case_id = opened(sold)
    answer(sold, case_id, "decline", "No.")

    assert MARTHA.user_id not in sold.get(f"/affiliate/disputes/{case_id}", as_=ANNA).text
    assert ANNA.user_id not in sold.get(f"/merchant/disputes/{case_id}", as_=MARTHA).text


# --- the rules -------------------------------------------------------------------------------------------------------


def test_a_case_that_is_over_allows_nothing():
    case = new_case(NORTH, "anna", "O-1", "untracked", "anna@blog.example", NOON)
    assert actions_of(case, "merchant") == ["asked", "accepted", "declined"]
    assert {state for _, state, _ in NEXT} == {"open", "incomplete"}


def test_a_case_does_not_go_back_and_forth_for_ever():
    case = msgspec.structs.replace(new_case(NORTH, "anna", "O-1", "untracked", "a", NOON), steps=40)
    assert next_state(case, "merchant", "asked") is None
    assert next_state(case, "merchant", "declined") == "declined"
