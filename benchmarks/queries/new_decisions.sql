-- new_decisions: the orders decided since an instant.
-- scope:  installation, because a benchmark's store has one tenant
-- grain:  one row per stored decision
-- order:  stored_ms, order_id
-- params: after_ms (time of storing, exclusive)
SELECT order_id, toUnixTimestamp64Milli(stored_at) AS stored_ms
FROM decisions
WHERE stored_at > fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')
ORDER BY stored_ms, order_id
