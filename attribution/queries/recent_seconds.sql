-- recent_seconds: what was stored lately in the tables that decisions read, second by second, so that a change shows.
-- scope:  installation, because it finds the tenants that have anything new
-- grain:  one row per (tenant, second of storing)
-- order:  tenant_id, second
-- params: from_ms (inclusive)
WITH recent AS (
    SELECT tenant_id, stored_at, sipHash64(touch_id) AS fingerprint, 1 AS touch
    FROM touches WHERE stored_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    UNION ALL
    SELECT tenant_id, stored_at, sipHash64(order_id, event_id), 0
    FROM orders WHERE stored_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    UNION ALL
    SELECT tenant_id, stored_at, sipHash64(key, other_key, event_id), 0
    FROM identity_links WHERE stored_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    UNION ALL
    SELECT tenant_id, stored_at, sipHash64(key, other_key, 'revoked'), 0
    FROM identity_revocations WHERE stored_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    UNION ALL
    SELECT tenant_id, stored_at, sipHash64(digest, 'erased'), 0
    FROM identity_erasures WHERE stored_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
)
SELECT
    tenant_id, intDiv(toUnixTimestamp64Milli(stored_at), 1000) AS second, countIf(touch = 1) AS touches, countIf(touch = 0) AS others,
    sum(fingerprint) AS fingerprint, toUnixTimestamp64Milli(max(stored_at)) AS newest_ms
FROM recent
WHERE tenant_id <> ''
GROUP BY tenant_id, second
ORDER BY tenant_id, second
