-- The devices that wait in fanout_retry are exactly the members whose byte is RETRY (32).
WITH bytes AS (
    SELECT f.broadcast_id, f.chunk_no, count(*) AS n
    FROM fanout_flight f, LATERAL generate_series(0, f.size - 1) AS i
    WHERE position('\x20'::bytea IN f.codes) > 0 AND get_byte(f.codes, i) = 32
    GROUP BY f.broadcast_id, f.chunk_no
), waiting AS (
    SELECT broadcast_id, chunk_no, count(*) AS n, count(DISTINCT position) AS places
    FROM fanout_retry GROUP BY broadcast_id, chunk_no
)
SELECT format('broadcast %s chunk %s: %s bytes say RETRY, %s devices wait', broadcast_id, chunk_no,
              coalesce(b.n, 0), coalesce(w.n, 0))
FROM bytes b FULL JOIN waiting w USING (broadcast_id, chunk_no)
WHERE coalesce(b.n, 0) <> coalesce(w.n, 0) OR w.places <> w.n
UNION ALL
SELECT format('broadcast %s device %s waits, but its byte at %s is not RETRY', r.broadcast_id,
              r.device_id, r.position)
FROM fanout_retry r LEFT JOIN fanout_flight f ON f.broadcast_id = r.broadcast_id
    AND f.chunk_no = r.chunk_no AND r.position >= f.first AND r.position < f.first + f.size
WHERE f.codes IS NULL OR get_byte(f.codes, r.position - f.first) <> 32
LIMIT 20
