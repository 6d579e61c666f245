"""Passwords: Argon2id, at most four at a time, and as slow for a stranger as for a user."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE = 4
"""Each hash takes 19 MiB and a core for about 40 ms; more at once would let sign-ins starve the site."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _HASHER.hash("the password of nobody")
_desks = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords")


def hash_password(password: str) -> str:
    """Argon2id in PHC form (OWASP: 19 MiB, two passes, one lane), with a fresh salt. Takes about 40 ms."""
    return _HASHER.hash(password)


def matches(password_hash: str, password: str) -> bool:
    """Whether the password belongs to the hash. An empty hash matches nothing, and takes as long as a real one."""
    try:
        return _HASHER.verify(password_hash or _NOBODY, password) and bool(password_hash)
    except (VerificationError, InvalidHashError):
        return False


async def check(password_hash: str, password: str) -> bool:
    """:func:`matches`, off the event loop, behind at most ``AT_ONCE`` others."""
    return await asyncio.get_running_loop().run_in_executor(_desks, matches, password_hash, password)


async def make(password: str) -> str:
    """:func:`hash_password`, off the event loop, behind at most ``AT_ONCE`` others."""
    return await asyncio.get_running_loop().run_in_executor(_desks, hash_password, password)
