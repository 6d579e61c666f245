-- recent_leads: leads stored lately, second by second, so that a change shows.
-- scope:  installation, because it finds the tenants that have anything new: bound to those whose rate cards pay for leads
-- grain:  one row per (tenant, second of storing)
-- order:  tenant_id, second
-- params: tenant_ids, from_ms (inclusive)
SELECT
    tenant_id, intDiv(toUnixTimestamp64Milli(stored_at), 1000) AS second, sum(sipHash64(lead_id, event_id)) AS fingerprint,
    toUnixTimestamp64Milli(max(stored_at)) AS newest_ms, count() AS leads
FROM leads
WHERE tenant_id IN {tenant_ids:Array(String)} AND stored_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
GROUP BY tenant_id, second
ORDER BY tenant_id, second
