-- clicks_of_slice: the clicks that the orders of one slice of a bulk run name.
-- scope:  one tenant
-- grain:  one row per stored touch; the same touch may be stored twice
-- order:  touch_id, facet
-- params: tenant_id, from_ms and to_ms (order time, both inclusive), after (exclusive) and until (inclusive) of the ids;
--         first_ms and last_ms (both inclusive; the named ids say when they were minted)
SELECT
    touch_id, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    concat(
        kind, '\x7f', programme_id, '\x7f', affiliate_id, '\x7f', channel, '\x7f', traffic_class, '\x7f', consent, '\x7f',
        toString(lengthUTF8(link_code)), '\x7f', link_code, if(origin = '' AND medium = '', '', concat(origin, '/', medium))
    ) AS facet,
    visitor_id
FROM touches
WHERE tenant_id = {tenant_id:String}
    AND occurred_at >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')
    AND occurred_at <= fromUnixTimestamp64Milli({last_ms:Int64}, 'UTC')
    AND touch_id IN (
        SELECT click_id
        FROM orders
        WHERE tenant_id = {tenant_id:String} AND click_id <> ''
            AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
            AND order_id > {after:String} AND order_id <= {until:String}
    )
ORDER BY touch_id, facet
SETTINGS output_format_json_quote_64bit_integers = 0
