-- analyst_conversions: orders and their net value by one dimension, each order in exactly one row, or split so that parts sum to it.
-- scope:  one tenant
-- grain:  one row per (key, currency, numerator, denominator); an order's part in the row is that fraction of its amounts
-- order:  by key, currency, numerator, denominator
-- params: tenant_id, dimension, from_ms (inclusive), to_ms (exclusive),
--         programme_id, channel, store_id, affiliate_id, result, customer_status, segment (each '' for all)
-- Amounts are sums of whole orders (of lines, by category): the fraction is applied outside, exactly. Test orders are left out.
-- Customer and segments are what the decision took them for; the status as sent where it is not decided, or was before there were any.
WITH
    placed AS (
        SELECT
            order_id AS placed_id,
            argMin(occurred_at, (received_at, event_id)) AS placed_at,
            argMin(channel, (received_at, event_id)) AS placed_channel,
            argMin(store_id, (received_at, event_id)) AS placed_store_id,
            argMin(currency, (received_at, event_id)) AS placed_currency,
            argMin(country, (received_at, event_id)) AS placed_country,
            argMin(customer_status, (received_at, event_id)) AS placed_status,
            argMin(coupons, (received_at, event_id)) AS placed_coupons,
            argMin(lines.category, (received_at, event_id)) AS line_categories,
            argMin(lines.net_minor, (received_at, event_id)) AS line_nets,
            argMin(test, (received_at, event_id)) AS is_test
        FROM orders
        WHERE tenant_id = {tenant_id:String}
          AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        GROUP BY order_id
    ),
    decided AS (
        SELECT
            order_id AS decided_id,
            argMax(result, revision) AS last_result,
            argMax(programme_id, revision) AS last_programme_id,
            argMax(credits.affiliate_id, revision) AS earner_ids,
            argMax(credits.touch_id, revision) AS earner_touch_ids,
            argMax(credits.numerator, revision) AS numerators,
            argMax(credits.denominator, revision) AS denominators,
            argMax(customer_status, revision) AS last_status,
            argMax(segments, revision) AS last_segments
        FROM decisions
        WHERE tenant_id = {tenant_id:String}
          AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        GROUP BY order_id
    ),
    returned AS (
        SELECT
            order_id AS returned_id,
            sum(refund_minor) AS refunded_minor,
            max(is_all) AS is_all_returned
        FROM (
            SELECT
                order_id,
                if(empty(any(lines.line_id)), ifNull(any(net_minor), 0), arraySum(any(lines.net_minor))) AS refund_minor,
                empty(any(lines.line_id)) AND isNull(any(net_minor)) AS is_all
            FROM refunds
            WHERE tenant_id = {tenant_id:String}
              AND order_id IN (SELECT placed_id FROM placed)
            GROUP BY order_id, refund_id
        )
        GROUP BY order_id
    ),
    devices AS (
        SELECT touch_id AS device_touch_id, any(device) AS touch_device
        FROM touches
        WHERE tenant_id = {tenant_id:String}
          AND {dimension:String} = 'device'
          AND touch_id IN (SELECT arrayJoin(earner_touch_ids) FROM decided)
        GROUP BY touch_id
    ),
    whole AS (
        SELECT
            *,
            arraySum(line_nets) AS order_net_minor,
            if(is_all_returned, order_net_minor, least(order_net_minor, refunded_minor)) AS order_refunded_minor,
            if(last_status = '', placed_status, last_status) AS order_status
        FROM placed
        LEFT JOIN decided ON decided_id = placed_id
        LEFT JOIN returned ON returned_id = placed_id
        LEFT JOIN devices ON device_touch_id = earner_touch_ids[1]
        WHERE NOT is_test
          AND ({programme_id:String} = '' OR last_programme_id = {programme_id:String})
          AND ({channel:String} = '' OR placed_channel = {channel:String})
          AND ({store_id:String} = '' OR placed_store_id = {store_id:String})
          AND ({affiliate_id:String} = '' OR has(earner_ids, {affiliate_id:String}))
          AND ({result:String} = '' OR if(last_result = '', 'pending', last_result) = {result:String})
          AND ({customer_status:String} = '' OR order_status = {customer_status:String})
          AND ({segment:String} = '' OR has(last_segments, {segment:String}))
    ),
    parts AS (
        SELECT
            placed_id,
            placed_currency,
            arrayJoin(
                multiIf(
                    {dimension:String} = 'affiliate' AND notEmpty(earner_ids),
                    arrayMap(
                        (earner, numerator, denominator) -> (earner, order_net_minor, order_refunded_minor, numerator, denominator),
                        earner_ids, numerators, denominators
                    ),
                    {dimension:String} = 'category',
                    arrayMap(
                        (category, net) -> (category, net, toInt64(0), toInt64(1), toInt64(1)),
                        line_categories, line_nets
                    ),
                    [(
                        multiIf(
                            {dimension:String} = 'day', toString(toDate(placed_at, 'UTC')),
                            {dimension:String} = 'channel', placed_channel,
                            {dimension:String} = 'store', placed_store_id,
                            {dimension:String} = 'programme', last_programme_id,
                            {dimension:String} = 'country', placed_country,
                            {dimension:String} = 'device', if(empty(earner_ids), '', if(touch_device = '', 'unknown', touch_device)),
                            {dimension:String} = 'coupon', arrayStringConcat(arraySort(arrayDistinct(placed_coupons)), ' + '),
                            {dimension:String} = 'customer', order_status,
                            {dimension:String} = 'segment', arrayStringConcat(arraySort(last_segments), ' + '),
                            {dimension:String} = 'result', if(last_result = '', 'pending', last_result),
                            ''
                        ),
                        order_net_minor, order_refunded_minor, toInt64(1), toInt64(1)
                    )]
                )
            ) AS part
        FROM whole
    )
SELECT
    part.1 AS key,
    placed_currency AS currency,
    part.4 AS numerator,
    part.5 AS denominator,
    uniqExact(placed_id) AS orders,
    sum(part.2) AS net_minor,
    sum(part.3) AS refunded_minor
FROM parts
GROUP BY key, currency, numerator, denominator
ORDER BY key, currency, numerator, denominator
