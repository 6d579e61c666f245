-- oldest_links: what has linked the given keys, with each other or with any others: the oldest links, and how many there are.
-- scope:  one tenant
-- grain:  one row per (key, other key, event), the lower key first
-- order:  linked_ms, low, high, event_id
-- params: tenant_id, keys, most
SELECT event_id, low, high, toUnixTimestamp64Milli(at) AS linked_ms, count() OVER () AS links
FROM (
    SELECT event_id, least(key, other_key) AS low, greatest(key, other_key) AS high, min(linked_at) AS at
    FROM identity_links
    WHERE tenant_id = {tenant_id:String} AND key IN {keys:Array(String)}
    GROUP BY event_id, low, high
)
ORDER BY linked_ms, low, high, event_id
LIMIT {most:UInt32}
