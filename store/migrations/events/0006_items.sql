-- What rate cards ask of an order's items, and which order of its customer an order is.
-- The defaults are as long as the lines: rows of before, and blocks that an earlier drain had made ready, say nothing of any item.

ALTER TABLE orders
    ADD COLUMN IF NOT EXISTS lines.brand Array(String) DEFAULT arrayMap(_ -> '', lines.line_id),
    ADD COLUMN IF NOT EXISTS lines.kind Array(String) DEFAULT arrayMap(_ -> '', lines.line_id),
    ADD COLUMN IF NOT EXISTS lines.discount_minor Array(Int64) DEFAULT arrayMap(_ -> toInt64(0), lines.line_id),
    ADD COLUMN IF NOT EXISTS lines.attributes Array(Map(String, String)) DEFAULT arrayMap(_ -> CAST(map(), 'Map(String, String)'), lines.line_id);

ALTER TABLE decisions
    ADD COLUMN IF NOT EXISTS order_number UInt32,
    ADD COLUMN IF NOT EXISTS first_ordered_at DateTime64(3, 'UTC');
