-- orders_by_keys: orders that carry one of the given keys, or name a click of one of the given visitors.
-- scope:  one tenant
-- grain:  one row per order id
-- order:  order_id
-- params: tenant_id, visitors, clicks, customers (customer keys), from_ms and to_ms (order time, both inclusive)
SELECT DISTINCT order_id
FROM orders
WHERE tenant_id = {tenant_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND (
        visitor_id IN {visitors:Array(String)}
        OR click_id IN {clicks:Array(String)}
        OR arrayExists(key -> key IN {customers:Array(String)}, customer_keys)
        OR click_id IN (
            SELECT touch_id FROM touches
            WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)} AND kind = 'click'
        )
    )
ORDER BY order_id
