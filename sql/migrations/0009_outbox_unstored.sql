-- Where a device's notifications end at APNs, also through FCM: os is free text, and Apple's systems
-- for phones and tablets name themselves so.
CREATE FUNCTION device_behind_apns(channel text, os text)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT channel = 'apns' OR (channel = 'fcm' AND os ~* '^\s*(ios|ipados|iphone)')
$$;

-- The outbox, so that a notification costs few writes. notification is written once and not changed;
-- where it stands is told by which table has it (sql/checks: exactly one): notification_due until its
-- pushes are made, then its owed pushes, in the end notification_end. Queues are emptied by deleting.
-- Foreign keys between these cost more than the rows; sql/checks looks after that, too.
CREATE TABLE notification_due (
    notification_id bigint NOT NULL,
    priority smallint NOT NULL,
    not_before timestamptz NOT NULL
);
CREATE INDEX notification_due_next ON notification_due (priority, not_before);

CREATE TABLE notification_end (
    notification_id bigint PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('done', 'dead')), -- a device got it; none did
    dead_reason text,
    settled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((state = 'dead') = (dead_reason IS NOT NULL))
);

INSERT INTO notification_due SELECT id, priority, not_before FROM notification
WHERE state = 'pending';
INSERT INTO notification_end SELECT id, state, dead_reason, settled_at FROM notification
WHERE state IN ('done', 'dead');
ALTER TABLE notification DROP COLUMN state, DROP COLUMN dead_reason, DROP COLUMN settled_at;

-- For people: where each notification stands.
CREATE VIEW notification_status AS
SELECT n.*, coalesce(e.state, CASE WHEN EXISTS (SELECT FROM notification_due q
                                                WHERE q.notification_id = n.id)
                              THEN 'pending' ELSE 'sending' END) AS state,
       e.dead_reason, e.settled_at
FROM notification n LEFT JOIN notification_end e ON e.notification_id = n.id;

-- A push to a held device leaves with expiration 0, displacing nothing, and stays owed ('unstored')
-- until a receipt comes or it could be sent to be stored. next_at is what every owed push waits for:
-- queued, the next try; flying, the end of its lease; unstored, the earliest end of the hold; the
-- first and last not beyond expiry.
DROP INDEX notification_push_due;
ALTER TABLE notification_push
    DROP CONSTRAINT notification_push_notification_id_fkey,
    DROP CONSTRAINT notification_push_state_check,
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN shown_at timestamptz, -- receipts
    ADD COLUMN opened_at timestamptz,
    ADD CONSTRAINT notification_push_state_check
        CHECK (state IN ('queued', 'flying', 'unstored', 'ACCEPTED', 'DEAD_TOKEN',
                         'REJECTED_PAYLOAD', 'REJECTED_CONFIG', 'EXPIRED', 'CANCELLED'));
UPDATE notification_push p
SET expires_at = n.expires_at,
    next_at = CASE p.state WHEN 'flying' THEN p.lease_until WHEN 'queued'
              THEN least(p.next_at, n.expires_at) ELSE p.next_at END
FROM notification n WHERE n.id = p.notification_id;
ALTER TABLE notification_push DROP COLUMN lease_until, ALTER COLUMN expires_at SET NOT NULL;
CREATE INDEX notification_push_due ON notification_push (channel, priority, next_at, expires_at)
    WHERE state IN ('queued', 'flying', 'unstored');

DROP FUNCTION outbox_expand(integer);
DROP FUNCTION outbox_settle(bigint[], bigint[], integer[], text[], bigint[], integer[], text[]);
DROP FUNCTION outbox_close(bigint[]);

-- The functions plan at each call, because the tables are empty one minute and full the next, and
-- look rows up one by one: a batch is small and history is long.

-- Whoever changes pushes does so first and calls this after: pushes are locked before notifications,
-- everywhere. Ends those of ids that owe nothing more. Where there are several pushes, the last two
-- may be settled at the same time: the lock makes one wait, and its next statement sees what the
-- other has committed.
CREATE FUNCTION outbox_close(ids bigint[])
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    several bigint[] := ARRAY(SELECT notification_id FROM notification_push
                              WHERE notification_id = ANY (ids)
                              GROUP BY notification_id HAVING count(*) > 1);
BEGIN
    IF several <> '{}' THEN
        PERFORM 1 FROM notification WHERE id = ANY (several) ORDER BY id FOR UPDATE;
    END IF;
    INSERT INTO notification_end (notification_id, state, dead_reason)
    SELECT notification_id, CASE WHEN bool_or(state = 'ACCEPTED') THEN 'done' ELSE 'dead' END,
           CASE WHEN NOT bool_or(state = 'ACCEPTED') THEN
               left((SELECT string_agg(DISTINCT lower(o.state) || CASE WHEN o.reason = '' THEN ''
                                       ELSE ':' || o.reason END, ', ')
                     FROM notification_push o WHERE o.notification_id = p.notification_id), 200) END
    FROM notification_push p WHERE notification_id = ANY (ids) GROUP BY notification_id
    HAVING bool_and(state NOT IN ('queued', 'flying', 'unstored'))
    ON CONFLICT DO NOTHING;
END $$;

-- What n claimed pushes became: an outcome, 'queued' to be tried again after a delay, or 'unstored'
-- for a delay, on the channel where the device is by then. The epoch is the claim's: what another
-- process took over stays untouched, and a repeat changes nothing. Returns how many were still ours.
CREATE FUNCTION outbox_settle(ids bigint[], devices bigint[], epochs integer[], states text[],
                              delays_ms bigint[], attempts integer[], reasons text[])
RETURNS integer LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    settled integer;
BEGIN
    UPDATE notification_push p
    SET state = r.state, attempt = r.attempt, reason = r.reason, lease_owner = NULL,
        channel = CASE WHEN r.state IN ('queued', 'unstored') THEN
            coalesce((SELECT d.channel FROM device d WHERE d.id = p.device_id
                      AND d.channel <> 'none'), p.channel) ELSE p.channel END,
        next_at = least(clock_timestamp() + r.delay_ms * interval '1 millisecond', p.expires_at)
    FROM unnest(ids, devices, epochs, states, delays_ms, attempts, reasons)
        AS r (id, device, epoch, state, delay_ms, attempt, reason)
    WHERE p.notification_id = r.id AND p.device_id = r.device AND p.epoch = r.epoch;
    GET DIAGNOSTICS settled = ROW_COUNT;
    PERFORM outbox_close(ids);
    RETURN settled;
END $$;

-- Ends up to batch waiting pushes that have expired, whether or not their channel can send. What is
-- out is left to whoever sends it until its lease has lapsed; then the epoch moves on, and a late
-- answer is refused. An unstored push was accepted, but neither stored nor, as far as anybody knows,
-- shown.
CREATE FUNCTION outbox_expire(batch integer)
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
DECLARE
    late bigint[];
BEGIN
    WITH pick AS (
        SELECT ctid FROM notification_push
        WHERE channel IN ('fcm', 'apns', 'mqtt') AND state IN ('queued', 'flying', 'unstored')
          AND next_at <= now() AND expires_at <= now() LIMIT batch FOR UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE notification_push p SET state = 'EXPIRED', epoch = epoch + 1, lease_owner = NULL,
            reason = CASE state WHEN 'unstored' THEN 'unstored' ELSE reason END
        FROM pick WHERE p.ctid = pick.ctid RETURNING notification_id
    )
    SELECT array_agg(notification_id) INTO late FROM ended;
    IF late IS NOT NULL THEN
        PERFORM outbox_close(late);
    END IF;
END $$;

-- A claimed push with all that its sender needs.
CREATE TYPE outbox_claimed AS (
    notification_id bigint, device_id bigint, epoch integer, attempt integer, title text, body text,
    url text, class text, created_at timestamptz, expires_at timestamptz,
    channel text, -- the device's now
    push_token text, fid boolean, sandbox boolean, token_at timestamptz, proven boolean,
    unstored boolean,  -- accepted before, but not stored
    hold_ms bigint,    -- nothing that would be stored may go to this device so long; null = it may
    emergencies bigint -- changes when an emergency begins or ends: then hold_ms is out of date
);

-- Turns up to batch due notifications into pushes, one per device; what nobody can get or is too old
-- is dead. Of the pushes on the caller's channels, the first room come back claimed for lease_ms; the
-- others wait. The first row tells emergencies only; then comes one per push or dead notification,
-- most urgent first, its device null when it was not claimed. No row but the first: nothing is due
-- any more.
CREATE FUNCTION outbox_take(batch integer, channels text[], room integer, owner text,
                            lease_ms bigint)
RETURNS SETOF outbox_claimed LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off AS $$
DECLARE
    first outbox_claimed;
BEGIN
    first.emergencies := (SELECT coalesce(sum(id), 0) FROM emergency_live());
    RETURN NEXT first;
    IF NOT EXISTS (SELECT FROM notification_due WHERE not_before <= now()) THEN
        RETURN;
    END IF;
    channels := ARRAY(SELECT c FROM unnest(channels) AS c WHERE NOT EXISTS (
        SELECT FROM fanout_stop WHERE scope IN ('all', 'channel:' || c)));
    RETURN QUERY
    WITH live AS MATERIALIZED (SELECT * FROM emergency_live()),
    due AS (
        DELETE FROM notification_due WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM notification_due WHERE not_before <= now()
            ORDER BY priority, not_before LIMIT batch FOR UPDATE SKIP LOCKED))
        RETURNING notification_id AS id, priority, not_before
    ), target AS MATERIALIZED (
        SELECT due.id, due.priority, due.not_before, n.title, n.body, n.url, n.class, n.created_at,
               n.expires_at, d.id AS device, d.channel, d.push_token, d.id_kind, d.commune,
               d.apns_environment, d.token_at, d.proven_at,
               device_behind_apns(d.channel, d.os) AS behind_apns,
               coalesce(d.channel = ANY (channels), false) AND row_number() OVER (
                   PARTITION BY d.channel = ANY (channels)
                   ORDER BY due.priority, due.not_before) <= room AS mine
        FROM due CROSS JOIN LATERAL (SELECT * FROM notification WHERE id = due.id OFFSET 0) n
        LEFT JOIN LATERAL (
            SELECT * FROM device WHERE id = n.device_id UNION ALL
            SELECT * FROM device WHERE account_id = n.account_id) d
        ON d.channel <> 'none' AND n.expires_at > now()
    ), push AS (
        INSERT INTO notification_push (notification_id, device_id, channel, priority, expires_at,
                                       state, epoch, lease_owner, next_at)
        SELECT t.id, t.device, t.channel, t.priority, t.expires_at,
               CASE WHEN t.mine THEN 'flying' ELSE 'queued' END, t.mine::integer,
               CASE WHEN t.mine THEN owner END,
               clock_timestamp() + t.mine::integer * lease_ms * interval '1 millisecond'
        FROM target t WHERE t.device IS NOT NULL
    ), dead AS (
        INSERT INTO notification_end (notification_id, state, dead_reason)
        SELECT t.id, 'dead', CASE WHEN t.expires_at <= now() THEN 'expired' ELSE 'no_device' END
        FROM target t WHERE t.device IS NULL
    ), wake AS (
        SELECT pg_notify('loa_outbox', 'queued')
        WHERE EXISTS (SELECT FROM target t WHERE t.device IS NOT NULL AND NOT t.mine)
    )
    SELECT t.id, CASE WHEN t.mine THEN t.device END, 1, 0, t.title, t.body, t.url, t.class,
           t.created_at, t.expires_at, t.channel, t.push_token, t.id_kind = 'fid',
           t.apns_environment = 'sandbox', t.token_at, t.proven_at IS NOT NULL, false,
           CASE WHEN t.behind_apns THEN
               (SELECT ceil(extract(epoch FROM max(until) - clock_timestamp()) * 1000)::bigint
                FROM live WHERE communes IS NULL OR t.commune = ANY (communes)) END,
           first.emergencies
    FROM target t CROSS JOIN (SELECT count(*) FROM wake) w -- only what is asked for is run
    ORDER BY t.priority, t.not_before;
END $$;

-- Claims up to room waiting pushes of a channel, most urgent first, for lease_ms; none under a stop
-- switch.
CREATE FUNCTION outbox_claim(channel text, room integer, owner text, lease_ms bigint)
RETURNS SETOF outbox_claimed LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH live AS MATERIALIZED (SELECT * FROM emergency_live()),
    pick AS MATERIALIZED (
        SELECT notification_id, device_id, state FROM notification_push p
        WHERE p.channel = outbox_claim.channel AND state IN ('queued', 'flying', 'unstored')
          AND next_at <= now()
          AND NOT EXISTS (SELECT FROM fanout_stop
                          WHERE scope IN ('all', 'channel:' || outbox_claim.channel))
        ORDER BY priority, next_at LIMIT room FOR UPDATE SKIP LOCKED
    ), claim AS (
        UPDATE notification_push p SET state = 'flying', epoch = p.epoch + 1, lease_owner = owner,
               next_at = clock_timestamp() + lease_ms * interval '1 millisecond'
        FROM pick
        WHERE p.notification_id = pick.notification_id AND p.device_id = pick.device_id
        RETURNING p.notification_id, p.device_id, p.epoch, p.attempt, p.priority,
                  pick.state = 'unstored' AS unstored
    )
    SELECT c.notification_id, c.device_id, c.epoch, c.attempt::integer, n.title, n.body, n.url,
           n.class, n.created_at, n.expires_at, d.channel, d.push_token, d.id_kind = 'fid',
           d.apns_environment = 'sandbox', d.token_at, d.proven_at IS NOT NULL, c.unstored,
           CASE WHEN device_behind_apns(d.channel, d.os) THEN
               (SELECT ceil(extract(epoch FROM max(until) - clock_timestamp()) * 1000)::bigint
                FROM live WHERE communes IS NULL OR d.commune = ANY (communes)) END,
           (SELECT coalesce(sum(id), 0)::bigint FROM live)
    FROM claim c JOIN notification n ON n.id = c.notification_id
    LEFT JOIN device d ON d.id = c.device_id
    ORDER BY c.priority, c.notification_id;
END $$;

-- Receipts of notifications among receipts of any kind (their alert id is "n" and the notification's
-- number, version 1): event 1 = opened, else shown. What is still owed to the device is settled by
-- it. Returns the positions, from 0, of those that are durable when this commits.
CREATE FUNCTION outbox_receipts(alerts text[], versions integer[], devices bigint[],
                                events integer[])
RETURNS SETOF bigint LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    ids bigint[];
    changed bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(alerts) AS a WHERE a LIKE 'n%') THEN
        RETURN;
    END IF;
    ids := ARRAY(SELECT CASE WHEN version = 1 AND alert ~ '^n[1-9][0-9]{0,17}$'
                             THEN substr(alert, 2)::bigint END
                 FROM unnest(alerts, versions) WITH ORDINALITY AS t (alert, version, n) ORDER BY n);
    WITH told AS (
        UPDATE notification_push p SET
            shown_at = coalesce(p.shown_at, now()),
            opened_at = coalesce(p.opened_at, CASE WHEN r.opened THEN now() END),
            state = CASE WHEN p.state IN ('queued', 'flying', 'unstored') THEN 'ACCEPTED'
                    ELSE p.state END,
            reason = CASE WHEN p.state IN ('queued', 'flying', 'unstored') THEN 'receipt'
                     ELSE p.reason END,
            epoch = p.epoch + 1, lease_owner = NULL
        FROM (SELECT id, device, max(event) = 1 AS opened FROM unnest(ids, devices, events)
              AS t (id, device, event) GROUP BY id, device ORDER BY id, device) r
        WHERE p.notification_id = r.id AND p.device_id = r.device
          AND (p.shown_at IS NULL OR (r.opened AND p.opened_at IS NULL))
        RETURNING p.notification_id
    )
    SELECT array_agg(notification_id) INTO changed FROM told;
    PERFORM outbox_close(changed);
    RETURN QUERY SELECT t.n - 1 FROM unnest(ids, devices) WITH ORDINALITY AS t (id, device, n)
    JOIN notification_push p ON p.notification_id = t.id AND p.device_id = t.device;
END $$;
