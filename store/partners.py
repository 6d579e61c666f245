"""What orders ask of the catalogue when they are priced, for many orders at once: members, codes, stores. Statements only."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from core.catalogue import Membership
from store.schema import coupons, memberships, stores

_MEMBER = [memberships.c[name] for name in Membership.__struct_fields__]


def members(connection: Connection, tenant_id: str, affiliate_ids: Iterable[str]) -> list[Membership]:
    """The memberships of these affiliates in a tenant's programmes."""
    mine = (memberships.c.tenant_id == tenant_id) & memberships.c.affiliate_id.in_(sorted(affiliate_ids))
    return [Membership(*row) for row in connection.execute(select(*_MEMBER).where(mine))]


def classes_of_codes(connection: Connection, tenant_id: str, codes: Iterable[str]) -> dict[str, str]:
    """Code (upper case) -> its class; codes that have none, or are not the tenant's, are left out."""
    mine = (coupons.c.tenant_id == tenant_id) & coupons.c.code.in_(sorted(codes)) & (coupons.c.coupon_class != "")
    return {row[0]: row[1] for row in connection.execute(select(coupons.c.code, coupons.c.coupon_class).where(mine))}


def segments_of_stores(connection: Connection, tenant_id: str) -> dict[str, str]:
    """Store -> its segment, of stores that are in one."""
    mine = (stores.c.tenant_id == tenant_id) & (stores.c.segment != "")
    return {row[0]: row[1] for row in connection.execute(select(stores.c.store_id, stores.c.segment).where(mine))}
