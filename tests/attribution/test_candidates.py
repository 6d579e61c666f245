"""What the events store gave for a batch of orders, and what it becomes, whatever the order in which it was stored."""

from itertools import permutations

import pytest

from attribution.candidates import Company, Found, Journey, candidates_of, sent
from attribution.policy import Terms
from attribution.touches import SEPARATOR, TouchRow, VisitorRow
from core.clock import DAY, HOUR
from core.events import Claim, Order
from tests.attribution.builders import NOON, order

FACETS = [SEPARATOR.join(("click", "main", name, "web", "human", "unknown", "0", "")) for name in ("anna", "ben", "zoe")]
OTHER = SEPARATOR.join(("impression", "main", "ben", "web", "human", "unknown", "0", ""))
STORED = [("c1", NOON - DAY, facet) for facet in FACETS] + [("c2", NOON - HOUR, OTHER)]


def journey(stored: list[tuple[str, int, str]], of: Order, company: Company | None) -> Journey:
    ids, times, facets = (list(column) for column in zip(*stored, strict=True))
    touches = [TouchRow(*row, "phone") for row in stored]
    found = candidates_of(of, Found([VisitorRow("phone", ids, times, facets, len(ids))], touches), company, NOON - 9 * DAY)
    return Journey(sorted(found.candidates, key=lambda one: one.touch_id), found.left_out, found.cut)


@pytest.mark.parametrize(
    ("of", "company"),
    [
        (order(visitor_id="phone"), None),
        (order(visitor_id="phone", click_id="c1"), None),
        (order(click_id="c1"), None),
        (order(), Company((("phone", "customer", ()),), ())),
        (order(), Company((), (("c1", "customer"),))),
    ],
    ids=["visitor", "visitor and click", "click", "a person's visitor", "a person's click"],
)
def test_of_several_contents_under_one_id_the_smallest_is_the_touch(of: Order, company: Company | None) -> None:
    found = [journey(list(stored), of, company) for stored in permutations(STORED)]

    assert {one.touch_id: one.affiliate_id for one in found[0].candidates}["c1"] == "anna"
    assert found[0].left_out == 0
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize(
    ("provider", "touch_id", "affiliate"),
    [
        ("fairshare", "agent:anna", "anna"),
        ("Fairshare", "agent:anna", "anna"),
        ("north", "agent:anna", "anna"),
        ("", "agent:anna", "anna"),
        ("south", "agent:south:anna", ""),
        ("network.example", "agent:network.example:anna", ""),
    ],
)
def test_what_another_provider_calls_its_publisher_is_no_affiliate_here(provider: str, touch_id: str, affiliate: str) -> None:
    """Its ``anna`` is somebody else; only a token of ours in such a claim says whose the order is."""
    links, claims = (
        {"annas": ("main", "anna")},
        (Claim("", "anna", provider), Claim("annas", "zoe", provider), Claim("theirs", "zoe", provider)),
    )
    by_publisher, by_link, by_unknown = sent(order(claims=claims), Terms("north"), None, Found((), ()), links)

    assert (by_publisher.touch_id, by_publisher.affiliate_id) == (touch_id, affiliate)
    assert by_link.affiliate_id == "anna"
    assert by_unknown.affiliate_id == (affiliate and "zoe")
