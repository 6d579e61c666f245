-- touches_of_visitors: the touches of each order's visitors in the time that the order looks back over.
-- scope:  one tenant
-- grain:  one row per (order, touch); of each kind, people's and others', the latest `most` of an order
-- order:  the order's number, kind, people's touches last, latest first, highest touch_id first
-- params: tenant_id; numbers, visitors, from_ms, to_ms: four arrays of equal length, one element per (order, visitor), times inclusive;
--         earliest_ms, latest_ms (over all of them); most; rows (where so many come back, some are missing)
WITH wanted AS (
    SELECT pair.1 AS number, pair.2 AS visitor_id, pair.3 AS from_ms, pair.4 AS to_ms
    FROM (
        SELECT arrayJoin(arrayZip(
            {numbers:Array(UInt32)}, {visitors:Array(String)}, {from_ms:Array(Int64)}, {to_ms:Array(Int64)}
        )) AS pair
    )
),
touched AS (
    SELECT
        touch_id, kind, programme_id, affiliate_id, toUnixTimestamp64Milli(occurred_at) AS occurred_ms, link_code, channel,
        traffic_class, visitor_id
    FROM touches
    WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)}
        AND occurred_at >= fromUnixTimestamp64Milli({earliest_ms:Int64}, 'UTC')
        AND occurred_at <= fromUnixTimestamp64Milli({latest_ms:Int64}, 'UTC')
    ORDER BY touch_id, stored_at, traffic_class
    LIMIT 1 BY touch_id
)
SELECT
    wanted.number AS number, touched.touch_id AS touch_id, touched.kind AS kind, touched.programme_id, touched.affiliate_id,
    touched.occurred_ms AS occurred_ms, touched.link_code, touched.channel, touched.traffic_class, touched.visitor_id,
    count() OVER (PARTITION BY wanted.number) AS found
FROM touched
INNER JOIN wanted ON wanted.visitor_id = touched.visitor_id
WHERE touched.occurred_ms >= wanted.from_ms AND touched.occurred_ms <= wanted.to_ms
ORDER BY number, kind, touched.traffic_class = 'human', occurred_ms DESC, touch_id DESC
LIMIT {most:UInt32} BY number, kind, touched.traffic_class = 'human'
LIMIT {rows:UInt32}
