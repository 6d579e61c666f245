-- stored_events: how many of the events received in each hour are stored, each counted once, and how many rows they take.
-- scope:  installation, because conservation proves it of everything received; a tenant_id narrows it to one tenant
-- grain:  one row per tenant and hour of receipt
-- order:  tenant, then hour
-- params: tenant_id (empty: all), from_ms (inclusive, time of receipt), stored_ms (inclusive, time of storing)
SELECT tenant_id, hour, sum(events) AS events, sum(stored_rows) AS stored_rows
FROM (
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, uniqExact(touch_id) AS events, count() AS stored_rows
    FROM touches
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC')
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour
    UNION ALL
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, uniqExact(event_id) AS events, count() AS stored_rows
    FROM leads
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC')
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour
    UNION ALL
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, uniqExact(event_id) AS events, count() AS stored_rows
    FROM orders
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC')
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour
    UNION ALL
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, uniqExact(event_id) AS events, count() AS stored_rows
    FROM refunds
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC')
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour
)
GROUP BY tenant_id, hour
ORDER BY tenant_id, hour
