-- linked_clicks: the clicks of the given visitors that an order or a lead has named beside another key.
-- scope:  one tenant
-- grain:  one row per (visitor, click)
-- order:  visitor_id, touch_id
-- params: tenant_id, visitors
SELECT DISTINCT visitor_id, touch_id
FROM touches
WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)} AND kind = 'click'
    AND concat('c:', touch_id) IN (
        SELECT key FROM identity_links
        WHERE tenant_id = {tenant_id:String} AND key IN (
            SELECT concat('c:', touch_id) FROM touches
            WHERE tenant_id = {tenant_id:String} AND visitor_id IN {visitors:Array(String)} AND kind = 'click'
        )
    )
ORDER BY visitor_id, touch_id
