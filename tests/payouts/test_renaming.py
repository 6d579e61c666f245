"""Books of the version before, made by that version's own code: they are migrated, their accounts renamed, and every hash still fits."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from core.clock import DAY
from payouts.balances import balances_of_tenant
from payouts.batches import approve, settle
from payouts.renaming import rename_accounts
from payouts.verify import verify
from store.batches import read_batch
from store.books import open_books
from store.ledger import read_entries
from store.migrate import FOLDER, migrate_books
from tests.people import NORTH, SOUTH
from tests.servers import postgres_database

FORMER = Path(__file__).parent.parent / "golden" / "payouts" / "books_0006.json"
"""A settled, a void and a prepared batch; refunds before and after them; written by the last version whose books were at 0006."""


@pytest.fixture(params=["sqlite", "postgresql"])
def former(request, tmp_path):
    """The books as they were left."""
    if request.param == "sqlite":
        yield from filled(f"sqlite:///{tmp_path}/books.sqlite")
        return
    with postgres_database(request.getfixturevalue("postgres"), f"former_{tmp_path.name[-20:]}") as url:
        yield from filled(url)


def filled(url):
    script = ScriptDirectory(FOLDER, version_locations=[FOLDER / "books"])
    steps = EnvironmentContext(Config(), script, fn=lambda found, _: script._upgrade_revs("0006", found))
    with closing(open_books(url)) as books:
        with books.writing() as connection, steps as environment:
            environment.configure(connection=connection)
            environment.run_migrations()
        with books.writing() as connection:
            for table, rows in json.loads(FORMER.read_text()).items():
                for row in rows:
                    values = row if books.is_sqlite else {name: bool(v) if name in FLAGS else v for name, v in row.items()}
                    columns = ", ".join(f'"{name}"' for name in row)
                    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(f':{name}' for name in row)})"), values)
        migrate_books(url)
        yield books


FLAGS = ("live", "software", "disabled", "exclusive")


def test_every_sum_gets_its_name_of_today_and_everything_verifies(former, clock):
    assert rename_accounts(former, clock()) == [NORTH, SOUTH]

    report = verify(former)
    assert report.fault is None
    with former.reading() as connection:
        anna, ben = balances_of_tenant(connection, NORTH)
        entries = list(read_entries(connection, NORTH))
        commissions = connection.execute(text("SELECT SUM(amount_minor) FROM commissions WHERE amount_minor < 0 AND tenant_id = 'north'"))
        taken_back = commissions.scalar()
    assert (anna.pending_minor, anna.approved_minor, anna.payable_minor, anna.paid_minor, anna.reversed_minor) == (
        0,
        -8_00,
        8_00,
        15_20,
        8_80,
    )
    assert (ben.pending_minor, ben.approved_minor, ben.payable_minor, ben.paid_minor, ben.reversed_minor) == (6_00, 8_00, 0, 8_00, 2_00)
    assert anna.reversed_minor + ben.reversed_minor == -taken_back
    assert [entry.period for entry in entries] == [""] * (len(entries) - 1) + ["2026-11"]
    assert (entries[-1].kind, entries[-1].idempotency_key) == ("accounts_renamed", "accounts-renamed")


def test_once_is_enough_and_new_entries_ask_for_nothing(former, clock):
    rename_accounts(former, clock())

    assert rename_accounts(former, clock()) == []


def test_what_a_new_program_posted_meanwhile_is_not_renamed_again(former, clock):
    """A program that had started between the migration and the renaming speaks the names of today already."""
    from payouts.ledger import Draft, post, transfer

    with former.writing() as connection:
        former.lock_tenant(connection, NORTH)
        post(connection, Draft(NORTH, "release", "k", clock(), postings=transfer("ben", "EUR", 6_00, "approved", "payable")))
    rename_accounts(former, clock())

    with former.reading() as connection:
        _, ben = balances_of_tenant(connection, NORTH)
    assert (ben.pending_minor, ben.approved_minor, ben.payable_minor) == (6_00, 2_00, 6_00)


def test_the_batch_that_waited_goes_on(former, clock):
    rename_accounts(former, clock())
    with former.reading() as connection:
        batch = read_batch(connection, NORTH, "pb_3")
    approve(former, NORTH, "pb_3", "fiona@north.example", batch.content_hash, clock() + DAY)
    settle(former, NORTH, "pb_3", "fiona@north.example", clock() + DAY)

    with former.reading() as connection:
        anna, _ = balances_of_tenant(connection, NORTH)
    assert (anna.payable_minor, anna.paid_minor) == (0, 23_20)
    assert verify(former).fault is None
