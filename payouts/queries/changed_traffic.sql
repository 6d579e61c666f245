-- changed_traffic: when and for whom people's clicks and impressions were made that were stored at or after an instant.
-- scope:  installation, because one accrual loop serves all tenants: bound to those whose rate cards pay for traffic
-- grain:  one row per (tenant, programme, affiliate, kind, quarter of an hour), with the last time of storing and a mark that differs with every touch stored since
-- order:  oldest change first, then by the key, so that the last row is where the next page begins
-- params: tenant_ids, since_ms (time of storing, inclusive), from_ms (time of the touch, inclusive), without_source,
--         after_ms, after_tenant, after_programme, after_affiliate, after_kind, after_quarter_ms (the last row of the page before; exclusive), at_most
SELECT
    tenant_id, programme_id, affiliate_id, kind, intDiv(toUnixTimestamp(occurred_at), 900) * 900000 AS quarter_ms,
    toUnixTimestamp64Milli(max(stored_at)) AS changed_ms, sum(cityHash64(touch_id, stored_at)) AS mark
FROM touches
WHERE tenant_id IN {tenant_ids:Array(String)}
    AND kind IN ('click', 'impression') AND traffic_class = 'human' AND affiliate_id <> '' AND source <> {without_source:String}
    AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
GROUP BY tenant_id, programme_id, affiliate_id, kind, quarter_ms
HAVING (changed_ms, tenant_id, programme_id, affiliate_id, kind, quarter_ms)
    > ({after_ms:Int64}, {after_tenant:String}, {after_programme:String}, {after_affiliate:String}, {after_kind:String}, {after_quarter_ms:Int64})
ORDER BY changed_ms, tenant_id, programme_id, affiliate_id, kind, quarter_ms
LIMIT {at_most:UInt32}
