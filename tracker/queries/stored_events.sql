-- stored_events: events stored by hour of receipt, in how many rows, their ids' checksums summed; and apart, how many were imported.
-- scope:  installation, because conservation proves it of everything received; a tenant_id narrows it to one tenant
-- grain:  one row per tenant and hour of receipt
-- order:  tenant, then hour
-- params: tenant_id (empty: all), from_ms (inclusive, time of receipt), stored_ms (inclusive, time of storing, of what was not
--  imported)
SELECT
    tenant_id, hour, countIf(NOT imported) AS events, sumIf(copies, NOT imported) AS stored_rows, sumIf(CRC32(id), NOT imported) AS prints,
    countIf(imported) AS imports
FROM (
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, touch_id AS id, source = 'import' AS imported,
        count() AS copies
    FROM touches
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND (imported OR stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC'))
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour, id, imported
    UNION ALL
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, event_id AS id, source = 'import' AS imported,
        count() AS copies
    FROM leads
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND (imported OR stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC'))
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour, id, imported
    UNION ALL
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, event_id AS id, source = 'import' AS imported,
        count() AS copies
    FROM orders
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND (imported OR stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC'))
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour, id, imported
    UNION ALL
    SELECT tenant_id, intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, event_id AS id, source = 'import' AS imported,
        count() AS copies
    FROM refunds
    WHERE received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND (imported OR stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC'))
        AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
    GROUP BY tenant_id, hour, id, imported
)
GROUP BY tenant_id, hour
ORDER BY tenant_id, hour
SETTINGS max_bytes_before_external_group_by = 1000000000
