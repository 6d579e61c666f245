-- makers_of_touches: the visitors who made the given touches.
-- scope:  one tenant
-- grain:  one row per touch that is on record and has a visitor
-- order:  key; of duplicates the one stored first
-- params: tenant_id, touch_ids, from_ms and to_ms (both inclusive; the ids say when they were minted),
--         secret_1 and secret_2 (of the hash)
SELECT
    concat('c:', touch_id) AS key, concat('v:', visitor_id) AS other_key,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), key) AS hash, cityHash64(key) AS check,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), other_key) AS other_hash, cityHash64(other_key) AS other_check,
    toUnixTimestamp64Milli(occurred_at) AS linked_ms
FROM touches
WHERE tenant_id = {tenant_id:String} AND touch_id IN {touch_ids:Array(String)} AND visitor_id <> '' AND kind <> 'impression'
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY key, stored_at, traffic_class
LIMIT 1 BY key
