"""Who is asking: every query and every page takes one of these, so that nothing is read without a tenant."""

from typing import Literal

import msgspec

Role = Literal["affiliate", "merchant", "finance", "analyst"]
ROLES: tuple[Role, ...] = ("affiliate", "merchant", "finance", "analyst")


class Scope(msgspec.Struct, frozen=True):
    """A signed-in person. Staff have one ``tenant_id``; an affiliate has ``affiliate_id`` and the tenants it joined."""

    user_id: str
    role: Role
    tenant_id: str = ""
    affiliate_id: str = ""
