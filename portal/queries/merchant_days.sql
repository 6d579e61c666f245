-- merchant_days: how many people clicked, how many orders came and how many of them were credited, day by day (UTC).
-- scope:  one tenant
-- grain:  one row per day that has any of the three
-- order:  oldest first
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive)
SELECT
    day_at,
    sum(day_clicks) AS clicks,
    sum(day_orders) AS orders,
    sum(day_credited) AS credited
FROM (
    SELECT
        intDiv(toUnixTimestamp64Milli(occurred_at), 86400000) * 86400000 AS day_at,
        uniqExact(touch_id) AS day_clicks,
        0 AS day_orders,
        0 AS day_credited
    FROM touches
    WHERE tenant_id = {tenant_id:String}
      AND kind = 'click'
      AND traffic_class = 'human'
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY day_at

    UNION ALL

    SELECT
        intDiv(toUnixTimestamp64Milli(occurred_at), 86400000) * 86400000 AS day_at,
        0 AS day_clicks,
        uniqExact(order_id) AS day_orders,
        0 AS day_credited
    FROM orders
    WHERE tenant_id = {tenant_id:String}
      AND NOT test
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY day_at

    UNION ALL

    SELECT
        intDiv(toUnixTimestamp64Milli(placed_at), 86400000) * 86400000 AS day_at,
        0 AS day_clicks,
        0 AS day_orders,
        countIf(last_result = 'credited') AS day_credited
    FROM (
        SELECT order_id, any(ordered_at) AS placed_at, argMax(result, revision) AS last_result
        FROM decisions
        WHERE tenant_id = {tenant_id:String}
          AND NOT startsWith(order_id, ' ')
          AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        GROUP BY order_id
    )
    GROUP BY day_at
)
GROUP BY day_at
ORDER BY day_at
