-- missed_clicks: touches that were stored lately and that an order or another event names: they join its keys to a visitor.
-- scope:  one tenant
-- grain:  one row per touch
-- order:  touch_id
-- params: tenant_id, since_ms (time of storing, inclusive)
WITH stored AS (
    SELECT touch_id
    FROM touches
    WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND kind <> 'impression'
)
SELECT DISTINCT touch_id
FROM stored
WHERE touch_id IN (
        SELECT click_id FROM orders WHERE tenant_id = {tenant_id:String} AND click_id IN (SELECT touch_id FROM stored)
    )
    OR concat('c:', touch_id) IN (
        SELECT key FROM identity_links
        WHERE tenant_id = {tenant_id:String} AND key IN (SELECT concat('c:', touch_id) FROM stored)
    )
ORDER BY touch_id
