-- orders_by_id: the given orders with their lines, and what rate cards may ask of them.
-- scope:  one tenant
-- grain:  one row per order: the first event under its id, should the store hold several
-- order:  order_id; of several events the one received first, then the smallest id
-- params: tenant_id, order_ids
SELECT
    order_id, event_id, currency, store_id, customer_keys, customer_status, test, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, country, channel, coupons, attributes, shipping_minor, tax_minor,
    lines.line_id, lines.sku, lines.name, lines.category, lines.quantity, lines.net_minor,
    lines.brand, lines.kind, lines.discount_minor, lines.attributes
FROM orders
WHERE tenant_id = {tenant_id:String} AND order_id IN {order_ids:Array(String)}
ORDER BY order_id, received_at, event_id
LIMIT 1 BY order_id
