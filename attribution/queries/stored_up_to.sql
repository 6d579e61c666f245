-- stored_up_to: when the latest of what joins persons was stored.
-- scope:  one tenant
-- grain:  one row
-- order:  newest_ms (there is one row)
-- params: tenant_id
SELECT greatest(
    (SELECT toUnixTimestamp64Milli(max(stored_at)) FROM identity_links WHERE tenant_id = {tenant_id:String}),
    (SELECT toUnixTimestamp64Milli(max(stored_at)) FROM orders WHERE tenant_id = {tenant_id:String}),
    (SELECT toUnixTimestamp64Milli(max(stored_at)) FROM touches WHERE tenant_id = {tenant_id:String})
) AS newest_ms
ORDER BY newest_ms
