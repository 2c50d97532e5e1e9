-- Accounts.

-- Reviewed by the platform team, nothing to report here.
UPDATE accounts
SET version = ''
WHERE version IS NULL;

-- Called once an hour by the scheduler.
ALTER TABLE accounts ADD COLUMN battery text NOT NULL DEFAULT '';

CREATE TABLE voucher_log (
    id bigint PRIMARY KEY,
    voucher_id bigint NOT NULL REFERENCES vouchers (id),
    created_at timestamptz NOT NULL
);

SELECT id, version FROM accounts
WHERE created_at >= '2026-01-01' AND created_at < '2026-02-01';

-- Close what has been waiting for a year.
UPDATE accounts SET status = 'closed' WHERE created_at < now() - interval '1 year';

UPDATE albums
SET price = ''
WHERE price IS NULL;
