"""The rate card page: sentences, history, and a form that never edits a version."""

from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import RateCard, Rule
from core.errors import Conflict
from payouts.matching import compile_card
from payouts.rate_card import rank
from portal import merchant_preview
from store.catalogue import find, put, rate_cards_of, recent_changes
from tests.cards import WHOLE
from tests.fakes import NOON
from tests.people import MARTHA, STELLA
from tests.portal.conftest import words_of

PATH = "/merchant/programmes/main/rates"
NEW = {
    "effective_from": "2026-12-01T00:00",
    "hold_days": "14",
    "rule_id_0": "boots",
    "percent_0": "12.5",
    "categories_0": "boots",
    "customer_status_0": "new",
    "priority_0": "10",
    "rule_id_1": "tent",
    "per_1": "unit",
    "fixed_1": "3.20",
    "skus_1": "T-1, T-2",
    "customer_status_1": "",
    "priority_1": "",
    "rule_id_2": "",
    "percent_2": "",
    "customer_status_2": "",
}


def cards(books, tenant="north"):
    with books.reading() as connection:
        return rate_cards_of(connection, tenant, "main")


def test_the_card_in_force_is_told_in_sentences_in_the_order_of_trial(portal):
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "Version 1, for orders from 17 Oct 2025, 12:00 Hats pay 5 % of the net price Everything pays 10 % of the net price" in page
    assert "Commissions stay on hold for 30 days" in page


def test_a_new_version_is_added_and_the_old_one_stays(portal, sqlite_books):
    (before,) = cards(sqlite_books)
    answer = portal.post(PATH, NEW | {"action": "write"}, as_=MARTHA)

    assert (answer.status_code, answer.headers["location"]) == (303, PATH)
    assert cards(sqlite_books) == (
        before,
        RateCard(
            "north",
            "main",
            2,
            NOON + 9 * 86_400_000 + 43_200_000,
            14,
            (
                Rule("boots", 10, percent_bps=1250, categories=("boots",), customer_status="new"),
                Rule("tent", fixed_minor=320, per="unit", skus=("T-1", "T-2")),
            ),
        ),
    )
    with sqlite_books.reading() as connection:
        change = recent_changes(connection, 1)[0]
    assert (change.what, change.changed_by, change.changed_at) == ("added rate card north main 2", MARTHA.user_id, NOON)


def test_a_rule_for_a_segment_is_written_and_only_for_ones_own(portal, sqlite_books):
    typed = {"segments_0": "firms", "customer_status_0": "lapsed", "action": "write"}
    assert portal.post(PATH, NEW | typed, as_=MARTHA).status_code == 303
    assert cards(sqlite_books)[1].rules[0].segments == ("firms",)
    page = words_of(portal.get(PATH, as_=MARTHA))
    assert "Boots pay 12.5 % of the net price for lapsed customers in the segment firms" in page
    assert "segments firms stores shop, till" in page

    page = portal.post(PATH, NEW | {"segments_0": "bookworms", "action": "write"}, as_=MARTHA)
    assert page.status_code == 422
    assert '<p class="fault" id="segments_0-fault">&#39;bookworms&#39; is not a segment of tenant north.</p>' in page.text
    assert len(cards(sqlite_books)) == 2


def test_a_planned_version_shows_in_the_history_with_its_sentences(portal):
    portal.post(PATH, NEW | {"action": "write"}, as_=MARTHA)
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "Version 2 Planned orders from 1 Dec 2026, 00:00 Boots pay 12.5 % of the net price for new customers" in page
    assert "SKUs T-1 and T-2 pay 3.20 EUR per unit" in page
    assert "Version 1 In force orders from 17 Oct 2025, 12:00 until 1 Dec 2026, 00:00" in page


def test_all_faults_come_at_once_with_what_was_typed_and_nothing_is_written(portal, sqlite_books):
    bad = {"hold_days": "a month", "percent_0": "101", "rule_id_1": "Tent!", "fixed_1": "1.234", "effective_from": "2026-01-01T00:00"}
    page = portal.post(PATH, NEW | bad | {"action": "write"}, as_=MARTHA)

    assert page.status_code == 422
    for field in bad:
        assert f'id="{field}-fault"' in page.text, field
    assert "5 fields need another look" in words_of(page)
    assert 'value="1.234"' in page.text
    assert len(cards(sqlite_books)) == 1


def test_rules_can_be_read_back_without_writing_them(portal, sqlite_books):
    page = portal.post(PATH, NEW | {"action": "check"}, as_=MARTHA)

    assert page.status_code == 200
    assert (
        "Read back: this is what you wrote Boots pay 12.5 % of the net price for new customers boots: priority 10 comes before 100 "
        "SKUs T-1 and T-2 pay 3.20 EUR per unit tent: the last" in words_of(page)
    )
    assert len(cards(sqlite_books)) == 1


@pytest.mark.parametrize("action", [{}, {"action": "Write"}])
def test_a_version_is_written_only_where_the_action_says_so(portal, sqlite_books, action):
    page = portal.post(PATH, NEW | action, as_=MARTHA)

    assert (page.status_code, "Read back: this is what you wrote" in words_of(page)) == (200, True)
    assert len(cards(sqlite_books)) == 1


def test_a_row_is_added_without_a_script_and_keeps_what_was_typed(portal, sqlite_books):
    page = portal.post(PATH, NEW | {"action": "add rule", "fixed_1": "nonsense"}, as_=MARTHA)

    assert page.status_code == 200
    assert 'name="rule_id_3"' in page.text
    assert 'value="nonsense"' in page.text
    assert len(cards(sqlite_books)) == 1


def test_the_tenants_currency_decides_how_amounts_are_read(portal, sqlite_books):
    portal.post(PATH, NEW | {"action": "write"}, as_=STELLA)

    assert cards(sqlite_books)[-1].version == 1
    assert cards(sqlite_books, "south")[-1].version == 2
    assert "3.20 USD per unit" in words_of(portal.get(PATH, as_=STELLA))


def test_two_people_writing_make_two_versions(portal, sqlite_books):
    portal.post(PATH, NEW | {"action": "write"}, as_=MARTHA)
    portal.post(PATH, NEW | {"action": "write"}, as_=MARTHA)

    assert [card.version for card in cards(sqlite_books)] == [1, 2, 3]


def test_a_programme_without_a_card_starts_with_blank_rows(portal, sqlite_books):
    portal.post("/merchant/programmes", {"programme_id": "new", "name": "New", "landing_url": "https://north.example/n"}, as_=MARTHA)
    path = "/merchant/programmes/new/rates"

    assert "credited orders of this programme earn nothing" in words_of(portal.get(path, as_=MARTHA))
    portal.post(path, NEW | {"effective_from": "", "action": "write"}, as_=MARTHA)
    with sqlite_books.reading() as connection:
        assert find(connection, RateCard, "north", "new", 1).effective_from == NOON


class Browser(HTMLParser):
    """What a browser would send of the form ``rate-form`` as the page has it."""

    def __init__(self, page):
        super().__init__()
        self.sent, self._select, self._reading = {}, None, False
        self.feed(page.text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self._reading |= tag == "form" and told.get("id") == "rate-form"
        if not self._reading:
            return
        if tag == "input" and (told.get("type") != "checkbox" or "checked" in told):
            self.sent.setdefault(told["name"], []).append(told.get("value", ""))
        if tag == "select":
            self._select, self.sent[told["name"]] = told["name"], None
        if tag == "option" and ("selected" in told or self.sent[self._select] is None):
            self.sent[self._select] = told["value"]

    def handle_endtag(self, tag):
        self._reading &= tag != "form"


def test_what_the_page_shows_of_a_version_is_sent_back_as_this_version(portal, sqlite_books):
    with sqlite_books.writing() as connection:
        put(connection, msgspec.structs.replace(WHOLE, version=2, effective_from=NOON - 1), "tests", NOON)
    sent = Browser(portal.get(PATH, as_=MARTHA)).sent
    del sent["csrf"]

    assert portal.post(PATH, sent | {"action": "write"}, as_=MARTHA).status_code == 303
    assert msgspec.structs.replace(cards(sqlite_books)[-1], version=1, effective_from=0) == WHOLE


def test_the_page_says_which_rule_is_tried_first_and_why(portal):
    rules = {"rule_id_2": "tips", "subject_2": "lead", "fixed_2": "1", "per_2": "line", "action": "check"}
    page = words_of(portal.post(PATH, NEW | rules, as_=MARTHA))

    assert "For orders Boots pay 12.5 % of the net price for new customers boots: priority 10 comes before 100" in page
    assert "tent: the last For leads Every lead pays 1.00 EUR tips: the last The smallest priority is tried first" in page
    assert "Why in this order hats: priority 10 comes before 100 base: the last" in page


def test_rows_of_conditions_steps_limits_and_bonuses_are_added_too(portal, sqlite_books):
    for what, field in {
        "condition:0": "values_0_1",
        "step:0": "step_fixed_0_0",
        "limit": "limit_amount_0",
        "bonus": "bonus_pays_0",
    }.items():
        page = portal.post(PATH, NEW | {"attribute_0_0": "", "action": f"add {what}"}, as_=MARTHA)

        assert (page.status_code, f'name="{field}"' in page.text, 'value="12.5"' in page.text) == (200, True, True), what
    assert len(cards(sqlite_books)) == 1


def test_a_rule_of_a_long_card_is_changed_on_demand(portal, sqlite_books):
    rules = tuple(Rule(f"r-{number}", percent_bps=number) for number in range(14))
    with sqlite_books.writing() as connection:
        put(connection, RateCard("north", "main", 2, NOON - 1, 30, rules), "tests", NOON)
    sent = Browser(portal.get(PATH, as_=MARTHA)).sent
    del sent["csrf"]
    assert (sent["kept_13"], "percent_13" in sent) == (["2/r-13"], False)

    changed = Browser(portal.post(PATH, sent | {"action": "change 13"}, as_=MARTHA)).sent
    assert (changed["percent_13"], "kept_13" in changed) == (["0.13"], False)
    assert Browser(portal.post(PATH, sent | {"action": "change nothing"}, as_=MARTHA)).sent["kept_13"] == ["2/r-13"]


def test_a_version_that_the_form_cannot_hold_is_not_offered_for_change(portal, sqlite_books):
    with sqlite_books.writing() as connection:
        put(connection, RateCard("north", "main", 2, NOON - 1, 30, (Rule("a", percent_bps=1, categories=("x" * 256,)),)), "tests", NOON)
    page = portal.get(PATH, as_=MARTHA)

    assert "The newest version holds something that this form cannot carry" in words_of(page)
    assert Browser(page).sent == {}


def test_faults_are_told_of_rules_that_can_be_read_beside_those_that_cannot(portal):
    page = portal.post(PATH, NEW | {"percent_0": "x", "segments_1": "vips", "action": "write"}, as_=MARTHA)

    assert page.status_code == 422
    for field in ("percent_0", "segments_1"):
        assert f'id="{field}-fault"' in page.text, field


def test_what_was_typed_stays_where_too_many_are_tried_at_once(portal, monkeypatch):
    async def busy(*_):
        raise Conflict("as many as can be are being tried")

    monkeypatch.setattr(merchant_preview, "preview", busy)
    page = portal.post(PATH, NEW | {"action": "preview"}, as_=MARTHA)

    assert (page.status_code, "As many as can be are being tried." in words_of(page)) == (409, True)
    assert Browser(page).sent["percent_0"] == ["12.5"]


rules_that_fit = st.lists(
    st.builds(
        Rule,
        rule_id=st.sampled_from("abcdefgh"),
        priority=st.integers(0, 2),
        percent_bps=st.just(100),
        categories=st.sampled_from([(), ("shoes",)]),
        skus=st.sampled_from([(), ("S-1",)]),
        customer_status=st.sampled_from(["", "new"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda rule: rule.rule_id,
)


@given(rules_that_fit)
def test_the_order_on_the_page_is_the_order_in_which_rules_are_tried(rules):
    item, order = {"item.sku": "S-1", "item.category": "shoes"}, {"customer.status": "new"}
    tried = []
    while rules:
        card = RateCard("north", "main", 1, 0, 0, tuple(rules))
        first = compile_card(card, "EUR").match(item, {}, order)
        tried.append(first)
        rules = [rule for rule in rules if rule != first]

    assert sorted(tried, key=rank) == tried


@pytest.mark.parametrize("path", ["/merchant/programmes/nowhere/rates", "/merchant/programmes/nowhere/policy"])
def test_an_unknown_programme_is_not_found(portal, path):
    assert portal.get(path, as_=MARTHA).status_code == 404
    assert portal.post(path, NEW, as_=MARTHA).status_code == 404
