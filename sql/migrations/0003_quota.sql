-- The providers' quotas, shared by all processes as leases, and the time before which a provider
-- wants to see nothing (Retry-After).

-- One row per channel. A grant counts in the second in which it was made and may be used for one
-- second; so 60 seconds of sends lie within 62 slots, and no minute of any alignment holds more than
-- the quota, whoever dies with a grant in hand.
CREATE TABLE provider_quota (
    channel text PRIMARY KEY CHECK (channel IN ('fcm', 'apns')),
    second bigint NOT NULL DEFAULT 0,  -- Unix time of the newest slot
    granted bigint[] NOT NULL DEFAULT array_fill(0::bigint, ARRAY[62])
        CHECK (cardinality(granted) = 62), -- sends granted in second s: granted[1 + s % 62]
    gate_until timestamptz             -- nothing leaves before
) WITH (fillfactor = 20);
INSERT INTO provider_quota (channel) VALUES ('fcm'), ('apns');

-- Grants up to wanted sends on a channel. An emergency may take all that is left of the minute;
-- everything else leaves a reserve and is spread evenly over the seconds. A crash of the server may
-- forget the grants of its last moments: the provider then says 429, which is obeyed. That is worth
-- not waiting for the disk here.
CREATE FUNCTION quota_lease(of_channel text, asked_at timestamptz, per_minute bigint,
                            reserve bigint, wanted bigint, emergency boolean)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    q provider_quota;
    now_s bigint := floor(extract(epoch FROM asked_at));
    room bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO STRICT q FROM provider_quota WHERE channel = of_channel FOR UPDATE;
    IF q.gate_until > asked_at THEN
        RETURN 0;
    END IF;
    IF abs(now_s - q.second) >= 62 THEN -- long ago; or the clock was set back, as by a failover
        q.granted := array_fill(0::bigint, ARRAY[62]);
        q.second := now_s;
    END IF;
    FOR s IN q.second + 1 .. now_s LOOP
        q.granted[1 + s % 62] := 0;
    END LOOP;
    q.second := greatest(q.second, now_s); -- who waited for the row is not earlier than its writer
    room := per_minute - (SELECT sum(g) FROM unnest(q.granted) AS g);
    IF NOT emergency THEN
        room := least(room - reserve,
                      (per_minute - reserve + 61) / 62 - q.granted[1 + q.second % 62]);
    END IF;
    room := greatest(0, least(room, wanted));
    q.granted[1 + q.second % 62] := q.granted[1 + q.second % 62] + room;
    UPDATE provider_quota SET second = q.second, granted = q.granted WHERE channel = of_channel;
    RETURN room;
END $$;
