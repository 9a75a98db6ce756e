-- Emergencies that a phone may still have to receive. APNs stores one notification per app and
-- device (Apple, "Sending notification requests to APNs"): whatever is sent with an expiration to a
-- phone that is off takes the place of the emergency that waits for it.

-- When every device had been tried once: the end of the rush. Single devices may be retried for days.
ALTER TABLE broadcast ADD COLUMN first_pass_at timestamptz;
CREATE INDEX broadcast_emergency ON broadcast (expires_at)
    WHERE released_at IS NOT NULL AND realm = 'live' AND kind = 'CANH_BAO' AND level = 'khan_cap';

-- The live ones, corrections included: until the earlier of expiry and 60 minutes after everybody
-- was tried or sending was stopped. "until" is the earliest instant at which that can be over: while
-- sending goes on, ask again then. What was refused and never planned is no emergency: its signature
-- is forged. communes is null for the whole province.
CREATE FUNCTION emergency_live()
RETURNS TABLE (id bigint, communes text[], until timestamptz) LANGUAGE sql STABLE ROWS 2 AS $$
    SELECT b.id, CASE b.area_scope WHEN 'communes' THEN b.communes END,
           least(b.expires_at, sent.at + interval '60 minutes')
    FROM broadcast b LEFT JOIN fanout_stop s ON s.scope = 'broadcast:' || b.id,
    LATERAL (SELECT coalesce(b.first_pass_at, b.finished_at, s.at, now()) AS at) sent
    WHERE b.released_at IS NOT NULL AND b.realm = 'live' AND b.kind = 'CANH_BAO'
      AND b.level = 'khan_cap' AND b.expires_at > now()
      AND sent.at > now() - interval '60 minutes'
      AND (b.refused_at IS NULL
           OR EXISTS (SELECT FROM fanout_chunk c WHERE c.broadcast_id = b.id))
$$;

-- Until when nothing that would be stored may go to an APNs device of this commune (null: it has
-- none); null = at once. A call costs some 10 µs. For many devices in one statement:
--   WITH live AS MATERIALIZED (SELECT * FROM emergency_live())
--   SELECT …, (SELECT max(until) FROM live WHERE communes IS NULL OR d.commune = ANY (communes)) …
CREATE FUNCTION emergency_hold_until(commune text)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT max(e.until) FROM emergency_live() e
    WHERE e.communes IS NULL OR commune = ANY (e.communes)
$$;
