-- new_orders: orders that were stored lately.
-- scope:  one tenant
-- grain:  one row per order id
-- order:  order_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT order_id, toUnixTimestamp64Milli(min(occurred_at)) AS occurred_ms
FROM orders
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
GROUP BY order_id
ORDER BY order_id
