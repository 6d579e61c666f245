-- order_clicks_since: the clicks that orders stored from some moment on name.
-- scope:  one tenant
-- grain:  one row per click id
-- order:  click_id
-- params: tenant_id, since_ms (time of storing, inclusive)
SELECT click_id, toUnixTimestamp64Milli(max(stored_at)) AS stored_ms
FROM orders
WHERE tenant_id = {tenant_id:String} AND click_id <> '' AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
GROUP BY click_id
ORDER BY click_id
