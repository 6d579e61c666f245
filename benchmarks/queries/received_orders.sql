-- received_orders: when each order was received.
-- scope:  installation, because a benchmark's store has one tenant
-- grain:  one row per order
-- order:  order_id
-- params: none
SELECT order_id, toUnixTimestamp64Milli(min(received_at)) AS received_ms
FROM orders
GROUP BY order_id
ORDER BY order_id
