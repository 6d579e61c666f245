-- last_of_page: where one page of a tenant's orders ends.
-- scope:  one tenant
-- grain:  one row, or none where no order is left
-- order:  order_id (there is one)
-- params: tenant_id, from_ms and to_ms (order time, both inclusive), after (the last id of the page before), page
SELECT order_id
FROM (
    SELECT DISTINCT order_id
    FROM orders
    WHERE tenant_id = {tenant_id:String} AND order_id > {after:String}
        AND occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND occurred_at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    ORDER BY order_id
    LIMIT {page:UInt32}
)
ORDER BY order_id DESC
LIMIT 1
