"""A decision is a value: who earned which share of an order, and what happened to every candidate touch."""

from fractions import Fraction
from typing import Literal

import msgspec

from core.clock import Instant

TouchClass = Literal["click", "impression", "coupon"]
Match = Literal["click_id", "visitor", "customer", "coupon"]
Result = Literal[
    "credited",
    "no_touch",
    "no_identity",
    "outside_window",
    "before_click",
    "unknown_click_id",
    "affiliate_not_active",
    "program_not_active",
    "invalid_touch",
    "test_event",
]
Verdict = Literal[
    "winner",
    "older",
    "lower_class",
    "outside_window",
    "after_order",
    "wrong_program",
    "affiliate_not_active",
    "bot",
    "class_excluded",
    "coupon_not_valid",
]


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A touch that may earn from an order. ``matches`` says by which joins it was found, strongest first.

    ``human`` is false where the drain classed the hit as a bot, prefetch or hidden frame (``traffic_class`` says which).
    A coupon's candidate has ``touch_id`` ``coupon:CODE`` and the order's own time.
    """

    touch_id: str
    touch_class: TouchClass
    programme_id: str
    affiliate_id: str
    occurred_at: Instant
    matches: tuple[Match, ...]
    link_code: str = ""
    channel: str = "web"
    human: bool = True
    traffic_class: str = "human"


class Step(msgspec.Struct, frozen=True):
    """One line of the trace: a candidate, its verdict, and the rule in one sentence."""

    candidate: Candidate
    verdict: Verdict
    why: str


class Credit(msgspec.Struct, frozen=True):
    """A share of an order: ``numerator / denominator``, in lowest terms, above zero."""

    affiliate_id: str
    touch_id: str
    numerator: int
    denominator: int

    @property
    def share(self) -> Fraction:
        return Fraction(self.numerator, self.denominator)


class Decision(msgspec.Struct, frozen=True):
    """Credits sum to one, or there are none and the whole order is unattributed for the reason ``result`` gives.

    ``inputs_hash`` covers order, candidates and policy: equal hashes mean an equal decision.
    """

    tenant_id: str
    order_id: str
    programme_id: str
    policy_version: int
    result: Result
    credits: tuple[Credit, ...]
    trace: tuple[Step, ...]
    inputs_hash: str

    @property
    def unattributed(self) -> Fraction:
        """The share that nobody earns."""
        return 1 - sum((credit.share for credit in self.credits), Fraction(0))
