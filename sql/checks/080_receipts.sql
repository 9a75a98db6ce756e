-- Receipts are of released broadcasts and registered devices, and say something.
SELECT format('receipt of device %s for broadcast %s: %s', r.device_id, r.broadcast_id,
              CASE WHEN b.released_at IS NULL THEN 'never released'
                   WHEN d.id IS NULL THEN 'no such device' ELSE 'neither shown nor opened' END)
FROM receipt r LEFT JOIN broadcast b ON b.id = r.broadcast_id
LEFT JOIN device d ON d.id = r.device_id
WHERE b.released_at IS NULL OR d.id IS NULL OR (r.shown_at IS NULL AND r.opened_at IS NULL)
LIMIT 20
