-- clicks_by_id: the touches with the given ids, of any kind.
-- scope:  one tenant
-- grain:  one row per stored touch; the same touch may be stored twice
-- order:  touch_id, facet
-- params: tenant_id, touch_ids, from_ms and to_ms (both inclusive; the ids say when they were minted)
SELECT
    touch_id, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    concat(
        kind, '\x7f', programme_id, '\x7f', affiliate_id, '\x7f', channel, '\x7f', traffic_class, '\x7f', consent, '\x7f',
        toString(lengthUTF8(link_code)), '\x7f', link_code, if(origin = '' AND medium = '', '', concat(origin, '/', medium))
    ) AS facet,
    visitor_id
FROM touches
WHERE tenant_id = {tenant_id:String} AND touch_id IN {touch_ids:Array(String)}
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY touch_id, facet
SETTINGS output_format_json_quote_64bit_integers = 0
