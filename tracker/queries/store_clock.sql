-- store_clock: what time it is where the events are kept.
-- scope:  installation, because a clock belongs to no tenant
-- grain:  one row
-- order:  there is but one
-- params: none
SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms
ORDER BY now_ms
