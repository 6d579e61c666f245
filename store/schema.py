"""The books' tables, as SQLAlchemy Core describes them. Alembic's versions in ``migrations/books`` build the same.

Instants are milliseconds in BIGINT, amounts minor units in BIGINT. Every row that belongs to a merchant says which.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
    true,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _key(name: str) -> Column[str]:
    return Column(name, String(64), primary_key=True)


def _text(name: str, length: int = 255, default: str | None = "") -> Column[str]:
    return Column(name, String(length), nullable=False, server_default=default)


def _id(name: str) -> Column[str]:
    return Column(name, String(64), nullable=False)


def _instant(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=True)


def _number(name: str, default: int) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=str(default))


def _list(name: str) -> Column[list[str]]:
    return Column(name, JSON, nullable=False, server_default=text("'[]'"))


def _minor(name: str, default: int | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=None if default is None else str(default))


def _to(table: str, *columns: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(columns, [f"{table}.{column}" for column in columns])


# --- catalogue -------------------------------------------------------------------------------------------------------

tenants = Table(
    "tenants", metadata, _key("tenant_id"), _text("name"), _text("currency", 3, None), _text("time_zone", 64, "UTC"),
    _text("click_parameter", 32, "fsclick"), _number("lapsed_after_days", 365), _minor("adjustment_limit_minor", 0),
)  # fmt: skip
stores = Table(
    "stores", metadata, _key("tenant_id"), _key("store_id"), _text("name"), _text("channel", 16, "web"), _text("segment", 64),
    _text("host"), _to("tenants", "tenant_id"),
)  # fmt: skip
programmes = Table(
    "programmes", metadata, _key("tenant_id"), _key("programme_id"), _text("name"), _text("landing_url", 2048, None),
    Column("hosts", JSON, nullable=False), Column("stores", JSON, nullable=False), _count("daily_click_cap"), _count("total_click_cap"),
    _text("fallback_url", 2048), _list("segments"), _instant("starts_at", nullable=True), _instant("ends_at", nullable=True),
    _to("tenants", "tenant_id"),
)  # fmt: skip
affiliates = Table(
    "affiliates", metadata, _key("affiliate_id"), _text("name"), _text("email"), _text("website", 2048), _text("account_holder"),
    _text("iban", 34),
)  # fmt: skip
memberships = Table(
    "memberships", metadata, _key("tenant_id"), _key("programme_id"), _key("affiliate_id"), _text("status", 16, None),
    _instant("applied_at"), _instant("approved_at", nullable=True), _instant("suspended_at", nullable=True),
    Column("software", Boolean, nullable=False, server_default=false()), _text("group", 64), _text("recruited_by", 64),
    CheckConstraint("status IN ('applied', 'approved', 'suspended')", name="status"),
    _to("programmes", "tenant_id", "programme_id"), _to("affiliates", "affiliate_id"), Index(None, "affiliate_id"),
)  # fmt: skip
links = Table(
    "links", metadata, _key("code"), _id("tenant_id"), _id("programme_id"), _id("affiliate_id"), _text("destination", 2048, None),
    _text("name"), _text("channel", 16, "web"), Column("disabled", Boolean, nullable=False), _count("daily_click_cap"),
    _count("total_click_cap"), _text("fallback_url", 2048), Column("changed_version", Integer, nullable=False, server_default="0"),
    _to("programmes", "tenant_id", "programme_id"), _to("affiliates", "affiliate_id"), Index(None, "affiliate_id", "tenant_id"),
    Index(None, "changed_version"),
)  # fmt: skip
"""``changed_version`` is the number of the last catalogue change that wrote the row: a tracker reads what is newer than it knows."""
coupons = Table(
    "coupons", metadata, _key("tenant_id"), _key("code"), _id("programme_id"), _id("affiliate_id"),
    _instant("valid_from", nullable=True), _instant("valid_to", nullable=True),
    Column("exclusive", Boolean, nullable=False, server_default=false()), _text("coupon_class", 64),
    _to("programmes", "tenant_id", "programme_id"), _to("affiliates", "affiliate_id"),
)  # fmt: skip
policies = Table(
    "policies", metadata, _key("tenant_id"), _key("programme_id"), Column("version", Integer, primary_key=True, autoincrement=False),
    _instant("effective_from"), _text("model", 32, None), Column("classes", JSON, nullable=False), _text("segment", 64),
    _number("first_bps", 4_000), _number("last_bps", 4_000), _number("half_life_hours", 168), _number("introducer_bps", 3_000),
    _number("closer_bps", 5_000), _text("coupon_rule", 32, "by_rank"), _number("coupon_bps", 5_000),
    Column("guard_exclusive_codes", Boolean, nullable=False, server_default=true()), _text("paid_rule", 32, "ignore"),
    _list("paid_media"), _number("paid_recent", 1), _text("direct_rule", 32, "ignore"), _text("self_referral", 32, "flag"),
    _number("min_seconds_to_order", 0), _number("stand_down_minutes", 0), _number("lock_days", 60),
    _to("programmes", "tenant_id", "programme_id"),
)  # fmt: skip
rate_cards = Table(
    "rate_cards", metadata, _key("tenant_id"), _key("programme_id"), Column("version", Integer, primary_key=True, autoincrement=False),
    _instant("effective_from"), Column("hold_days", Integer, nullable=False), Column("rules", JSON, nullable=False),
    _text("priced_at", 16, "order"), _list("pays_on"), _minor("minimum_order_minor", 0), _list("limits"), _list("bonuses"),
    _list("recruiter_bps"), _text("recruiter_of", 16, "commission"), _text("settle_in", 3), _text("fx_rounding", 16, "down"),
    _to("programmes", "tenant_id", "programme_id"),
)  # fmt: skip
users = Table(
    "users", metadata, Column("email", String(255), primary_key=True), _text("name"), _text("role", 16, None), _text("password_hash"),
    _text("tenant_id", 64), _text("affiliate_id", 64), Column("disabled", Boolean, nullable=False),
    CheckConstraint("(role = 'affiliate') = (affiliate_id <> '')", name="affiliate"),
    CheckConstraint("(role = 'affiliate') = (tenant_id = '')", name="tenant"),
)  # fmt: skip
api_keys = Table(
    "api_keys", metadata, _key("key_id"), _id("tenant_id"), _text("name"), Column("key_hash", String(64), nullable=False, unique=True),
    _to("tenants", "tenant_id"),
)  # fmt: skip
segments = Table(
    "segments", metadata, _key("tenant_id"), _key("segment_id"), _text("name"), Column("conditions", JSON, nullable=False),
    _to("tenants", "tenant_id"),
)  # fmt: skip
coalitions = Table(
    "coalitions", metadata, _key("coalition_id"), _text("name"), Column("members", JSON, nullable=False),
    Column("classes", JSON, nullable=False), _text("marketplace_id", 64),
)  # fmt: skip
"""The only catalogue rows of several tenants: each member reads them, and of the others no more than they say."""
catalogue_changes = Table(
    "catalogue_changes", metadata, Column("version", Integer, primary_key=True, autoincrement=True), _instant("changed_at"),
    _text("changed_by"), _text("what", 2048),
)  # fmt: skip
"""One row per change, in its transaction: programs that hold the catalogue in memory watch the highest version."""

# --- the route's own bookkeeping -------------------------------------------------------------------------------------

sessions = Table(
    "sessions", metadata, Column("token_hash", String(64), primary_key=True), _text("email", 255, None), _instant("created_at"),
    _instant("seen_at"), Index(None, "email"),
)  # fmt: skip
receipts = Table(
    "receipts", metadata, _key("tenant_id"), Column("kind", String(16), primary_key=True),
    Column("external_id", String(128), primary_key=True), Column("body_hash", String(64), nullable=False), _id("event_id"),
    Column("event", LargeBinary, nullable=False), Column("recorded", Boolean, nullable=False), _instant("received_at"),
)  # fmt: skip
"""Idempotency of conversions, kept for ever: the first content under (tenant, kind, external id) is the only one."""
cursors = Table("cursors", metadata, _key("name"), Column("position", BigInteger, nullable=False), _instant("moved_at"))
spools = Table(
    "spools", metadata, _key("spool_id"), Column("identity", String(32), nullable=False), _text("segment", 32),
    Column("position", BigInteger, nullable=False), _instant("stored_at"), _instant("received_at"), _text("planned_segment", 32),
    Column("planned_end", BigInteger, nullable=False), _instant("planned_stored_at"), _instant("moved_at"),
)  # fmt: skip
"""How far each tracker's spool is stored, where the queue is Redis: a file's cursor and manifest, for loaders that see no files."""
leases = Table(
    "leases", metadata, _key("name"), _text("owner", 128), Column("term", BigInteger, nullable=False),
    Column("beats", BigInteger, nullable=False), _instant("renewed_at"),
)  # fmt: skip

# --- money -----------------------------------------------------------------------------------------------------------

entries = Table(
    "entries", metadata, _key("tenant_id"), Column("number", Integer, primary_key=True, autoincrement=False), _text("kind", 32, None),
    _text("idempotency_key", 255, None), _instant("posted_at"), _text("memo", 1024),
    _text("evidence_hash", 64), Column("previous_hash", String(64), nullable=False), Column("hash", String(64), nullable=False),
    _text("period", 7), UniqueConstraint("tenant_id", "idempotency_key"),
)  # fmt: skip
"""``period`` is the accounting month; empty in entries of earlier versions of the program. A trigger refuses a closed one."""
postings = Table(
    "postings", metadata, _key("tenant_id"), Column("number", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False), _text("account", 32, None), _text("affiliate_id", 64),
    _text("currency", 3, None), _minor("amount_minor"), _text("original_currency", 3), _minor("original_minor", 0), _text("rate", 128),
    _text("rate_source", 32), _text("rate_date", 10), CheckConstraint("amount_minor <> 0", name="amount"),
    _to("entries", "tenant_id", "number"), Index(None, "tenant_id", "affiliate_id", "account"),
)  # fmt: skip
commissions = Table(
    "commissions", metadata, _key("tenant_id"), _key("commission_id"), _id("programme_id"),
    Column("order_id", String(128), nullable=False), Column("line_id", String(128), nullable=False), _text("affiliate_id", 64),
    _text("kind", 16, None), _text("currency", 3, None), _minor("base_minor"), _minor("amount_minor"),
    Column("rate_card_version", Integer, nullable=False), _text("rule_id", 64), _text("reason", 32), _text("touch_id", 128),
    Column("decision_revision", Integer, nullable=False), Column("policy_version", Integer, nullable=False),
    _text("inputs_hash", 64), _text("state", 16, None), _instant("ordered_at"), _instant("hold_until"), _instant("posted_at"),
    Column("entry_number", Integer, nullable=True), _text("idempotency_key", 255, None), _text("part", 16), _minor("capped_minor", 0),
    _text("limit_id", 64), _text("pricing_hash", 64), _text("original_currency", 3), _minor("original_minor", 0), _text("rate", 128),
    _text("rate_source", 32), _text("rate_date", 10), _text("subject", 16, "order"),
    CheckConstraint("kind IN ('sale', 'refund', 'redecision', 'rejection', 'adjustment', 'bonus')", name="kind"),
    CheckConstraint("state IN ('none', 'pending', 'held', 'approved', 'payable', 'paid')", name="state"),
    UniqueConstraint("tenant_id", "idempotency_key"), _to("programmes", "tenant_id", "programme_id"),
    Index(None, "tenant_id", "order_id"), Index(None, "affiliate_id", "tenant_id"), Index(None, "tenant_id", "state", "hold_until"),
    Index(None, "tenant_id", "entry_number"),
)  # fmt: skip
"""Append-only differences: what an order line earns an affiliate is the sum of its rows. Only ``state`` ever moves."""
accruals = Table(
    "accruals", metadata, _key("tenant_id"), Column("order_id", String(128), primary_key=True),
    Column("decision_revision", Integer, nullable=False), _text("fingerprint", 64, None), _minor("refunded_minor"), _minor("excess_minor"),
    Column("refunds_known", Integer, nullable=False), Column("refunds_refused", Integer, nullable=False), _text("problem"),
    _instant("accrued_at"), Column("setting", JSON(none_as_null=True), nullable=True),
    Column("standing", JSON(none_as_null=True), nullable=True), _list("pricings"),
)  # fmt: skip
"""What each order looked like when it was last booked: a repeat is skipped, and what could not be booked stays visible.

``setting`` and ``standing`` are what it was priced on, NULL where an earlier version of the program booked it; ``pricings`` are those that
earlier rows of it were priced on.
"""
batches = Table(
    "batches", metadata, _key("tenant_id"), _key("batch_id"), _text("currency", 3, None), _text("state", 16, None), _instant("cutoff_at"),
    Column("prepared_by", String(255), nullable=False), _instant("prepared_at"), Column("content_hash", String(64), nullable=False),
    Column("approved_by", String(255), nullable=True), _instant("approved_at", nullable=True),
    Column("approved_hash", String(64), nullable=True), _instant("settled_at", nullable=True), _text("settled_by"),
    _instant("voided_at", nullable=True), _text("voided_by"), Column("left_out", JSON, nullable=False, server_default=text("'[]'")),
    CheckConstraint("approved_by IS NULL OR approved_by <> prepared_by", name="four_eyes"),
    CheckConstraint("state IN ('prepared', 'approved', 'settled', 'void')", name="state"),
    CheckConstraint(
        "state NOT IN ('approved', 'settled') OR (approved_by IS NOT NULL AND approved_hash = content_hash)", name="approved"
    ),
    _to("tenants", "tenant_id"),
)  # fmt: skip
payouts = Table(
    "payouts", metadata, _key("tenant_id"), _key("payout_id"), _id("batch_id"), _id("affiliate_id"), _text("currency", 3, None),
    _minor("amount_minor"), _text("account_holder"), _text("iban", 34), CheckConstraint("amount_minor > 0", name="amount"),
    UniqueConstraint("tenant_id", "batch_id", "affiliate_id"), _to("batches", "tenant_id", "batch_id"), _to("affiliates", "affiliate_id"),
)  # fmt: skip
payout_lines = Table(
    "payout_lines", metadata, _key("tenant_id"), _key("payout_id"), _key("commission_id"), _minor("amount_minor"),
    Column("live", Boolean, nullable=False), _to("payouts", "tenant_id", "payout_id"), _to("commissions", "tenant_id", "commission_id"),
    Index("uq_payout_lines_live", "tenant_id", "commission_id", unique=True, sqlite_where=text("live"), postgresql_where=text("live")),
)  # fmt: skip
"""A commission sits in at most one live payout; voiding a batch ends its lines' life and frees the commissions."""
periods = Table(
    "periods", metadata, _key("tenant_id"), Column("month", String(7), primary_key=True), _text("closed_by"), _instant("closed_at"),
    Column("head_number", Integer, nullable=False), _text("head_hash", 64), _to("tenants", "tenant_id"),
)  # fmt: skip
"""Closed accounting months, append-only. The newest one closes all before it; ``head`` is where the ledger ended then."""
holds = Table(
    "holds", metadata, _key("tenant_id"), Column("number", Integer, primary_key=True, autoincrement=False), _text("action", 16, None),
    _text("order_id", 128), _text("affiliate_id", 64), _text("reason"), _text("decided_by"), _instant("decided_at"),
    CheckConstraint("action IN ('hold', 'release', 'reject')", name="action"),
    CheckConstraint("order_id <> '' OR affiliate_id <> ''", name="subject"),
    CheckConstraint("reason <> '' AND decided_by <> ''", name="reason"),
    _to("tenants", "tenant_id"), Index(None, "tenant_id", "order_id", "affiliate_id"),
)  # fmt: skip
"""What people said about commissions of an order, an affiliate, or one affiliate of an order; append-only, the newest row counts."""
adjustments = Table(
    "adjustments", metadata, _key("tenant_id"), _key("adjustment_id"), _id("programme_id"), _id("affiliate_id"),
    _text("currency", 3, None), _minor("amount_minor"), _text("reason"), _text("proposed_by"), _instant("proposed_at"),
    _minor("limit_minor"), _text("state", 16, None), _text("decided_by"), _instant("decided_at", nullable=True), _text("decided_reason"),
    CheckConstraint("amount_minor <> 0 AND limit_minor >= 0", name="amount"),
    CheckConstraint("reason <> '' AND proposed_by <> ''", name="reason"),
    CheckConstraint("state IN ('proposed', 'booked', 'rejected')", name="state"),
    CheckConstraint("(state = 'proposed') = (decided_by = '')", name="decided"),
    CheckConstraint(
        "state <> 'booked' OR amount_minor BETWEEN -limit_minor AND limit_minor OR decided_by <> proposed_by", name="four_eyes"
    ),
    _to("programmes", "tenant_id", "programme_id"), _to("affiliates", "affiliate_id"),
)  # fmt: skip
"""Manual adjustments. A proposal is decided once, and never changed; ``limit_minor`` is the tenant's limit when it was made."""

exchange_rates = Table(
    "exchange_rates", metadata, Column("source", String(16), primary_key=True), Column("currency", String(3), primary_key=True),
    Column("published_on", String(10), primary_key=True), _text("value", 20, None), _instant("imported_at"),
    Index(None, "source", "published_on"),
)  # fmt: skip
"""Append-only, the installation's: one euro bought ``value`` (a decimal, as published) of ``currency`` on a day (2026-11-20)."""

traffic_days = Table(
    "traffic_days", metadata, _key("tenant_id"), _key("programme_id"), _key("affiliate_id"),
    Column("subject", String(16), primary_key=True), Column("day", String(10), primary_key=True), _text("time_zone", 64, None),
    _instant("due_at", nullable=True), _minor("known_until", 0),
    _minor("named", 0), _minor("addressed", 0), Column("counts", JSON, nullable=False, server_default=text("'{}'")),
    Column("setting", JSON(none_as_null=True), nullable=True), _text("problem"), _instant("worked_at", nullable=True),
    Column("order_id", String(128), nullable=False), _text("inputs_hash", 64), _list("payments"),
    CheckConstraint("subject IN ('click', 'impression')", name="subject"),
    UniqueConstraint("tenant_id", "order_id"), _to("programmes", "tenant_id", "programme_id"), Index(None, "due_at"),
)  # fmt: skip
"""What an affiliate's clicks or impressions of a day were counted as when they were last booked. ``due_at``: when to count again, NULL for
not. ``counts`` are numbers by rule, ``setting`` is what they were priced on; ``order_id`` stands for the day where an order's id would."""

# --- what people decide about decisions ------------------------------------------------------------------------------

overrides = Table(
    "overrides", metadata, Column("number", Integer, primary_key=True, autoincrement=False), _id("tenant_id"),
    Column("order_id", String(128), nullable=False), Column("version", Integer, nullable=False), _text("affiliate_id", 64),
    _text("reason", 1024), _text("decided_by"), _instant("decided_at"), _text("case_id", 64),
    CheckConstraint("version > 0", name="version"), UniqueConstraint("tenant_id", "order_id", "version"), _to("tenants", "tenant_id"),
)  # fmt: skip
"""Append-only. ``number`` grows over all tenants, in the order in which the rows become visible: a run follows it with a cursor."""
reruns = Table(
    "reruns", metadata, Column("number", Integer, primary_key=True, autoincrement=False), _id("tenant_id"), _instant("from_at"),
    _instant("to_at"), _text("reason", 1024), _text("requested_by"), _instant("requested_at"),
    CheckConstraint("from_at < to_at", name="period"), _to("tenants", "tenant_id"),
)  # fmt: skip
"""Append-only: periods that are to be decided anew. ``number`` as above."""
disputes = Table(
    "disputes", metadata, _key("tenant_id"), _key("case_id"), _id("affiliate_id"), Column("order_id", String(128), nullable=False),
    _text("kind", 16, None), _text("state", 16, None), _instant("opened_at"), _text("opened_by"), _instant("changed_at"),
    Column("steps", Integer, nullable=False), Column("seen_by_affiliate", JSON(none_as_null=True), nullable=True),
    Column("seen_by_merchant", JSON(none_as_null=True), nullable=True), Column("override_version", Integer, nullable=True),
    CheckConstraint("kind IN ('untracked', 'incorrect', 'declined')", name="kind"),
    CheckConstraint("state IN ('open', 'incomplete', 'valid', 'declined', 'withdrawn')", name="state"),
    _to("tenants", "tenant_id"), _to("affiliates", "affiliate_id"), Index(None, "affiliate_id", "opened_at"),
    Index(None, "tenant_id", "order_id"),
)  # fmt: skip
"""An affiliate's cases. ``seen_by_…`` are the explanation as it stood when the case was opened, NULL where there was none to see."""
dispute_steps = Table(
    "dispute_steps", metadata, _key("tenant_id"), _key("case_id"), Column("position", Integer, primary_key=True, autoincrement=False),
    _text("side", 16, None), _text("action", 16, None), _text("message", 2048), _text("by"), _instant("at"),
    CheckConstraint("side IN ('affiliate', 'merchant')", name="side"), _to("disputes", "tenant_id", "case_id"),
)  # fmt: skip
"""Append-only: who said and did what, and when. ``position`` counts from 1."""
replays = Table(
    "replays", metadata, _key("tenant_id"), _key("replay_id"), Column("fingerprint", String(64), nullable=False), _instant("from_at"),
    _instant("to_at", nullable=True), Column("policies", JSON, nullable=False), _text("state", 16, None), _text("requested_by"),
    _instant("requested_at"), _text("after", 128), Column("total", Integer, nullable=False), Column("tally", JSON, nullable=False),
    _instant("moved_at"), _text("problem", 1024), _instant("applied_at", nullable=True), _text("applied_by"),
    Column("rerun_number", Integer, nullable=True),
    CheckConstraint("state IN ('running', 'stopped', 'failed', 'done', 'applied')", name="state"), _to("tenants", "tenant_id"),
    Index(None, "tenant_id", "fingerprint"),
)  # fmt: skip
"""Replays and how far each came: everything up to the order ``after`` (by id) is in ``tally`` and in ``replay_orders``."""
replay_orders = Table(
    "replay_orders", metadata, _key("tenant_id"), _key("replay_id"), Column("order_id", String(128), primary_key=True),
    Column("change", JSON, nullable=False), _to("replays", "tenant_id", "replay_id"),
)  # fmt: skip
"""The orders that a replay decides otherwise."""

# --- what orders mean for each other -----------------------------------------------------------------------------------

_ORDER = String(128).with_variant(String(128, collation="C"), "postgresql")
"""Orders of the same time go by their ids' characters, the same in every database."""


def _order_key() -> Column[str]:
    return Column("order_id", _ORDER, primary_key=True)


measures = Table(
    "measures", metadata, _key("tenant_id"), _order_key(), _key("programme_id"), _key("affiliate_id"), _instant("ordered_at"),
    _text("time_zone", 64, None), Column("version", Integer, nullable=False), Column("orders", Integer, nullable=False),
    _minor("revenue_minor"), _minor("commission_minor"),
    Index("ix_measures_account", "tenant_id", "programme_id", "affiliate_id", "ordered_at", "order_id"),
)  # fmt: skip
"""What each order counts for each affiliate now. ``time_zone`` is the one that the order's periods are in for ever."""
measure_days = Table(
    "measure_days", metadata, _key("tenant_id"), _key("programme_id"), _key("affiliate_id"),
    Column("day", Integer, primary_key=True, autoincrement=False), _minor("orders"), _minor("revenue_minor"), _minor("commission_minor"),
)  # fmt: skip
"""Sums of measures by day since 1970 (UTC), so that a long period is summed by its days."""
steps = Table(
    "steps", metadata, _key("tenant_id"), _order_key(), _key("programme_id"), _key("affiliate_id"), _key("rule_id"),
    _instant("ordered_at"), _text("measure", 16, None), Column("retroactive", Boolean, nullable=False), _instant("period_start"),
    _instant("period_end"), Column("step", Integer, nullable=False), _minor("low_minor"), Column("high_minor", BigInteger, nullable=True),
    Index("ix_steps_account", "tenant_id", "programme_id", "affiliate_id", "ordered_at", "order_id"),
)  # fmt: skip
"""Which step paid: the price stands while what is reached stays in [``low_minor``, ``high_minor``)."""
grants = Table(
    "grants", metadata, _key("tenant_id"), _order_key(), _key("programme_id"), _key("limit_id"), _key("affiliate_id"),
    _instant("ordered_at"), _instant("period_start"), _minor("amount_minor"), _minor("left_minor"), _minor("asked_minor"),
    _minor("granted_minor"), CheckConstraint("granted_minor BETWEEN 0 AND left_minor AND left_minor <= asked_minor", name="granted"),
    Index("ix_grants_account", "tenant_id", "programme_id", "limit_id", "affiliate_id", "ordered_at", "order_id"),
    Index(
        "ix_grants_cut", "tenant_id", "programme_id", "limit_id", "affiliate_id", "ordered_at", "order_id",
        sqlite_where=text("left_minor < asked_minor"), postgresql_where=text("left_minor < asked_minor"),
    ),
)  # fmt: skip
"""What each order asked of a limit and was granted, all of it due now; ``affiliate_id`` empty where the limit is everybody's budget."""
grant_days = Table(
    "grant_days", metadata, _key("tenant_id"), _key("programme_id"), _key("limit_id"), _key("affiliate_id"),
    Column("day", Integer, primary_key=True, autoincrement=False), _minor("asked_minor"), _minor("granted_minor"),
)  # fmt: skip
"""Sums of grants by day since 1970 (UTC)."""
zones = Table("zones", metadata, _key("tenant_id"), _key("time_zone"))
"""Every time zone that periods of the tenant's orders were counted in."""
reprice = Table(
    "reprice", metadata, _key("tenant_id"), _order_key(), _instant("ordered_at"), _text("why", 16, None),
    Column("walk", Boolean, nullable=False), _instant("queued_at"), Index(None, "tenant_id", "ordered_at", "order_id"),
)  # fmt: skip
"""Orders to price again, because others changed. ``walk``: when it is done, what lies behind it is looked at, changed or not."""
bonuses = Table(
    "bonuses", metadata, _key("tenant_id"), _key("programme_id"), _key("affiliate_id"), _key("bonus_id"),
    Column("period", String(16), primary_key=True), Column("version", Integer, nullable=False), Column("order_id", _ORDER, nullable=False),
    _instant("ordered_at"), _minor("amount_minor"), Column("booked", Integer, nullable=False),
)  # fmt: skip
"""What is booked for a bonus of one period: by the order that reached it; ``amount_minor`` 0: taken back. ``booked`` counts commissions."""
