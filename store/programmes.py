"""Every programme of the installation, for the page where affiliates look for one. Statements only."""

from sqlalchemy import Connection, select

from store.schema import programmes


def programme_keys(connection: Connection, most: int = 500) -> list[tuple[str, str]]:
    """``(tenant_id, programme_id)``, sorted; at most ``most`` of them."""
    keys = (programmes.c.tenant_id, programmes.c.programme_id)
    return [(row[0], row[1]) for row in connection.execute(select(*keys).order_by(*keys).limit(most))]
