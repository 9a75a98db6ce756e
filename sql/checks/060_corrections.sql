-- A correction has exactly the frozen members of what it corrects, which is cancelled and no longer
-- planned.
WITH pair AS (
    SELECT id AS correction, corrects AS original FROM broadcast WHERE corrects IS NOT NULL
), old AS (
    SELECT p.correction, c.chunk_no, c.channel, c.lane, c.members, c.member_count, c.communes,
           c.member_commune
    FROM pair p JOIN fanout_chunk c ON c.broadcast_id = p.original
), new AS (
    SELECT p.correction, c.chunk_no, c.channel, c.lane, c.members, c.member_count, c.communes,
           c.member_commune
    FROM pair p JOIN fanout_chunk c ON c.broadcast_id = p.correction
)
SELECT format('correction %s chunk %s differs from its original', correction, chunk_no)
FROM old FULL JOIN new USING (correction, chunk_no, channel, lane)
WHERE old.members IS DISTINCT FROM new.members
   OR old.member_count IS DISTINCT FROM new.member_count
   OR old.communes IS DISTINCT FROM new.communes
   OR old.member_commune IS DISTINCT FROM new.member_commune
UNION ALL
SELECT format('broadcast %s is corrected by %s, but not cancelled or still planned', p.original,
              p.correction)
FROM pair p JOIN broadcast b ON b.id = p.original
LEFT JOIN fanout_plan f ON f.broadcast_id = p.original
WHERE b.state <> 'cancelled' OR f.done IS NOT TRUE
UNION ALL
SELECT format('broadcast %s is cancelled without a correction', id)
FROM broadcast b
WHERE state = 'cancelled' AND NOT EXISTS (SELECT FROM broadcast c WHERE c.corrects = b.id)
LIMIT 20
