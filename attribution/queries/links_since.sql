-- links_since: what events have shown together, of all that was stored from some moment on, in one range of keys.
-- scope:  one tenant
-- grain:  one row per stored link, the lower key first
-- order:  none that matters: a link is a link, wherever it stands; sorting them took a quarter of the time
-- params: tenant_id, since_ms (time of storing, inclusive), from_key (exclusive), to_key (inclusive), secret_1 and secret_2 (of the hash)
SELECT
    key, other_key,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), key) AS hash, cityHash64(key) AS check,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), other_key) AS other_hash, cityHash64(other_key) AS other_check,
    toUnixTimestamp64Milli(linked_at) AS linked_ms, toUnixTimestamp64Milli(stored_at) AS stored_ms,
    cityHash64(key, other_key, event_id) AS row
FROM identity_links
WHERE tenant_id = {tenant_id:String} AND key < other_key
    AND key > {from_key:String} AND key <= {to_key:String}
    AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY tuple()
