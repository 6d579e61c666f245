"""Sessions: who is signed in. Only a hash of the token is kept, so that a copy of the books signs nobody in."""

import msgspec
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from core.catalogue import User
from core.clock import Instant
from store.schema import affiliates, sessions, tenants, users


class Found(msgspec.Struct, frozen=True):
    """A live session: its user, when it was last used, and the name of the user's shop or affiliate account."""

    user: User
    seen_at: Instant
    home: str


def open_session(connection: Connection, token_hash: str, email: str, at: Instant) -> None:
    """Begin a session at ``at``."""
    connection.execute(insert(sessions).values(token_hash=token_hash, email=email, created_at=at, seen_at=at))


def find_session(connection: Connection, token_hash: str, created_after: Instant, seen_after: Instant) -> Found | None:
    """A live session; None if unknown, begun or last seen at or before the given bounds, or if its user is disabled."""
    statement = (
        select(users, sessions.c.seen_at, func.coalesce(tenants.c.name, affiliates.c.name, "").label("home"))
        .select_from(sessions)
        .join(users, users.c.email == sessions.c.email)
        .outerjoin(tenants, tenants.c.tenant_id == users.c.tenant_id)
        .outerjoin(affiliates, affiliates.c.affiliate_id == users.c.affiliate_id)
        .where(
            and_(
                sessions.c.token_hash == token_hash,
                sessions.c.created_at > created_after,
                sessions.c.seen_at > seen_after,
                users.c.disabled.is_(False),
            )
        )
    )
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        return None
    return Found(User(**{column.name: row[column] for column in users.c}), row[sessions.c.seen_at], row["home"])


def mark_seen(connection: Connection, token_hash: str, at: Instant) -> None:
    """The session was used at ``at``: its idle time begins again."""
    connection.execute(update(sessions).where(sessions.c.token_hash == token_hash).values(seen_at=at))


def end_session(connection: Connection, token_hash: str) -> None:
    """Sign out: the token is worth nothing from here on."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


def end_sessions_of(connection: Connection, email: str, but: str = "") -> None:
    """Sign a user out everywhere; ``but`` is the token hash of the one session that goes on."""
    connection.execute(delete(sessions).where(and_(sessions.c.email == email, sessions.c.token_hash != but)))


def sweep_sessions(connection: Connection, created_before: Instant) -> int:
    """Forget sessions that began before ``created_before``; returns how many."""
    return connection.execute(delete(sessions).where(sessions.c.created_at < created_before)).rowcount
