-- doubled_orders: order ids that several events bear.
-- scope:  one tenant
-- grain:  one row per order id
-- order:  order_id
-- params: tenant_id
SELECT order_id
FROM orders
WHERE tenant_id = {tenant_id:String}
GROUP BY order_id
HAVING uniqExact(event_id) > 1
ORDER BY order_id
SETTINGS optimize_aggregation_in_order = 1
