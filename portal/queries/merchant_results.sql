-- merchant_results: how the orders of a period were decided, and what they were worth net. Test orders are left out.
-- scope:  one tenant
-- grain:  one row per (result, currency); result 'pending' is an order that no run has decided yet
-- order:  by result, then currency
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive)
SELECT
    ifNull(decided.last_result, 'pending') AS result,
    placed.order_currency AS currency,
    count() AS orders,
    sum(placed.order_net_minor) AS net_minor
FROM (
    SELECT order_id, any(currency) AS order_currency, any(net_minor) AS order_net_minor
    FROM orders
    WHERE tenant_id = {tenant_id:String}
      AND NOT test
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY order_id
) AS placed
LEFT JOIN (
    SELECT order_id, argMax(result, revision) AS last_result
    FROM decisions
    WHERE tenant_id = {tenant_id:String}
      AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY order_id
) AS decided ON decided.order_id = placed.order_id
GROUP BY result, currency
ORDER BY result, currency
SETTINGS join_use_nulls = 1
