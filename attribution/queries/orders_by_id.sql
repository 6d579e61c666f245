-- orders_by_id: the given orders as they were recorded.
-- scope:  one tenant
-- grain:  one row per order id; of several events under one id the earliest is the order
-- order:  order_id
-- params: tenant_id, order_ids
SELECT
    order_id, event_id, visitor_id, click_id, customer_keys, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, currency, channel, store_id, customer_status, coupons, shipping_minor, tax_minor,
    total_minor, test, source, country, consent, mapKeys(attributes) AS names, mapValues(attributes) AS texts, affiliate_id, claims,
    marketplace_id, basket_id,
    `lines.line_id`, `lines.net_minor`, `lines.sku`, `lines.name`, `lines.category`, `lines.quantity`,
    `lines.brand`, `lines.kind`, `lines.discount_minor`, `lines.attributes`
FROM orders
WHERE tenant_id = {tenant_id:String} AND order_id IN {order_ids:Array(String)}
ORDER BY order_id, received_at, event_id, stored_at
LIMIT 1 BY order_id
SETTINGS output_format_json_quote_64bit_integers = 0
