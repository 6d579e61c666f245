-- affiliate_days: an affiliate's clicks and credited orders, day by day.
-- scope:  installation, because an affiliate works for several tenants: bound to its id and to the tenants it joined
-- grain:  one row per (day, tenant) that has either; a day is UTC
-- order:  by day, then tenant
-- params: tenant_ids, affiliate_id, from_ms (inclusive), to_ms (exclusive)
SELECT
    toUnixTimestamp(day) * 1000 AS day_ms,
    tenant_id,
    sum(their_clicks) AS clicks,
    sum(their_human_clicks) AS human_clicks,
    sum(their_conversions) AS conversions
FROM (
    SELECT
        toStartOfDay(occurred_at, 'UTC') AS day,
        tenant_id,
        uniqExact(touch_id) AS their_clicks,
        uniqExactIf(touch_id, traffic_class = 'human') AS their_human_clicks,
        0 AS their_conversions
    FROM touches
    WHERE tenant_id IN {tenant_ids:Array(String)}
      AND affiliate_id = {affiliate_id:String}
      AND kind = 'click'
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY day, tenant_id

    UNION ALL

    SELECT toStartOfDay(placed_at, 'UTC') AS day, tenant_id, 0 AS their_clicks, 0 AS their_human_clicks, count() AS their_conversions
    FROM (
        SELECT tenant_id, order_id, any(ordered_at) AS placed_at, argMax(credits.affiliate_id, revision) AS earner_ids
        FROM decisions
        WHERE tenant_id IN {tenant_ids:Array(String)}
          AND NOT startsWith(order_id, ' ')
          AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        GROUP BY tenant_id, order_id
    )
    WHERE has(earner_ids, {affiliate_id:String})
    GROUP BY day, tenant_id
)
GROUP BY day, tenant_id
ORDER BY day_ms, tenant_id
