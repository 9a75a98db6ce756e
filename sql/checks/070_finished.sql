-- A finished broadcast is planned and all its chunks are done.
SELECT format('broadcast %s is finished, but not planned or with open chunks', b.id)
FROM broadcast b LEFT JOIN fanout_plan p ON p.broadcast_id = b.id
WHERE b.finished_at IS NOT NULL
  AND (p.done IS NOT TRUE OR EXISTS (SELECT FROM fanout_chunk c WHERE c.broadcast_id = b.id
                                     AND c.state <> 'done'))
LIMIT 20
