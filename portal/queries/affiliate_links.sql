-- affiliate_links: clicks of an affiliate's links in a period.
-- scope:  installation, because an affiliate works for several tenants: bound to its id and to the tenants it joined
-- grain:  one row per (tenant, link) that was clicked
-- order:  by tenant, then link code
-- params: tenant_ids, affiliate_id, from_ms (inclusive), to_ms (exclusive)
SELECT
    tenant_id,
    link_code,
    uniqExact(touch_id) AS clicks,
    uniqExactIf(touch_id, traffic_class = 'human') AS human_clicks,
    toUnixTimestamp64Milli(max(occurred_at)) AS last_click_at
FROM touches
WHERE tenant_id IN {tenant_ids:Array(String)}
  AND affiliate_id = {affiliate_id:String}
  AND kind = 'click'
  AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
GROUP BY tenant_id, link_code
ORDER BY tenant_id, link_code
