-- links_of_keys: everything that has linked the given keys with others, and when.
-- scope:  one tenant
-- grain:  one row per (key, other key, event)
-- order:  event_id, key, other_key
-- params: tenant_id, keys
SELECT event_id, key, other_key, toUnixTimestamp64Milli(min(linked_at)) AS linked_ms
FROM identity_links
WHERE tenant_id = {tenant_id:String} AND key IN {keys:Array(String)}
GROUP BY event_id, key, other_key
ORDER BY event_id, key, other_key
