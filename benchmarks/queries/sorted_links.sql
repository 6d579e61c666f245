-- sorted_links: the store's own share of the work: every link once, sorted by the other end, and nothing done with it.
-- scope:  one tenant
-- grain:  one row, a digest of them all
-- order:  digest (there is one row)
-- params: tenant_id
SELECT groupBitXor(sipHash64(place, key, other_key)) AS digest
FROM (
    SELECT key, other_key, linked_at, row_number() OVER (ORDER BY other_key, linked_at, key) AS place
    FROM identity_links
    WHERE tenant_id = {tenant_id:String} AND key < other_key
)
ORDER BY digest
