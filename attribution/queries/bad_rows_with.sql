-- bad_rows_with: records that were set aside and that hold an identifier.
-- scope:  one tenant
-- grain:  one row per record
-- order:  spool_id, segment, position
-- params: tenant_id, texts (any of which is to be found), rows (at most)
SELECT
    spool_id, segment, position, toString(reason) AS reason, detail, raw, toUnixTimestamp64Milli(received_at) AS received_ms,
    toUnixTimestamp64Milli(stored_at) AS stored_ms, sipHash64(detail, raw) AS row
FROM bad_rows
WHERE tenant_id = {tenant_id:String} AND (arrayExists(text -> position(raw, text) > 0 OR position(detail, text) > 0, {texts:Array(String)}))
ORDER BY spool_id, segment, position
LIMIT {rows:UInt32}
