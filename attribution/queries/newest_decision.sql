-- newest_decision: when the latest decision was stored, so that the next is stored after it.
-- scope:  installation, because whoever polls decisions keeps one position for all tenants
-- grain:  one row
-- order:  newest_ms (there is one)
-- params: none
SELECT toUnixTimestamp64Milli(max(stored_at)) AS newest_ms FROM decisions ORDER BY newest_ms
