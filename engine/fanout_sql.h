/* Pieces of SQL that several statements of the fan-out share; for fanout_*store.c only. They speak
 * of broadcast b and chunk c. */
#ifndef LOA_ENGINE_FANOUT_SQL_H
#define LOA_ENGINE_FANOUT_SQL_H

/* The outcome byte (engine/outcome.h) that ends the chunk now; 0 = it goes on. */
#define CLOSING                                                                                    \
    "CASE WHEN b.state = 'cancelled' THEN 7"                                                       \
    "     WHEN b.expires_at <= clock_timestamp() THEN 6"                                           \
    "     WHEN EXISTS (SELECT FROM fanout_halt h WHERE h.broadcast_id = b.id"                      \
    "                  AND h.channel = c.channel) THEN 3 ELSE 0 END"

/* Whether a stop switch holds it. */
#define STOPPED                                                                                    \
    "EXISTS (SELECT FROM fanout_stop s WHERE s.scope IN ('all', 'channel:' || c.channel,"          \
    " 'broadcast:' || b.id))"

/* Whether a correction's chunk waits for the same chunk of what it corrects. */
#define WAITS_FOR_ORIGINAL                                                                         \
    "EXISTS (SELECT FROM fanout_chunk o WHERE o.broadcast_id = b.corrects"                         \
    " AND o.chunk_no = c.chunk_no AND o.state = 'open')"

/* Whether something is being sent for it, or somebody will come for it: what nobody has claimed for
 * half a minute belongs to a lane without connections and holds up nobody. */
#define AT_WORK                                                                                    \
    "c.state = 'open' AND " CLOSING " = 0 AND NOT " STOPPED                                        \
    " AND (c.lease_until > clock_timestamp() OR (c.due_at <= clock_timestamp()"                    \
    "      AND greatest(c.due_at, c.lease_until) > clock_timestamp() - interval '30 s'))"          \
    " AND (c.channel <> 'mqtt' OR b.mqtt_acked_at IS NOT NULL)"                                    \
    " AND NOT " WAITS_FOR_ORIGINAL

/* Whether some of its members have not been tried yet, or are being tried for the first time. */
#define FIRST_PASS                                                                                 \
    "(c.next_position < c.member_count OR EXISTS (SELECT FROM fanout_flight f"                     \
    " WHERE f.broadcast_id = c.broadcast_id AND f.chunk_no = c.chunk_no AND f.codes IS NULL))"

#endif
