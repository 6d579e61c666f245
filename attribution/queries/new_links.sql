-- new_links: keys that were seen together for the first time lately.
-- scope:  one tenant
-- grain:  one row per key
-- order:  key
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT DISTINCT key
FROM (
    SELECT key, other_key
    FROM identity_links
    WHERE tenant_id = {tenant_id:String} AND key IN (
        SELECT key FROM identity_links
        WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    )
    GROUP BY key, other_key
    HAVING min(stored_at) >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
)
ORDER BY key
