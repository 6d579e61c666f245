-- What a journey across channels needs: who brought a paid visit, what touches and orders know of their customer, an order's claims.

ALTER TABLE touches
    ADD COLUMN IF NOT EXISTS origin String,
    ADD COLUMN IF NOT EXISTS medium LowCardinality(String),
    ADD COLUMN IF NOT EXISTS customer_keys Array(String),
    ADD COLUMN IF NOT EXISTS source LowCardinality(String);

ALTER TABLE orders
    ADD COLUMN IF NOT EXISTS consent LowCardinality(String),
    ADD COLUMN IF NOT EXISTS attributes Map(String, String),
    ADD COLUMN IF NOT EXISTS affiliate_id String,
    ADD COLUMN IF NOT EXISTS claims String,
    ADD COLUMN IF NOT EXISTS marketplace_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS basket_id String;

ALTER TABLE decisions
    ADD COLUMN IF NOT EXISTS customer_status LowCardinality(String),
    ADD COLUMN IF NOT EXISTS segments Array(String),
    ADD COLUMN IF NOT EXISTS override String;
