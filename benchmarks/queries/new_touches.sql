-- new_touches: when the touches stored since an instant were received and stored.
-- scope:  installation, because a benchmark's store has one tenant
-- grain:  one row per touch
-- order:  stored_ms, touch_id
-- params: after_ms (time of storing, exclusive)
SELECT toUnixTimestamp64Milli(received_at) AS received_ms, toUnixTimestamp64Milli(stored_at) AS stored_ms
FROM touches
WHERE stored_at > fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')
ORDER BY stored_ms, touch_id
