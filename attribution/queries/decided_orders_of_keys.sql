-- decided_orders_of_keys: orders that carry one of the given keys, or name a click of one of the given visitors, and are decided.
-- scope:  one tenant
-- grain:  one row per order id
-- order:  order_id
-- params: tenant_id, visitors, clicks, customers (customer keys)
SELECT DISTINCT order_id
FROM orders
WHERE tenant_id = {tenant_id:String} AND (
        visitor_id IN {visitors:Array(String)}
        OR click_id IN {clicks:Array(String)}
        OR hasAny(customer_keys, {customers:Array(String)})
        OR click_id IN (
            SELECT touch_id FROM touches WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)} AND kind = 'click'
        )
    )
    AND order_id IN (SELECT order_id FROM decisions WHERE tenant_id = {tenant_id:String})
ORDER BY order_id
