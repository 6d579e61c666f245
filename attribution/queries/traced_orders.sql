-- traced_orders: orders of a period with the decision in force and its trace, a page of them.
-- scope:  one tenant
-- grain:  one row per order; of several events under one id the earliest received is the order. Tests are left out
-- order:  order_id
-- params: tenant_id, from_ms (inclusive), to_ms (exclusive), after ('' for the first page), most
WITH
    placed AS (
        SELECT
            order_id AS placed_id,
            argMin(currency, (received_at, event_id)) AS placed_currency,
            argMin(arraySum(lines.net_minor), (received_at, event_id)) AS order_net_minor,
            argMin(occurred_at, (received_at, event_id)) AS placed_at,
            argMin(test, (received_at, event_id)) AS is_test
        FROM orders
        WHERE tenant_id = {tenant_id:String}
          AND order_id > {after:String}
          AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        GROUP BY order_id
        HAVING NOT is_test
        ORDER BY order_id
        LIMIT {most:UInt32}
    ),
    decided AS (
        SELECT
            order_id AS decided_id,
            argMax(trace, (revision, stored_at)) AS last_trace,
            argMax(credits.touch_id, (revision, stored_at)) AS touch_ids,
            argMax(credits.affiliate_id, (revision, stored_at)) AS earner_ids,
            argMax(credits.numerator, (revision, stored_at)) AS numerators,
            argMax(credits.denominator, (revision, stored_at)) AS denominators
        FROM decisions
        WHERE tenant_id = {tenant_id:String} AND order_id IN (SELECT placed_id FROM placed)
        GROUP BY order_id
    )
SELECT
    placed_id AS order_id, placed_currency, order_net_minor, toUnixTimestamp64Milli(placed_at) AS placed_ms,
    last_trace, earner_ids, touch_ids, numerators, denominators
FROM placed
LEFT JOIN decided ON decided_id = placed_id
ORDER BY order_id
