-- latest_decisions: the decisions in force for the given orders, without their traces.
-- scope:  one tenant
-- grain:  one row per decided order
-- order:  order_id; the highest revision is in force
-- params: tenant_id, order_ids
SELECT
    order_id, revision, programme_id, policy_version, result, toUnixTimestamp64Milli(ordered_at) AS ordered_ms,
    `credits.affiliate_id`, `credits.touch_id`, `credits.numerator`, `credits.denominator`, customer_status, segments, override,
    order_number, toUnixTimestamp64Milli(first_ordered_at) AS first_ordered_ms
FROM decisions
WHERE tenant_id = {tenant_id:String} AND order_id IN {order_ids:Array(String)}
ORDER BY order_id, revision DESC, stored_at DESC
LIMIT 1 BY order_id
SETTINGS output_format_json_quote_64bit_integers = 0
