-- decisions_placed: the decision in force of each order placed within a time, without its trace; columns as in newest_decisions.
-- scope:  one tenant
-- grain:  one row per order: the highest revision
-- order:  order_id
-- params: tenant_id, from_ms and to_ms (both inclusive)
SELECT
    order_id, revision, programme_id, policy_version, result,
    credits.affiliate_id, credits.touch_id, credits.numerator, credits.denominator, inputs_hash,
    customer_status, segments, order_number, toUnixTimestamp64Milli(first_ordered_at) AS first_ordered_ms
FROM decisions
WHERE tenant_id = {tenant_id:String}
    AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND ordered_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY order_id, revision DESC, decided_at DESC, inputs_hash
LIMIT 1 BY order_id
