-- lead_ids: one page of a tenant's leads.
-- scope:  one tenant
-- grain:  one row per lead id
-- order:  lead_id
-- params: tenant_id, from_ms and to_ms (the lead's time, both inclusive), after (the last id of the page before), page
SELECT DISTINCT lead_id
FROM leads
WHERE tenant_id = {tenant_id:String} AND lead_id > {after:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY lead_id
LIMIT {page:UInt32}
