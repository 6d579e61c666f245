-- bare_journeys: every order's touches, joined and sorted by time, and nothing else: the least that a decision needs from the store.
-- scope:  one tenant
-- grain:  one row
-- order:  touches (there is one row)
-- params: tenant_id, window_ms
SELECT sum(length(path)) AS touches, sum(cityHash64(path)) AS fingerprint
FROM (
    SELECT orders.order_id, arraySort(groupArray((touches.occurred_at, touches.touch_id, touches.affiliate_id, touches.kind))) AS path
    FROM touches
    INNER JOIN orders ON touches.visitor_id = orders.visitor_id
    WHERE orders.tenant_id = {tenant_id:String} AND touches.tenant_id = {tenant_id:String}
        AND touches.occurred_at <= orders.occurred_at
        AND touches.occurred_at >= subtractMilliseconds(orders.occurred_at, {window_ms:Int64})
    GROUP BY orders.order_id
)
ORDER BY touches
