-- joined_clicks: touches that events have named, beside other keys or an order by itself, and the visitors who made them.
-- scope:  one tenant
-- grain:  one row per named touch; other_key is empty where nothing is on record of it, or not who made it
-- order:  key; of duplicates the one stored first
-- params: tenant_id, secret_1 and secret_2 (of the hash)
WITH named AS (
    SELECT substring(key, 3) AS touch_id FROM identity_links WHERE tenant_id = {tenant_id:String} AND key >= 'c:' AND key < 'c;'
    UNION DISTINCT
    SELECT click_id AS touch_id FROM orders WHERE tenant_id = {tenant_id:String} AND click_id <> ''
)
SELECT
    concat('c:', named.touch_id) AS key, if(made.visitor_id = '', '', concat('v:', made.visitor_id)) AS other_key,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), key) AS hash, cityHash64(key) AS check,
    sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), other_key) AS other_hash, cityHash64(other_key) AS other_check,
    toUnixTimestamp64Milli(made.occurred_at) AS linked_ms
FROM named
LEFT JOIN (
    SELECT touch_id, visitor_id, occurred_at
    FROM touches
    WHERE tenant_id = {tenant_id:String} AND kind <> 'impression' AND touch_id IN (SELECT touch_id FROM named)
    ORDER BY touch_id, stored_at, traffic_class
    LIMIT 1 BY touch_id
) AS made ON made.touch_id = named.touch_id
ORDER BY key
