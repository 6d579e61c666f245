"""Money, times, shares and terms as people read them. English; times in UTC.

Everything here takes exact values and returns text; nothing on a page is rounded before it arrives here.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction

from babel.numbers import format_decimal, get_currency_symbol
from markupsafe import Markup, escape

from core.clock import Instant, as_datetime, format_instant
from core.leads import is_lead, spoken
from core.money import exponent

LOCALE = "en"
NOTHING = "–"

LABELS = {
    # what became of an order
    "pending": "Being decided",
    "decided": "Decided",
    "credited": "Credited",
    "no_touch": "No touch found",
    "no_identity": "Nothing to join on",
    "outside_window": "Outside the window",
    "before_click": "Placed before the click",
    "unknown_click_id": "Unknown click id",
    "affiliate_not_active": "Affiliate not active",
    "program_not_active": "No policy in force",
    "invalid_touch": "Only invalid touches",
    "test_event": "Test order",
    "split": "Shared",
    "consent_denied": "No consent",
    "self_referral": "Self-referral",
    "exclusive_code": "Another's exclusive code",
    "lost_to_paid_channel": "Lost to a paid channel",
    "stand_down": "Had to stand down",
    "manual_override": "Decided by hand",
    # what became of a touch
    "winner": "Winner",
    "assist": "Assist",
    "older": "Older touch",
    "newer": "Later touch",
    "lower_class": "Weaker class",
    "view_superseded_by_click": "A click beats a view",
    "lost_to_coupon": "Lost to a coupon",
    "lost_to_click": "Lost to a click",
    "late_hijack": "Too close to the order",
    "paid_visit": "Other marketing",
    "customer_bound": "Customer is bound",
    "wrong_tenant": "Not shared in the coalition",
    "no_consent": "No consent",
    "overridden": "Overridden",
    "introducer": "Introducer",
    "influencer": "Influencer",
    "closer": "Closer",
    "same_email": "the customer has the affiliate's e-mail address",
    "same_phone": "the customer has the affiliate's phone number",
    "after_order": "After the order",
    "wrong_program": "Other programme",
    "bot": "Does not count",
    "class_excluded": "Class not credited",
    "coupon_not_valid": "Coupon not valid",
    # batches, memberships, kinds of commissions, adjustments
    "paid": "Paid",
    "prepared": "Prepared",
    "approved": "Approved",
    "settled": "Settled",
    "void": "Void",
    "applied": "Waiting for approval",
    "suspended": "Suspended",
    "sale": "Sale",
    "refund": "Refund",
    "redecision": "New decision",
    "rejection": "Rejected",
    "adjustment": "Adjustment",
    "proposed": "Waits for approval",
    "booked": "Booked",
    "rejected": "Rejected",
    # why a line earns nothing
    "no_rule": "No rule pays this line",
    "excluded_item": "This item earns nothing",
    "excluded_category": "This category earns nothing",
    "returning_customer": "Only new customers are paid for",
    "other_segment": "Orders of this segment are not paid for",
    "zero_base": "Nothing to pay on",
    "refunded": "Refunded",
    "currency_not_supported": "Not in the rate card's currency",
    "unattributed": "Nobody earned the order",
    "fraud_rejected": "Rejected by the merchant",
    "test": "Test order",
    # what a hit was
    "human": "Person",
    "prefetch": "Prefetch",
    "preview": "Link preview",
    "declared_bot": "Declared bot",
    "invalid_ua": "No real browser",
    "head": "HEAD request",
    "hidden_frame": "Hidden frame",
    "orphan": "Unknown link",
    "disabled": "Switched-off link",
    "capped": "Beyond a click cap",
    "rate_limited": "Too many clicks a minute",
    "duplicate": "Duplicate",
    # channels and devices
    "web": "Web shop",
    "app": "App",
    "pos": "Store till",
    "call": "Call centre",
    "email": "E-mail",
    "marketplace": "Marketplace",
    "desktop": "Desktop",
    "mobile": "Phone",
    "tablet": "Tablet",
    # customers and touches
    "new": "New customer",
    "returning": "Returning customer",
    "lapsed": "Lapsed customer",
    "click": "Click",
    "impression": "Impression",
    "coupon": "Coupon",
    "direct": "Direct visit",
    "agent": "assistant's checkout",
    "binding": "an earlier order",
    "clickless": "named by the shop",
    "click_id": "click id",
    "visitor": "visitor cookie",
    "customer": "known customer",
    "coalition": "coalition partner",
}
_TONES = {
    "good": ("credited", "winner", "paid", "settled", "approved", "booked"),
    "wait": ("pending", "prepared", "applied", "proposed"),
    "bad": ("bot", "suspended", "void", "invalid_touch", "refund", "rejection", "rejected"),
}
TONES = {word: tone for tone, words in _TONES.items() for word in words}
STATES = {
    "none": ("Earns nothing", "plain"),
    "pending": ("Pending", "wait"),
    "held": ("On hold", "bad"),
    "approved": ("Approved", "good"),
    "payable": ("In a payout", "wait"),
    "paid": ("Paid", "good"),
    "reversed": ("Taken back", "plain"),
    "expense": ("Cost", "plain"),
    "batched": ("In a payout (former name)", "plain"),
}
"""Where money stands: a commission's states and the ledger's other accounts, with their tones. An order may be pending in another sense."""


def label(word: str) -> str:
    """A term of the code as a person reads it: ``no_touch`` is "No touch found". Unknown terms lose their underscores."""
    return LABELS.get(word) or word.replace("_", " ").capitalize() or NOTHING


def booked(order_id: str) -> str:
    """What a commission is booked under, for people: an order's id, ``lead L-17``, ``click:2026-11-20:main:anna``.

    >>> booked(" lead:L-17")
    'lead L-17'
    """
    return spoken(order_id) if is_lead(order_id) else order_id.strip()


def tone(word: str) -> str:
    """``good``, ``wait``, ``bad`` or ``plain``: which colour a term's badge has."""
    return TONES.get(word, "plain")


def state(word: str) -> str:
    """A state of money as a person reads it: ``held`` is "On hold"."""
    return STATES[word][0] if word in STATES else label(word)


def state_tone(word: str) -> str:
    """The tone of a state of money."""
    return STATES[word][1] if word in STATES else "plain"


def money(minor: int, currency: str) -> str:
    """``1230`` of EUR is "€12.30": all decimals that the currency has (ISO 4217, not the locale's idea of it), never rounded."""
    places = exponent(currency)
    digits = format_decimal(Decimal(abs(minor)).scaleb(-places), "#,##0." + "0" * places if places else "#,##0", LOCALE)
    symbol = get_currency_symbol(currency, LOCALE)
    gap = "\N{NO-BREAK SPACE}" if symbol[-1].isalpha() else ""
    return f"{'-' if minor < 0 else ''}{symbol}{gap}{digits}"


def moneys(amounts: Mapping[str, int], none: str = NOTHING) -> list[str]:
    """Amounts by currency, one text each, in the order of the currency codes; ``[none]`` where there are none."""
    return [money(minor, currency) for currency, minor in sorted(amounts.items())] or [none]


def number(value: int) -> str:
    """``1234567`` is "1,234,567"."""
    return format_decimal(value, locale=LOCALE)


def bps(value: int) -> str:
    """Basis points as a percentage with the decimals it needs: 750 is "7.5 %"."""
    return f"{_plain(Decimal(value).scaleb(-2))} %"


def share(value: Fraction) -> str:
    """A share of one as a percentage, rounded half even to a tenth: 1/3 is "33.3 %", 1 is "100 %"."""
    return f"{_plain(Decimal(round(value * 1000)).scaleb(-1))} %"


def ratio(part: int, whole: int) -> str:
    """``part`` of ``whole`` as a percentage; a dash where there is no whole."""
    return share(Fraction(part, whole)) if whole else NOTHING


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 click", "2 clicks", "1,200 clicks"; ``many`` where an s is not enough."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def instant(at: Instant | None) -> Markup:
    """ "21 Nov 2026, 20:15" as a ``<time>`` element that carries the exact instant; a dash for None."""
    return _time(at, "{d.day} {d:%b %Y, %H:%M}")


def moment(at: Instant | None) -> Markup:
    """Like :func:`instant`, with seconds: for journeys, where minutes hide the order of things."""
    return _time(at, "{d.day} {d:%b %Y, %H:%M:%S}")


def day(at: Instant | None) -> Markup:
    """ "21 Nov 2026" as a ``<time>`` element; a dash for None."""
    return _time(at, "{d.day} {d:%b %Y}")


def duration(milliseconds: int) -> str:
    """The largest two units of a length of time, cut: "3 days 4 hours", "12 minutes", "0 seconds"."""
    units = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"))
    parts, rest = [], milliseconds
    for size, name in units:
        count, rest = divmod(rest, size)
        if count:
            parts.append(plural(count, name))
    return " ".join(parts[:2]) or "0 seconds"


def short(url: str, most: int = 48) -> str:
    """A URL without its scheme, cut in the middle: what tells pages apart stands at both ends."""
    text = url.partition("://")[2].removesuffix("/") or url
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def sentence(parts: Iterable[str]) -> str:
    """ "a, b and c"."""
    words = list(parts)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _time(at: Instant | None, pattern: str) -> Markup:
    if at is None:
        return escape(NOTHING)
    return Markup('<time datetime="{}">{}</time>').format(format_instant(at), pattern.format(d=as_datetime(at)))


def _plain(value: Decimal) -> str:
    return f"{value:,f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}"
