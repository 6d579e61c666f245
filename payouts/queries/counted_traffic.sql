-- counted_traffic: how many people's unique clicks, or impressions, some affiliates brought within a time.
-- scope:  one tenant
-- grain:  one row per (programme, affiliate) and set of the attributes that are asked for (the others are empty), with a mark of its touches
-- order:  by the key
-- params: tenant_id, kind, from_ms (inclusive), to_ms (exclusive), per_link (1: unique for each link, 0: for all links of a programme together),
--         asked (names of attributes), without_source, programme_ids and affiliate_ids (pair by pair),
--         active_since_ms (inclusive) and active_until_ms (exclusive; of each pair: when its touches may earn)
SELECT
    programme_id, affiliate_id,
    if(has({asked:Array(String)}, 'country'), country, '') AS of_country,
    if(has({asked:Array(String)}, 'device'), device, '') AS of_device,
    if(has({asked:Array(String)}, 'channel'), channel, '') AS of_channel,
    if(has({asked:Array(String)}, 'link'), link_code, '') AS of_link,
    if(has({asked:Array(String)}, 'referrer'), domain(referrer), '') AS of_referrer,
    arrayMap((sub, number) -> if(has({asked:Array(String)}, concat('sub', toString(number))), sub, ''), subs, arrayEnumerate(subs)) AS of_subs,
    count() AS touched, sum(cityHash64(touch_id)) AS mark
FROM
(
    -- The first of each visitor; of each address and user agent where there is no visitor. Without either nobody can tell one from another.
    SELECT *
    FROM
    (
        SELECT
            touch_id, programme_id, affiliate_id, country, device, channel, link_code, referrer, subs, occurred_at, visitor_id, ip, user_agent,
            indexOf(
                arrayMap((programme, affiliate) -> concat(programme, '/', affiliate), {programme_ids:Array(String)}, {affiliate_ids:Array(String)}),
                concat(programme_id, '/', affiliate_id)
            ) AS pair
        FROM touches
        WHERE tenant_id = {tenant_id:String} AND kind = {kind:String} AND traffic_class = 'human' AND source <> {without_source:String}
            AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            AND occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
            AND affiliate_id IN {affiliate_ids:Array(String)} AND programme_id IN {programme_ids:Array(String)}
        ORDER BY touch_id, visitor_id = '', ip = '', stored_at
        LIMIT 1 BY touch_id
    )
    WHERE pair > 0
        AND toUnixTimestamp64Milli(occurred_at) >= {active_since_ms:Array(Int64)}[pair]
        AND toUnixTimestamp64Milli(occurred_at) < {active_until_ms:Array(Int64)}[pair]
        AND (visitor_id <> '' OR ip <> '')
    ORDER BY occurred_at, touch_id
    LIMIT 1 BY programme_id, affiliate_id, if({per_link:UInt8} = 1, link_code, ''), visitor_id, if(visitor_id = '', ip, ''), if(visitor_id = '', user_agent, '')
)
GROUP BY programme_id, affiliate_id, of_country, of_device, of_channel, of_link, of_referrer, of_subs
ORDER BY programme_id, affiliate_id, of_country, of_device, of_channel, of_link, of_referrer, of_subs
