-- copies_of_key: where the events store holds an identifier, in the columns made for it or, if it is long enough to be told, anywhere.
-- scope:  one tenant
-- grain:  one row per table
-- order:  place
-- params: tenant_id, key (as it is linked), visitor_id (of a visitor's key, else empty), needle (text to be found anywhere; empty: nowhere)
WITH {needle:String} AS needle
SELECT place, copies
FROM (
    SELECT 'identity_links' AS place, count() AS copies FROM identity_links
    WHERE tenant_id = {tenant_id:String} AND ({key:String} IN (key, other_key) OR (needle <> '' AND position(concat(key, '\n', other_key, '\n', event_id), needle) > 0))
    UNION ALL
    SELECT 'identity_revocations', count() FROM identity_revocations
    WHERE tenant_id = {tenant_id:String} AND ({key:String} IN (key, other_key) OR (needle <> '' AND position(concat(key, '\n', other_key, '\n', reason), needle) > 0))
    UNION ALL
    SELECT 'touches', count() FROM touches
    WHERE tenant_id = {tenant_id:String} AND (has(customer_keys, {key:String}) OR (visitor_id <> '' AND visitor_id = {visitor_id:String})
        OR (needle <> '' AND position(arrayStringConcat(arrayConcat(subs, customer_keys, arrayMap(flag -> toString(flag), flags), [
            touch_id, toString(kind), toString(programme_id), toString(affiliate_id), link_code, visitor_id, toString(channel),
            toString(traffic_class), class_reason, toString(list_version), toString(country), toString(device), toString(os),
            toString(browser), destination, ip, user_agent, referrer, toString(consent), origin, toString(medium), toString(source)
        ]), '\n'), needle) > 0))
    UNION ALL
    SELECT 'leads', count() FROM leads
    WHERE tenant_id = {tenant_id:String} AND (has(customer_keys, {key:String}) OR (visitor_id <> '' AND visitor_id = {visitor_id:String})
        OR (needle <> '' AND position(arrayStringConcat(arrayConcat(customer_keys, [
            event_id, lead_id, name, click_id, visitor_id, toString(channel), toString(source), toString(country)
        ]), '\n'), needle) > 0))
    UNION ALL
    SELECT 'orders', count() FROM orders
    WHERE tenant_id = {tenant_id:String} AND (has(customer_keys, {key:String}) OR (visitor_id <> '' AND visitor_id = {visitor_id:String})
        OR (needle <> '' AND position(arrayStringConcat(arrayConcat(
            customer_keys, coupons, lines.line_id, lines.sku, lines.name, lines.category, lines.brand, lines.kind,
            arrayFlatten(arrayMap(one -> arrayConcat(mapKeys(one), mapValues(one)), lines.attributes)), mapKeys(attributes), mapValues(attributes), [
            order_id, event_id, toString(currency), toString(channel), toString(store_id), click_id, visitor_id, toString(customer_status),
            toString(source), toString(country), toString(consent), affiliate_id, claims, toString(marketplace_id), basket_id
        ]), '\n'), needle) > 0))
    UNION ALL
    SELECT 'refunds', count() FROM refunds
    WHERE tenant_id = {tenant_id:String} AND needle <> '' AND position(arrayStringConcat(arrayConcat(lines.line_id, [
            order_id, refund_id, event_id, toString(currency), reason, toString(source)
        ]), '\n'), needle) > 0
    UNION ALL
    SELECT 'bad_rows', count() FROM bad_rows
    WHERE tenant_id = {tenant_id:String} AND (position(raw, concat('"', {key:String}, '"')) > 0
        OR ({visitor_id:String} <> '' AND position(raw, concat('"', {visitor_id:String}, '"')) > 0)
        OR (needle <> '' AND position(concat(spool_id, segment, toString(reason), '\n', detail, '\n', raw), needle) > 0))
    UNION ALL
    SELECT 'decisions', count() FROM decisions
    WHERE tenant_id = {tenant_id:String} AND needle <> '' AND position(arrayStringConcat(arrayConcat(
            credits.affiliate_id, credits.touch_id, segments, [
            order_id, toString(programme_id), toString(result), trace, inputs_hash, toString(customer_status), override
        ]), '\n'), needle) > 0
)
WHERE copies > 0
ORDER BY place
