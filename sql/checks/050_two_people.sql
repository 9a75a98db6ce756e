-- A released alert was created and approved by two accounts; a correction names what it corrects.
SELECT format('broadcast %s (%s) was released without two people or signatures', id, alert_id)
FROM broadcast
WHERE released_at IS NOT NULL
  AND (release_signature IS NULL
       OR (message_type = 'alert' AND (approved_by IS NULL OR approved_by = created_by
                                       OR approver_signature IS NULL)))
UNION ALL
SELECT format('broadcast %s (%s) has no signed Vietnamese text', b.id, b.alert_id)
FROM broadcast b
WHERE b.released_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM broadcast_text t WHERE t.broadcast_id = b.id AND t.language = 'vi'
                  AND t.signature IS NOT NULL)
LIMIT 20
