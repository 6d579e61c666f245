-- bad_records: every spool record that could not be used, once, with the hour it is counted in.
-- scope:  installation, because a record that cannot be read belongs to no tenant; a tenant_id narrows it to one tenant
-- grain:  one row per record: spool folder, segment and position
-- order:  spool folder, segment, position
-- params: tenant_id (empty: all), stored_ms (inclusive, time of storing), first_segment (inclusive) or from_ms (inclusive, time of
--  receipt): what belongs to neither is out of the spool's sight; most (rows)
SELECT
    spool_id,
    segment,
    position,
    any(tenant_id) AS tenant,
    intDiv(toUnixTimestamp64Milli(any(received_at)), 3600000) * 3600000 AS hour
FROM bad_rows
WHERE stored_at <= fromUnixTimestamp64Milli({stored_ms:Int64}, 'UTC')
    AND (segment >= {first_segment:String} OR received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'))
    AND reason <> 'link_refused'
    AND ({tenant_id:String} = '' OR tenant_id = {tenant_id:String})
GROUP BY spool_id, segment, position
ORDER BY spool_id, segment, position
LIMIT {most:UInt32}
