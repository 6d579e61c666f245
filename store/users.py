"""Users: the people who sign in."""

from sqlalchemy import Connection, select, update

from core.catalogue import User
from store.schema import users


def find_user(connection: Connection, email: str) -> User | None:
    """The user of an e-mail address, disabled or not. Addresses are compared in lower case."""
    row = connection.execute(select(users).where(users.c.email == email.strip().lower())).mappings().one_or_none()
    return User(**row) if row else None


def set_password(connection: Connection, email: str, password_hash: str) -> None:
    """Replace a user's password hash. Ending the user's other sessions is the caller's next line."""
    connection.execute(update(users).where(users.c.email == email).values(password_hash=password_hash))
