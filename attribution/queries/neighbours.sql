-- neighbours: the keys that the given keys were seen together with.
-- scope:  one tenant
-- grain:  one row per key that has any; `others` is empty where more than `most` were stored before a moment (`earlier` of them)
-- order:  key; others sorted
-- params: tenant_id, keys, earlier_than_ms, most
SELECT
    key,
    countIf(first_stored_at < fromUnixTimestamp64Milli({earlier_than_ms:Int64}, 'UTC')) AS earlier,
    if(earlier > {most:UInt32}, [], arraySort(groupArray(other_key))) AS others
FROM (
    SELECT key, other_key, min(stored_at) AS first_stored_at
    FROM identity_links
    WHERE tenant_id = {tenant_id:String} AND key IN {keys:Array(String)}
    GROUP BY key, other_key
)
GROUP BY key
ORDER BY key
