-- identity_marks: a figure that changes whenever a link is revoked or an identifier erased.
-- scope:  one tenant
-- grain:  one row
-- order:  revoked, erased (there is one row)
-- params: tenant_id
SELECT
    (SELECT count() FROM identity_revocations WHERE tenant_id = {tenant_id:String}) AS revoked,
    (SELECT count() FROM identity_erasures WHERE tenant_id = {tenant_id:String}) AS erased
ORDER BY revoked, erased
