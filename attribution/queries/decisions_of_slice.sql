-- decisions_of_slice: the decisions in force for the orders of one slice of a bulk run, without their traces.
-- scope:  one tenant
-- grain:  one row per decided order
-- order:  order_id; the highest revision is in force
-- params: tenant_id, from_ms and to_ms (order time, both inclusive), after (exclusive) and until (inclusive) of the ids
SELECT
    order_id, revision, programme_id, policy_version, result, toUnixTimestamp64Milli(ordered_at) AS ordered_ms,
    `credits.affiliate_id`, `credits.touch_id`, `credits.numerator`, `credits.denominator`, customer_status, segments, override,
    order_number, toUnixTimestamp64Milli(first_ordered_at) AS first_ordered_ms
FROM decisions
WHERE tenant_id = {tenant_id:String}
    AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND ordered_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND order_id > {after:String} AND order_id <= {until:String}
ORDER BY order_id, revision DESC, stored_at DESC
LIMIT 1 BY order_id
SETTINGS output_format_json_quote_64bit_integers = 0
