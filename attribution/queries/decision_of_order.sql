-- decision_of_order: the decision in force for one order, with its trace and how many revisions there have been.
-- scope:  one tenant
-- grain:  one row, or none where the order was never decided
-- order:  revision, highest first
-- params: tenant_id, order_id
SELECT
    revision, programme_id, policy_version, result,
    `credits.affiliate_id`, `credits.touch_id`, `credits.numerator`, `credits.denominator`,
    trace, inputs_hash, toUnixTimestamp64Milli(decided_at) AS decided_ms, customer_status, segments, override,
    order_number, toUnixTimestamp64Milli(first_ordered_at) AS first_ordered_ms,
    count() OVER () AS revisions
FROM (
    SELECT * FROM decisions
    WHERE tenant_id = {tenant_id:String} AND order_id = {order_id:String}
    ORDER BY revision DESC, stored_at DESC
    LIMIT 1 BY revision
)
ORDER BY revision DESC
LIMIT 1
