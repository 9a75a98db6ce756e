-- A targeted notification is in exactly one place: due once, or with owed pushes, or ended once. It
-- is done when a device got it, dead when none did. Nothing belongs to a notification that is not
-- there; a push whose receipt has come owes nothing.
WITH push AS (
    SELECT notification_id, count(*) AS total,
           count(*) FILTER (WHERE state IN ('queued', 'flying', 'unstored')) AS owed,
           count(*) FILTER (WHERE state = 'ACCEPTED') AS accepted,
           count(*) FILTER (WHERE state IN ('queued', 'flying', 'unstored')
                            AND shown_at IS NOT NULL) AS shown
    FROM notification_push GROUP BY notification_id
), due AS (
    SELECT notification_id, count(*) AS times FROM notification_due GROUP BY notification_id
), place AS (
    SELECT notification_id, n.id IS NULL AS orphan, coalesce(d.times, 0) AS due, e.state AS ended,
           coalesce(p.total, 0) AS total, coalesce(p.owed, 0) AS owed,
           coalesce(p.accepted, 0) AS accepted, coalesce(p.shown, 0) AS shown
    FROM push p FULL JOIN due d USING (notification_id)
    FULL JOIN notification_end e USING (notification_id)
    FULL JOIN (SELECT id, id AS notification_id FROM notification) n USING (notification_id)
)
SELECT format('notification %s%s: due %s times, %s of %s pushes owed, %s accepted, ended %s',
              notification_id, CASE WHEN orphan THEN ' (no such)' ELSE '' END, due, owed, total,
              accepted, coalesce(ended, 'not'))
FROM place
WHERE orphan OR due + (owed > 0)::integer + (ended IS NOT NULL)::integer <> 1
   OR (due > 0 AND total > 0) OR shown > 0
   OR (ended = 'done' AND accepted = 0) OR (ended = 'dead' AND accepted > 0)
LIMIT 20
