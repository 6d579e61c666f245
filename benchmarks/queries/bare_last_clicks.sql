-- bare_last_clicks: the last click before each order, by its visitor or its click id, as one join and one aggregate.
-- scope:  one tenant
-- grain:  one row per order that has one
-- order:  order_id
-- params: tenant_id, window_ms
WITH matched AS (
    SELECT orders.order_id AS order_id, orders.occurred_at AS ordered_at, touches.occurred_at AS at, touches.touch_id AS touch, touches.affiliate_id AS who
    FROM touches INNER JOIN orders ON touches.visitor_id = orders.visitor_id
    WHERE orders.tenant_id = {tenant_id:String} AND touches.tenant_id = {tenant_id:String} AND orders.visitor_id <> ''
        AND touches.traffic_class = 'human'
    UNION ALL
    SELECT orders.order_id, orders.occurred_at, touches.occurred_at, touches.touch_id, touches.affiliate_id
    FROM touches INNER JOIN orders ON touches.touch_id = orders.click_id
    WHERE orders.tenant_id = {tenant_id:String} AND touches.tenant_id = {tenant_id:String} AND orders.click_id <> ''
        AND touches.traffic_class = 'human'
)
SELECT order_id, argMax(who, (at, touch)) AS affiliate_id, argMax(touch, (at, touch)) AS touch_id
FROM matched
WHERE at <= ordered_at AND toUnixTimestamp64Milli(ordered_at) - toUnixTimestamp64Milli(at) <= {window_ms:Int64}
GROUP BY order_id
ORDER BY order_id
