-- Links that never were, and identifiers that must be forgotten: both are appended, and nothing here is ever taken back.

-- A link that does not count, as if no event had shown it. Where other_key is empty: none of the key's links does, now or later.
CREATE TABLE IF NOT EXISTS identity_revocations (
    tenant_id  LowCardinality(String),
    key        String,
    other_key  String,
    reason     String,
    revoked_at DateTime64(3, 'UTC'),
    stored_at  DateTime64(3, 'UTC')
) ENGINE = $engine
ORDER BY (tenant_id, key, other_key)
SETTINGS $durable;

-- An identifier that was erased, as a digest that nobody can read it from: whatever comes later with it is erased again.
CREATE TABLE IF NOT EXISTS identity_erasures (
    tenant_id  LowCardinality(String),
    digest     String,
    orders     UInt32,
    erased_at  DateTime64(3, 'UTC'),
    stored_at  DateTime64(3, 'UTC')
) ENGINE = $engine
ORDER BY (tenant_id, digest)
SETTINGS $durable;

-- Orders that keep the decision they have, whatever is learnt later.
CREATE TABLE IF NOT EXISTS frozen_orders (
    tenant_id  LowCardinality(String),
    order_id   String,
    reason     LowCardinality(String),
    frozen_at  DateTime64(3, 'UTC'),
    stored_at  DateTime64(3, 'UTC')
) ENGINE = $engine
ORDER BY (tenant_id, order_id)
SETTINGS $durable;
