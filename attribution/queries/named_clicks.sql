-- named_clicks: touches of no visitor that were stored lately: an order may have named one before it arrived.
-- scope:  one tenant
-- grain:  one row per touch
-- order:  touch_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT DISTINCT touch_id
FROM touches
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND visitor_id = ''
    AND kind <> 'impression'
ORDER BY touch_id
