-- leads_naming_late_touches: leads that name a touch which was stored lately as their click: it was not there before.
-- scope:  one tenant
-- grain:  one row per lead
-- order:  lead_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT DISTINCT lead_id
FROM leads
WHERE tenant_id = {tenant_id:String} AND click_id <> ''
    AND click_id IN (
        SELECT touch_id FROM touches
        WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    )
ORDER BY lead_id
