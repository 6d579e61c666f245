"""The books as first published: every table of store/schema.py at that time, frozen here."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accruals",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=128), nullable=False),
        sa.Column("decision_revision", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("excess_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunds_known", sa.Integer(), nullable=False),
        sa.Column("refunds_refused", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(length=255), server_default="", nullable=False),
        sa.Column("accrued_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "order_id", name=op.f("pk_accruals")),
    )
    op.create_table(
        "affiliates",
        sa.Column("affiliate_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("email", sa.String(length=255), server_default="", nullable=False),
        sa.Column("website", sa.String(length=2048), server_default="", nullable=False),
        sa.Column("account_holder", sa.String(length=255), server_default="", nullable=False),
        sa.Column("iban", sa.String(length=34), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("affiliate_id", name=op.f("pk_affiliates")),
    )
    op.create_table(
        "catalogue_changes",
        sa.Column("version", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("what", sa.String(length=2048), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_catalogue_changes")),
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursors")),
    )
    op.create_table(
        "entries",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("posted_at", sa.BigInteger(), nullable=False),
        sa.Column("memo", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("evidence_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "number", name=op.f("pk_entries")),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name=op.f("uq_entries_tenant_id_idempotency_key")),
    )
    op.create_table(
        "receipts",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("external_id", sa.String(length=128), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("recorded", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "external_id", name=op.f("pk_receipts")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_email"), "sessions", ["email"], unique=False)
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("time_zone", sa.String(length=64), server_default="UTC", nullable=False),
        sa.Column("click_parameter", sa.String(length=32), server_default="fsclick", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenants")),
    )
    op.create_table(
        "users",
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), server_default="", nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.CheckConstraint("(role = 'affiliate') = (affiliate_id <> '')", name=op.f("ck_users_affiliate")),
        sa.CheckConstraint("(role = 'affiliate') = (tenant_id = '')", name=op.f("ck_users_tenant")),
        sa.PrimaryKeyConstraint("email", name=op.f("pk_users")),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_api_keys_tenants")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_table(
        "batches",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cutoff_at", sa.BigInteger(), nullable=False),
        sa.Column("prepared_by", sa.String(length=255), nullable=False),
        sa.Column("prepared_at", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("approved_by", sa.String(length=255), nullable=True),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("approved_hash", sa.String(length=64), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("settled_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("voided_at", sa.BigInteger(), nullable=True),
        sa.Column("voided_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("left_out", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint("state IN ('prepared', 'approved', 'settled', 'void')", name=op.f("ck_batches_state")),
        sa.CheckConstraint(
            "state NOT IN ('approved', 'settled') OR (approved_by IS NOT NULL AND approved_hash = content_hash)",
            name=op.f("ck_batches_approved"),
        ),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> prepared_by", name=op.f("ck_batches_four_eyes")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_batches_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "batch_id", name=op.f("pk_batches")),
    )
    op.create_table(
        "postings",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_postings_amount")),
        sa.ForeignKeyConstraint(["tenant_id", "number"], ["entries.tenant_id", "entries.number"], name=op.f("fk_postings_entries")),
        sa.PrimaryKeyConstraint("tenant_id", "number", "position", name=op.f("pk_postings")),
    )
    op.create_index(op.f("ix_postings_tenant_id_affiliate_id_account"), "postings", ["tenant_id", "affiliate_id", "account"], unique=False)
    op.create_table(
        "programmes",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("landing_url", sa.String(length=2048), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("stores", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_programmes_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "programme_id", name=op.f("pk_programmes")),
    )
    op.create_table(
        "stores",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("store_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("channel", sa.String(length=16), server_default="web", nullable=False),
        sa.Column("segment", sa.String(length=64), server_default="", nullable=False),
        sa.Column("host", sa.String(length=255), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_stores_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "store_id", name=op.f("pk_stores")),
    )
    op.create_table(
        "commissions",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("commission_id", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=128), nullable=False),
        sa.Column("line_id", sa.String(length=128), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("rate_card_version", sa.Integer(), nullable=False),
        sa.Column("rule_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=32), server_default="", nullable=False),
        sa.Column("touch_id", sa.String(length=128), server_default="", nullable=False),
        sa.Column("decision_revision", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("inputs_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ordered_at", sa.BigInteger(), nullable=False),
        sa.Column("hold_until", sa.BigInteger(), nullable=False),
        sa.Column("posted_at", sa.BigInteger(), nullable=False),
        sa.Column("entry_number", sa.Integer(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.CheckConstraint("kind IN ('sale', 'refund', 'redecision')", name=op.f("ck_commissions_kind")),
        sa.CheckConstraint("state IN ('none', 'held', 'payable', 'batched', 'paid')", name=op.f("ck_commissions_state")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_commissions_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "commission_id", name=op.f("pk_commissions")),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name=op.f("uq_commissions_tenant_id_idempotency_key")),
    )
    op.create_index(op.f("ix_commissions_affiliate_id_tenant_id"), "commissions", ["affiliate_id", "tenant_id"], unique=False)
    op.create_index(op.f("ix_commissions_tenant_id_order_id"), "commissions", ["tenant_id", "order_id"], unique=False)
    op.create_index(op.f("ix_commissions_tenant_id_state_hold_until"), "commissions", ["tenant_id", "state", "hold_until"], unique=False)
    op.create_table(
        "coupons",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=True),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["affiliate_id"], ["affiliates.affiliate_id"], name=op.f("fk_coupons_affiliates")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_coupons_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "code", name=op.f("pk_coupons")),
    )
    op.create_table(
        "links",
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=2048), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("channel", sa.String(length=16), server_default="web", nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["affiliate_id"], ["affiliates.affiliate_id"], name=op.f("fk_links_affiliates")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_links_programmes")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_links")),
    )
    op.create_index(op.f("ix_links_affiliate_id_tenant_id"), "links", ["affiliate_id", "tenant_id"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("suspended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status IN ('applied', 'approved', 'suspended')", name=op.f("ck_memberships_status")),
        sa.ForeignKeyConstraint(["affiliate_id"], ["affiliates.affiliate_id"], name=op.f("fk_memberships_affiliates")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_memberships_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "programme_id", "affiliate_id", name=op.f("pk_memberships")),
    )
    op.create_index(op.f("ix_memberships_affiliate_id"), "memberships", ["affiliate_id"], unique=False)
    op.create_table(
        "payouts",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("payout_id", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("account_holder", sa.String(length=255), server_default="", nullable=False),
        sa.Column("iban", sa.String(length=34), server_default="", nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payouts_amount")),
        sa.ForeignKeyConstraint(["affiliate_id"], ["affiliates.affiliate_id"], name=op.f("fk_payouts_affiliates")),
        sa.ForeignKeyConstraint(["tenant_id", "batch_id"], ["batches.tenant_id", "batches.batch_id"], name=op.f("fk_payouts_batches")),
        sa.PrimaryKeyConstraint("tenant_id", "payout_id", name=op.f("pk_payouts")),
        sa.UniqueConstraint("tenant_id", "batch_id", "affiliate_id", name=op.f("uq_payouts_tenant_id_batch_id_affiliate_id")),
    )
    op.create_table(
        "policies",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("effective_from", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=32), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_policies_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "programme_id", "version", name=op.f("pk_policies")),
    )
    op.create_table(
        "rate_cards",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("effective_from", sa.BigInteger(), nullable=False),
        sa.Column("hold_days", sa.Integer(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_rate_cards_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "programme_id", "version", name=op.f("pk_rate_cards")),
    )
    op.create_table(
        "payout_lines",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("payout_id", sa.String(length=64), nullable=False),
        sa.Column("commission_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "commission_id"], ["commissions.tenant_id", "commissions.commission_id"], name=op.f("fk_payout_lines_commissions")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "payout_id"], ["payouts.tenant_id", "payouts.payout_id"], name=op.f("fk_payout_lines_payouts")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "payout_id", "commission_id", name=op.f("pk_payout_lines")),
    )
    op.create_index(
        "uq_payout_lines_live",
        "payout_lines",
        ["tenant_id", "commission_id"],
        unique=True,
        sqlite_where=sa.text("live"),
        postgresql_where=sa.text("live"),
    )
