-- orders_by_keys: orders that carry one of the given keys, as far as tells whose they are.
-- scope:  one tenant
-- grain:  one row per event of an order
-- order:  order_id, received_ms, event_id
-- params: tenant_id, visitors, clicks, from_ms and to_ms (order time, both inclusive); customers: a few customer keys, which an index
--         finds, or many_customers, for which every order is looked at once
SELECT
    order_id, event_id, visitor_id, click_id, customer_keys, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, test
FROM orders
WHERE tenant_id = {tenant_id:String}
    AND order_id IN (
        SELECT order_id FROM orders
        WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)}
            AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        UNION ALL
        SELECT order_id FROM orders
        WHERE tenant_id = {tenant_id:String} AND click_id IN {clicks:Array(String)}
            AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        UNION ALL
        SELECT order_id FROM orders
        WHERE tenant_id = {tenant_id:String} AND hasAny(customer_keys, {customers:Array(String)})
            AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        UNION ALL
        SELECT order_id FROM orders
        WHERE tenant_id = {tenant_id:String} AND notEmpty({many_customers:Array(String)})
            AND arrayExists(key -> key IN {many_customers:Array(String)}, customer_keys)
            AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    )
ORDER BY order_id, received_ms, event_id
SETTINGS output_format_json_quote_64bit_integers = 0
