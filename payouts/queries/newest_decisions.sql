-- newest_decisions: the decision in force of each of the given orders, without its trace.
-- scope:  one tenant
-- grain:  one row per order: the highest revision
-- order:  order_id
-- params: tenant_id, order_ids
SELECT
    order_id, revision, programme_id, policy_version, result,
    credits.affiliate_id, credits.touch_id, credits.numerator, credits.denominator, inputs_hash,
    customer_status, segments, order_number, toUnixTimestamp64Milli(first_ordered_at) AS first_ordered_ms
FROM decisions
WHERE tenant_id = {tenant_id:String} AND order_id IN {order_ids:Array(String)}
ORDER BY order_id, revision DESC, decided_at DESC, inputs_hash
LIMIT 1 BY order_id
