-- late_touches_until: visitors with touches that were stored lately and happened by a given time, so that one of them may matter to a lead.
-- scope:  one tenant
-- grain:  one row per visitor, with its first and last such touch
-- order:  first_ms, visitor_id
-- params: tenant_id, since_ms (time of storing, inclusive), to_ms (time of the touch, inclusive)
SELECT
    visitor_id, toUnixTimestamp64Milli(min(occurred_at)) AS first_ms, toUnixTimestamp64Milli(max(occurred_at)) AS last_ms
FROM touches
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND visitor_id <> ''
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
GROUP BY visitor_id
ORDER BY first_ms, visitor_id
