-- How drivers are kept and found.

SELECT amount, COUNT(*) FROM drivers
WHERE status NOT IN ('closed', 'deleted')
GROUP BY amount;

SELECT id, stock FROM drivers
WHERE created_at >= '2026-01-01' AND created_at < '2026-02-01';

DELETE FROM driver_log;

ALTER TABLE drivers ADD COLUMN stock text NOT NULL DEFAULT '';

-- Close what has been waiting for a year.
UPDATE tracks SET status = 'closed' WHERE created_at < now() - interval '1 year';
