-- orders_of_slice: the orders of one slice of a bulk run, as they were recorded.
-- scope:  one tenant
-- grain:  one row per stored event of an order; ids that several events bear are told by doubled_orders
-- order:  none, because the reader sorts what it has decoded three times as fast
-- params: tenant_id, from_ms and to_ms (order time, both inclusive), after (exclusive) and until (inclusive) of the ids
SELECT
    order_id, event_id, visitor_id, click_id, customer_keys, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, currency, channel, store_id, customer_status, coupons, shipping_minor, tax_minor,
    total_minor, test, source, country, consent, mapKeys(attributes) AS names, mapValues(attributes) AS texts, affiliate_id, claims,
    marketplace_id, basket_id,
    `lines.line_id`, `lines.net_minor`, `lines.sku`, `lines.name`, `lines.category`, `lines.quantity`,
    `lines.brand`, `lines.kind`, `lines.discount_minor`, `lines.attributes`
FROM orders
WHERE tenant_id = {tenant_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND order_id > {after:String} AND order_id <= {until:String}
SETTINGS output_format_json_quote_64bit_integers = 0
