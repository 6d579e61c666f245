-- decided_orders: how many orders are decided, and what their credits say, as one number.
-- scope:  one tenant
-- grain:  one row
-- order:  orders (there is one row)
-- params: tenant_id
SELECT
    count() AS orders, countIf(result IN ('credited', 'split')) AS credited,
    sum(cityHash64(order_id, `credits.affiliate_id`, `credits.touch_id`, `credits.numerator`, `credits.denominator`)) AS fingerprint,
    sum(length(trace)) AS trace_bytes
FROM decisions
WHERE tenant_id = {tenant_id:String}
ORDER BY orders
