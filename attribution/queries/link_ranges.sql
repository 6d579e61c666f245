-- link_ranges: keys from here and there in the table of links, to read it in parts of about equal size.
-- scope:  one tenant
-- grain:  one row per `every` stored rows of each part of the table, and for the first of each
-- order:  key
-- params: tenant_id, since_ms (time of storing, inclusive), every
SELECT key
FROM identity_links
PREWHERE _part_offset % {every:UInt32} = 0
WHERE tenant_id = {tenant_id:String} AND stored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY key
