-- returning_orders: which of the given orders have an earlier order of the tenant that shares a customer key; tests are no history.
-- scope:  one tenant
-- grain:  one row per returning order
-- order:  order_id
-- params: tenant_id, order_ids
WITH
    asked AS
    (
        SELECT order_id, (occurred_at, event_id) AS placed, arrayJoin(customer_keys) AS key
        FROM orders
        WHERE tenant_id = {tenant_id:String} AND order_id IN {order_ids:Array(String)}
    ),
    first_orders AS
    (
        SELECT arrayJoin(customer_keys) AS key, min((occurred_at, event_id)) AS placed, argMin(order_id, (occurred_at, event_id)) AS order_id
        FROM orders
        WHERE tenant_id = {tenant_id:String} AND NOT test AND hasAny(customer_keys, (SELECT groupUniqArray(key) FROM asked))
        GROUP BY key
    )
SELECT DISTINCT asked.order_id AS order_id
FROM asked INNER JOIN first_orders ON asked.key = first_orders.key
WHERE first_orders.placed < asked.placed AND first_orders.order_id <> asked.order_id
ORDER BY order_id
