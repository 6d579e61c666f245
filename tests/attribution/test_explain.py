"""Why an order was credited or not: for its merchant in full, for an affiliate without the others' names."""

import msgspec
import pytest

from attribution.explain import NOT_KEPT, OLDER_FORM, OTHER, Explanation, Share, as_json, as_text, explain, for_affiliate, roles
from attribution.run import run_once
from attribution.words import VERDICTS
from core.catalogue import Coupon
from core.clock import DAY, HOUR
from core.credit import Override
from core.events import Line
from store.books import Books
from store.events import EventsStore
from tests.attribution.builders import NOON, STORED, candidate, click, open_shops, order, put_all, store, view
from tests.fakes import FakeClock

EARLY = click("1", "ben", NOON - 9 * DAY, "phone")
LATE = click("2", "anna", NOON - 2 * DAY, "phone")
SEEN = view("3", "ben", NOON - HOUR, "phone")


@pytest.fixture
def told(events: EventsStore, sqlite_books: Books) -> Explanation:
    """Anna's later click won over Ben's click and ad view."""
    open_shops(sqlite_books)
    placed = order(visitor_id="phone", click_id=LATE.event_id, store_id="shop", lines=(Line("1", 70_00), Line("2", 30_50)))
    store(events, [EARLY, LATE, SEEN, placed, order("O-2")])
    run_once(events, sqlite_books, FakeClock(STORED))
    found = explain(events, "north", "O-1")
    assert found is not None
    return found


def test_an_explanation_names_the_rule_the_winner_and_every_loser(told: Explanation) -> None:
    assert (told.result, told.meaning) == ("credited", "One affiliate earned it.")
    assert (told.programme_id, told.policy_version, told.revision, told.revisions) == ("main", 0, 1, 1)
    assert (told.net_minor, told.currency, told.store_id, told.ordered_at, told.decided_at) == (100_50, "EUR", "shop", NOON, STORED)
    assert [(credit.affiliate_id, credit.touch_id, credit.share) for credit in told.credits] == [("anna", LATE.event_id, "1")]
    assert told.unattributed == "0"
    assert [(one.touch_id, one.affiliate_id, one.verdict, one.matches) for one in told.candidates] == [
        (LATE.event_id, "anna", "winner", ("click_id", "visitor")),
        (EARLY.event_id, "ben", "older", ("visitor",)),
        (SEEN.event_id, "ben", "view_superseded_by_click", ("visitor",)),
    ]


def test_an_order_that_nobody_earns_says_why(told: Explanation, events: EventsStore) -> None:
    found = explain(events, "north", "O-2")

    assert found is not None
    assert (found.result, found.credits, found.unattributed, found.candidates) == ("no_identity", (), "1", ())
    assert found.meaning.startswith("Nobody earned it: the order came without")


def test_only_the_orders_own_tenant_gets_an_explanation(told: Explanation, events: EventsStore) -> None:
    assert explain(events, "south", "O-1") is None
    assert explain(events, "north", "O-9") is None


def test_an_order_that_is_not_decided_yet_has_no_explanation(events: EventsStore) -> None:
    store(events, [order("O-1")])

    assert explain(events, "north", "O-1") is None


def test_an_explanation_counts_the_revisions(events: EventsStore, sqlite_books: Books) -> None:
    open_shops(sqlite_books)
    store(events, [order(click_id=LATE.event_id)])
    run_once(events, sqlite_books, FakeClock(STORED))
    store(events, [LATE], at=STORED + HOUR)
    run_once(events, sqlite_books, FakeClock(STORED + HOUR))

    found = explain(events, "north", "O-1")

    assert found is not None
    assert (found.result, found.revision, found.revisions, found.decided_at) == ("credited", 2, 2, STORED + HOUR)


OLDER_TRACE = (
    '[{"candidate":{"touch_id":"t1","touch_class":"click","programme_id":"main","affiliate_id":"ben","occurred_at":1772366400000,'
    '"matches":["visitor"],"link_code":"ben-link"},"verdict":"winner","why":"It is the latest click."}]'
)
"""As decisions held it before docs/decisions/0008."""


def put_trace(events: EventsStore, trace: str) -> None:
    """The decision in force of ``O-1`` gets another trace."""
    events.command(
        "INSERT INTO decisions SELECT * REPLACE ({trace:String} AS trace, revision + 1 AS revision) FROM decisions WHERE order_id = 'O-1' "
        "ORDER BY revision DESC LIMIT 1",
        trace=trace,
    )


@pytest.mark.parametrize(
    ("trace", "says"), [(OLDER_TRACE, OLDER_FORM), ("[[7]]", OLDER_FORM), ("[{", OLDER_FORM), ("", NOT_KEPT), ("[]", NOT_KEPT)]
)
def test_a_decision_whose_trace_is_gone_still_tells_everything_else(told: Explanation, events: EventsStore, trace: str, says: str) -> None:
    put_trace(events, trace)

    found = explain(events, "north", "O-1")

    assert found == msgspec.structs.replace(told, candidates=(), revision=2, revisions=2, untold=says)
    assert as_text(found).endswith(f"\n\n{says}\n")
    masked = for_affiliate(found, "anna")
    assert masked is not None
    assert masked.untold == says


# --- masks -----------------------------------------------------------------------------------------------------------


def test_an_affiliate_reads_its_own_touches_and_of_others_only_that_they_were_there(told: Explanation) -> None:
    masked = for_affiliate(told, "ben")

    assert masked is not None
    assert [(one.affiliate_id, one.touch_id, one.link_code, one.verdict) for one in masked.candidates] == [
        (OTHER, "", "", "winner"),
        ("ben", EARLY.event_id, "ben-link", "older"),
        ("ben", SEEN.event_id, "ben-link", "view_superseded_by_click"),
    ]
    assert [(credit.affiliate_id, credit.touch_id) for credit in masked.credits] == [(OTHER, "")]


@pytest.mark.parametrize("me", ["anna", "ben"])
def test_nothing_that_names_another_affiliate_is_left(told: Explanation, me: str) -> None:
    other = "ben" if me == "anna" else "anna"
    masked = for_affiliate(told, me)

    assert masked is not None
    text = msgspec.json.encode(masked).decode() + as_text(masked)
    assert other not in text.replace(OTHER, "")
    assert not any(touch.event_id in text for touch in (EARLY, LATE, SEEN) if touch.affiliate_id == other)


def test_another_affiliates_coupon_code_is_hidden(events: EventsStore, sqlite_books: Books) -> None:
    open_shops(sqlite_books)
    put_all(sqlite_books, Coupon("north", "SECRET", "main", "ben"))
    store(events, [LATE, order(visitor_id="phone", coupons=("SECRET",))])
    run_once(events, sqlite_books, FakeClock(STORED))
    found = explain(events, "north", "O-1")
    assert found is not None
    assert "SECRET" in as_text(found)

    masked = for_affiliate(found, "anna")

    assert masked is not None
    assert "SECRET" not in as_text(masked) + msgspec.json.encode(masked).decode()


def test_of_others_an_affiliate_reads_no_figure_and_no_evidence(told: Explanation) -> None:
    by_verdict = {verdict: f"It has the affiliate's e-mail address, {verdict}, 7 days." for verdict in VERDICTS}
    others = [
        msgspec.structs.replace(told.candidates[0], verdict=verdict, why=why, evidence=("same_email",), traffic_class="rate_limited")
        for verdict, why in by_verdict.items()
    ]
    masked = for_affiliate(msgspec.structs.replace(told, candidates=(*others, told.candidates[1])), "ben")

    assert masked is not None
    assert {one.verdict: one.why for one in masked.candidates[:-1]} == VERDICTS
    assert {(one.evidence, one.traffic_class) for one in masked.candidates[:-1]} == {((), "")}
    assert masked.candidates[-1] == told.candidates[1]


def test_an_affiliate_without_a_candidate_reads_nothing_at_all(told: Explanation) -> None:
    assert for_affiliate(told, "charlie") is None
    assert for_affiliate(told, OTHER) is None


# --- forms -----------------------------------------------------------------------------------------------------------


def test_json_says_times_in_rfc_3339(told: Explanation) -> None:
    plain = as_json(told)

    assert (plain["ordered_at"], plain["candidates"][0]["occurred_at"]) == ("2026-03-01T12:00:00.000Z", "2026-02-27T12:00:00.000Z")
    assert plain["result"] == "credited"
    assert plain["net_minor"] == 100_50


def test_which_order_of_its_customer_it_is_the_merchant_reads_and_no_affiliate(told: Explanation) -> None:
    third = msgspec.structs.replace(told, customer_status="returning", order_number=3, first_ordered_at=NOON - DAY)
    masked = for_affiliate(third, "anna")

    assert masked is not None
    assert "customer   returning, order 3 on record, the first on 2026-02-28T12:00:00.000Z\n" in as_text(third)
    assert "customer   returning\n" in as_text(masked)
    assert [as_json(one)["first_ordered_at"] for one in (third, masked, told)] == ["2026-02-28T12:00:00.000Z", None, None]
    assert [as_json(one)["order_number"] for one in (third, masked, told)] == [3, 0, 0]


def test_text_for_the_terminal_is_aligned(told: Explanation) -> None:
    lines = as_text(told).splitlines()

    assert lines[:5] == [
        "order      O-1 of north, 100.50 EUR net",
        "placed     2026-03-01T12:00:00.000Z, channel web, store shop",
        "programme  main, policy version 0",
        "result     credited: One affiliate earned it.",
        f"credit     1 to anna for {LATE.event_id}",
    ]
    table = lines[lines.index("") + 1 :]
    assert [line.split()[0] for line in table] == ["verdict", "winner", "older", "view_superseded_by_click"]
    assert len({line.index(word) for line, word in zip(table, ("class", "click", "click", "impression"), strict=True)}) == 1
    assert table[2].endswith("A later click earns, 7 days after this one.")


def test_text_of_an_order_without_candidates_says_so(told: Explanation, events: EventsStore) -> None:
    found = explain(events, "north", "O-2")

    assert found is not None
    assert "credit     1 to nobody" in as_text(found)
    assert as_text(found).endswith("no candidate touches\n")


# --- a person's decision, shares, parts ------------------------------------------------------------------------------


def test_an_affiliate_learns_that_a_person_decided_but_not_who(told: Explanation) -> None:
    override = Override("O-1", 1, "ben", "the blog review led to it", "martha@north.example", NOON, "case-7")
    ruled = msgspec.structs.replace(told, override=override, credits=(Share("ben", "", "1"),))

    own, other = for_affiliate(ruled, "ben"), for_affiliate(ruled, "anna")

    assert own is not None
    assert own.override == msgspec.structs.replace(override, decided_by="the merchant")
    assert other is not None
    assert other.override == Override("O-1", 1, OTHER, "", "the merchant", NOON)
    assert "overridden 2026-03-01T12:00:00.000Z by martha@north.example: the blog review led to it" in as_text(ruled)


def test_who_is_credited_by_a_person_reads_the_order_without_any_touch(told: Explanation) -> None:
    assert for_affiliate(msgspec.structs.replace(told, credits=(Share("charlie", "", "1"),)), "charlie") is not None


def test_the_merchants_other_marketing_and_its_segments_stay_with_it(told: Explanation) -> None:
    paid = msgspec.structs.replace(told.candidates[0], affiliate_id="", touch_class="paid", origin="google / cpc")
    known = msgspec.structs.replace(told, candidates=(*told.candidates, paid), segments=("big-spenders",))

    masked = for_affiliate(known, "ben")

    assert masked is not None
    assert "google" not in as_text(masked)
    assert "big-spenders" not in as_text(masked)
    assert "google / cpc" in as_text(known)


@pytest.mark.parametrize(
    ("journey", "expected"),
    [
        ("", {}),
        ("anna", {"anna": "closer"}),
        ("anna ben", {"anna": "introducer", "ben": "closer"}),
        ("anna ben charlie", {"anna": "introducer", "ben": "influencer", "charlie": "closer"}),
        ("anna ben anna", {"anna": "closer", "ben": "influencer"}),
    ],
)
def test_everyone_has_a_part_in_the_journey(journey: str, expected: dict[str, str]) -> None:
    touches = [candidate(f"t{place}", name, NOON - DAY + place) for place, name in enumerate(journey.split())]

    assert roles(touches) == roles(touches[::-1]) == expected
