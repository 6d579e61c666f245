-- credited_touches: what rate cards may ask of the given touches.
-- scope:  one tenant
-- grain:  one row per touch that is on record: the first stored, should the store hold it twice
-- order:  touch_id; of duplicates the one stored first, then by class
-- params: tenant_id, touch_ids, to_ms (inclusive; no touch earns from an order before it)
SELECT touch_id, kind, toUnixTimestamp64Milli(occurred_at) AS occurred_ms, country, device, channel, link_code, referrer, subs
FROM touches
WHERE tenant_id = {tenant_id:String} AND touch_id IN {touch_ids:Array(String)}
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY touch_id, touches.stored_at, traffic_class
LIMIT 1 BY touch_id
