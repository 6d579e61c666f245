-- revocations: links that do not count.
-- scope:  one tenant
-- grain:  one row per revoked link; other_key is empty where none of a key's links counts
-- order:  key, other_key
-- params: tenant_id
SELECT DISTINCT key, other_key FROM identity_revocations WHERE tenant_id = {tenant_id:String} ORDER BY key, other_key
