-- order_values: what orders are worth and when they were placed; of several events under one id, the earliest received.
-- scope:  one tenant
-- grain:  one row per order
-- order:  by order id
-- params: tenant_id, order_ids
SELECT
    order_id,
    argMin(currency, (received_at, event_id)) AS currency,
    argMin(net_minor, (received_at, event_id)) AS net_minor,
    toUnixTimestamp64Milli(argMin(occurred_at, (received_at, event_id))) AS ordered_ms
FROM orders
WHERE tenant_id = {tenant_id:String} AND order_id IN {order_ids:Array(String)}
GROUP BY order_id
ORDER BY order_id
