"""People who sign in, from the command line: ``fairshare user add``."""

from core.catalogue import Affiliate, Tenant, User
from core.clock import Instant
from core.errors import BadInput
from core.scope import ROLES
from portal.passwords import hash_password
from store.books import Books
from store.catalogue import find, put

SHORTEST_PASSWORD = 10


def save_user(books: Books, user: User, password: str, at: Instant) -> None:
    """Add a user, or change one and give it a new password. ``user.password_hash`` is ignored.

    Raises:
        BadInput: an unknown role, a password that is too short, or a tenant or affiliate that does not exist or does not fit the role.
    """
    if user.role not in ROLES:
        raise BadInput("malformed", f"role {user.role!r} is not one of {', '.join(ROLES)}", "role")
    if len(password) < SHORTEST_PASSWORD:
        raise BadInput("malformed", f"the password has {len(password)} characters; it needs at least {SHORTEST_PASSWORD}", "password")
    if (user.role == "affiliate") != bool(user.affiliate_id) or (user.role == "affiliate") == bool(user.tenant_id):
        raise BadInput(
            "malformed", f"role {user.role} needs {'--affiliate' if user.role == 'affiliate' else '--tenant'}, and only that", "role"
        )
    with books.writing() as connection:
        known = find(connection, Affiliate, user.affiliate_id) if user.affiliate_id else find(connection, Tenant, user.tenant_id)
        if known is None:
            raise BadInput(
                "malformed", f"there is no {'affiliate' if user.affiliate_id else 'tenant'} {user.affiliate_id or user.tenant_id}"
            )
        hashed = User(user.email.strip().lower(), user.name, user.role, hash_password(password), user.tenant_id, user.affiliate_id)
        put(connection, hashed, "command line", at)
