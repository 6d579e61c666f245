-- refunds_placed: every refund of orders placed within a time, whenever it came; columns as in refunds_of_orders.
-- scope:  one tenant
-- grain:  one row per refund: the first event under its id, should the store hold several
-- order:  order_id, refund_id
-- params: tenant_id, from_ms and to_ms (both inclusive)
SELECT
    order_id, refund_id, event_id, currency, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, lines.line_id, lines.net_minor, net_minor, reason
FROM refunds
WHERE tenant_id = {tenant_id:String}
    AND order_id IN
    (
        SELECT order_id
        FROM orders
        WHERE tenant_id = {tenant_id:String}
            AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    )
ORDER BY order_id, refund_id, event_id
LIMIT 1 BY order_id, refund_id
