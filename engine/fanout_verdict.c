/* What one answer means: the window, the member's outcome or retry, and in bad cases the end of the
 * broadcast on the channel or of the channel. The rules themselves are retry_policy's. */
#include "base/log.h"
#include "engine/fanout_internal.h"

static struct fanout *fanout_of(const struct flight *flight)
{
    return flight->chunk->lane->channel->fanout;
}

/* A broadcast whose payload is refused ends on this channel, in every chunk held here. */
static void halt_written(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)user;
    if (error != NULL)
        log_event(LOG_LEVEL_ERROR, "halt_unwritten", LOG_STR("error", error->message));
}

static void halt(struct flight *flight, const char *reason)
{
    struct fan_channel *channel = flight->chunk->lane->channel;
    struct fan_broadcast *b = flight->chunk->broadcast;

    log_event(LOG_LEVEL_ALERT, "payload_rejected", LOG_INT("broadcast", b->id),
              LOG_STR("channel", channel->channel->name), LOG_STR("reason", reason));
    fanout_halt(channel->fanout->options.db, b->id, channel->channel->name, reason, halt_written,
                NULL);
    for (int l = 0; l < LANE_COUNT; l++) {
        GPtrArray *chunks = channel->lanes[l].chunks;
        for (guint i = 0; i < chunks->len; i++) {
            struct chunk *chunk = chunks->pdata[i];
            if (chunk->broadcast == b)
                fan_chunk_close(chunk, OUTCOME_REJECTED_PAYLOAD);
        }
    }
}

static void feed_window(struct flight *flight, const struct push *push, enum verdict_kind kind)
{
    struct fan_lane *lane = flight->chunk->lane;
    struct channel *channel = lane->channel->channel;

    switch (kind) {
    case VERDICT_ACCEPTED:
    case VERDICT_DEAD_TOKEN:
        window_good(&lane->windows[push->slot],
                    channel->ops->in_flight(channel, lane->lane, push->slot));
        break;
    case VERDICT_THROTTLED:
    case VERDICT_TRANSIENT:
    case VERDICT_UNKNOWN:
        window_bad(&lane->windows[push->slot]);
        break;
    default: /* about the message or our set-up, not about load */
        break;
    }
}

static void decide(struct flight *flight, int32_t i, const struct verdict *verdict)
{
    struct member *member = &flight->members[i];
    struct chunk *chunk = flight->chunk;
    struct fan_broadcast *b = chunk->broadcast;
    struct fanout *f = fanout_of(flight);
    struct fan_payload *payload =
        &g_array_index(b->payloads, struct fan_payload, member->payload_index);
    int64_t now = fanout_utc(f);
    struct retry_decision decision;

    struct retry_input input = {
        .verdict = *verdict,
        .emergency = b->emergency,
        .tried_at_once = member->tried_at_once,
        .attempts = member->attempts,
        .first_utc_us = now - member->first_age_ms * USEC_PER_MSEC,
        .now_utc_us = now,
        .expires_utc_us = b->broadcast->expires_utc_us,
        .payload_proven = payload->accepted,
        .random01 = g_random_double(),
    };
    retry_decide(&input, &decision);
    if (decision.gate_until_utc_us > 0)
        fan_channel_gate_all(chunk->lane->channel, decision.gate_until_utc_us - now);
    if (decision.step == RETRY_STEP_AT_ONCE && chunk->closing == 0 && !chunk->aborting) {
        member->tried_at_once = true;
        g_array_append_val(flight->at_once, i);
        fan_lane_ready(chunk->lane, flight);
        return;
    }
    if (decision.step == RETRY_STEP_SETTLE) {
        fan_member_close(flight, member, decision.outcome);
    } else {
        int64_t wait_ms =
            decision.step == RETRY_STEP_LATER ? (decision.next_utc_us - now) / USEC_PER_MSEC : 0;
        fan_member_retry(member, wait_ms,
                         decision.step == RETRY_STEP_LATER ? decision.if_expired : OUTCOME_EXPIRED,
                         verdict->reason);
        fan_member_close(flight, member, OUTCOME_RETRY);
    }
    if (decision.stop_channel)
        fanout_channel_stop(f, chunk->lane->channel->channel, verdict->reason);
    if (decision.halt_broadcast)
        halt(flight, verdict->reason);
}

void fan_flight_done(struct push *push, const struct verdict *verdict)
{
    struct flight *flight = push->owner;
    struct chunk *chunk = flight->chunk;
    int32_t i = (int32_t)(push - flight->pushes);
    struct member *member = &flight->members[i];
    struct verdict v = *verdict;

    flight->outstanding--;
    if (!chunk->broadcast->emergency)
        chunk->lane->channel->ordinary_out--;
    chunk->lane->channel->verdicts[v.kind]++;
    if (chunk->phase == CHUNK_LOST) {
        fan_chunk_step(chunk);
        return;
    }
    feed_window(flight, push, v.kind);
    /* A second try at once belongs to the same attempt: the back-off grows with the outage only. */
    if (v.kind != VERDICT_NOT_SENT && v.kind != VERDICT_THROTTLED && !member->counted) {
        member->counted = true;
        member->attempts++;
    }
    if (v.kind == VERDICT_DEAD_TOKEN && v.dead_since_utc_us > 0 &&
        v.dead_since_utc_us < member->token_at_us)
        v.kind = VERDICT_TRANSIENT; /* registered again since (APNs 410): the token lives */
    if (v.kind == VERDICT_ACCEPTED) {
        g_array_index(chunk->broadcast->payloads, struct fan_payload, member->payload_index)
            .accepted = true;
        member->token_proven = !member->proven_before && push->token[0] != '\0';
    }
    member->may_have_arrived |= v.kind == VERDICT_UNKNOWN;
    member->token_dead = v.kind == VERDICT_DEAD_TOKEN;
    decide(flight, i, &v);
    fan_flight_check_settled(flight);
    fan_channel_pump_soon(chunk->lane->channel);
}
