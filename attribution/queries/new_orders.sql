-- new_orders: orders that were stored lately.
-- scope:  one tenant
-- grain:  one row per order id
-- order:  order_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT DISTINCT order_id
FROM orders
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY order_id
