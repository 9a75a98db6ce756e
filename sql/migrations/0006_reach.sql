-- Reach per commune: which commune each member of a chunk was in when the audience was frozen, and
-- where a device counted when its first receipt came.

ALTER TABLE fanout_chunk
    -- The distinct commune codes of its members, '' for none.
    ADD COLUMN communes text[] NOT NULL DEFAULT '{}',
    -- Per member its index into communes: one byte, two (big-endian) when there are more than 255.
    -- Both empty in chunks of before this migration: not recorded, counted under ''.
    ADD COLUMN member_commune bytea NOT NULL DEFAULT '',
    ADD CHECK (octet_length(member_commune)
               = CASE WHEN cardinality(communes) = 0 THEN 0
                      WHEN cardinality(communes) <= 255 THEN member_count
                      ELSE 2 * member_count END);

ALTER TABLE receipt
    ADD COLUMN commune text NOT NULL DEFAULT '', -- '' = none
    ADD COLUMN channel text NOT NULL DEFAULT 'none'
        CHECK (channel IN ('fcm', 'apns', 'mqtt', 'none')),
    -- The statement that stores receipts joins broadcast, and sql/checks looks for orphans. Checking
    -- and locking the broadcast's row again for each receipt took as long as all the rest.
    DROP CONSTRAINT receipt_broadcast_id_fkey;
UPDATE receipt r SET commune = coalesce(d.commune, ''), channel = d.channel
FROM device d WHERE d.id = r.device_id;
