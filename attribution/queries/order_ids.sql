-- order_ids: one page of a tenant's orders.
-- scope:  one tenant
-- grain:  one row per order id
-- order:  order_id
-- params: tenant_id, from_ms and to_ms (order time, both inclusive), after (the last id of the page before), page
SELECT DISTINCT order_id
FROM orders
WHERE tenant_id = {tenant_id:String} AND order_id > {after:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY order_id
LIMIT {page:UInt32}
