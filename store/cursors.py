"""Where each poller of the events store stands: the highest ``stored_at`` it has worked through. Kept in the books.

A poller moves its cursor in the transaction of the work itself, and re-reads a little before the cursor, so that its
work must be idempotent and nothing is skipped.
"""

from contextlib import suppress

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.clock import Instant
from store.schema import cursors

REREAD_MS = 10_000
"""Rows may become visible this much later than their ``stored_at`` says: pollers read from ``position - REREAD_MS``."""


def read_cursor(connection: Connection, name: str) -> int:
    """The position in milliseconds, 0 for a poller that never ran."""
    position = connection.scalar(select(cursors.c.position).where(cursors.c.name == name))
    return 0 if position is None else int(position)


def move_cursor(connection: Connection, name: str, position: int, at: Instant) -> None:
    """Set the position, at ``at``. A cursor never goes back: a lower position than the stored one leaves it alone."""
    values = {"position": position, "moved_at": at}
    if connection.scalar(select(cursors.c.name).where(cursors.c.name == name)) is None:
        with suppress(IntegrityError), connection.begin_nested():  # another process may be first, too
            connection.execute(insert(cursors).values(name=name, **values))
            return
    connection.execute(update(cursors).where(cursors.c.name == name, cursors.c.position <= position).values(**values))
