-- changed_orders: orders with a decision or a refund stored at or after an instant.
-- scope:  installation, because one accrual loop serves all tenants
-- grain:  one row per order, with its latest change, a mark that differs with every row stored since, and its latest decision and refund (0: none)
-- order:  oldest change first, then tenant and order, so that the last row is where the next page begins
-- params: decided_since_ms and refunded_since_ms (inclusive), after_ms, after_tenant, after_order (the last row of the page before; exclusive), at_most
SELECT
    tenant_id, order_id, toUnixTimestamp64Milli(max(stored_at)) AS changed_ms, groupBitXor(row_hash) AS mark,
    toUnixTimestamp64Milli(maxIf(stored_at, NOT is_refund)) AS decided_ms,
    toUnixTimestamp64Milli(maxIf(stored_at, is_refund)) AS refunded_ms
FROM
(
    SELECT DISTINCT tenant_id, order_id, stored_at, cityHash64('decision', revision, inputs_hash, stored_at) AS row_hash, false AS is_refund
    FROM decisions
    WHERE stored_at >= fromUnixTimestamp64Milli({decided_since_ms:Int64}, 'UTC')
    UNION ALL
    SELECT DISTINCT tenant_id, order_id, stored_at, cityHash64('refund', event_id, stored_at) AS row_hash, true AS is_refund
    FROM refunds
    WHERE stored_at >= fromUnixTimestamp64Milli({refunded_since_ms:Int64}, 'UTC')
)
GROUP BY tenant_id, order_id
HAVING (changed_ms, tenant_id, order_id) > ({after_ms:Int64}, {after_tenant:String}, {after_order:String})
ORDER BY changed_ms, tenant_id, order_id
LIMIT {at_most:UInt32}
