-- facts_of_period: what a period's decisions rest on, as figures that change whenever something is stored that may change them.
-- scope:  one tenant
-- grain:  one row per table: orders of the period with their decisions and refunds, touches and links up to its end, and all that is revoked or frozen
-- order:  by table
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive)
SELECT facts, rows, newest_ms
FROM (
    SELECT 'decisions' AS facts, count() AS rows, toUnixTimestamp64Milli(max(stored_at)) AS newest_ms
    FROM decisions
    WHERE tenant_id = {tenant_id:String}
      AND NOT startsWith(order_id, ' ')
      AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    UNION ALL
    SELECT 'frozen' AS facts, uniqExact(order_id) AS rows, 0 AS newest_ms
    FROM frozen_orders
    WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT 'revoked' AS facts, uniqExact(key, other_key) AS rows, 0 AS newest_ms
    FROM identity_revocations
    WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT 'links' AS facts, count() AS rows, toUnixTimestamp64Milli(max(stored_at)) AS newest_ms
    FROM identity_links
    WHERE tenant_id = {tenant_id:String} AND linked_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    UNION ALL
    SELECT 'orders' AS facts, uniqExact(order_id) AS rows, toUnixTimestamp64Milli(max(stored_at)) AS newest_ms
    FROM orders
    WHERE tenant_id = {tenant_id:String}
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    UNION ALL
    SELECT 'refunds' AS facts, count() AS rows, toUnixTimestamp64Milli(max(stored_at)) AS newest_ms
    FROM refunds
    WHERE tenant_id = {tenant_id:String}
      AND order_id IN (
        SELECT order_id
        FROM orders
        WHERE tenant_id = {tenant_id:String}
          AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      )
    UNION ALL
    SELECT 'touches' AS facts, count() AS rows, toUnixTimestamp64Milli(max(stored_at)) AS newest_ms
    FROM touches
    WHERE tenant_id = {tenant_id:String} AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
)
ORDER BY facts
