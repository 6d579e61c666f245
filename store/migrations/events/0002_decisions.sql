-- One row per changed decision, credits inside: a decision appears whole or not at all. The highest revision is in force.

CREATE TABLE IF NOT EXISTS decisions (
    tenant_id      LowCardinality(String),
    order_id       String,
    revision       UInt32,
    programme_id   LowCardinality(String),
    policy_version UInt32,
    result         LowCardinality(String),
    credits        Nested (
        affiliate_id String,
        touch_id     String,
        numerator    Int64,
        denominator  Int64
    ),
    trace          String CODEC(ZSTD(3)),
    inputs_hash    String,
    ordered_at     DateTime64(3, 'UTC'),
    decided_at     DateTime64(3, 'UTC'),
    stored_at      DateTime64(3, 'UTC'),
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
) ENGINE = $engine
PARTITION BY toYYYYMM(ordered_at)
ORDER BY (tenant_id, order_id, revision)
SETTINGS $durable;
