-- clicks_by_id: the clicks with the given ids.
-- scope:  one tenant
-- grain:  one row per click that is on record
-- order:  touch_id; of duplicates the one stored first
-- params: tenant_id, touch_ids, from_ms and to_ms (both inclusive; the ids say when they were minted)
SELECT
    touch_id, kind, programme_id, affiliate_id, toUnixTimestamp64Milli(occurred_at) AS occurred_ms, link_code, channel,
    traffic_class, visitor_id
FROM touches
WHERE tenant_id = {tenant_id:String} AND touch_id IN {touch_ids:Array(String)} AND kind = 'click'
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY touch_id, stored_at, traffic_class
LIMIT 1 BY touch_id
