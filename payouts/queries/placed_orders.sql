-- placed_orders: which orders were placed within a time.
-- scope:  one tenant
-- grain:  one row per order: the first event under its id, should the store hold several
-- order:  by time, then order_id: the order in which tiers and limits count
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive)
SELECT order_id, occurred_ms
FROM
(
    SELECT order_id, toUnixTimestamp64Milli(occurred_at) AS occurred_ms
    FROM orders
    WHERE tenant_id = {tenant_id:String}
        AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    ORDER BY order_id, received_at, event_id
    LIMIT 1 BY order_id
)
ORDER BY occurred_ms, order_id
