"""Batches: claimed once, approved by a second person for the exact content, settled once, carried forward after."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import text

from core.catalogue import Affiliate
from core.clock import DAY, SECOND
from core.errors import BadInput, Conflict, FairshareError, NotAllowed, NotFound
from core.events import Line
from payouts.batches import approve, choose_left_out, content_hash, prepare, settle, void
from payouts.verify import verify
from store.batches import LeftOut, batch_sums, payouts_of_affiliate, read_batch, read_batches
from tests.people import NORTH, SOUTH

FRANK, FIONA = "frank@north.example", "fiona@north.example"


def sell_payable(world, order_id, affiliate_id, net=100_00, **fields):
    world.sell(order_id, affiliate_id, Line("1", net), at=world.clock() - 31 * DAY, **fields)


def prepared(world, **options):
    world.accrue()
    world.clock.advance(SECOND)
    return prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock(), **options)


def settled(world):
    batch = prepared(world)
    approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())
    return settle(world.books, NORTH, batch.batch_id, FIONA, world.clock())


def test_prepare_approve_settle(world):
    sell_payable(world, "A-1", "anna")
    sell_payable(world, "A-2", "ben", 50_00)

    batch = prepared(world)
    in_batch = world.balance("anna")
    approved = approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())
    done = settle(world.books, NORTH, batch.batch_id, FIONA, world.clock())

    assert [(payout.payout_id, payout.affiliate_id, payout.amount_minor, payout.iban) for payout in batch.payouts] == [
        ("po_1_1", "anna", 8_00, "DE89370400440532013000"),
        ("po_1_2", "ben", 4_00, "NL91ABNA0417164300"),
    ]
    assert (batch.batch_id, batch.state, batch.amount_minor) == ("pb_1", "prepared", 12_00)
    assert (in_batch.approved_minor, in_batch.payable_minor) == (0, 8_00)
    assert (approved.state, approved.approved_by, approved.approved_hash) == ("approved", FIONA, batch.content_hash)
    assert (done.state, done.settled_by) == ("settled", FIONA)
    assert (world.balance("anna").payable_minor, world.balance("anna").paid_minor) == (0, 8_00)
    assert [row.state for row in world.rows("A-1")] == ["paid"]
    assert verify(world.books).fault is None


def test_due_holds_are_released_before_the_batch_looks(world):
    world.sell("A-1", "anna")
    world.accrue()
    world.clock.advance(31 * DAY)

    assert prepared(world).amount_minor == 8_00


def test_the_cut_off_is_exclusive(sqlite_world):
    sell_payable(sqlite_world, "A-1", "anna")
    sqlite_world.accrue()
    cutoff = sqlite_world.clock()
    sell_payable(sqlite_world, "A-2", "ben")
    sqlite_world.clock.advance(1)
    sqlite_world.accrue()

    with pytest.raises(BadInput, match=r"nobody of north can be paid in EUR of what was posted before 2026-11-21T12:00:00\.000Z"):
        prepare(sqlite_world.books, NORTH, "EUR", cutoff, FRANK, sqlite_world.clock())
    assert prepare(sqlite_world.books, NORTH, "EUR", cutoff + 1, FRANK, sqlite_world.clock()).amount_minor == 8_00


def test_only_one_currency_and_one_tenant_at_a_time(world):
    sell_payable(world, "A-1", "anna")
    sell_payable(world, "A-2", "anna", currency="JPY")
    sell_payable(world, "A-3", "anna", tenant_id=SOUTH)
    eur = prepared(world)
    jpy = prepare(world.books, NORTH, "JPY", world.clock(), FRANK, world.clock())

    assert (eur.amount_minor, jpy.amount_minor, jpy.batch_id) == (8_00, 8_00, "pb_2")
    assert world.balance("anna", SOUTH).approved_minor == 8_00


def test_a_currency_that_is_none_is_refused(sqlite_world):
    with pytest.raises(BadInput, match="ISO 4217"):
        prepare(sqlite_world.books, NORTH, "XYZ", sqlite_world.clock(), FRANK, sqlite_world.clock())


def test_who_has_no_bank_account_is_left_out_and_listed(sqlite_world):
    sell_payable(sqlite_world, "A-1", "anna")
    sell_payable(sqlite_world, "A-2", "charlie")
    batch = prepared(sqlite_world)

    assert batch.left_out == (LeftOut("charlie", 8_00, "no_bank_details"),)
    assert sqlite_world.balance("charlie").approved_minor == 8_00
    sqlite_world.put(Affiliate("charlie", "Charlie", "charlie@app.example", account_holder="Charlie", iban="DE89370400440532013000"))
    assert [payout.affiliate_id for payout in prepared(sqlite_world).payouts] == ["charlie"]


def test_nobody_to_pay_names_who_was_left_out_and_claims_nothing(sqlite_world):
    sell_payable(sqlite_world, "A-1", "charlie")

    with pytest.raises(BadInput, match=r"left out: charlie \(no_bank_details\); nothing was prepared"):
        prepared(sqlite_world)
    assert sqlite_world.balance("charlie").approved_minor == 8_00


def test_a_balance_below_the_minimum_waits(sqlite_world):
    sell_payable(sqlite_world, "A-1", "anna")
    sell_payable(sqlite_world, "A-2", "ben", 50_00)
    batch = prepared(sqlite_world, minimum_minor=4_01)

    assert batch.left_out == (LeftOut("ben", 4_00, "below_minimum"),)


def test_the_reasons_to_leave_somebody_out():
    accounts = {"anna": ("Anna", "DE1"), "ben": ("", "DE2"), "dora": ("Dora", "")}
    sums = [("anna", 10), ("ben", 10), ("charlie", -1), ("dora", 10), ("emil", 0), ("fay", 9)]

    assert [(one.affiliate_id, one.why) for one in choose_left_out(sums, accounts, 10)] == [
        ("ben", "no_bank_details"),
        ("charlie", "negative"),
        ("dora", "no_bank_details"),
        ("fay", "below_minimum"),
    ]


# --- four eyes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [FRANK, "Frank@North.Example", f" {FRANK} "])
def test_the_preparer_may_not_approve(sqlite_world, by):
    sell_payable(sqlite_world, "A-1", "anna")
    batch = prepared(sqlite_world)

    with pytest.raises(NotAllowed) as refused:
        approve(sqlite_world.books, NORTH, batch.batch_id, by, batch.content_hash, sqlite_world.clock())
    assert str(refused.value) == (
        "cannot approve batch pb_1: frank@north.example prepared it, and the preparer may not approve; ask another finance user"
    )


def test_the_database_refuses_the_preparers_approval_too(world):
    sell_payable(world, "A-1", "anna")
    prepared(world)

    for values in (
        f"approved_by = '{FRANK}'",
        f"state = 'approved', approved_by = '{FRANK}', approved_hash = content_hash",
        "state = 'approved'",
    ):
        with pytest.raises(Exception, match=r"(?i)check constraint|four_eyes"), world.books.writing() as connection:
            connection.execute(text(f"UPDATE batches SET {values}"))


def test_an_approval_is_for_the_content_that_was_read(world):
    sell_payable(world, "A-1", "anna")
    batch = prepared(world)

    with pytest.raises(Conflict, match="what you confirmed is not its content; read it again and approve what you see"):
        approve(world.books, NORTH, batch.batch_id, FIONA, "0" * 64, world.clock())
    approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE payouts SET iban = 'NL91ABNA0417164300'",
        "UPDATE payouts SET amount_minor = 900",
        "UPDATE payout_lines SET amount_minor = 900",
        "UPDATE batches SET cutoff_at = 1",
    ],
)
def test_a_content_that_was_changed_voids_the_batch(world, tampering):
    sell_payable(world, "A-1", "anna")
    batch = prepared(world)
    with world.books.writing() as connection:
        connection.execute(text(tampering))

    with pytest.raises(Conflict, match="its content was changed after it was prepared, so it was voided; prepare it again"):
        approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())
    assert world.balance("anna").approved_minor == 8_00
    assert prepared(world).amount_minor == 8_00


def test_a_content_that_was_changed_after_approval_is_not_settled(world):
    sell_payable(world, "A-1", "anna")
    batch = prepared(world)
    approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())
    with world.books.writing() as connection:
        connection.execute(text("UPDATE payouts SET iban = 'NL91ABNA0417164300'"))

    with pytest.raises(Conflict, match=f"its content is not what {FIONA} approved"):
        settle(world.books, NORTH, batch.batch_id, FIONA, world.clock())
    assert world.balance("anna").payable_minor == 8_00


# --- steps out of turn -----------------------------------------------------------------------------------------------


def test_steps_out_of_turn_are_refused(world):
    sell_payable(world, "A-1", "anna")
    batch = prepared(world)
    act = {
        "approve": lambda: approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock()),
        "settle": lambda: settle(world.books, NORTH, batch.batch_id, FIONA, world.clock()),
        "void": lambda: void(world.books, NORTH, batch.batch_id, FIONA, world.clock()),
    }

    with pytest.raises(Conflict, match="cannot settle batch pb_1: it is prepared; only a batch that is approved can be"):
        act["settle"]()
    act["approve"]()
    with pytest.raises(Conflict, match=rf"cannot approve batch pb_1: it is approved \(by {FIONA}\)"):
        act["approve"]()
    act["settle"]()
    for step in act.values():
        with pytest.raises(Conflict, match=rf"it is settled \(by {FIONA}\)"):
            step()


def test_a_foreign_batch_does_not_exist(world):
    sell_payable(world, "A-1", "anna")
    batch = prepared(world)

    with pytest.raises(NotFound, match="there is no batch pb_1"):
        approve(world.books, SOUTH, batch.batch_id, "someone@south.example", batch.content_hash, world.clock())
    with world.books.reading() as connection:
        assert read_batch(connection, SOUTH, batch.batch_id) is None


@pytest.mark.parametrize("approved", [False, True])
def test_a_void_batch_frees_its_commissions_for_the_next(world, approved):
    sell_payable(world, "A-1", "anna")
    batch = prepared(world)
    if approved:
        approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())

    gone = void(world.books, NORTH, batch.batch_id, FIONA, world.clock())

    assert (gone.state, gone.voided_by, [line.live for payout in gone.payouts for line in payout.lines]) == ("void", FIONA, [False])
    assert (world.balance("anna").approved_minor, world.balance("anna").payable_minor) == (8_00, 0)
    again = prepared(world)
    assert (again.batch_id, again.amount_minor) == ("pb_2", 8_00)
    assert again.content_hash != batch.content_hash
    assert verify(world.books).fault is None


# --- refunds around a payout -----------------------------------------------------------------------------------------


def test_a_refund_after_the_payout_is_carried_forward_and_lowers_the_next(world):
    sell_payable(world, "A-1", "anna")
    settled(world)
    world.refund("A-1", net_minor=75_00)
    world.clock.advance(SECOND)
    world.accrue()
    carried = world.balance("anna")
    sell_payable(world, "A-2", "ben")
    without = prepared(world)
    sell_payable(world, "A-3", "anna", 200_00)
    netted = prepared(world)

    assert (carried.approved_minor, carried.paid_minor) == (-6_00, 8_00)
    assert without.left_out == (LeftOut("anna", -6_00, "negative"),)
    assert [(payout.affiliate_id, payout.amount_minor) for payout in without.payouts] == [("ben", 8_00)]
    assert [(payout.affiliate_id, payout.amount_minor, len(payout.lines)) for payout in netted.payouts] == [("anna", 10_00, 2)]
    assert [row.state for row in world.rows("A-1")] == ["paid", "payable"]
    assert verify(world.books).fault is None


def test_a_refund_while_the_batch_waits_for_approval_leaves_the_batch_as_it_is(world):
    sell_payable(world, "A-1", "anna")
    batch = prepared(world)
    world.refund("A-1")
    world.accrue()

    approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())
    settle(world.books, NORTH, batch.batch_id, FIONA, world.clock())

    assert (world.balance("anna").paid_minor, world.balance("anna").approved_minor) == (8_00, -8_00)


# --- two people at once ----------------------------------------------------------------------------------------------


def race(*works: Callable[[], object]) -> list[object]:
    """Run at the same moment; what each returned or refused."""
    barrier, outcomes = threading.Barrier(len(works)), []

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            outcomes.append(work())
        except FairshareError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == len(works), "nothing but the errors a person may see"
    return outcomes


def winners(outcomes: list[object]) -> int:
    return sum(not isinstance(outcome, FairshareError) for outcome in outcomes)


def test_two_finance_users_prepare_at_once_and_one_succeeds(world):
    for number in range(20):
        sell_payable(world, f"A-{number}", "anna")
    world.accrue()
    world.clock.advance(SECOND)
    now = world.clock()

    outcomes = race(*(lambda by=by: prepare(world.books, NORTH, "EUR", now, by, now) for by in (FRANK, FIONA, "felix@north.example")))

    assert winners(outcomes) == 1
    with world.books.reading() as connection:
        assert batch_sums(connection, NORTH) == {"pb_1": (1, 160_00)}
    assert verify(world.books).fault is None


def test_two_finance_users_approve_at_once_and_one_succeeds(world):
    sell_payable(world, "A-1", "anna")
    batch, now = prepared(world), world.clock()

    outcomes = race(
        *(lambda by=by: approve(world.books, NORTH, batch.batch_id, by, batch.content_hash, now) for by in (FIONA, "felix@north.example"))
    )

    assert winners(outcomes) == 1


def test_settle_and_void_at_once_and_one_succeeds(world):
    sell_payable(world, "A-1", "anna")
    batch, now = prepared(world), world.clock()
    approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, now)

    outcomes = race(
        lambda: settle(world.books, NORTH, batch.batch_id, FIONA, now),
        lambda: void(world.books, NORTH, batch.batch_id, FRANK, now),
        lambda: settle(world.books, NORTH, batch.batch_id, FRANK, now),
    )

    assert winners(outcomes) == 1
    assert verify(world.books).fault is None


# --- reading ---------------------------------------------------------------------------------------------------------


def test_what_was_prepared_is_what_is_read(world):
    sell_payable(world, "A-1", "anna")
    sell_payable(world, "A-2", "charlie")
    batch = prepared(world)

    with world.books.reading() as connection:
        read = read_batch(connection, NORTH, batch.batch_id)
        [listed] = read_batches(connection, NORTH)
        [payout] = payouts_of_affiliate(connection, "anna", NORTH)
        assert payouts_of_affiliate(connection, "anna", SOUTH) == []
    assert read == batch
    assert content_hash(read) == batch.content_hash
    assert (listed.batch_id, listed.left_out, listed.payouts) == ("pb_1", batch.left_out, ())
    assert (payout.payout_id, payout.amount_minor, payout.state) == ("po_1_1", 8_00, "prepared")
