-- order_refunds: what was taken back from one order.
-- scope:  one tenant
-- grain:  one row per refund; net_minor is what its lines sum to, or what it names, or null for "all that remains"
-- order:  oldest first; refund_id breaks ties
-- params: tenant_id, order_id
SELECT
    refund_id,
    toUnixTimestamp64Milli(any(occurred_at)) AS refunded_at,
    any(currency) AS refund_currency,
    if(empty(any(lines.line_id)), any(net_minor), arraySum(any(lines.net_minor))) AS refund_net_minor,
    any(reason) AS refund_reason
FROM refunds
WHERE tenant_id = {tenant_id:String} AND order_id = {order_id:String}
GROUP BY refund_id
ORDER BY refunded_at, refund_id
