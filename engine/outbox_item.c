/* See the header. A push that APNs was told not to store is never final by the provider's word: it
 * waits as "unstored" for a receipt, or for the end of the hold, when it is sent once more. */
#include "engine/outbox_item.h"

#include <string.h>

#include "base/metrics.h"
#include "engine/outbox.h"
#include "engine/outbox_store.h"
#include "engine/outcome.h"

#define RETRY_AFTER_MAX_MS INT64_C(1800000)

static bool flag(const PGresult *res, int row, int col)
{
    return !db_is_null(res, row, col) && db_get_bool(res, row, col);
}

static enum lane lane_of(struct channel *channel, bool proven, bool sandbox)
{
    if (sandbox)
        return LANE_SANDBOX;
    if (proven || channel->ops->slots(channel, LANE_UNPROVEN) == 0)
        return LANE_PROVEN;
    return LANE_UNPROVEN;
}

struct outbox_item *outbox_item_new(const PGresult *res, int row, struct channel *channel,
                                    int64_t now_utc_us)
{
    struct outbox_item *item = g_new0(struct outbox_item, 1);

    item->link.data = item;
    item->ops = channel->ops;
    item->result = (struct outbox_result){
        .notification_id = db_get_i64(res, row, OUTBOX_COL_ID),
        .device_id = db_get_i64(res, row, OUTBOX_COL_DEVICE),
        .epoch = (int32_t)db_get_i64(res, row, OUTBOX_COL_EPOCH),
        .attempt = (int32_t)db_get_i64(res, row, OUTBOX_COL_ATTEMPT),
        .channel = channel->name,
        .token = g_strdup(db_get_text(res, row, OUTBOX_COL_TOKEN)),
    };
    item->expires_utc_us = db_get_utc_us(res, row, OUTBOX_COL_EXPIRES);
    item->token_at_us = db_get_utc_us(res, row, OUTBOX_COL_TOKEN_AT);
    item->proven = flag(res, row, OUTBOX_COL_PROVEN);
    item->unstored = flag(res, row, OUTBOX_COL_UNSTORED);
    item->emergencies = db_get_i64(res, row, OUTBOX_COL_EMERGENCIES);
    if (!db_is_null(res, row, OUTBOX_COL_HOLD_MS))
        item->hold_until_utc_us =
            now_utc_us + db_get_i64(res, row, OUTBOX_COL_HOLD_MS) * USEC_PER_MSEC;
    item->push = (struct push){
        .token = item->result.token != NULL ? item->result.token : "",
        .is_fid = flag(res, row, OUTBOX_COL_FID),
        .device_id = item->result.device_id,
        .lane = lane_of(channel, item->proven, flag(res, row, OUTBOX_COL_SANDBOX)),
        .owner = item,
    };
    return item;
}

void outbox_item_free(struct outbox_item *item)
{
    if (item == NULL)
        return;
    if (item->payload != NULL)
        item->ops->payload_free(item->payload);
    g_free(item->result.token);
    g_free(item);
}

static bool render(struct outbox_item *item, const PGresult *res, int row, struct channel *channel)
{
    struct message message;
    char alert_id[32];

    outbox_message(db_get_text(res, row, OUTBOX_COL_TITLE), db_get_text(res, row, OUTBOX_COL_BODY),
                   db_get_text(res, row, OUTBOX_COL_URL), db_get_text(res, row, OUTBOX_COL_CLASS),
                   item->result.notification_id, db_get_utc_us(res, row, OUTBOX_COL_CREATED),
                   item->expires_utc_us, alert_id, &message);
    message.store = item->hold_until_utc_us == 0;
    item->payload = item->ops->render(channel, &message, NULL);
    item->push.payload = item->payload;
    return item->payload != NULL;
}

static int64_t hold_left_ms(const struct outbox_item *item, int64_t now_utc_us)
{
    return MAX(item->hold_until_utc_us - now_utc_us, 0) / USEC_PER_MSEC;
}

bool outbox_item_prepare(struct outbox_item *item, const PGresult *res, int row,
                         struct channel *channel, int64_t now_utc_us)
{
    const char *at = db_get_text(res, row, OUTBOX_COL_CHANNEL);

    if (at == NULL || strcmp(at, "none") == 0)
        outbox_item_settle(item, "DEAD_TOKEN", 0, "unregistered");
    else if (item->expires_utc_us <= now_utc_us)
        outbox_item_settle(item, "EXPIRED", 0, item->unstored ? "unstored" : "");
    else if (strcmp(at, channel->name) != 0)
        outbox_item_settle(item, "queued", 0, "moved");
    else if (item->unstored && item->hold_until_utc_us != 0)
        outbox_item_settle(item, "unstored", hold_left_ms(item, now_utc_us), "held");
    else if (!render(item, res, row, channel))
        outbox_item_settle(item, "REJECTED_PAYLOAD", 0, "too_large");
    return item->payload != NULL;
}

void outbox_item_settle(struct outbox_item *item, const char *state, int64_t delay_ms,
                        const char *reason)
{
    item->result.state = state;
    item->result.delay_ms = delay_ms;
    item->result.reason = reason;
}

void outbox_item_put_back(struct outbox_item *item)
{
    outbox_item_settle(item, item->unstored ? "unstored" : "queued", 0, "");
}

static void learn_token(struct outbox_item *item, const struct verdict *verdict)
{
    bool registered_since =
        verdict->dead_since_utc_us != 0 && item->token_at_us > verdict->dead_since_utc_us;

    item->result.token_dead =
        verdict->kind == VERDICT_DEAD_TOKEN && item->result.token != NULL && !registered_since;
    item->result.token_proven =
        verdict->kind == VERDICT_ACCEPTED && item->result.token != NULL && !item->proven;
}

void outbox_item_judge(struct outbox_item *item, const struct verdict *verdict, int64_t now_utc_us,
                       struct retry_decision *out)
{
    struct retry_input input = {.verdict = *verdict,
                                .tried_at_once = true,
                                .first_utc_us = now_utc_us,
                                .now_utc_us = now_utc_us,
                                .expires_utc_us = item->expires_utc_us,
                                .payload_proven = true,
                                .random01 = g_random_double()};

    learn_token(item, verdict);
    if (verdict->kind != VERDICT_NOT_SENT)
        item->result.attempt++;
    input.attempts = item->result.attempt;
    /* At least once: what may have arrived is sent again, and the app drops the repeat. */
    if (verdict->kind == VERDICT_UNKNOWN)
        input.verdict.kind = VERDICT_TRANSIENT;
    input.verdict.retry_after_ms = MIN(verdict->retry_after_ms, RETRY_AFTER_MAX_MS);
    retry_decide(&input, out);
    if (out->step != RETRY_STEP_SETTLE) {
        outbox_item_settle(item, "queued", (out->next_utc_us - now_utc_us) / USEC_PER_MSEC,
                           verdict->reason);
    } else if (out->outcome == OUTCOME_ACCEPTED && item->hold_until_utc_us != 0) {
        metric_add(METRIC_OUTBOX_UNSTORED, item->result.channel, 1);
        outbox_item_settle(item, "unstored", hold_left_ms(item, now_utc_us), verdict->reason);
    } else {
        outbox_item_settle(item, outcome_name(out->outcome), 0, verdict->reason);
    }
}
