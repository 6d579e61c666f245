-- carriers: one page of a tenant's orders, as far as tells whose they are.
-- scope:  one tenant
-- grain:  one row per event of an order
-- order:  occurred_at, event_id
-- params: tenant_id, from_ms and to_ms (order time, both inclusive)
SELECT
    order_id, event_id, visitor_id, click_id, customer_keys, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, test
FROM orders
WHERE tenant_id = {tenant_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY orders.occurred_at, event_id
SETTINGS output_format_json_quote_64bit_integers = 0
