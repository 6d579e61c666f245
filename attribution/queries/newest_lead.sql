-- newest_lead: when a tenant's last lead happened; 1970 where it has none.
-- scope:  one tenant
-- grain:  one row
-- order:  newest_ms (there is one)
-- params: tenant_id
SELECT toUnixTimestamp64Milli(max(occurred_at)) AS newest_ms
FROM leads
WHERE tenant_id = {tenant_id:String}
ORDER BY newest_ms
