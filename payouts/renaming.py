"""Books of earlier versions of the program: their accounts' sums move to the names of today, in one entry for each merchant.

Then ``held`` was what is ``pending`` now, ``payable`` what is ``approved``, ``batched`` what is ``payable``, and what was taken back
stood in ``expense``. Migration 0008 moves the states of commissions; nothing posted is changed, so the sums follow by an entry.
"""

from core.clock import Instant
from payouts.ledger import EXPENSE, FORMER_ACCOUNT, REVERSED, Draft, post
from store import ledger
from store.books import Books
from store.ledger import Posting

KEY = "accounts-renamed"


def rename_accounts(books: Books, now: Instant) -> list[str]:
    """Post what is still to be posted; returns the tenants whose accounts were renamed. Running it twice is the same as once."""
    with books.reading() as connection:
        tenants = ledger.tenants_to_rename(connection, KEY)
    for tenant_id in tenants:
        with books.writing() as connection:
            books.lock_tenant(connection, tenant_id)
            sums = ledger.sums_without_period(connection, tenant_id)
            taken_back = ledger.taken_back_without_period(connection, tenant_id)
            post(connection, Draft(tenant_id, "accounts_renamed", KEY, now, "accounts renamed", "", _postings(sums, taken_back)))
    return tenants


def _postings(sums: dict[tuple[str, str, str], int], taken_back: dict[tuple[str, str], int]) -> tuple[Posting, ...]:
    moved: dict[tuple[str, str, str], int] = {}
    for (affiliate_id, currency, account), amount in sums.items():
        to = {"held": "pending", "payable": "approved", FORMER_ACCOUNT: "payable"}.get(account)
        if to is not None:
            for name, sign in ((account, -1), (to, 1)):
                moved[affiliate_id, currency, name] = moved.get((affiliate_id, currency, name), 0) + sign * amount
    for (affiliate_id, currency), amount in taken_back.items():
        moved[affiliate_id, currency, EXPENSE] = -amount
        moved[affiliate_id, currency, REVERSED] = amount
    return tuple(Posting(name, who, currency, amount) for (who, currency, name), amount in sorted(moved.items()) if amount)
