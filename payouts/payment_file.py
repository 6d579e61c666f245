"""The payment file of an approved batch: CSV with control totals. Pure and deterministic."""

from core.errors import NotAllowed
from core.money import format_amount
from payouts.cells import csv_bytes
from store.batches import Batch

HEADER = ("record", "payout_id", "affiliate_id", "account_holder", "iban", "amount", "currency", "reference")


def payment_file(batch: Batch) -> bytes:
    """One ``payout`` record per affiliate, then one ``control`` record: number of payouts, sum, and the approved hash.

    Raises:
        NotAllowed: the batch is not approved; nothing may leave the house before.
    """
    if batch.state not in ("approved", "settled"):
        raise NotAllowed(
            f"there is no payment file for batch {batch.batch_id}: it is {batch.state}; a second finance user must approve it first"
        )
    rows = [
        (
            "payout",
            payout.payout_id,
            payout.affiliate_id,
            payout.account_holder,
            payout.iban,
            format_amount(payout.amount_minor, payout.currency),
            payout.currency,
            f"{batch.tenant_id} {batch.batch_id} {payout.payout_id}",
        )
        for payout in batch.payouts
    ]
    total = format_amount(batch.amount_minor, batch.currency)
    control = ("control", batch.batch_id, len(rows), "", "", total, batch.currency, batch.content_hash)
    return csv_bytes([HEADER, *rows, control])


def file_name(batch: Batch) -> str:
    """``north-pb_7-EUR.csv``."""
    return f"{batch.tenant_id}-{batch.batch_id}-{batch.currency}.csv"
