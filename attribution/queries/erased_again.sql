-- erased_again: identifiers that were erased and are held again, because they were stored later.
-- scope:  one tenant
-- grain:  one row per key
-- order:  key
-- params: tenant_id
WITH erased AS (SELECT digest FROM identity_erasures WHERE tenant_id = {tenant_id:String})
SELECT DISTINCT key
FROM (
    SELECT arrayJoin([key, other_key]) AS key FROM identity_links WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT arrayJoin([key, other_key]) AS key FROM identity_revocations WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT arrayJoin(arrayPushBack(customer_keys, concat('v:', visitor_id))) AS key FROM orders WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT arrayJoin(arrayPushBack(customer_keys, concat('v:', visitor_id))) AS key FROM leads WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT arrayJoin(arrayPushBack(customer_keys, concat('v:', visitor_id))) AS key FROM touches WHERE tenant_id = {tenant_id:String}
    UNION ALL
    -- Of a record that was set aside every quoted text and every word, each as a key and as a visitor's id.
    SELECT arrayJoin(arrayConcat(words, arrayMap(word -> concat('v:', word), words))) AS key
    FROM (
        SELECT arrayDistinct(arrayConcat(
            extractAll(raw, '"([^"\\\\]+)"'), extractAll(raw, '[0-9A-Za-z:_-]+'), extractAll(raw, '[0-9A-Za-z_-]+'),
            extractAll(detail, '[0-9A-Za-z:_-]+'), extractAll(detail, '[0-9A-Za-z_-]+')
        )) AS words
        FROM bad_rows WHERE tenant_id = {tenant_id:String}
    )
)
WHERE lower(hex(SHA256(concat({tenant_id:String}, '/', key)))) IN erased
ORDER BY key
