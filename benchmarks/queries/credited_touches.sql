-- credited_touches: who earns each order, by the decision in force.
-- scope:  one tenant
-- grain:  one row per credited order
-- order:  order_id
-- params: tenant_id
SELECT order_id, `credits.affiliate_id`[1] AS affiliate_id, `credits.touch_id`[1] AS touch_id
FROM (
    SELECT order_id, result, `credits.affiliate_id`, `credits.touch_id`
    FROM decisions
    WHERE tenant_id = {tenant_id:String}
    ORDER BY order_id, revision DESC
    LIMIT 1 BY order_id
)
WHERE result = 'credited'
ORDER BY order_id
