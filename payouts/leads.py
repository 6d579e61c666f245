"""A lead as it is paid: an order under the lead's name, with one line of no worth that its rule's fixed amount is for. Reads only."""

from collections.abc import Iterable

from core.events import Line, Order
from core.leads import asked_by, name_of
from store.events import EventsStore, read_query

LEADS_BY_ID = read_query(__file__, "leads_by_id")
LINE = "lead"
"""The id of a lead's one line."""


def read_leads(events: EventsStore, tenant_id: str, names: Iterable[str], currency: str) -> list[tuple[Order, str]]:
    """The leads on record among these names, each with its country; nothing is asked where none of them is a lead's.

    ``currency`` is the tenant's, in which rules pay. The line is named as the lead is: a rule may ask for that.
    """
    lead_ids, digests = asked_by(names)
    if not lead_ids and not digests:
        return []
    rows = events.select(LEADS_BY_ID, tenant_id=tenant_id, lead_ids=lead_ids, digests=digests)
    return [
        (
            Order(
                event_id,
                tenant_id,
                name_of(lead_id),
                currency,
                occurred_at,
                received_at,
                (Line(LINE, 0, name=name),),
                channel=channel,
            ),
            country,
        )
        for lead_id, event_id, name, channel, country, occurred_at, received_at in rows
    ]
