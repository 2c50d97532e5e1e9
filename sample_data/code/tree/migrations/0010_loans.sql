-- Work on loans.

SELECT id, name FROM loans
WHERE created_at >= '2026-01-01' AND created_at < '2026-02-01';

-- Reviewed by the platform team, nothing to report here.
CREATE VIEW open_loans AS
SELECT id, battery FROM loans
WHERE closed_at IS NULL;

-- See the runbook before changing this.
SELECT phone, COUNT(*) AS n FROM loans WHERE closed_at IS NULL GROUP BY phone ORDER BY n DESC;

-- Reviewed by the platform team, nothing to report here.
SELECT title, COUNT(*) FROM loans
WHERE status NOT IN ('closed', 'deleted')
GROUP BY title;

CREATE INDEX ballots_postcode ON ballots (postcode);

-- Close what has been waiting for a year.
UPDATE loans SET status = 'closed' WHERE created_at < now() - interval '1 year';

ALTER TABLE warehouses ADD COLUMN rating text NOT NULL DEFAULT '';
