-- Raw facts, as the drain writes them. Durable settings are explicit: the engine's defaults do not sync (docs/durability).
-- Duplicates outside the deduplication window are removed by the readers, by id.

CREATE TABLE IF NOT EXISTS touches (
    tenant_id     LowCardinality(String),
    touch_id      String,
    kind          LowCardinality(String),
    programme_id  LowCardinality(String),
    affiliate_id  LowCardinality(String),
    link_code     String,
    visitor_id    String,
    channel       LowCardinality(String),
    occurred_at   DateTime64(3, 'UTC'),
    received_at   DateTime64(3, 'UTC'),
    stored_at     DateTime64(3, 'UTC'),
    traffic_class LowCardinality(String),
    class_reason  String,
    list_version  LowCardinality(String),
    country       LowCardinality(String),
    device        LowCardinality(String),
    os            LowCardinality(String),
    browser       LowCardinality(String),
    destination   String,
    subs          Array(String),
    ip            String TTL toDateTime(received_at) + toIntervalDay($ip_keep_days),
    user_agent    String,
    referrer      String,
    consent       LowCardinality(String),
    flags         Array(LowCardinality(String)),
    INDEX touch_id_bloom touch_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
) ENGINE = $engine
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (tenant_id, visitor_id, occurred_at, touch_id)
SETTINGS $durable;

CREATE TABLE IF NOT EXISTS leads (
    tenant_id     LowCardinality(String),
    event_id      String,
    lead_id       String,
    name          String,
    click_id      String,
    visitor_id    String,
    customer_keys Array(String),
    channel       LowCardinality(String),
    source        LowCardinality(String),
    occurred_at   DateTime64(3, 'UTC'),
    received_at   DateTime64(3, 'UTC'),
    stored_at     DateTime64(3, 'UTC'),
    country       LowCardinality(String),
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
) ENGINE = $engine
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (tenant_id, lead_id, event_id)
SETTINGS $durable;

CREATE TABLE IF NOT EXISTS orders (
    tenant_id       LowCardinality(String),
    order_id        String,
    event_id        String,
    currency        LowCardinality(String),
    channel         LowCardinality(String),
    store_id        LowCardinality(String),
    click_id        String,
    visitor_id      String,
    customer_keys   Array(String),
    customer_status LowCardinality(String),
    coupons         Array(String),
    lines           Nested (
        line_id   String,
        sku       String,
        name      String,
        category  String,
        quantity  UInt32,
        net_minor Int64
    ),
    net_minor       Int64,
    shipping_minor  Int64,
    tax_minor       Int64,
    total_minor     Int64,
    test            Bool,
    source          LowCardinality(String),
    country         LowCardinality(String),
    occurred_at     DateTime64(3, 'UTC'),
    received_at     DateTime64(3, 'UTC'),
    stored_at       DateTime64(3, 'UTC'),
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
) ENGINE = $engine
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (tenant_id, order_id, event_id)
SETTINGS $durable;

CREATE TABLE IF NOT EXISTS refunds (
    tenant_id   LowCardinality(String),
    order_id    String,
    refund_id   String,
    event_id    String,
    currency    LowCardinality(String),
    lines       Nested (
        line_id   String,
        net_minor Int64
    ),
    net_minor   Nullable(Int64),
    reason      String,
    source      LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    stored_at   DateTime64(3, 'UTC'),
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
) ENGINE = $engine
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (tenant_id, order_id, refund_id, event_id)
SETTINGS $durable;

-- Two keys seen together in one event: visitor and customer. Stored in both directions, so that either finds the other.
CREATE TABLE IF NOT EXISTS identity_links (
    tenant_id  LowCardinality(String),
    key        String,
    other_key  String,
    event_id   String,
    linked_at  DateTime64(3, 'UTC'),
    stored_at  DateTime64(3, 'UTC'),
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
) ENGINE = $engine
PARTITION BY toYYYYMM(linked_at)
ORDER BY (tenant_id, key, other_key, event_id)
SETTINGS $durable;

CREATE TABLE IF NOT EXISTS bad_rows (
    tenant_id   LowCardinality(String),
    spool_id    String,
    segment     String,
    position    UInt64,
    reason      LowCardinality(String),
    detail      String,
    raw         String,
    received_at DateTime64(3, 'UTC'),
    stored_at   DateTime64(3, 'UTC')
) ENGINE = $engine
PARTITION BY toYYYYMM(received_at)
ORDER BY (tenant_id, spool_id, segment, position)
SETTINGS $durable;
