-- stored_ids: every click and order that is stored, with the number of its rows.
-- scope:  installation, because a benchmark's store has one tenant
-- grain:  one row per event
-- order:  kind, then id
-- params: none
SELECT 'click' AS kind, touch_id AS id, count() AS copies
FROM touches
GROUP BY touch_id
UNION ALL
SELECT 'order' AS kind, order_id AS id, count() AS copies
FROM orders
GROUP BY order_id
ORDER BY kind, id
