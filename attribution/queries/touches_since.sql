-- touches_since: touches that were stored from some moment on, and the visitors who made them.
-- scope:  one tenant
-- grain:  one row per touch of a visitor
-- order:  key; of duplicates the one stored first
-- params: tenant_id, since_ms (time of storing, inclusive), secret_1 and secret_2 (of the hash)
SELECT
    concat('c:', touch_id) AS key, concat('v:', visitor_id) AS other_key,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), key) AS hash, cityHash64(key) AS check,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), other_key) AS other_hash, cityHash64(other_key) AS other_check,
    toUnixTimestamp64Milli(occurred_at) AS linked_ms, toUnixTimestamp64Milli(stored_at) AS stored_ms
FROM touches
WHERE tenant_id = {tenant_id:String} AND visitor_id <> '' AND kind <> 'impression'
    AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY key, touches.stored_at, traffic_class
LIMIT 1 BY key
