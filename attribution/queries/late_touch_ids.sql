-- late_touch_ids: touches that were stored lately, whoever made them.
-- scope:  one tenant
-- grain:  one row per touch
-- order:  touch_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT DISTINCT touch_id
FROM touches
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY touch_id
