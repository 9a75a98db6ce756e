-- Targeted = members in flights + not yet sent: the flights of a chunk cover the positions before
-- next_position once each, without a gap.
WITH flight AS (
    SELECT broadcast_id, chunk_no, first, size,
           coalesce(lag(first + size) OVER (PARTITION BY broadcast_id, chunk_no ORDER BY first), 0)
               AS expected
    FROM fanout_flight
), sums AS (
    SELECT broadcast_id, chunk_no, sum(size) AS covered, bool_or(first <> expected) AS broken
    FROM flight GROUP BY broadcast_id, chunk_no
)
SELECT format('broadcast %s chunk %s: flights cover %s of %s positions%s', c.broadcast_id,
              c.chunk_no, coalesce(s.covered, 0), c.next_position,
              CASE WHEN s.broken THEN ', with a gap or an overlap' ELSE '' END)
FROM fanout_chunk c LEFT JOIN sums s USING (broadcast_id, chunk_no)
WHERE coalesce(s.covered, 0) <> c.next_position OR coalesce(s.broken, false)
   OR c.next_position > c.member_count OR c.next_position < 0
LIMIT 20
