-- touches_of_slice: the touches of the visitors that the orders of one slice of a bulk run carry.
-- scope:  one tenant
-- grain:  one row per visitor; of one with more than `crowd` touches (1,000 at most), only how many they are
-- order:  none, because the reader takes the rows by visitor, and sorting them would cost as much as finding them
-- params: tenant_id, from_ms and to_ms (order time, both inclusive), after (exclusive) and until (inclusive) of the ids;
--         lookback_ms (before an order's time); earliest_ms (the first order's, less that); crowd
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
    WHERE tenant_id = {tenant_id:String}
        AND occurred_at >= fromUnixTimestamp64Milli({earliest_ms:Int64}, 'UTC')
        AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS touched
INNER JOIN (
    SELECT
        visitor_id, min(toUnixTimestamp64Milli(occurred_at)) - {lookback_ms:Int64} AS low, max(toUnixTimestamp64Milli(occurred_at)) AS high
    FROM orders
    WHERE tenant_id = {tenant_id:String} AND visitor_id <> ''
        AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        AND order_id > {after:String} AND order_id <= {until:String}
    GROUP BY visitor_id
) AS wanted USING (visitor_id)
WHERE occurred_ms >= low AND occurred_ms <= high
GROUP BY visitor_id
SETTINGS output_format_json_quote_64bit_integers = 0
