"""New or returning: what the shop says, else what the tenant's own orders say. Pure."""

from core.events import CustomerStatus, Order


def customer_status(order: Order, ordered_before: bool) -> CustomerStatus:
    """The status as sent; else from history; empty where nothing was sent and the order has no customer keys.

    ``ordered_before``: an earlier order of the tenant, by ``(occurred_at, event_id)``, shares a customer key.
    """
    if order.customer_status or not order.customer_keys:
        return order.customer_status
    return "returning" if ordered_before else "new"
