-- merchant_affiliates: human clicks and credited orders of each affiliate in a period.
-- scope:  one tenant
-- grain:  one row per (programme, affiliate) that has either
-- order:  by programme, then affiliate
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive)
SELECT
    programme_id,
    affiliate_id,
    sum(their_clicks) AS clicks,
    sum(their_orders) AS orders
FROM (
    SELECT programme_id, affiliate_id, uniqExact(touch_id) AS their_clicks, 0 AS their_orders
    FROM touches
    WHERE tenant_id = {tenant_id:String}
      AND kind = 'click'
      AND traffic_class = 'human'
      AND affiliate_id != ''
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY programme_id, affiliate_id

    UNION ALL

    SELECT last_programme_id AS programme_id, earner_id AS affiliate_id, 0 AS their_clicks, uniqExact(order_id) AS their_orders
    FROM (
        SELECT
            order_id,
            argMax(programme_id, revision) AS last_programme_id,
            argMax(credits.affiliate_id, revision) AS earner_ids
        FROM decisions
        WHERE tenant_id = {tenant_id:String}
          AND NOT startsWith(order_id, ' ')
          AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        GROUP BY order_id
    )
    ARRAY JOIN earner_ids AS earner_id
    GROUP BY programme_id, affiliate_id
)
GROUP BY programme_id, affiliate_id
ORDER BY programme_id, affiliate_id
