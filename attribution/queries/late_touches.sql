-- late_touches: visitors with touches that were stored lately and happened before some order, so that one of them may matter to it.
-- scope:  one tenant
-- grain:  one row per visitor, with its first and last such touch
-- order:  first_ms, visitor_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT
    visitor_id, toUnixTimestamp64Milli(min(occurred_at)) AS first_ms, toUnixTimestamp64Milli(max(occurred_at)) AS last_ms
FROM touches
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND visitor_id <> ''
    AND occurred_at <= (SELECT max(occurred_at) FROM orders WHERE tenant_id = {tenant_id:String})
GROUP BY visitor_id
ORDER BY first_ms, visitor_id
