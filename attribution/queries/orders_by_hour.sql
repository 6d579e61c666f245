-- orders_by_hour: how many orders were placed in each hour.
-- scope:  one tenant
-- grain:  one row per hour that has any
-- order:  hour_ms
-- params: tenant_id, from_ms and to_ms (order time, both inclusive)
SELECT toUnixTimestamp64Milli(toDateTime64(toStartOfHour(occurred_at), 3, 'UTC')) AS hour_ms, count() AS orders
FROM orders
WHERE tenant_id = {tenant_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
GROUP BY hour_ms
ORDER BY hour_ms
