-- touches_of_crowd: one page of the touches of a visitor that has very many.
-- scope:  one tenant
-- grain:  one row per stored touch; the same touch may be stored twice
-- order:  occurred_at, touch_id: from the oldest to the latest
-- params: tenant_id, visitor_id, from_ms and to_ms (both inclusive), after_id (the last touch of the page before, of from_ms), page
SELECT
    touch_id, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    concat(
        kind, '\x7f', programme_id, '\x7f', affiliate_id, '\x7f', channel, '\x7f', traffic_class, '\x7f', consent, '\x7f',
        toString(lengthUTF8(link_code)), '\x7f', link_code, if(origin = '' AND medium = '', '', concat(origin, '/', medium))
    ) AS facet,
    visitor_id
FROM touches
WHERE tenant_id = {tenant_id:String} AND visitor_id = {visitor_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND (occurred_at > fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') OR touch_id > {after_id:String})
ORDER BY touches.occurred_at, touch_id, facet
LIMIT {page:UInt32}
SETTINGS output_format_json_quote_64bit_integers = 0
