-- Every member of a chunk that has communes recorded is in exactly one of them: as many indexes as
-- members, each of a code of the chunk; no code stands twice or is unknown.
SELECT format('broadcast %s chunk %s: member %s is in commune %s of %s', c.broadcast_id, c.chunk_no,
              i, at.index, cardinality(c.communes))
FROM fanout_chunk c, LATERAL generate_series(0, c.member_count - 1) AS i,
     LATERAL (SELECT CASE WHEN cardinality(c.communes) <= 255 THEN get_byte(c.member_commune, i)
                          ELSE 256 * get_byte(c.member_commune, 2 * i)
                               + get_byte(c.member_commune, 2 * i + 1) END AS index) at
WHERE cardinality(c.communes) > 0 AND at.index >= cardinality(c.communes)
UNION ALL
SELECT format('broadcast %s chunk %s: commune "%s" stands %s times%s', c.broadcast_id, c.chunk_no,
              code, count(*), CASE WHEN m.code IS NULL THEN ' and is unknown' ELSE '' END)
FROM fanout_chunk c, LATERAL unnest(c.communes) AS code LEFT JOIN commune m USING (code)
GROUP BY c.broadcast_id, c.chunk_no, code, m.code
HAVING count(*) > 1 OR (code <> '' AND m.code IS NULL)
LIMIT 20
