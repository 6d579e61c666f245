-- How long addresses are kept. Run again whenever the setting differs from what the table says.

ALTER TABLE touches MODIFY COLUMN ip String TTL toDateTime(received_at) + toIntervalDay($ip_keep_days);
