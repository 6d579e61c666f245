-- leads_by_id: the given leads as they were recorded.
-- scope:  one tenant
-- grain:  one row per lead id; of several events under one id the earliest is the lead
-- order:  lead_id
-- params: tenant_id, lead_ids, digests (of lead ids of more than 122 characters: those are asked for by them)
SELECT
    lead_id, event_id, visitor_id, click_id, customer_keys, toUnixTimestamp64Milli(occurred_at) AS occurred_ms,
    toUnixTimestamp64Milli(received_at) AS received_ms, channel, source, country
FROM leads
WHERE tenant_id = {tenant_id:String}
    AND (
        lead_id IN {lead_ids:Array(String)}
        OR (notEmpty({digests:Array(String)}) AND lengthUTF8(lead_id) > 122 AND lower(hex(SHA256(lead_id))) IN {digests:Array(String)})
    )
ORDER BY lead_id, received_at, event_id, stored_at
LIMIT 1 BY lead_id
SETTINGS output_format_json_quote_64bit_integers = 0
