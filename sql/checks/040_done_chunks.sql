-- A chunk that is done owes nothing: all members sent or ended, every flight settled, nobody waits.
SELECT format('broadcast %s chunk %s is done at position %s of %s, %s flights open, %s retries',
              c.broadcast_id, c.chunk_no, c.next_position, c.member_count, f.open, r.waiting)
FROM fanout_chunk c,
     LATERAL (SELECT count(*) AS open FROM fanout_flight f WHERE f.broadcast_id = c.broadcast_id
              AND f.chunk_no = c.chunk_no AND f.codes IS NULL) f,
     LATERAL (SELECT count(*) AS waiting FROM fanout_retry r WHERE r.broadcast_id = c.broadcast_id
              AND r.chunk_no = c.chunk_no) r
WHERE c.state = 'done' AND (c.next_position <> c.member_count OR f.open > 0 OR r.waiting > 0)
LIMIT 20
