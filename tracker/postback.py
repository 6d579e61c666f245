"""Conversions as query strings and forms: the postbacks and pixels of the trade, put into the shape of the typed JSON.

One sale, sent as a postback, a pixel or JSON with one line, is thus read by the same rules and hashed to the same content.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import BadInput
from tracker.conversion import Arrival, Conversion, Refused
from tracker.customer import ATTRIBUTES
from tracker.hit import Pair
from tracker.links import TenantEntry
from tracker.orders import read_lead, read_order

_SENDER_IDS = ("txid", "tid", "transaction_id", "transactionid", "external_id")
ALIASES: dict[str, tuple[str, ...]] = {
    "order_id": ("orderid", "order", *_SENDER_IDS),
    "lead_id": ("leadid", *_SENDER_IDS),
    "amount": ("sale_amount", "total"),
    "currency": ("cur", "currency_code"),
    "click_id": ("clickid", "cid", "aff_click_id"),
    "coupon": ("coupon_code", "voucher", "promo_code", "coupons"),
    "name": ("event", "event_name", "et", "event_type"),
    "occurred_at": ("event_time",),
    "store": ("store_id",),
    "consent": ("cons",),
    "customer_id": ("user_id",),
}
"""Our name of a parameter, and the names that other systems' templates use for it. The tenant's click parameter is one too."""

_CUSTOMER = {
    "customer_id": "id",
    "email": "email",
    "email_sha256": "email_sha256",
    "phone": "phone",
    "phone_sha256": "phone_sha256",
    "loyalty_id": "loyalty_id",
    "device": "device",
    "card_token": "card_token",
    "customer_status": "status",
}
_ITEM = {"item_sku": "sku", "item_name": "name", "item_category": "category", "item_brand": "brand", "item_kind": "kind"}
"""What a sale says of its one line: names that no template uses for the sale itself."""
_SALE_NAMES = {"lines[0].net": "amount", "lines[0].unit_price": "amount", "lines": "amount", "coupons": "coupon"}
_SALE_NAMES |= {f"lines[0].{field}": name for name, field in _ITEM.items()}
_TRUE = ("1", "true", "yes")
_CONSENT = {"1": "granted", "granted": "granted", "0": "denied", "denied": "denied"}
"""Other words are taken for unknown, as a link's are: consent strings of other systems stand under the same name."""


def read_sale(pairs: tuple[Pair, ...], tenant: TenantEntry, arrival: Arrival) -> Conversion:
    """An order of one line from query or form parameters; the currency is the tenant's where none is given.

    Raises:
        Refused: with every fault found, under the parameters' names.
    """
    given = parameters(pairs, tenant)
    content = _common(given)
    content["order_id"] = given.get("order_id", "")
    content["currency"] = given.get("currency") or tenant.currency
    content["lines"] = [
        {"line_id": "1", "net": given.get("amount")} | {field: given[name] for name, field in _ITEM.items() if name in given}
    ]
    if given.get("coupon"):
        content["coupons"] = given["coupon"].split(",")
    content |= {name: given[name] for name in ("store", *ATTRIBUTES) if given.get(name)}
    if arrival.source == "postback" and given.get("affiliate_id"):  # anyone can load a pixel
        content["affiliate_id"] = given["affiliate_id"]
    if given.get("test", "").lower() in _TRUE:
        content["test"] = True
    try:
        return read_order(content, arrival)
    except Refused as refused:
        raise Refused([_renamed(fault, _SALE_NAMES) for fault in refused.faults]) from None


def read_lead_parameters(pairs: tuple[Pair, ...], tenant: TenantEntry, arrival: Arrival) -> Conversion:
    """A lead from query or form parameters.

    Raises:
        Refused: with every fault found, under the parameters' names.
    """
    given = parameters(pairs, tenant)
    content = _common(given)
    content["lead_id"] = given.get("lead_id", "")
    if given.get("name"):
        content["name"] = given["name"]
    content.get("customer", {}).pop("status", None)
    try:
        return read_lead(content, arrival)
    except Refused as refused:
        raise Refused([_renamed(fault, {}) for fault in refused.faults]) from None


def parameters(pairs: tuple[Pair, ...], tenant: TenantEntry) -> dict[str, str]:
    """The parameters under our names: our own name wins over an alias, the first value over later ones.

    Parameters that mean nothing to us are left out without a word: templates of other systems carry dozens.
    """
    raw: dict[str, str] = {}
    for name, value, _ in pairs:
        if value.strip():
            raw.setdefault(name.lower(), value.strip())
    if own_click := raw.get(tenant.click_parameter.lower()):
        raw.setdefault("click_id", own_click)
    given = dict(raw)
    for name, aliases in ALIASES.items():
        found = next((raw[alias] for alias in (name, *aliases) if alias in raw), None)
        if found is not None:
            given[name] = found
    return given


def _common(given: Mapping[str, str]) -> dict[str, Any]:
    content: dict[str, Any] = {name: given[name] for name in ("click_id", "visitor_id", "occurred_at", "channel") if given.get(name)}
    if consent := _CONSENT.get(given.get("consent", "").lower()):
        content["consent"] = consent
    customer = {field: given[name] for name, field in _CUSTOMER.items() if given.get(name)}
    if customer:
        content["customer"] = customer
    return content


def _renamed(fault: BadInput, names: Mapping[str, str]) -> BadInput:
    """A fault under the name of the parameter that the sender knows."""
    field = names.get(fault.field, fault.field)
    if field.startswith("customer."):
        field = next(name for name, inner in _CUSTOMER.items() if field == f"customer.{inner}")
    return BadInput(fault.code, str(fault).replace(fault.field, field) if fault.field else str(fault), field)
