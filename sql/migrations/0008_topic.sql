-- Topics of the push service: which registrations Loa has subscribed, and what it published there.

-- A subscription belongs to the registration, whoever holds it now; so rows name that and not the
-- device. commune '' is the topic of the whole province.
CREATE TABLE topic_subscription (
    push_token text NOT NULL,
    id_kind text NOT NULL CHECK (id_kind IN ('token', 'fid')),
    realm text NOT NULL CHECK (realm IN ('live', 'exercise', 'test')),
    commune text NOT NULL CHECK (commune ~ '^([0-9]{5})?$'),
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (push_token, id_kind, realm, commune)
);

-- One row: who is bringing the subscriptions up to date, and when that was last completed.
CREATE TABLE topic_sync (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    lease_owner text,
    lease_until timestamptz,
    started_at timestamptz,
    completed_at timestamptz -- everything was as it should be
);
INSERT INTO topic_sync DEFAULT VALUES;

-- One row per message to one topic. There is no outcome per device: never add it to those.
CREATE TABLE topic_message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    broadcast_id bigint NOT NULL REFERENCES broadcast,
    commune text NOT NULL CHECK (commune ~ '^([0-9]{5})?$'), -- '' = the whole province
    topic text NOT NULL, -- its name at the provider
    account_id bigint NOT NULL REFERENCES account,
    reason text NOT NULL CHECK (octet_length(reason) BETWEEN 1 AND 500),
    requested_at timestamptz NOT NULL DEFAULT now(),
    -- sending: committed before the request leaves; accepted, refused (the provider's word), unknown
    -- (it may have been taken), failed (surely not taken): final.
    state text NOT NULL DEFAULT 'sending'
        CHECK (state IN ('sending', 'accepted', 'refused', 'unknown', 'failed')),
    message_name text, -- the provider's
    detail text NOT NULL DEFAULT '',
    answered_at timestamptz,
    CHECK ((state = 'accepted') = (message_name IS NOT NULL)),
    CHECK ((state = 'sending') = (answered_at IS NULL))
);
CREATE INDEX topic_message_broadcast ON topic_message (broadcast_id, id);
