-- frozen_orders: orders that keep the decision they have.
-- scope:  one tenant
-- grain:  one row per order id
-- order:  order_id
-- params: tenant_id
SELECT DISTINCT order_id FROM frozen_orders WHERE tenant_id = {tenant_id:String} ORDER BY order_id
