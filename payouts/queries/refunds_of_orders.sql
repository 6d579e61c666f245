-- refunds_of_orders: every refund of the given orders.
-- scope:  one tenant
-- grain:  one row per refund: the first event under its id, should the store hold several
-- order:  order_id, refund_id
-- params: tenant_id, order_ids
SELECT
    order_id, refund_id, event_id, currency, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, lines.line_id, lines.net_minor, net_minor, reason
FROM refunds
WHERE tenant_id = {tenant_id:String} AND order_id IN {order_ids:Array(String)}
ORDER BY order_id, refund_id, event_id
LIMIT 1 BY order_id, refund_id
