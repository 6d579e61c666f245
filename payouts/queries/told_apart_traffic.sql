-- told_apart_traffic: by what people's clicks, or impressions, can be told apart still: fewer than before where identifiers were forgotten.
-- scope:  one tenant
-- grain:  one row per (programme, affiliate)
-- order:  by programme, then affiliate
-- params: tenant_id, kind, from_ms (inclusive), to_ms (exclusive), without_source, programme_ids and affiliate_ids (pair by pair),
--         known_until_ms (of each pair: up to when touches were stored that are counted as known, inclusive)
SELECT
    programme_id, affiliate_id,
    countIf(visitor_id <> '' AND is_known) AS known_named, countIf(visitor_id = '' AND ip <> '' AND is_known) AS known_addressed,
    countIf(visitor_id <> '') AS named, countIf(visitor_id = '' AND ip <> '') AS addressed, toUnixTimestamp64Milli(max(stored_at)) AS newest_ms
FROM
(
    SELECT
        touch_id, programme_id, affiliate_id, visitor_id, ip, stored_at,
        indexOf(
            arrayMap((programme, affiliate) -> concat(programme, '/', affiliate), {programme_ids:Array(String)}, {affiliate_ids:Array(String)}),
            concat(programme_id, '/', affiliate_id)
        ) AS pair,
        toUnixTimestamp64Milli(stored_at) <= {known_until_ms:Array(Int64)}[pair] AS is_known
    FROM touches
    WHERE tenant_id = {tenant_id:String} AND kind = {kind:String} AND traffic_class = 'human' AND source <> {without_source:String}
        AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        AND affiliate_id IN {affiliate_ids:Array(String)} AND programme_id IN {programme_ids:Array(String)}
    ORDER BY touch_id, visitor_id = '', ip = '', stored_at
    LIMIT 1 BY touch_id
)
WHERE pair > 0
GROUP BY programme_id, affiliate_id
ORDER BY programme_id, affiliate_id
