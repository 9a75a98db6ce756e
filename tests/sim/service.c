/* Order of a request: judge, fault, books. A fault never hides what is wrong with a request itself:
 * only sound ones (also those for dead tokens) meet the rules. */
#include "tests/sim/service.h"

#include <assert.h>

struct service *service_new(const char *pki_dir, uint64_t seed, const struct clock *clock,
                            GError **error)
{
    loa_auto(service) service = g_new0(struct service, 1);

    service->clock = clock;
    service->faults = faults_new(seed);
    pace_init(&service->pace);
    service->ledgers[SIM_FCM] = ledger_new(LEDGER_TOKENS_MAX);
    service->ledgers[SIM_APNS] = ledger_new(LEDGER_TOKENS_MAX);
    service->topics = topics_new();
    service->token_uri = g_strdup("");
    for (int i = 0; i < SIM_CHANNELS; i++)
        service->stats[i].rejected = g_hash_table_new(g_str_hash, g_str_equal);
    service->credentials = credentials_new(pki_dir, error);
    return service->credentials != NULL ? g_steal_pointer(&service) : NULL;
}

void service_free(struct service *service)
{
    for (int i = 0; i < SIM_CHANNELS; i++) {
        g_hash_table_destroy(service->stats[i].rejected);
        if (service->ledgers[i] != NULL)
            ledger_free(service->ledgers[i]);
    }
    if (service->credentials != NULL)
        credentials_free(service->credentials);
    topics_free(service->topics);
    faults_free(service->faults);
    pace_clear(&service->pace);
    g_free(service->token_uri);
    g_free(service);
}

void service_reset(struct service *service)
{
    for (int i = 0; i < SIM_CHANNELS; i++) {
        struct channel_stats *stats = &service->stats[i];
        GHashTable *rejected = stats->rejected;
        g_hash_table_remove_all(rejected);
        *stats = (struct channel_stats){.rejected = rejected};
        if (service->ledgers[i] != NULL)
            ledger_reset(service->ledgers[i]);
    }
    topics_reset(service->topics);
}

static void judge(struct service *service, enum sim_channel channel, struct peer *peer,
                  const struct request *request, int64_t now_s, struct judgement *out,
                  struct answer *answer)
{
    if (channel == SIM_FCM)
        fcm_judge(service, peer, request, now_s, out, answer);
    else if (channel == SIM_APNS)
        apns_judge(service, peer, request, now_s, out, answer);
    else if (channel == SIM_IID)
        iid_judge(service, peer, request, now_s, out, answer);
    else
        oauth_judge(service, request, now_s, out, answer);
}

/* ---- faults ---- */

static void refuse_as(enum sim_channel channel, const struct fault_action *action, int64_t now_us,
                      struct judgement *judged, struct answer *answer)
{
    bool is_gone = action->status == 410;
    int64_t timestamp_ms = action->timestamp_ms > 0 ? action->timestamp_ms : now_us / 1000;
    const char *field;

    judged->refused = action->reason != NULL ? action->reason->word : "HTML";
    if (action->reason == NULL) {
        g_clear_pointer(&answer->long_body, g_free);
        html_refuse(answer, action->status);
        answer->retry_after_s = action->retry_after_s;
    } else if (channel == SIM_FCM) {
        field = strcmp(action->reason->word, "INVALID_ARGUMENT") == 0 ? action->field : NULL;
        fcm_refuse(answer, action->reason, field, NULL, action);
    } else if (channel == SIM_APNS) {
        apns_refuse(answer, action->reason, is_gone ? timestamp_ms : 0);
    } else if (channel == SIM_IID) {
        iid_refuse(answer, action->reason);
    } else {
        oauth_refuse(answer, action->reason, NULL);
    }
    answer->status = action->status;
    answer->retry_after_s = action->retry_after_s;
}

/* The credential dies; at OAuth the fresh one is handed out dead. */
static void expire_credential(enum sim_channel channel, struct peer *peer, struct judgement *judged,
                              struct answer *answer)
{
    if (judged->credential != NULL)
        judged->credential->not_after_s = 0;
    if (channel == SIM_OAUTH)
        return;
    if (channel == SIM_FCM) {
        judged->refused = "UNAUTHENTICATED";
        fcm_refuse(answer, reason_find(SIM_FCM, judged->refused), NULL, NULL, NULL);
    } else if (channel == SIM_IID) {
        judged->refused = "UNAUTHENTICATED";
        iid_refuse(answer, reason_find(SIM_IID, judged->refused));
    } else {
        peer->wedged = true;
        judged->refused = "ExpiredProviderToken";
        apns_refuse(answer, reason_find(SIM_APNS, judged->refused), 0);
    }
}

static void apply_fault(enum sim_channel channel, const struct fault_action *action,
                        struct peer *peer, int64_t now_us, struct judgement *judged,
                        struct answer *answer)
{
    if (action->status != 0 && action->status != 200)
        refuse_as(channel, action, now_us, judged, answer);
    if (action->expired_token)
        expire_credential(channel, peer, judged, answer);
    answer->delay_us = action->delay_us;
    answer->max_streams = action->max_streams != 0 ? action->max_streams : answer->max_streams;
    answer->rst_code = action->rst_code;
    answer->goaway = action->goaway;
    answer->no_answer = action->no_answer;
    answer->close = action->close;
    if (action->goaway && channel == SIM_APNS)
        g_snprintf(answer->goaway_reason, sizeof(answer->goaway_reason), "{\"reason\":\"%s\"}",
                   action->reason != NULL ? action->reason->word : "Shutdown");
    if (judged->refused != NULL || action->accept)
        return;
    if (action->rst_code != 0)
        judged->refused = "rst";
    else if (action->no_answer)
        judged->refused = "no_answer";
    else if (action->close)
        judged->refused = "close";
}

/* ---- books ---- */

static void count(struct service *service, enum sim_channel channel, int64_t now_us,
                  const struct judgement *judged)
{
    struct channel_stats *stats = &service->stats[channel];
    gpointer key = (gpointer)judged->refused;

    stats->requests++;
    if (service->ledgers[channel] != NULL)
        pace_note(&service->pace, now_us, ++service->seq);
    if (judged->refused != NULL)
        g_hash_table_insert(
            stats->rejected, key,
            GUINT_TO_POINTER(GPOINTER_TO_UINT(g_hash_table_lookup(stats->rejected, key)) + 1));
    else if (judged->validate_only)
        stats->validated++;
    else
        stats->accepted++;
    if (service->ledgers[channel] != NULL && judged->token.at != NULL && !judged->validate_only &&
        judged->commit == NULL) /* a topic is no phone */
        ledger_enter(service->ledgers[channel],
                     &(struct ledger_entry){.token = judged->token,
                                            .alert = judged->alert,
                                            .version = judged->version,
                                            .seq = service->seq,
                                            .now_us = now_us,
                                            .accepted = judged->refused == NULL});
}

void service_handle(struct service *service, enum sim_channel channel, struct peer *peer,
                    const struct request *request, struct answer *out)
{
    int64_t now_us = service->clock->utc_us(service->clock);
    struct judgement judged = {0};
    const struct fault_action *action;

    assert(channel < SIM_CHANNELS);
    answer_init(out);
    judge(service, channel, peer, request, now_us / USEC_PER_SEC, &judged, out);
    if (judged.sound) {
        action = faults_pick(service->faults, channel, judged.token,
                             service->clock->mono_us(service->clock));
        if (action != NULL)
            apply_fault(channel, action, peer, now_us, &judged, out);
    }
    if (judged.commit != NULL && judged.refused == NULL && !judged.validate_only)
        judged.commit(service, request);
    count(service, channel, now_us, &judged);
}

static json_t *channel_json(const struct service *service, enum sim_channel channel)
{
    const struct channel_stats *stats = &service->stats[channel];
    const struct ledger *ledger = service->ledgers[channel];
    json_t *object =
        json_pack("{s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)stats->requests, "accepted",
                  (json_int_t)stats->accepted, "connections", (json_int_t)stats->connections,
                  "refused_streams", (json_int_t)stats->refused_streams, "protocol_errors",
                  (json_int_t)stats->protocol_errors);
    json_t *rejected = json_object();
    GHashTableIter iter;
    gpointer word, times;

    g_hash_table_iter_init(&iter, stats->rejected);
    while (g_hash_table_iter_next(&iter, &word, &times))
        json_object_set_new(rejected, word, json_integer(GPOINTER_TO_UINT(times)));
    json_object_set_new(object, "rejected", rejected);
    if (ledger != NULL) {
        const struct ledger_totals *totals = ledger_totals(ledger);
        json_object_set_new(object, "distinct", json_integer((json_int_t)totals->distinct));
        json_object_set_new(object, "duplicates", json_integer((json_int_t)totals->duplicates));
        json_object_set_new(object, "untracked", json_integer((json_int_t)totals->untracked));
        json_object_set_new(object, "validated", json_integer((json_int_t)stats->validated));
        json_object_set_new(object, "first_us", json_integer(totals->first_us));
        json_object_set_new(object, "last_us", json_integer(totals->last_us));
    }
    return object;
}

json_t *service_stats(const struct service *service)
{
    json_t *all = json_object();

    for (int i = 0; i < SIM_CHANNELS; i++)
        json_object_set_new(all, sim_channel_name((enum sim_channel)i),
                            channel_json(service, (enum sim_channel)i));
    json_object_set_new(all, "seq", json_integer((json_int_t)service->seq));
    return all;
}
