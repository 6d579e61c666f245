-- leads_by_keys: leads that carry one of the given keys, or name a touch of one of the given visitors.
-- scope:  one tenant
-- grain:  one row per lead id
-- order:  lead_id
-- params: tenant_id, visitors, clicks, customers (customer keys), from_ms and to_ms (the lead's time, both inclusive)
SELECT DISTINCT lead_id
FROM leads
WHERE tenant_id = {tenant_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND (
        visitor_id IN {visitors:Array(String)}
        OR click_id IN {clicks:Array(String)}
        OR (click_id <> '' AND click_id IN (
            SELECT touch_id FROM touches
            WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)} AND kind <> 'impression'
        ))
        OR arrayExists(key -> key IN {customers:Array(String)}, customer_keys)
    )
ORDER BY lead_id
