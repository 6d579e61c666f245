-- merchant_orders: one screen of orders with the decision in force, filtered as a merchant asks.
-- scope:  one tenant
-- grain:  one row per order; result 'pending' is an order that no run has decided yet
-- order:  newest first; order_id breaks ties
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive), result, channel, affiliate_id (each '' for all),
--         before_ms and before_id (only orders further down than this one; to_ms and '' begin at the top), most
SELECT
    placed.order_id AS order_id,
    toUnixTimestamp64Milli(placed.placed_at) AS occurred_at,
    placed.order_channel AS channel,
    placed.order_store_id AS store_id,
    placed.order_currency AS currency,
    placed.order_net_minor AS net_minor,
    placed.is_test AS test,
    ifNull(decided.last_result, 'pending') AS result,
    ifNull(decided.last_programme_id, '') AS programme_id,
    ifNull(decided.earners, '') AS earners,
    placed.order_id IN (SELECT order_id FROM refunds WHERE tenant_id = {tenant_id:String}) AS refunded
FROM (
    SELECT
        order_id,
        any(occurred_at) AS placed_at,
        any(channel) AS order_channel,
        any(store_id) AS order_store_id,
        any(currency) AS order_currency,
        any(net_minor) AS order_net_minor,
        any(test) AS is_test
    FROM orders
    WHERE tenant_id = {tenant_id:String}
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      AND ({channel:String} = '' OR channel = {channel:String})
    GROUP BY order_id
) AS placed
LEFT JOIN (
    SELECT
        order_id,
        argMax(result, revision) AS last_result,
        argMax(programme_id, revision) AS last_programme_id,
        arrayStringConcat(arraySort(arrayDistinct(argMax(credits.affiliate_id, revision))), ' ') AS earners
    FROM decisions
    WHERE tenant_id = {tenant_id:String}
      AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY order_id
) AS decided ON decided.order_id = placed.order_id
WHERE ({result:String} = '' OR result = {result:String})
  AND ({affiliate_id:String} = '' OR has(splitByChar(' ', earners), {affiliate_id:String}))
  AND (
    toUnixTimestamp64Milli(placed.placed_at) < {before_ms:Int64}
    OR (toUnixTimestamp64Milli(placed.placed_at) = {before_ms:Int64} AND placed.order_id < {before_id:String})
  )
ORDER BY occurred_at DESC, order_id DESC
LIMIT {most:UInt32}
SETTINGS join_use_nulls = 1
