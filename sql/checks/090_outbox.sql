-- A targeted notification is settled exactly when all its pushes are; it is done when a device got
-- it, dead with a reason when none did.
SELECT format('notification %s is %s with %s pushes, %s owed, %s accepted', n.id, n.state, p.total,
              p.owed, p.accepted)
FROM notification n,
     LATERAL (SELECT count(*) AS total,
                     count(*) FILTER (WHERE state IN ('queued', 'flying')) AS owed,
                     count(*) FILTER (WHERE state = 'ACCEPTED') AS accepted
              FROM notification_push WHERE notification_id = n.id) p
WHERE (n.state = 'pending' AND p.total > 0)
   OR (n.state = 'sending' AND p.owed = 0)
   OR (n.state IN ('done', 'dead') AND (p.owed > 0 OR n.settled_at IS NULL))
   OR (n.state = 'done' AND p.accepted = 0)
   OR (n.state = 'dead' AND (p.accepted > 0 OR n.dead_reason IS NULL))
LIMIT 20
