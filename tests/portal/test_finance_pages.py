"""Every page of finance; balances that are the ledger's; a batch on its way through two people's hands; the ledger."""

import csv
import io
import re

import msgspec
import pytest
from sqlalchemy import text

from core.catalogue import Affiliate, Tenant, User
from core.clock import DAY, HOUR
from core.events import Refund
from core.scope import Scope
from payouts.balances import balances_of_tenant
from payouts.holds import release_due
from portal import passwords
from portal.sessions import token_hash
from store.batches import read_batch, read_batches
from store.catalogue import find, find_user, put
from store.reports import entries_before
from store.sessions import open_session
from tests.fakes import NOON
from tests.people import ADA, ANNA, FIONA, FRANK, MARTHA, NORTH
from tests.portal.conftest import World, click, order, secret_of, words_of

EVE = Scope(user_id="eve@east.example", role="finance", tenant_id="east")
SAM = Scope(user_id="sam@south.example", role="finance", tenant_id="south")
PASSWORD = "five small red boats"
LONG_AGO = NOON - 35 * DAY
PLAN = {"currency": "EUR", "cutoff_at": "", "minimum": ""}
BATCH = "/finance/batches/pb_1"


@pytest.fixture
def earned(world: World) -> World:
    """Anna has 20.00 approved from two old orders and 10.00 pending from a new one; Ben, without bank details, 10.00 approved."""
    world.happens(
        *(click(f"a{number}", "anna", LONG_AGO, f"v{number}") for number in (1, 2)),
        *(order(f"old-{number}", LONG_AGO + HOUR, f"v{number}") for number in (1, 2)),
        click("b1", "ben", LONG_AGO, "v3"),
        order("old-3", LONG_AGO + HOUR, "v3"),
        click("a4", "anna", visitor="v4"),
        order("new-4", visitor="v4"),
    )
    world.engine_runs()
    release_due(world.books, world.clock())
    world.clock.advance(1000)
    return world


@pytest.fixture
def staffed(portal, sqlite_books, clock):
    """Fiona's and Frank's passwords; a finance user of South; and East, which has nothing."""
    hashed = passwords.hash_password(PASSWORD)
    with sqlite_books.writing() as connection:
        put(connection, Tenant("east", "East", "JPY"), "tests", clock())
        for who in (EVE, SAM):
            put(connection, User(who.user_id, "Someone", "finance", hashed, who.tenant_id), "tests", clock())
            open_session(connection, token_hash(secret_of(who)), who.user_id, clock())
        for who in (FRANK, FIONA):
            put(connection, msgspec.structs.replace(find_user(connection, who.user_id), password_hash=hashed), "tests", clock())


@pytest.fixture
def prepared(portal, earned, staffed):
    """Frank prepared pb_1: 20.00 to Anna."""
    answer = portal.post("/finance/batches/new", PLAN, as_=FRANK)
    assert (answer.status_code, answer.headers["location"]) == (303, BATCH)
    return earned


def batch(books):
    with books.reading() as connection:
        return read_batch(connection, NORTH, "pb_1")


def approve(portal, as_, password=PASSWORD, content_hash=None):
    shown = re.search(r'name="content_hash" value="(\w{64})"', portal.get(BATCH, as_=FIONA).text)
    return portal.post(f"{BATCH}/approve", {"password": password, "content_hash": content_hash or (shown[1] if shown else "")}, as_=as_)


# --- every page ------------------------------------------------------------------------------------------------------


def pages():
    return [
        "/finance",
        "/finance/balances",
        "/finance/batches",
        "/finance/batches/new",
        "/finance/batches/new?currency=EUR",
        "/finance/holds",
        "/finance/adjustments",
        "/finance/months",
        "/finance/ledger",
    ]


def test_each_page_renders_with_data_and_without_a_script(portal, prepared):
    for path in [*pages(), BATCH, f"{BATCH}/statements/anna"]:
        page = portal.get(path, as_=FIONA)
        assert (page.status_code, page.text.count("<h1>")) == (200, 1), path
        assert "<script" not in page.text, path
        assert not re.search(r"\son[a-z]+=", page.text), path
        assert 'id="None"' not in page.text


def test_each_page_renders_for_a_merchant_that_has_nothing(portal, staffed):
    for path in pages():
        page = portal.get(path, as_=EVE)
        assert page.status_code == 200, path
        assert "north" not in page.text.lower(), path


@pytest.mark.parametrize("who", [ANNA, MARTHA, ADA], ids=lambda who: who.role)
def test_other_roles_find_no_such_page(portal, prepared, who):
    paths = [*pages(), BATCH, f"{BATCH}/file", f"{BATCH}/statements/anna", f"{BATCH}/statements/anna/csv"]
    assert {portal.get(path, as_=who).status_code for path in paths} == {404}
    for step in ("approve", "void", "settle"):
        assert portal.post(f"{BATCH}/{step}", {}, as_=who).status_code == 404


def test_another_merchants_batch_is_not_found_whatever_is_asked(portal, prepared, sqlite_books):
    for path in (BATCH, f"{BATCH}/file", f"{BATCH}/statements/anna", f"{BATCH}/statements/anna/csv"):
        assert portal.get(path, as_=SAM).status_code == 404, path
    for step in ("approve", "void", "settle"):
        assert (
            portal.post(f"{BATCH}/{step}", {"password": PASSWORD, "content_hash": batch(sqlite_books).content_hash}, as_=SAM).status_code
            == 404
        )
    for path in pages():
        shown = words_of(portal.get(path, as_=SAM))
        assert [word for word in ("anna", "Anna", "pb_1", "€", "old-1") if word in shown.replace("EUR", "")] == [], path
    assert batch(sqlite_books).state == "prepared"


# --- balances --------------------------------------------------------------------------------------------------------


def test_the_overview_is_the_ledgers_balances_and_says_what_comes_next(portal, earned):
    page = words_of(portal.get("/finance", as_=FRANK))

    assert "Pending €10.00" in page
    assert "On hold €0.00" in page
    assert "Approved €30.00" in page
    assert "In a payout €0.00" in page
    assert "Taken back €0.00" in page
    assert "Paid €0.00" in page
    assert "No hold ends within 14 days" in page


def test_holds_that_end_soon_are_listed_by_day(portal, earned):
    earned.clock.advance(9 * HOUR)
    earned.sells(click("a5", "anna", NOON - 20 * DAY, "v5"), order("o-5", NOON - 20 * DAY + HOUR, "v5"))

    assert "1 Dec 2026 1 €10.00" in words_of(portal.get("/finance", as_=FRANK))


def test_payable_by_affiliate_says_who_lacks_bank_details(portal, earned):
    page = words_of(portal.get("/finance/balances", as_=FRANK))

    assert "1 affiliate cannot be paid: account holder or IBAN is missing" in page
    assert "Anna's Blog anna Anna Blogger DE89370400440532013000 €10.00 €0.00 €20.00 €0.00" in page
    assert "Ben Deals ben No bank details €0.00 €0.00 €10.00 €0.00" in page
    assert "All €10.00 €0.00 €30.00 €0.00" in page


def test_a_refund_after_the_payout_is_carried_forward(portal, prepared):
    approve(portal, FIONA)
    portal.post(f"{BATCH}/settle", {}, as_=FRANK)
    at = prepared.clock.advance(1000)
    prepared.sells(Refund("R" * 26, "north", "old-1", "r1", "EUR", at, at))
    page = words_of(portal.get("/finance/balances", as_=FRANK))

    assert "1 balance below zero is carried forward" in page
    assert "DE89370400440532013000 €10.00 €0.00 -€10.00 carried forward €0.00" in page


def test_an_order_that_needs_a_look_is_on_the_overview(portal, earned):
    at = earned.clock.advance(1000)
    earned.sells(Refund("R" * 26, "north", "old-1", "r1", "EUR", at, at, net_minor=500_00))
    page = words_of(portal.get("/finance", as_=FRANK))

    assert "1 order needs a look" in page
    assert "old-1 More was refunded than the order had; the rest changed nothing." in page


# --- preparing -------------------------------------------------------------------------------------------------------


def test_the_preview_says_whom_a_batch_would_pay_and_whom_not_and_claims_nothing(portal, earned, staffed, sqlite_books):
    page = words_of(portal.get("/finance/batches/new?currency=EUR&minimum=5.00", as_=FRANK))

    assert "Anna's Blog anna Anna Blogger DE89370400440532013000 €20.00 Control sum, 1 payout €20.00" in page
    assert "Ben Deals ben No bank details yet €10.00" in page
    with sqlite_books.reading() as connection:
        assert read_batches(connection, NORTH) == []


def test_what_is_prepared_is_what_the_preview_showed(portal, earned, staffed, sqlite_books):
    page = portal.get("/finance/batches/new?currency=EUR&minimum=15.00", as_=FRANK).text
    form = dict(re.findall(r'<input type="hidden" name="(currency|cutoff_at|minimum)" value="([^"]*)"', page))
    assert form == {"currency": "EUR", "cutoff_at": "2026-11-21T12:00:01.000", "minimum": "15.00"}

    portal.post("/finance/batches/new", form, as_=FRANK)
    made = batch(sqlite_books)
    assert (made.amount_minor, made.cutoff_at, made.prepared_by) == (20_00, NOON + 1000, FRANK.user_id)
    assert [(one.affiliate_id, one.why) for one in made.left_out] == [("ben", "below_minimum")]


def test_a_minimum_above_everything_leaves_nobody(portal, earned, sqlite_books):
    assert "Nobody" in words_of(portal.get("/finance/batches/new?currency=EUR&minimum=1000", as_=FRANK))
    page = portal.post("/finance/batches/new", PLAN | {"minimum": "1000"}, as_=FRANK)

    assert page.status_code == 422
    assert "Nobody of north can be paid in EUR" in words_of(page)
    assert "nothing was prepared" in words_of(page)


def test_bad_terms_are_all_told_at_once(portal, earned, sqlite_books):
    for send in (
        lambda form: portal.get("/finance/batches/new", as_=FRANK, params=form),
        lambda form: portal.post("/finance/batches/new", form, as_=FRANK),
    ):
        page = send({"currency": "EUR", "cutoff_at": "2027-01-01T00:00", "minimum": "-1"})
        assert page.status_code == 422
        assert 'id="cutoff_at-fault"' in page.text
        assert 'id="minimum-fault"' in page.text
        assert 'id="currency-fault"' in send({"currency": "XXX", "minimum": "x"}).text
    with sqlite_books.reading() as connection:
        assert read_batches(connection, NORTH) == []


# --- one batch, two people -------------------------------------------------------------------------------------------


def test_a_prepared_batch_shows_sum_hash_lines_and_what_comes_next(portal, prepared, sqlite_books):
    page = words_of(portal.get(BATCH, as_=FIONA))

    assert "Prepared by frank@north.example 21 Nov 2026, 12:00:01 (done) Approved (next) Settled (to come)" in page
    assert "Control sum €20.00" in page
    assert batch(sqlite_books).content_hash in page
    assert "Anna's Blog anna po_1_1 Anna Blogger DE89370400440532013000 2 €20.00 Statement" in page
    assert "Ben Deals ben No bank details yet €10.00" in page


def test_the_preparer_is_told_and_gets_no_form(portal, prepared):
    page = portal.get(BATCH, as_=FRANK)

    assert "You prepared this batch, and the preparer may not approve it." in words_of(page)
    assert "/approve" not in page.text


def test_the_preparer_is_refused_all_the_same(portal, prepared, sqlite_books):
    page = approve(portal, FRANK)

    assert page.status_code == 403
    assert (
        "Cannot approve batch pb_1: frank@north.example prepared it, and the preparer may not approve; ask another finance user."
        in words_of(page)
    )
    assert batch(sqlite_books).state == "prepared"


def test_approving_asks_for_the_password_again(portal, prepared, sqlite_books):
    for password, says in (("", "Please give your password once more"), ("wrong", "This is not your password.")):
        page = approve(portal, FIONA, password)
        assert page.status_code == 422
        assert says in words_of(page)
        assert password == "" or password not in page.text.replace("This is not", "")
    assert batch(sqlite_books).state == "prepared"


def test_another_person_approves_and_the_file_is_ready(portal, prepared, sqlite_books):
    assert portal.get(f"{BATCH}/file", as_=FRANK).status_code == 403

    assert approve(portal, FIONA).status_code == 303
    assert (batch(sqlite_books).state, batch(sqlite_books).approved_by) == ("approved", FIONA.user_id)

    file = portal.get(f"{BATCH}/file", as_=FRANK)
    assert file.headers["content-disposition"] == 'attachment; filename="north-pb_1-EUR.csv"'
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(file.text)))
    assert rows[1][:7] == ["payout", "po_1_1", "anna", "Anna Blogger", "DE89370400440532013000", "20.00", "EUR"]
    assert rows[2][:3] == ["control", "pb_1", "1"]


def test_a_hash_of_another_content_is_a_conflict(portal, prepared, sqlite_books):
    page = approve(portal, FIONA, content_hash="0" * 64)

    assert page.status_code == 409
    assert "what you confirmed is not its content; read it again and approve what you see" in words_of(page)
    assert batch(sqlite_books).state == "prepared"


def test_a_batch_that_was_tampered_with_is_void_on_approval_and_says_so(portal, prepared, sqlite_books):
    with sqlite_books.writing() as connection:
        connection.execute(text("UPDATE payouts SET iban = 'DE02120300000000202051'"))
    page = approve(portal, FIONA)

    assert page.status_code == 409
    assert "its content was changed after it was prepared, so it was voided" in words_of(page)
    assert batch(sqlite_books).state == "void"


def test_settled_batches_move_the_money_and_stay(portal, prepared, sqlite_books):
    assert portal.post(f"{BATCH}/settle", {}, as_=FIONA).status_code == 409
    approve(portal, FIONA)
    assert portal.post(f"{BATCH}/settle", {}, as_=FRANK).status_code == 303

    with sqlite_books.reading() as connection:
        anna = next(one for one in balances_of_tenant(connection, NORTH) if one.affiliate_id == "anna")
    assert (anna.pending_minor, anna.approved_minor, anna.payable_minor, anna.paid_minor) == (10_00, 0, 0, 20_00)
    page = portal.post(f"{BATCH}/void", {}, as_=FRANK)
    assert page.status_code == 409
    assert "Cannot void batch pb_1: it is settled" in words_of(page)
    assert portal.get(f"{BATCH}/file", as_=FRANK).status_code == 200


def test_a_batch_that_is_given_up_frees_its_commissions(portal, prepared, sqlite_books):
    assert portal.post(f"{BATCH}/void", {}, as_=FRANK).status_code == 303
    page = portal.get(BATCH, as_=FRANK)

    assert "Given up by frank@north.example" in words_of(page)
    assert "/approve" not in page.text
    assert portal.get(f"{BATCH}/file", as_=FRANK).status_code == 403
    assert "Approved €30.00" in words_of(portal.get("/finance", as_=FRANK))


def test_an_approval_that_comes_too_late_is_a_conflict(portal, prepared, sqlite_books):
    content_hash = batch(sqlite_books).content_hash
    portal.post(f"{BATCH}/void", {}, as_=FRANK)
    page = approve(portal, FIONA, content_hash=content_hash)

    assert page.status_code == 409
    assert "Cannot approve batch pb_1: it is void (by frank@north.example)" in words_of(page)


def test_the_overview_and_the_list_say_whom_a_batch_waits_for(portal, prepared):
    assert "pb_1 , €20.00 to 1 affiliate, waits for approval by someone other than frank@north.example." in words_of(
        portal.get("/finance", as_=FIONA)
    )
    assert "pb_1 Prepared 1 €20.00 21 Nov 2026 frank@north.example – –" in words_of(portal.get("/finance/batches", as_=FIONA))
    approve(portal, FIONA)
    assert "pb_1 , €20.00 to 1 affiliate, is approved: pay it, then mark it settled." in words_of(portal.get("/finance", as_=FRANK))


# --- statements and the ledger ---------------------------------------------------------------------------------------


def test_a_statement_lists_every_commission_with_its_rule_and_sums_to_the_payout(portal, prepared):
    page = words_of(portal.get(f"{BATCH}/statements/anna", as_=FIONA))

    assert "Statement for Anna's Blog" in page
    assert "old-1 1 Sale 17 Oct 2026 Everything pays 10 % of the net price rate card version 1 €100.00 €10.00" in page
    assert "Payout €20.00" in page
    assert portal.get(f"{BATCH}/statements/ben", as_=FIONA).status_code == 404


def test_a_statement_as_csv_sums_to_the_payout(portal, prepared):
    file = portal.get(f"{BATCH}/statements/anna/csv", as_=FIONA)
    rows = list(csv.DictReader(io.StringIO(file.text)))

    assert file.headers["content-disposition"] == 'attachment; filename="north-pb_1-anna.csv"'
    assert [row["amount"] for row in rows] == ["10.00", "10.00", "20.00"]


def test_the_ledger_lists_entries_newest_first_with_their_hashes(portal, prepared, sqlite_books):
    page = portal.get("/finance/ledger", as_=FRANK)
    with sqlite_books.reading() as connection:
        newest = entries_before(connection, NORTH, None, 100)

    assert entry_numbers(page) == [entry.number for entry in newest] == list(range(len(newest), 0, -1))
    assert entry_numbers(portal.get("/finance/ledger?before=3", as_=FRANK)) == [2, 1]
    first = "21 Nov 2026, 12:00:01 2026-11 Batch prepared batch pb_1 prepared by frank@north.example"
    moved = "Approved · Anna's Blog -€20.00 In a payout · Anna's Blog €20.00"
    assert f"{first} {moved} {newest[0].hash[:12]}" in words_of(page)
    assert newest[0].hash in page.text


def entry_numbers(page):
    return [int(number) for number in re.findall(r'data-label="Entry" class="title">(\d+)<', page.text)]


def test_verify_says_that_everything_fits(portal, prepared):
    page = portal.post("/finance/ledger/verify", {}, as_=FRANK)

    assert page.status_code == 200
    assert "Everything fits Recomputed: " in words_of(page)
    assert "4 commissions, 1 batch." in words_of(page)


def test_verify_names_the_first_row_that_does_not_fit(portal, prepared, sqlite_books):
    with sqlite_books.writing() as connection:
        for trigger in (
            connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'postings'")).scalars().all()
        ):
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text("UPDATE postings SET amount_minor = amount_minor + 1 WHERE number = 2 AND position = 0"))
    page = words_of(portal.post("/finance/ledger/verify", {}, as_=FRANK))

    assert "Something does not fit." in page
    assert "entries 2 of north" in page


def test_a_name_with_markup_stays_text(portal, earned, sqlite_books):
    with sqlite_books.writing() as connection:
        anna = find(connection, Affiliate, "anna")
        put(connection, msgspec.structs.replace(anna, name="<b>Anna</b>"), "tests", NOON)

    assert "&lt;b&gt;Anna&lt;/b&gt;" in portal.get("/finance/balances", as_=FRANK).text
    assert "&lt;b&gt;Anna&lt;/b&gt;" in portal.get("/merchant/affiliates", as_=MARTHA).text
