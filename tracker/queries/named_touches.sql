-- named_touches: imported touches by the names that their files gave them, of which the last 16 letters of an id are made.
-- scope:  one tenant
-- grain:  one row per touch
-- order:  touch_id
-- params: tenant_id, letters (of the names); from_ms, to_ms (inclusive, when the touches happened)
SELECT DISTINCT touch_id
FROM touches
WHERE tenant_id = {tenant_id:String} AND source = 'import' AND substring(touch_id, 11) IN {letters:Array(String)}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY touch_id
