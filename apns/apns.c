/* The channel's functions: lanes are pools of connections, a push is one request whose body is the
 * same for all devices, an answer is a verdict. */
#include "apns/apns.h"

#include <string.h>

#include "apns/apns_verdict.h"
#include "apns/payload.h"
#include "apns/provider_token.h"
#include "base/error.h"
#include "engine/push_id.h"
#include "h2/pool.h"

#define PATH_PREFIX      "/3/device/"
#define COPY_MAX         768 /* of a request's headers: path, provider token, apns-id */
#define DRY_RUN_LIMIT_MS 20000
#define DRY_RUN_LOOK_MS  50
/* A token that no phone has: BadDeviceToken proves everything but the phone. */
#define DRY_RUN_TOKEN "0000000000000000000000000000000000000000000000000000000000000000"

/* The headers of a request, in their order on the wire. */
enum {
    METHOD,
    SCHEME,
    AUTHORITY,
    PATH,
    AUTHORIZATION,
    ID,
    TOPIC,
    PUSH_TYPE,
    OF_PAYLOAD, /* and APNS_PAYLOAD_HEADERS - 1 more */
    HEADERS = OF_PAYLOAD + APNS_PAYLOAD_HEADERS
};

struct apns {
    struct channel channel;
    const struct clock *clock;
    struct apns_style style;
    struct h2_pool *pools[LANE_COUNT]; /* NULL: no such lane */
    struct h2_header headers[LANE_COUNT][OF_PAYLOAD];
    struct provider_token *token;
    char *topic;
    char *canary_token;
    GPtrArray *dry_runs; /* running; NULL while the channel is being freed */
};

static struct apns *apns_of(const struct channel *channel)
{
    return (struct apns *)channel; /* its first member */
}

/* ---- requests ---- */

struct target {
    enum lane lane;
    unsigned slot;
    const char *token; /* plain */
    size_t token_len;
    const char *push_id; /* text */
};

#define HEADER(header_name, text, how, copied)                                                     \
    (struct h2_header)                                                                             \
    {                                                                                              \
        .name = (header_name), .name_len = sizeof(header_name) - 1, .value = (text),               \
        .value_len = (uint16_t)strlen(text), .index = (how), .copy = (copied)                      \
    }

/* What is the same for every request of a lane; path, authorization and apns-id get their values
 * from send_request. Apple's advice on HPACK: path and authorization are never indexed, an apns-id
 * only once; what stays the same for a whole broadcast is. */
static void prepare_headers(const struct apns *apns, const struct h2_pool *pool,
                            struct h2_header out[OF_PAYLOAD])
{
    out[METHOD] = HEADER(":method", "POST", H2_INDEX, false);
    out[SCHEME] = HEADER(":scheme", "https", H2_INDEX, false);
    out[AUTHORITY] = HEADER(":authority", h2_pool_authority(pool), H2_INDEX, false);
    out[PATH] = HEADER(":path", "", H2_INDEX_NEVER, true);
    out[AUTHORIZATION] = HEADER("authorization", "", H2_INDEX_NEVER, true);
    out[ID] = HEADER("apns-id", "", H2_INDEX_FIRST, true);
    out[TOPIC] = HEADER("apns-topic", apns->topic, H2_INDEX, false);
    out[PUSH_TYPE] = HEADER("apns-push-type", "alert", H2_INDEX, false);
}

static void set_value(struct h2_header *header, const char *value, size_t len)
{
    header->value = value;
    header->value_len = (uint16_t)len;
}

/* The payload's headers are borrowed: the engine keeps it until done. */
static void send_request(struct apns *apns, const struct target *to,
                         const struct channel_payload *payload, struct h2_request *request)
{
    struct h2_header headers[HEADERS];
    char path[sizeof(PATH_PREFIX) + APNS_TOKEN_MAX];
    const char *bearer = provider_token_header(apns->token, &request->tag);

    memcpy(path, PATH_PREFIX, sizeof(PATH_PREFIX) - 1);
    memcpy(path + sizeof(PATH_PREFIX) - 1, to->token, to->token_len);
    memcpy(headers, apns->headers[to->lane], sizeof(*headers) * OF_PAYLOAD);
    memcpy(headers + OF_PAYLOAD, payload->headers, sizeof(payload->headers));
    set_value(&headers[PATH], path, sizeof(PATH_PREFIX) - 1 + to->token_len);
    set_value(&headers[AUTHORIZATION], bearer, strlen(bearer));
    set_value(&headers[ID], to->push_id, PUSH_ID_TEXT - 1);
    request->headers = headers;
    request->n_headers = HEADERS;
    request->body[0] = (struct h2_piece){payload->body, payload->body_len};
    request->n_pieces = 1;
    h2_pool_send(apns->pools[to->lane], to->slot, request);
}

/* What an answer says about the connection and our credentials, beyond the device. */
static void judge(struct apns *apns, const struct h2_answer *answer, enum lane lane, unsigned slot,
                  struct verdict *out)
{
    apns_verdict(answer, out);
    if (answer->outcome == H2_ANSWERED && answer->status != 403) {
        h2_pool_prove(apns->pools[lane], slot);
        provider_token_accepted(apns->token, answer->tag);
    }
    if (out->renew_credentials && !provider_token_expired(apns->token, answer->tag))
        out->kind = VERDICT_REJECTED_CONFIG;
    if (out->close_connection)
        h2_pool_drain(apns->pools[lane], slot, out->reason);
}

static void push_done(const struct h2_answer *answer, void *owner, void *item)
{
    struct push *push = item;
    struct verdict verdict;

    judge(owner, answer, push->lane, push->slot, &verdict);
    push->done(push, &verdict);
}

/* ---- dry runs ---- */

struct dry_run {
    struct apns *apns;
    void (*cb)(bool ok, const char *detail, int64_t duration_us, void *user);
    void *user;
    int64_t since_us;
    guint look; /* timer while it waits for a connection */
    struct channel_payload *payload;
};

static void dry_run_free(void *data)
{
    struct dry_run *run = data;

    g_clear_handle_id(&run->look, g_source_remove);
    apns_payload_free(run->payload);
    g_free(run);
}

static void dry_run_end(struct dry_run *run, bool ok, const char *detail)
{
    struct apns *apns = run->apns;
    struct dry_run ended = *run;

    if (apns->dry_runs == NULL)
        return;
    g_ptr_array_remove_fast(apns->dry_runs, run);
    ended.cb(ok, detail, apns->clock->mono_us(apns->clock) - ended.since_us, ended.user);
}

static void dry_run_done(const struct h2_answer *answer, void *owner, void *item)
{
    struct apns *apns = owner;
    struct verdict verdict;

    judge(apns, answer, LANE_UNPROVEN, 0, &verdict);
    if (verdict.kind == VERDICT_ACCEPTED)
        dry_run_end(item, true, "accepted");
    else if (verdict.kind == VERDICT_DEAD_TOKEN && *apns->canary_token == '\0')
        dry_run_end(item, true, "credentials accepted");
    else
        dry_run_end(item, false, verdict.reason);
}

static gboolean dry_run_look(gpointer data)
{
    struct dry_run *run = data;
    struct apns *apns = run->apns;
    struct h2_pool *pool = apns->pools[LANE_UNPROVEN];
    const char *token = *apns->canary_token != '\0' ? apns->canary_token : DRY_RUN_TOKEN;
    const char *trouble;
    char id[PUSH_ID_TEXT];
    uint8_t id_bytes[PUSH_ID_LEN];

    if (h2_pool_room(pool, 0) > 0) {
        run->look = 0;
        push_id_make(id_bytes, 0, apns->clock->utc_us(apns->clock), 0);
        push_id_text(id_bytes, id);
        send_request(apns, &(struct target){LANE_UNPROVEN, 0, token, strlen(token), id},
                     run->payload,
                     &(struct h2_request){.done = dry_run_done, .owner = apns, .item = run});
        h2_pool_flush(pool);
        return G_SOURCE_REMOVE;
    }
    if (apns->clock->mono_us(apns->clock) - run->since_us < DRY_RUN_LIMIT_MS * USEC_PER_MSEC)
        return G_SOURCE_CONTINUE;
    run->look = 0;
    trouble = h2_pool_trouble(pool);
    dry_run_end(run, false, *trouble != '\0' ? trouble : "no free request slot");
    return G_SOURCE_REMOVE;
}

/* APNs has no dry run of its own: a silent push that is not stored, to a token made up or set aside
 * for it. */
static void apns_dry_run(struct channel *channel,
                         void (*cb)(bool ok, const char *detail, int64_t duration_us, void *user),
                         void *user)
{
    static const struct message probe = {.type = MESSAGE_NOTICE,
                                         .alert_id = "dry-run",
                                         .version = 1,
                                         .kind = "",
                                         .level = "thuong",
                                         .cls = "thuong",
                                         .realm = "test",
                                         .title = "",
                                         .body = "",
                                         .instruction = "",
                                         .areas = "",
                                         .language = "vi",
                                         .url = "",
                                         .source_document = "",
                                         .key_id = "",
                                         .silent = true};
    struct apns *apns = apns_of(channel);
    struct dry_run *run = g_new0(struct dry_run, 1);

    *run = (struct dry_run){
        .apns = apns, .cb = cb, .user = user, .since_us = apns->clock->mono_us(apns->clock)};
    run->payload = apns_payload_render(&probe, &apns->style, NULL);
    run->look = g_timeout_add(DRY_RUN_LOOK_MS, dry_run_look, run);
    g_ptr_array_add(apns->dry_runs, run);
}

/* ---- the channel's functions ---- */

static struct channel_payload *apns_render(struct channel *channel, const struct message *message,
                                           GError **error)
{
    return apns_payload_render(message, &apns_of(channel)->style, error);
}

static size_t apns_payload_size(const struct channel_payload *payload)
{
    return payload->body_len;
}

static void apns_start(struct channel *channel)
{
    struct apns *apns = apns_of(channel);

    for (int l = 0; l < LANE_COUNT; l++)
        if (apns->pools[l] != NULL)
            h2_pool_start(apns->pools[l]);
}

static unsigned apns_slots(const struct channel *channel, enum lane lane)
{
    const struct h2_pool *pool = apns_of(channel)->pools[lane];

    return pool != NULL ? h2_pool_slots(pool) : 0;
}

static unsigned apns_room(const struct channel *channel, enum lane lane, unsigned slot)
{
    return h2_pool_room(apns_of(channel)->pools[lane], slot);
}

static unsigned apns_in_flight(const struct channel *channel, enum lane lane, unsigned slot)
{
    return h2_pool_in_flight(apns_of(channel)->pools[lane], slot);
}

static void apns_send(struct channel *channel, struct push *push)
{
    struct apns *apns = apns_of(channel);
    struct h2_request request = {.done = push_done, .owner = apns, .item = push};
    size_t token_len = apns_token_length(push->token);
    char id[PUSH_ID_TEXT];

    if (token_len == 0) {
        h2_pool_settle(apns->pools[push->lane], push->slot, &request, H2_UNUSABLE,
                       "malformed_token");
        return;
    }
    push_id_text(push->push_id, id);
    send_request(apns, &(struct target){push->lane, push->slot, push->token, token_len, id},
                 push->payload, &request);
}

static void apns_flush(struct channel *channel)
{
    struct apns *apns = apns_of(channel);

    for (int l = 0; l < LANE_COUNT; l++)
        if (apns->pools[l] != NULL)
            h2_pool_flush(apns->pools[l]);
}

static void apns_free(struct channel *channel)
{
    struct apns *apns = apns_of(channel);
    GPtrArray *dry_runs = g_steal_pointer(&apns->dry_runs);

    for (int l = 0; l < LANE_COUNT; l++)
        h2_pool_free(apns->pools[l]);
    provider_token_free(apns->token);
    g_ptr_array_unref(dry_runs);
    g_free(apns->style.fallback_level);
    g_free(apns->topic);
    g_free(apns->canary_token);
    g_free(apns);
}

static const struct channel_ops apns_ops = {
    .render = apns_render,
    .payload_free = apns_payload_free,
    .payload_size = apns_payload_size,
    .start = apns_start,
    .slots = apns_slots,
    .room = apns_room,
    .in_flight = apns_in_flight,
    .send = apns_send,
    .flush = apns_flush,
    .dry_run = apns_dry_run,
    .free = apns_free,
};

/* ---- life ---- */

static void tell_room(void *user)
{
    struct apns *apns = user;

    if (apns->channel.on_room != NULL)
        apns->channel.on_room(apns->channel.engine_data, &apns->channel);
}

static void tell_refused(const char *reason, void *user)
{
    struct apns *apns = user;

    if (apns->channel.on_config_error != NULL)
        apns->channel.on_config_error(apns->channel.engine_data, &apns->channel, reason);
}

struct channel *apns_renderer_new(const struct settings *settings)
{
    struct apns *apns = g_new0(struct apns, 1);

    apns->channel =
        (struct channel){.ops = &apns_ops, .name = "apns", .payload_max = APNS_PAYLOAD_MAX};
    apns->style.critical_alerts = settings->apns_critical_alerts;
    apns->style.fallback_level = g_strdup(settings->apns_fallback_level);
    apns->dry_runs = g_ptr_array_new_with_free_func(dry_run_free);
    return &apns->channel;
}

static bool open_lane(struct apns *apns, const struct settings *settings, enum lane lane,
                      const char *endpoint, unsigned connections, GError **error)
{
    apns->pools[lane] =
        h2_pool_new(&(struct h2_config){.name = "apns",
                                        .endpoint = endpoint,
                                        .ca_file = settings->apns_ca_file,
                                        .connections = connections,
                                        .streams_max = (unsigned)settings->apns_streams_max,
                                        .timeout_ms = (unsigned)settings->apns_request_timeout_ms,
                                        .copy_max = COPY_MAX,
                                        .one_until_proven = true,
                                        .clock = apns->clock,
                                        .on_room = tell_room,
                                        .on_refused = tell_refused,
                                        .user = apns},
                    error);
    if (apns->pools[lane] == NULL)
        return false;
    prepare_headers(apns, apns->pools[lane], apns->headers[lane]);
    return true;
}

static bool settings_check(const struct settings *settings, GError **error)
{
    if (*settings->apns_topic == '\0') {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "topic: the app's bundle id is missing");
        return false;
    }
    if (*settings->apns_canary_token != '\0' &&
        apns_token_length(settings->apns_canary_token) == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "canary_token: not a device token");
        return false;
    }
    if (strcmp(settings->apns_fallback_level, "time-sensitive") != 0 &&
        strcmp(settings->apns_fallback_level, "active") != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "fallback_level: time-sensitive or active wanted, have '%s'",
                    settings->apns_fallback_level);
        return false;
    }
    return true;
}

struct channel *apns_channel_new(const struct settings *settings, const struct clock *clock,
                                 GError **error)
{
    struct channel *channel = apns_renderer_new(settings);
    struct apns *apns = apns_of(channel);
    const char *production = settings->apns_endpoint, *sandbox = settings->apns_sandbox_endpoint;

    apns->clock = clock;
    apns->topic = g_strdup(settings->apns_topic);
    apns->canary_token = g_strdup(settings->apns_canary_token);
    if (settings_check(settings, error) &&
        open_lane(apns, settings, LANE_PROVEN, production, (unsigned)settings->apns_connections,
                  error) &&
        open_lane(apns, settings, LANE_UNPROVEN, production, 1, error) &&
        open_lane(apns, settings, LANE_SANDBOX, sandbox, 1, error) &&
        (apns->token = provider_token_new(settings->apns_key_file, settings->apns_key_id,
                                          settings->apns_team_id, clock, error)) != NULL)
        return channel;
    g_prefix_error(error, "[apns] ");
    apns_free(channel);
    return NULL;
}
