-- affiliate_conversions: orders that an affiliate had a part in: credited to it, or with one of its touches among the candidates.
-- scope:  installation, because an affiliate works for several tenants: bound to its id and to the tenants it joined
-- grain:  one row per order whose decision in force names the affiliate; own_steps are its lines of the trace, as JSON arrays
-- order:  newest first; tenant_id and order_id break ties
-- params: tenant_ids, affiliate_id, from_ms (inclusive), to_ms (exclusive), part ('credited', 'missed', or '' for both),
--         before_ms, before_tenant and before_id (only orders further down than this one; to_ms and '' begin at the top), most
SELECT
    decided.tenant_id AS tenant_id,
    decided.order_id AS order_id,
    toUnixTimestamp64Milli(decided.placed_at) AS ordered_at,
    toUnixTimestamp64Milli(decided.last_decided_at) AS decided_at,
    decided.last_programme_id AS programme_id,
    decided.is_credited AS credited,
    decided.numerators AS numerators,
    decided.denominators AS denominators,
    decided.steps AS own_steps,
    placed.order_channel AS channel,
    placed.order_currency AS currency,
    placed.order_net_minor AS net_minor
FROM (
    SELECT
        tenant_id,
        order_id,
        any(ordered_at) AS placed_at,
        argMax(decided_at, revision) AS last_decided_at,
        argMax(programme_id, revision) AS last_programme_id,
        has(argMax(credits.affiliate_id, revision), {affiliate_id:String}) AS is_credited,
        arrayFilter((part, earner) -> earner = {affiliate_id:String}, argMax(credits.numerator, revision), argMax(credits.affiliate_id, revision)) AS numerators,
        arrayFilter((part, earner) -> earner = {affiliate_id:String}, argMax(credits.denominator, revision), argMax(credits.affiliate_id, revision)) AS denominators,
        arrayFilter(
            -- a step is [[touch_id, class, programme_id, affiliate_id, …], verdict, figure]
            step -> JSONExtractString(step, 1, 4) = {affiliate_id:String},
            JSONExtractArrayRaw(argMax(trace, revision))
        ) AS steps
    FROM decisions
    WHERE tenant_id IN {tenant_ids:Array(String)}
      AND ordered_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND ordered_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY tenant_id, order_id
) AS decided
INNER JOIN (
    SELECT tenant_id, order_id, any(channel) AS order_channel, any(currency) AS order_currency, any(net_minor) AS order_net_minor
    FROM orders
    WHERE tenant_id IN {tenant_ids:Array(String)}
      AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY tenant_id, order_id
) AS placed ON placed.tenant_id = decided.tenant_id AND placed.order_id = decided.order_id
WHERE (decided.is_credited OR notEmpty(decided.steps))
  AND ({part:String} = '' OR decided.is_credited = ({part:String} = 'credited'))
  AND (toUnixTimestamp64Milli(decided.placed_at), decided.tenant_id, decided.order_id)
    < ({before_ms:Int64}, {before_tenant:String}, {before_id:String})
ORDER BY ordered_at DESC, tenant_id DESC, order_id DESC
LIMIT {most:UInt32}
