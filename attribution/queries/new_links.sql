-- new_links: keys that were seen together, or whose link was revoked, lately: what a process that starts may have missed.
-- scope:  one tenant
-- grain:  one row per key
-- order:  key
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT DISTINCT key
FROM (
    SELECT key FROM identity_links
    WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    UNION ALL
    SELECT arrayJoin([key, other_key]) AS key FROM identity_revocations
    WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
)
WHERE key <> ''
ORDER BY key
