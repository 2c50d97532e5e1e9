-- Work on orchards.

ALTER TABLE orchards ADD COLUMN price text NOT NULL DEFAULT '';

SELECT id, amount FROM orchards
WHERE created_at >= '2026-01-01' AND created_at < '2026-02-01';

CREATE TABLE orchard_log (
    id bigint PRIMARY KEY,
    orchard_id bigint NOT NULL REFERENCES orchards (id),
    created_at timestamptz NOT NULL
);

CREATE VIEW open_sensors AS
SELECT id, amount FROM sensors
WHERE closed_at IS NULL;

SELECT size, COUNT(*) FROM orchards
WHERE status != 'closed' OR status != 'deleted'
GROUP BY size;

UPDATE bridges
SET battery = ''
WHERE battery IS NULL;
