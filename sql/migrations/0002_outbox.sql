-- Expanding and settling targeted notifications. Functions, because each statement of one sees what
-- other processes committed before it got the notification's lock: the last push of a notification
-- settles it, whoever sends it. Plans are made per call: these tables are empty one minute and full
-- the next.

-- Ends those of ids that owe nothing more. Their rows are locked by the caller. "state || ''" keeps
-- the planner from walking the indexes of everything that waits.
CREATE FUNCTION outbox_close(ids bigint[]) RETURNS void LANGUAGE sql AS $$
    WITH idle AS MATERIALIZED (
        SELECT i.id FROM (SELECT DISTINCT unnest(ids) AS id) i,
        LATERAL (SELECT count(*) AS owed FROM (
            SELECT FROM notification_push p WHERE p.notification_id = i.id
            AND p.state || '' IN ('queued', 'flying') LIMIT 1) w) o
        WHERE o.owed = 0
    ), told AS MATERIALIZED (
        SELECT p.notification_id AS id, count(*) FILTER (WHERE p.state = 'ACCEPTED') AS accepted,
               string_agg(DISTINCT lower(p.state) || CASE WHEN p.reason = '' THEN ''
                          ELSE ':' || p.reason END, ', ') AS reasons
        FROM idle JOIN notification_push p ON p.notification_id = idle.id GROUP BY 1
    )
    UPDATE notification n
    SET state = CASE WHEN told.accepted > 0 THEN 'done' ELSE 'dead' END,
        settled_at = clock_timestamp(),
        dead_reason = CASE WHEN told.accepted > 0 THEN NULL ELSE left(told.reasons, 200) END
    FROM told WHERE n.id = told.id AND n.state || '' = 'sending'
$$;

-- What n claimed pushes became: an outcome, or 'queued' to be tried again after a delay, on the
-- channel where the device is by then. The epoch is the claim's: what another process took over
-- stays untouched, and a repeat changes nothing. Returns how many were still ours.
CREATE FUNCTION outbox_settle(ids bigint[], devices bigint[], epochs integer[], states text[],
                              delays_ms bigint[], attempts integer[], reasons text[])
RETURNS integer LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    settled integer;
BEGIN
    PERFORM 1 FROM notification WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    UPDATE notification_push p
    SET state = r.state, attempt = r.attempt, reason = r.reason,
        channel = coalesce((SELECT d.channel FROM device d WHERE d.id = p.device_id
                            AND d.channel <> 'none' AND r.state = 'queued'), p.channel),
        next_at = clock_timestamp() + make_interval(secs => r.delay_ms / 1000.0),
        lease_owner = NULL, lease_until = NULL
    FROM unnest(ids, devices, epochs, states, delays_ms, attempts, reasons)
        AS r (id, device, epoch, state, delay_ms, attempt, reason)
    WHERE p.notification_id = r.id AND p.device_id = r.device AND p.epoch = r.epoch;
    GET DIAGNOSTICS settled = ROW_COUNT;
    PERFORM outbox_close(ids);
    RETURN settled;
END $$;

-- What is due becomes pushes, one per device; what nobody can get or is too old is dead. Returns how
-- many notifications were due: call again when that is batch.
CREATE FUNCTION outbox_expand(batch integer)
RETURNS integer LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    due bigint[];
    late bigint[];
BEGIN
    SELECT array_agg(id) INTO due FROM (
        SELECT id FROM notification WHERE state = 'pending' AND not_before <= clock_timestamp()
        ORDER BY priority, id LIMIT batch FOR UPDATE SKIP LOCKED) d;
    IF due IS NOT NULL THEN
        INSERT INTO notification_push (notification_id, device_id, channel, priority)
        SELECT n.id, d.id, d.channel, n.priority FROM notification n
        JOIN device d ON d.account_id = n.account_id
        WHERE n.id = ANY (due) AND n.account_id IS NOT NULL AND d.channel <> 'none'
          AND n.expires_at > clock_timestamp()
        UNION ALL
        SELECT n.id, d.id, d.channel, n.priority FROM notification n
        JOIN device d ON d.id = n.device_id
        WHERE n.id = ANY (due) AND d.channel <> 'none' AND n.expires_at > clock_timestamp();
        UPDATE notification n SET
            state = CASE WHEN x.any THEN 'sending' ELSE 'dead' END,
            settled_at = CASE WHEN x.any THEN NULL ELSE clock_timestamp() END,
            dead_reason = CASE WHEN x.any THEN NULL WHEN n.expires_at <= clock_timestamp()
                          THEN 'expired' ELSE 'no_device' END
        FROM (SELECT i.id, EXISTS (SELECT FROM notification_push p WHERE p.notification_id = i.id)
                     AS any FROM unnest(due) AS i (id)) x
        WHERE n.id = x.id;
    END IF;
    -- Waiting pushes of what has expired. What is out is left to whoever sends it, unless its lease
    -- has lapsed: then the epoch moves on, and a late answer is refused.
    SELECT array_agg(id) INTO late FROM (
        SELECT id FROM notification WHERE state = 'sending' AND expires_at <= clock_timestamp()
        ORDER BY id LIMIT batch FOR UPDATE SKIP LOCKED) d;
    IF late IS NOT NULL THEN
        UPDATE notification_push SET state = 'EXPIRED', epoch = epoch + 1
        WHERE notification_id = ANY (late)
          AND (state = 'queued' OR (state = 'flying' AND lease_until < clock_timestamp()));
        PERFORM outbox_close(late);
    END IF;
    RETURN coalesce(cardinality(due), 0);
END $$;
