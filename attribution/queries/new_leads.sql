-- new_leads: leads that were stored lately.
-- scope:  one tenant
-- grain:  one row per lead id
-- order:  lead_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT DISTINCT lead_id
FROM leads
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY lead_id
