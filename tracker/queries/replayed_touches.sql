-- replayed_touches: what became of the clicks of one replayed log, by class, country and device.
-- scope:  installation, because a replay is found by its own random id, whichever tenant's link it clicked
-- grain:  one row per traffic class, country and device kind
-- order:  class, country, device
-- params: run_id, from_ms (inclusive, time of storing)
SELECT traffic_class, country, device, uniqExact(touch_id) AS touches, uniqExact(subs[2]) AS lines
FROM touches
WHERE stored_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND subs[1] = {run_id:String}
GROUP BY traffic_class, country, device
ORDER BY traffic_class, country, device
