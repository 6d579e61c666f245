-- orders_naming_late_touches: orders that name a touch which was stored lately, as their click or in a claim: it was not there before.
-- scope:  one tenant
-- grain:  one row per order
-- order:  order_id
-- params: tenant_id, since_ms (time of storing, inclusive)
WITH late AS (
    SELECT touch_id FROM touches
    WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
)
SELECT order_id FROM orders
WHERE tenant_id = {tenant_id:String} AND click_id <> '' AND click_id IN (SELECT touch_id FROM late)
UNION DISTINCT
SELECT order_id FROM orders
WHERE tenant_id = {tenant_id:String} AND claims <> ''
    AND arrayExists(token -> token IN (SELECT touch_id FROM late), extractAll(claims, '"token":"([^"]+)"'))
ORDER BY order_id
