-- merchant_bad_rows: what the drain could not use in a period, by reason.
-- scope:  one tenant
-- grain:  one row per reason
-- order:  most rows first; the reason breaks ties
-- params: tenant_id, from_ms (inclusive, time of receipt), to_ms (exclusive)
SELECT
    reason,
    uniqExact(spool_id, segment, position) AS bad_rows,
    toUnixTimestamp64Milli(max(received_at)) AS last_at
FROM bad_rows
WHERE tenant_id = {tenant_id:String}
  AND received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND received_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
GROUP BY reason
ORDER BY bad_rows DESC, reason
