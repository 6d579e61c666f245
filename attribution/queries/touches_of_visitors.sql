-- touches_of_visitors: the touches of some visitors, each in a time of its own.
-- scope:  one tenant
-- grain:  one row per visitor; of one with more than `crowd` touches (1,000 at most), only how many they are
-- order:  visitor_id; the touches of a visitor are in no order
-- params: tenant_id; visitors, lows, highs: three arrays of equal length, one element per visitor, times inclusive; earliest_ms and
--         latest_ms (over all of them); crowd
SELECT
    visitor_id, if(count() > {crowd:UInt32}, [], groupArray(1001)(touch_id)) AS touch_ids,
    if(count() > {crowd:UInt32}, [], groupArray(1001)(occurred_ms)) AS times, if(count() > {crowd:UInt32}, [], groupArray(1001)(facet)) AS facets,
    count() AS found
FROM (
    SELECT
        visitor_id, touch_id, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
        concat(
            kind, '\x7f', programme_id, '\x7f', affiliate_id, '\x7f', channel, '\x7f', traffic_class, '\x7f', consent, '\x7f',
            toString(lengthUTF8(link_code)), '\x7f', link_code, if(origin = '' AND medium = '', '', concat(origin, '/', medium))
        ) AS facet
    FROM touches
    WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)}
        AND occurred_at >= fromUnixTimestamp64Milli({earliest_ms:Int64}, 'UTC')
        AND occurred_at <= fromUnixTimestamp64Milli({latest_ms:Int64}, 'UTC')
) AS touched
INNER JOIN (
    SELECT wanted.1 AS visitor_id, wanted.2 AS low, wanted.3 AS high
    FROM (SELECT arrayJoin(arrayZip({visitors:Array(String)}, {lows:Array(Int64)}, {highs:Array(Int64)})) AS wanted)
) AS wanted USING (visitor_id)
WHERE occurred_ms >= low AND occurred_ms <= high
GROUP BY visitor_id
ORDER BY visitor_id
SETTINGS output_format_json_quote_64bit_integers = 0
