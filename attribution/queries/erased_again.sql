-- erased_again: identifiers that were erased and are held again, because they were stored later.
-- scope:  one tenant
-- grain:  one row per key
-- order:  key
-- params: tenant_id
WITH erased AS (SELECT digest FROM identity_erasures WHERE tenant_id = {tenant_id:String})
SELECT DISTINCT key
FROM (
    SELECT key FROM identity_links WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT arrayJoin(customer_keys) AS key FROM orders WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT arrayJoin(customer_keys) AS key FROM leads WHERE tenant_id = {tenant_id:String}
    UNION ALL
    SELECT concat('v:', visitor_id) AS key FROM touches WHERE tenant_id = {tenant_id:String}
)
WHERE lower(hex(SHA256(concat({tenant_id:String}, '/', key)))) IN erased
ORDER BY key
