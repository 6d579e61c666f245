"""A decision is a value: who earned which share of an order, and what happened to every candidate touch."""

from fractions import Fraction
from typing import Literal

import msgspec

from core.clock import Instant
from core.events import Consent, CustomerStatus

TouchClass = Literal[
    "click_id",
    "exclusive_coupon",
    "coupon",
    "click",
    "soft_click",
    "scan",
    "call",
    "app_open",
    "agent",
    "impression",
    "binding",
    "clickless",
    "paid",
    "direct",
]
"""What a candidate is. A policy may rank a click that the order names as ``click_id``, and a coupon that only its owner may use
as ``exclusive_coupon``; where it does not list these, they are a ``click`` and a ``coupon`` like any other.
``agent`` is a claim of an assistant's checkout, ``binding`` an earlier order that bound the customer, ``clickless`` the affiliate
that the order's sender names. New classes go to the end: stored traces hold their numbers."""
Match = Literal["click_id", "visitor", "customer", "coupon", "binding", "clickless", "agent", "coalition"]
Result = Literal[
    "credited",
    "split",
    "no_touch",
    "no_identity",
    "outside_window",
    "before_click",
    "unknown_click_id",
    "affiliate_not_active",
    "program_not_active",
    "invalid_touch",
    "consent_denied",
    "self_referral",
    "exclusive_code",
    "lost_to_paid_channel",
    "lost_to_click",
    "stand_down",
    "direct",
    "manual_override",
    "test_event",
]
Verdict = Literal[
    "winner",
    "assist",
    "older",
    "newer",
    "lower_class",
    "view_superseded_by_click",
    "lost_to_coupon",
    "lost_to_click",
    "lost_to_paid_channel",
    "customer_bound",
    "exclusive_code",
    "outside_window",
    "after_order",
    "wrong_tenant",
    "wrong_program",
    "program_not_active",
    "affiliate_not_active",
    "bot",
    "capped",
    "no_consent",
    "self_referral",
    "stand_down",
    "late_hijack",
    "class_excluded",
    "direct",
    "paid_visit",
    "coupon_not_valid",
    "overridden",
]

ELIGIBLE: frozenset[Verdict] = frozenset(
    (
        "winner",
        "assist",
        "older",
        "newer",
        "lower_class",
        "view_superseded_by_click",
        "lost_to_coupon",
        "lost_to_click",
        "lost_to_paid_channel",
        "customer_bound",
        "overridden",
    )
)
"""Verdicts of touches that took part in the journey: they earned, or lost to another touch and to nothing else."""


class Candidate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A touch that may earn from an order. ``matches`` says by which joins it was found, strongest first.

    ``traffic_class`` is what the drain classed the hit as (``human``, a bot, a prefetch …). ``tenant_id`` is given where the touch is
    another tenant's of a coalition. ``evidence`` speaks for a self-referral: ``same_email``, ``same_phone``. A coupon's candidate
    has ``touch_id`` ``coupon:CODE`` and the order's own time; a binding's is ``binding:ORDER`` with that order's time. Paid and direct
    visits have no affiliate; ``origin`` says who brought a paid one, as ``ORIGIN/MEDIUM`` (``google/cpc``; either may be empty).
    """

    touch_id: str
    touch_class: TouchClass
    programme_id: str
    affiliate_id: str
    occurred_at: Instant
    matches: tuple[Match, ...]
    link_code: str = ""
    channel: str = "web"
    traffic_class: str = "human"
    consent: Consent = "unknown"
    tenant_id: str = ""
    origin: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def human(self) -> bool:
        return self.traffic_class == "human"


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of the trace: a candidate, its verdict, and the figure that its sentence needs (:mod:`attribution.words`)."""

    candidate: Candidate
    verdict: Verdict
    figure: int = 0


class Credit(msgspec.Struct, frozen=True, gc=False):
    """A share of an order: ``numerator / denominator``, in lowest terms, above zero."""

    affiliate_id: str
    touch_id: str
    numerator: int
    denominator: int

    @property
    def share(self) -> Fraction:
        return Fraction(self.numerator, self.denominator)


class Override(msgspec.Struct, frozen=True):
    """What a person decided instead: the whole order to ``affiliate_id``, or to nobody where it is empty.

    ``case_id`` names the dispute that led to it. ``version`` counts the overrides of an order; the highest is in force.
    """

    order_id: str
    version: int
    affiliate_id: str
    reason: str
    decided_by: str
    decided_at: Instant
    case_id: str = ""


class Decision(msgspec.Struct, frozen=True):
    """Credits sum to at most one; what is missing is unattributed, for the reason that ``result`` gives.

    ``inputs_hash`` covers order, candidates and policy: equal hashes mean an equal decision. ``customer_status`` and ``segments`` are
    what the decision took the customer for. ``order_number`` is the customer's n-th order (1: the first), and ``first_ordered_at`` when
    their first one was placed; both are 0 where that is not known. ``override`` is set where a person decided; the trace still tells what
    was computed.
    """

    tenant_id: str
    order_id: str
    programme_id: str
    policy_version: int
    result: Result
    credits: tuple[Credit, ...]
    trace: tuple[Step, ...]
    inputs_hash: str
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()
    override: Override | None = None
    order_number: int = 0
    first_ordered_at: Instant = 0

    @property
    def unattributed(self) -> Fraction:
        """The share that nobody earns."""
        return 1 - sum((credit.share for credit in self.credits), Fraction(0))
