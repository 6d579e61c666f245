-- orders_placed: the orders placed within a time with their lines, and what rate cards may ask of them; columns as in orders_by_id.
-- scope:  one tenant
-- grain:  one row per order: the first event under its id, should the store hold several
-- order:  order_id; of several events the one received first, then the smallest id
-- params: tenant_id, from_ms and to_ms (both inclusive)
SELECT
    order_id, event_id, currency, store_id, customer_keys, customer_status, test, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, country, channel, coupons, attributes, shipping_minor, tax_minor,
    lines.line_id, lines.sku, lines.name, lines.category, lines.quantity, lines.net_minor,
    lines.brand, lines.kind, lines.discount_minor, lines.attributes
FROM orders
WHERE tenant_id = {tenant_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY order_id, received_at, event_id
LIMIT 1 BY order_id
