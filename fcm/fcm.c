/* The channel's functions: lanes are pools of connections, a push is one request whose body is the
 * rendered message around the engine's token, an answer is a verdict. */
#include "fcm/fcm.h"

#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "fcm/credentials.h"
#include "fcm/fcm_verdict.h"
#include "fcm/payload.h"
#include "h2/pool.h"

#define UNPROVEN_CONNECTIONS 2
#define COPY_MAX             2560 /* of a request's headers: the access token is about 1 KiB */
#define DRY_RUN_LIMIT_MS     20000
#define DRY_RUN_LOOK_MS      50
#define DRY_RUN_TOKEN        "loa-dry-run" /* no install has it: 400 proves all but the phone */

struct dry_run;

struct fcm {
    struct channel channel;
    const struct clock *clock;
    struct h2_pool *pools[LANE_COUNT]; /* NULL: no such lane */
    struct fcm_credentials *credentials;
    char *path;
    char *canary_token;
    GPtrArray *dry_runs; /* running */
};

static struct fcm *fcm_of(const struct channel *channel)
{
    return (struct fcm *)channel; /* its first member */
}

/* ---- requests ---- */

#define HEADER(header_name, text, how)                                                             \
    (struct h2_header)                                                                             \
    {                                                                                              \
        .name = (header_name), .name_len = sizeof(header_name) - 1, .value = (text),               \
        .value_len = (uint16_t)strlen(text), .index = (how)                                        \
    }

/* Sends the prepared request; header is copied, because it may be renewed while this one waits. */
static void send_request(struct fcm *fcm, enum lane lane, unsigned slot, struct h2_request *request)
{
    struct h2_pool *pool = fcm->pools[lane];
    const char *bearer = fcm_credentials_header(fcm->credentials, &request->tag);
    if (bearer == NULL) { /* it expired since room() was asked */
        h2_pool_settle(pool, slot, request, H2_NOT_SENT, "no_access_token");
        return;
    }
    struct h2_header headers[] = {
        HEADER(":method", "POST", H2_INDEX),
        HEADER(":scheme", "https", H2_INDEX),
        HEADER(":authority", h2_pool_authority(pool), H2_INDEX),
        HEADER(":path", fcm->path, H2_INDEX),
        HEADER("authorization", bearer, H2_INDEX_NEVER),
        HEADER("content-type", "application/json", H2_INDEX),
    };

    headers[4].copy = true;
    request->headers = headers;
    request->n_headers = G_N_ELEMENTS(headers);
    h2_pool_send(pool, slot, request);
}

/* What an answer says about our access token, beyond the device. */
static void judge(struct fcm *fcm, const struct h2_answer *answer, struct verdict *out)
{
    fcm_verdict(answer, out);
    if (out->renew_credentials) {
        if (!fcm_credentials_rejected(fcm->credentials, answer->tag)) {
            out->kind = VERDICT_REJECTED_CONFIG;
            out->reason = "UNAUTHENTICATED";
        }
    } else if (answer->outcome == H2_ANSWERED) {
        fcm_credentials_accepted(fcm->credentials, answer->tag);
    }
}

static void push_done(const struct h2_answer *answer, void *owner, void *item)
{
    struct push *push = item;
    struct verdict verdict;

    judge(owner, answer, &verdict);
    push->done(push, &verdict);
}

/* ---- dry runs ---- */

struct dry_run {
    struct fcm *fcm;
    void (*cb)(bool ok, const char *detail, int64_t duration_us, void *user);
    void *user;
    int64_t since_us;
    guint look; /* timer while it waits for a connection and a token */
    struct channel_payload *payload;
};

static void dry_run_free(void *data)
{
    struct dry_run *run = data;

    g_clear_handle_id(&run->look, g_source_remove);
    fcm_payload_free(run->payload);
    g_free(run);
}

static void dry_run_end(struct dry_run *run, bool ok, const char *detail)
{
    struct fcm *fcm = run->fcm;
    struct dry_run ended = *run;

    if (fcm->dry_runs == NULL) /* the channel is being freed */
        return;
    g_ptr_array_remove_fast(fcm->dry_runs, run);
    ended.cb(ok, detail, fcm->clock->mono_us(fcm->clock) - ended.since_us, ended.user);
}

/* A made-up token is refused only after path, credentials, project and form were found good. */
static void dry_run_done(const struct h2_answer *answer, void *owner, void *item)
{
    struct fcm *fcm = owner;
    struct dry_run *run = item;
    struct verdict verdict;

    judge(fcm, answer, &verdict);
    if (verdict.kind == VERDICT_ACCEPTED)
        dry_run_end(run, true, "accepted");
    else if (verdict.kind == VERDICT_DEAD_TOKEN && *fcm->canary_token == '\0')
        dry_run_end(run, true, "credentials accepted");
    else
        dry_run_end(run, false, verdict.reason);
}

static gboolean dry_run_look(gpointer data)
{
    struct dry_run *run = data;
    struct fcm *fcm = run->fcm;
    const char *trouble = fcm_credentials_trouble(fcm->credentials);
    const char *token = *fcm->canary_token != '\0' ? fcm->canary_token : DRY_RUN_TOKEN;
    struct h2_request request = {
        .done = dry_run_done, .owner = fcm, .item = run, .n_pieces = H2_PIECES_MAX};

    if (*trouble == '\0' && h2_pool_room(fcm->pools[LANE_UNPROVEN], 0) > 0) {
        run->look = 0;
        fcm_payload_body(run->payload, token, false, true, request.body);
        send_request(fcm, LANE_UNPROVEN, 0, &request);
        h2_pool_flush(fcm->pools[LANE_UNPROVEN]);
        return G_SOURCE_REMOVE;
    }
    if (fcm->clock->mono_us(fcm->clock) - run->since_us < DRY_RUN_LIMIT_MS * USEC_PER_MSEC)
        return G_SOURCE_CONTINUE;
    run->look = 0;
    if (*trouble == '\0')
        trouble = h2_pool_trouble(fcm->pools[LANE_UNPROVEN]);
    dry_run_end(run, false, *trouble != '\0' ? trouble : "no free request slot");
    return G_SOURCE_REMOVE;
}

static void fcm_dry_run(struct channel *channel,
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
                                         .key_id = ""};
    struct fcm *fcm = fcm_of(channel);
    struct dry_run *run = g_new0(struct dry_run, 1);

    *run = (struct dry_run){
        .fcm = fcm, .cb = cb, .user = user, .since_us = fcm->clock->mono_us(fcm->clock)};
    run->payload = fcm_payload_render(&probe, 0, NULL);
    run->look = g_timeout_add(DRY_RUN_LOOK_MS, dry_run_look, run);
    g_ptr_array_add(fcm->dry_runs, run);
}

/* ---- the channel's functions ---- */

static struct channel_payload *fcm_render(struct channel *channel, const struct message *message,
                                          GError **error)
{
    const struct clock *clock = fcm_of(channel)->clock;

    return fcm_payload_render(message, clock->utc_us(clock) / USEC_PER_SEC, error);
}

static void fcm_start(struct channel *channel)
{
    struct fcm *fcm = fcm_of(channel);

    if (fcm->credentials == NULL)
        return;
    fcm_credentials_start(fcm->credentials);
    for (int l = 0; l < LANE_COUNT; l++)
        if (fcm->pools[l] != NULL)
            h2_pool_start(fcm->pools[l]);
}

static unsigned fcm_slots(const struct channel *channel, enum lane lane)
{
    const struct h2_pool *pool = fcm_of(channel)->pools[lane];

    return pool != NULL ? h2_pool_slots(pool) : 0;
}

static unsigned fcm_room(const struct channel *channel, enum lane lane, unsigned slot)
{
    const struct fcm *fcm = fcm_of(channel);

    if (fcm_credentials_header(fcm->credentials, NULL) == NULL)
        return 0;
    return h2_pool_room(fcm->pools[lane], slot);
}

static unsigned fcm_in_flight(const struct channel *channel, enum lane lane, unsigned slot)
{
    return h2_pool_in_flight(fcm_of(channel)->pools[lane], slot);
}

static void fcm_send(struct channel *channel, struct push *push)
{
    struct fcm *fcm = fcm_of(channel);
    struct h2_request request = {
        .done = push_done, .owner = fcm, .item = push, .n_pieces = H2_PIECES_MAX};

    fcm_payload_body(push->payload, push->token, push->is_fid, false, request.body);
    if (fcm_token_is_plain(push->token))
        send_request(fcm, push->lane, push->slot, &request);
    else
        h2_pool_settle(fcm->pools[push->lane], push->slot, &request, H2_UNUSABLE,
                       "malformed_token");
}

static void fcm_flush(struct channel *channel)
{
    struct fcm *fcm = fcm_of(channel);

    for (int l = 0; l < LANE_COUNT; l++)
        if (fcm->pools[l] != NULL)
            h2_pool_flush(fcm->pools[l]);
}

static void fcm_free(struct channel *channel)
{
    struct fcm *fcm = fcm_of(channel);
    GPtrArray *dry_runs = g_steal_pointer(&fcm->dry_runs);

    for (int l = 0; l < LANE_COUNT; l++)
        h2_pool_free(fcm->pools[l]);
    fcm_credentials_free(fcm->credentials);
    g_ptr_array_unref(dry_runs);
    g_free(fcm->path);
    g_free(fcm->canary_token);
    g_free(fcm);
}

static const struct channel_ops fcm_ops = {
    .render = fcm_render,
    .payload_free = fcm_payload_free,
    .payload_size = fcm_payload_size,
    .start = fcm_start,
    .slots = fcm_slots,
    .room = fcm_room,
    .in_flight = fcm_in_flight,
    .send = fcm_send,
    .flush = fcm_flush,
    .dry_run = fcm_dry_run,
    .free = fcm_free,
};

/* ---- life ---- */

static void tell_room(void *user)
{
    struct fcm *fcm = user;

    if (fcm->channel.on_room != NULL)
        fcm->channel.on_room(fcm->channel.engine_data, &fcm->channel);
}

static void tell_refused(const char *reason, void *user)
{
    struct fcm *fcm = user;

    if (fcm->channel.on_config_error != NULL)
        fcm->channel.on_config_error(fcm->channel.engine_data, &fcm->channel, reason);
}

struct channel *fcm_renderer_new(const struct clock *clock)
{
    struct fcm *fcm = g_new0(struct fcm, 1);

    fcm->channel = (struct channel){.ops = &fcm_ops, .name = "fcm", .payload_max = FCM_PAYLOAD_MAX};
    fcm->clock = clock;
    fcm->dry_runs = g_ptr_array_new_with_free_func(dry_run_free);
    return &fcm->channel;
}

static bool open_lane(struct fcm *fcm, const struct settings *settings, enum lane lane,
                      unsigned connections, GError **error)
{
    fcm->pools[lane] =
        h2_pool_new(&(struct h2_config){.name = "fcm",
                                        .endpoint = settings->fcm_endpoint,
                                        .ca_file = settings->fcm_ca_file,
                                        .connections = connections,
                                        .streams_max = (unsigned)settings->fcm_streams_max,
                                        .timeout_ms = (unsigned)settings->fcm_request_timeout_ms,
                                        .copy_max = COPY_MAX,
                                        .clock = fcm->clock,
                                        .on_room = tell_room,
                                        .on_refused = tell_refused,
                                        .user = fcm},
                    error);
    return fcm->pools[lane] != NULL;
}

struct channel *fcm_channel_new(const struct settings *settings, const struct clock *clock,
                                GError **error)
{
    struct fcm_account *account = NULL;
    struct channel *channel = fcm_renderer_new(clock);
    struct fcm *fcm = fcm_of(channel);

    if (!open_lane(fcm, settings, LANE_PROVEN, (unsigned)settings->fcm_connections, error) ||
        !open_lane(fcm, settings, LANE_UNPROVEN, UNPROVEN_CONNECTIONS, error) ||
        (account = fcm_account_load(settings->fcm_service_account_file, error)) == NULL) {
        g_prefix_error(error, "[fcm] ");
        fcm_free(channel);
        return NULL;
    }
    fcm->path = g_strdup_printf("/v1/projects/%s/messages:send", account->project_id);
    fcm->canary_token = g_strdup(settings->fcm_canary_token);
    fcm->credentials =
        fcm_credentials_new(account, settings->fcm_ca_file, clock,
                            &(struct fcm_credentials_events){
                                .on_valid = tell_room, .on_refused = tell_refused, .user = fcm});
    return channel;
}
