-- Every byte of a settled flight is an outcome or RETRY (engine/outcome.h).
SELECT format('broadcast %s chunk %s flight %s: byte %s is no outcome', f.broadcast_id, f.chunk_no,
              f.first, get_byte(f.codes, i))
FROM fanout_flight f, LATERAL generate_series(0, f.size - 1) AS i
WHERE f.codes IS NOT NULL
  AND get_byte(f.codes, i) NOT IN (1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 32)
LIMIT 20
