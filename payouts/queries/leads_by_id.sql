-- leads_by_id: the given leads, and what rate cards may ask of them.
-- scope:  one tenant
-- grain:  one row per lead: the first event under its id, should the store hold several
-- order:  lead_id; of several events the one received first, then the smallest id
-- params: tenant_id, lead_ids, digests (of lead ids of more than 122 characters: those are asked for by them)
SELECT
    lead_id, event_id, name, channel, country, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms
FROM leads
WHERE tenant_id = {tenant_id:String}
    AND (
        lead_id IN {lead_ids:Array(String)}
        OR (notEmpty({digests:Array(String)}) AND lengthUTF8(lead_id) > 122 AND lower(hex(SHA256(lead_id))) IN {digests:Array(String)})
    )
ORDER BY lead_id, received_at, event_id
LIMIT 1 BY lead_id
