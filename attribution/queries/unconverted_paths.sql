-- unconverted_paths: what visitors met who placed no order in the period, as paths and how many visitors each has.
-- scope:  one tenant
-- grain:  one row per pair of paths (by affiliate, by channel); people's touches of the period only, a visitor's latest `longest`
-- order:  most visitors first, then by the paths
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive), longest, most
WITH
    met AS (
        SELECT visitor_id, occurred_at, touch_id, kind, affiliate_id, channel, origin, medium
        FROM touches
        WHERE tenant_id = {tenant_id:String}
          AND visitor_id <> ''
          AND traffic_class = 'human'
          AND (affiliate_id <> '' OR kind IN ('paid', 'direct'))
          AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND visitor_id NOT IN (
              SELECT visitor_id FROM orders
              WHERE tenant_id = {tenant_id:String}
                AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
                AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          )
        ORDER BY touch_id, stored_at
        LIMIT 1 BY touch_id
    ),
    travelled AS (
        SELECT arraySlice(arraySort(groupArray((
            occurred_at, touch_id, affiliate_id,
            multiIf(
                kind = 'direct', ':direct',
                kind = 'paid', if(origin = '' AND medium = '', ':paid', concat(':paid ', origin, '/', medium)),
                toString(channel)
            )
        ))), -{longest:Int32}) AS steps
        FROM met
        GROUP BY visitor_id
    )
SELECT
    arrayMap(step -> if(step.3 = '', step.4, step.3), steps) AS by_affiliate,
    arrayMap(step -> step.4, steps) AS by_channel,
    count() AS visitors,
    sum(count()) OVER () AS all_visitors
FROM travelled
GROUP BY by_affiliate, by_channel
ORDER BY visitors DESC, by_affiliate, by_channel
LIMIT {most:UInt32}
