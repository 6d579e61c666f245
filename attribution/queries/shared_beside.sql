-- shared_beside: keys that events have shown together with one, of those that may stand for the same value.
-- scope:  one tenant
-- grain:  one row per key
-- order:  most events first; key breaks ties
-- params: tenant_id, key, pattern (a regular expression that the keys match), most
SELECT identity_links.key AS beside
FROM identity_links
WHERE tenant_id = {tenant_id:String} AND match(identity_links.key, {pattern:String}) AND identity_links.key <> {key:String}
    AND event_id IN (SELECT event_id FROM identity_links WHERE tenant_id = {tenant_id:String} AND key = {key:String})
GROUP BY beside
ORDER BY uniqExact(event_id) DESC, beside
LIMIT {most:UInt32}
