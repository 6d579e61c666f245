-- What was applied to this events store, one row per numbered file. Created before the first of them runs.

CREATE TABLE IF NOT EXISTS schema_migrations (
    version    UInt32,
    name       String,
    sha256     String,
    applied_at DateTime64(3, 'UTC')
) ENGINE = $engine
ORDER BY version
SETTINGS $durable;
