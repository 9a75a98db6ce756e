/* A call becomes requests (a batch one, installation ids one each) that wait in one queue. pump()
 * starts what may start now and sets one timer for the rest. What failed goes back to the head of
 * the queue and holds everybody back for as long as the provider asked, or for a growing time: who
 * is overloaded is not helped by other requests. */
#include "fcm/topic_client.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/http_client.h"
#include "base/json.h"
#include "fcm/credentials.h"
#include "fcm/fcm_verdict.h"
#include "h2/request.h"

#define TOKEN_WAIT_US (30 * USEC_PER_SEC) /* for an access token, before giving up */
#define TOKEN_LOOK_US (100 * USEC_PER_MSEC)
#define PAUSE_US      (10 * USEC_PER_SEC) /* after a failure without Retry-After, doubling */
#define MESSAGE_US    (1 * USEC_PER_SEC)  /* the same for a message: it is one, and it is urgent */
#define PAUSE_MAX_US  (60 * USEC_PER_SEC)
#define THROTTLED_US  (60 * USEC_PER_SEC) /* 429 without Retry-After */
#define NAME_MAX_LEN  512

struct request {
    struct fcm_topics *topics;
    struct fcm_topic_change *change; /* NULL: a message */
    size_t first;                    /* FIDs: its registration */
    unsigned tries;
    uint32_t generation; /* of the access token it went under */
    bool uncertain;      /* an earlier try may have arrived */
    /* a message */
    char *body;
    int64_t until_us;
    void (*sent)(const struct fcm_topic_sent *sent, void *user);
    void *user;
};

struct fcm_topics {
    const struct clock *clock;
    struct fcm_credentials *credentials;
    struct http_client *http;
    char *send_url, *registrations_url, *batch_url[2];
    unsigned timeout_ms;
    int64_t per_registration_ns; /* the rate's inverse */
    GQueue waiting;              /* struct request */
    GHashTable *open;            /* struct request, set */
    guint timer;
    int64_t gate_us;      /* nothing starts before: a failure's pause */
    int64_t next_us;      /* nothing starts before: the rate */
    int64_t tokenless_us; /* since when there has been no access token; 0 = there is one */
    GError *fatal;
};

static void pump(struct fcm_topics *t);

static int64_t now_us(const struct fcm_topics *t)
{
    return t->clock->mono_us(t->clock);
}

static void request_free(void *data)
{
    struct request *request = data;

    g_free(request->body);
    g_free(request);
}

static gboolean timer_due(gpointer user)
{
    struct fcm_topics *t = user;

    t->timer = 0;
    pump(t);
    return G_SOURCE_REMOVE;
}

static void pump_in(struct fcm_topics *t, int64_t wait_us)
{
    g_clear_handle_id(&t->timer, g_source_remove);
    t->timer = g_timeout_add((guint)((MAX(wait_us, 0) + 999) / USEC_PER_MSEC), timer_due, t);
}

/* ---- the end of a request ---- */

static void change_step(struct request *request)
{
    const GError *fatal = request->topics->fatal;
    struct fcm_topic_change *change = request->change;
    size_t part = change->fids ? 1 : change->n;

    request_free(request);
    change->owed -= part;
    if (change->owed == 0)
        change->done(change, change->failed ? fatal : NULL, change->user);
}

static void change_end(struct request *request, struct fcm_topic_answer answer)
{
    struct fcm_topic_change *change = request->change;
    size_t part = change->fids ? 1 : change->n;

    for (size_t i = 0; i < part; i++)
        change->answers[request->first + i] = answer;
    change_step(request);
}

static void message_end(struct request *request, enum fcm_topic_sent_state state, const char *name,
                        const char *reason)
{
    request->sent(&(struct fcm_topic_sent){.state = state, .name = name, .reason = reason},
                  request->user);
    request_free(request);
}

/* Ends it as what it is after its last try. */
static void give_up(struct request *request, const char *reason)
{
    if (request->change != NULL)
        change_end(request, (struct fcm_topic_answer){FCM_TOPIC_AGAIN, reason});
    else
        message_end(request, request->uncertain ? FCM_TOPIC_UNKNOWN : FCM_TOPIC_FAILED, "", reason);
}

/* Everything that waits ends with the fatal error. */
static void fail_waiting(struct fcm_topics *t)
{
    struct request *request;

    while ((request = g_queue_pop_head(&t->waiting)) != NULL) {
        if (request->change == NULL) {
            give_up(request, t->fatal->message);
        } else {
            request->change->failed = true;
            change_step(request);
        }
    }
}

static void set_fatal(struct fcm_topics *t, int code, const char *what, const char *detail)
{
    if (t->fatal == NULL) {
        t->fatal = g_error_new(LOA_ERROR, code, "%s%s", what, detail);
        pump_in(t, 0);
    }
}

/* Back to the head of the queue, unless it was tried often enough. */
static void again(struct request *request, int64_t pause_us, const char *reason)
{
    struct fcm_topics *t = request->topics;
    bool message = request->change == NULL;
    int64_t wait_us = message ? MESSAGE_US : PAUSE_US;

    for (unsigned i = 1; i < request->tries && wait_us < PAUSE_MAX_US; i++)
        wait_us *= 2;
    wait_us = MIN(wait_us, PAUSE_MAX_US);
    wait_us = (int64_t)((double)wait_us * g_random_double_range(0.75, 1.25));
    if (pause_us > 0)
        wait_us = pause_us;
    if (request->tries >= FCM_TOPIC_TRIES ||
        (message && now_us(t) + wait_us >= request->until_us)) {
        give_up(request, reason);
        return;
    }
    t->gate_us = MAX(t->gate_us, now_us(t) + wait_us);
    g_queue_push_head(&t->waiting, request);
}

static int64_t pause_of(const struct http_client_response *response)
{
    if (response->retry_after_s > 0)
        return response->retry_after_s * USEC_PER_SEC;
    return response->status == 429 ? THROTTLED_US : 0;
}

/* 401: another token, if that can help. */
static void unauthenticated(struct request *request)
{
    struct fcm_topics *t = request->topics;

    if (!fcm_credentials_rejected(t->credentials, request->generation))
        set_fatal(t, LOA_ERROR_DENIED, "FCM refuses every access token of the service account", "");
    g_queue_push_head(&t->waiting, request);
}

/* ---- answers ---- */

static void batch_answered(struct request *request, const struct http_client_response *response)
{
    struct fcm_topics *t = request->topics;
    struct fcm_topic_change *change = request->change;
    g_autofree char *what = g_strdup_printf("HTTP %ld", response->status);

    if (response->status == 200) {
        if (fcm_topic_batch_read(response->body, response->body_len, change->n, change->answers))
            change_step(request);
        else
            again(request, 0, "answer_unreadable");
    } else if (response->status == 408 || response->status == 429 || response->status >= 500) {
        again(request, pause_of(response), "provider_busy");
    } else { /* about the call, not about a registration: the next one would fare the same */
        set_fatal(
            t, response->status == 403 ? LOA_ERROR_DENIED : LOA_ERROR_INVALID,
            "subscription management refuses the call (is [fcm] topic_endpoint right, and may "
            "the service account manage this project's topics?): ",
            what);
        g_queue_push_head(&t->waiting, request);
    }
}

static void single_answered(struct request *request, const struct http_client_response *response)
{
    struct fcm_topic_answer answer = fcm_topic_single_read(request->change->op, response->status,
                                                           response->body, response->body_len);

    if (answer.result == FCM_TOPIC_AGAIN)
        again(request, pause_of(response), answer.reason);
    else
        change_end(request, answer);
}

static const char *message_name(const json_t *body)
{
    const char *name = json_string_value(json_object_get(body, "name"));

    return name != NULL && *name != '\0' && strlen(name) <= NAME_MAX_LEN ? name : "unnamed";
}

static void message_answered(struct request *request, const struct http_client_response *response)
{
    char retry_after[H2_ANSWER_TEXT_MAX] = "";
    struct verdict verdict;
    g_autoptr(json_t) body = NULL;

    if (response->retry_after_s > 0)
        g_snprintf(retry_after, sizeof(retry_after), "%" PRId64, response->retry_after_s);
    fcm_verdict(&(struct h2_answer){.outcome = H2_ANSWERED,
                                    .reason = "",
                                    .status = (int)response->status,
                                    .body = response->body,
                                    .body_len = MIN(response->body_len, H2_ANSWER_BODY_MAX),
                                    .retry_after = retry_after},
                &verdict);
    switch (verdict.kind) {
    case VERDICT_ACCEPTED:
        body = json_parse_object(response->body, response->body_len, H2_ANSWER_BODY_MAX, NULL);
        message_end(request, FCM_TOPIC_ACCEPTED, message_name(body), verdict.reason);
        break;
    case VERDICT_THROTTLED:
    case VERDICT_TRANSIENT:
        again(request, verdict.retry_after_ms * USEC_PER_MSEC, verdict.reason);
        break;
    case VERDICT_UNKNOWN:
        request->uncertain = true;
        again(request, 0, verdict.reason);
        break;
    default:
        message_end(request, FCM_TOPIC_REJECTED, "", verdict.reason);
    }
}

static void answered(const struct http_client_response *response, void *user)
{
    struct request *request = user;
    struct fcm_topics *t = request->topics;

    g_hash_table_remove(t->open, request);
    if (response->error != NULL) {
        request->uncertain |= g_error_matches(response->error, LOA_ERROR, LOA_ERROR_UNCERTAIN);
        if (g_error_matches(response->error, LOA_ERROR, LOA_ERROR_DENIED) ||
            g_error_matches(response->error, LOA_ERROR, LOA_ERROR_INVALID)) {
            set_fatal(t, response->error->code, "", response->error->message);
            g_queue_push_head(&t->waiting, request);
        } else {
            again(request, 0, "no answer");
        }
    } else if (response->status == 401) {
        unauthenticated(request);
    } else {
        fcm_credentials_accepted(t->credentials, request->generation);
        if (request->change == NULL)
            message_answered(request, response);
        else if (request->change->fids)
            single_answered(request, response);
        else
            batch_answered(request, response);
    }
    pump_in(t, 0);
}

/* ---- starting ---- */

static void start(struct request *request, const char *bearer)
{
    struct fcm_topics *t = request->topics;
    const struct fcm_topic_change *change = request->change;
    g_autofree char *authorization = g_strdup_printf("Authorization: %s", bearer);
    const char *const headers[] = {authorization, "Content-Type: application/json",
                                   "access_token_auth: true", NULL};
    g_autofree char *body = NULL, *url = NULL;
    const char *method = "POST";

    request->tries++;
    g_hash_table_add(t->open, request);
    if (change == NULL) {
        url = g_strdup(t->send_url);
    } else if (!change->fids) {
        url = g_strdup(t->batch_url[change->op]);
        body = fcm_topic_batch_body(change->topic, change->registrations, change->n);
    } else {
        g_autofree char *id =
            g_uri_escape_string(change->registrations[request->first], NULL, FALSE);
        bool add = change->op == FCM_TOPIC_ADD;
        method = add ? "POST" : "DELETE";
        url = g_strdup_printf("%s/%s/topicSubscriptions%s%s", t->registrations_url, id,
                              add ? "?topic_name=" : "/", change->topic);
        body = g_strdup("{}");
    }
    const char *data = change == NULL ? request->body : body;
    http_client_send(t->http, method, url, headers, data, strlen(data), t->timeout_ms, answered,
                     request);
    explicit_bzero(authorization, strlen(authorization));
}

/* When the next request may start: 0 = now, else how long from now. */
static int64_t wait_of(struct fcm_topics *t, const char *bearer)
{
    int64_t now = now_us(t);
    bool message = ((struct request *)g_queue_peek_head(&t->waiting))->change == NULL;
    int64_t at = message ? t->gate_us : MAX(t->gate_us, t->next_us);

    if (bearer == NULL && t->tokenless_us == 0)
        t->tokenless_us = now;
    if (bearer != NULL)
        t->tokenless_us = 0;
    else if (now - t->tokenless_us >= TOKEN_WAIT_US)
        set_fatal(t, LOA_ERROR_RETRY,
                  "no access token for FCM: ", fcm_credentials_trouble(t->credentials));
    else
        at = MAX(at, now + TOKEN_LOOK_US);
    return MAX(at - now, 0);
}

static void pump(struct fcm_topics *t)
{
    while (t->fatal == NULL && !g_queue_is_empty(&t->waiting) &&
           g_hash_table_size(t->open) < FCM_TOPIC_REQUESTS_OPEN) {
        uint32_t generation = 0;
        const char *bearer = fcm_credentials_header(t->credentials, &generation);
        int64_t wait_us = wait_of(t, bearer);
        if (t->fatal != NULL)
            break;
        if (wait_us > 0) {
            pump_in(t, wait_us);
            return;
        }
        struct request *request = g_queue_pop_head(&t->waiting);
        const struct fcm_topic_change *change = request->change;
        if (change != NULL)
            t->next_us = MAX(t->next_us, now_us(t)) +
                         (int64_t)(change->fids ? 1 : change->n) * t->per_registration_ns / 1000;
        request->generation = generation;
        start(request, bearer);
    }
    if (t->fatal != NULL)
        fail_waiting(t);
}

/* ---- the owner's calls ---- */

static struct request *request_new(struct fcm_topics *t)
{
    struct request *request = g_new0(struct request, 1);

    request->topics = t;
    g_queue_push_tail(&t->waiting, request);
    return request;
}

void fcm_topics_change(struct fcm_topics *t, struct fcm_topic_change *change)
{
    size_t requests = change->fids ? change->n : 1;

    change->owed = change->n;
    change->failed = false;
    for (size_t i = 0; i < requests; i++) {
        struct request *request = request_new(t);
        request->change = change;
        request->first = i;
    }
    pump_in(t, 0);
}

void fcm_topics_send(struct fcm_topics *t, const char *body,
                     void (*done)(const struct fcm_topic_sent *sent, void *user), void *user)
{
    struct request *request = request_new(t);

    request->body = g_strdup(body);
    request->until_us = now_us(t) + FCM_TOPIC_MESSAGE_MS * USEC_PER_MSEC;
    request->sent = done;
    request->user = user;
    pump_in(t, 0);
}

static void on_valid(void *user)
{
    pump_in(user, 0);
}

static void on_refused(const char *reason, void *user)
{
    set_fatal(user, LOA_ERROR_DENIED, "no access token for FCM: ", reason);
}

struct fcm_topics *fcm_topics_new(const struct settings *settings, const struct clock *clock,
                                  GError **error)
{
    struct fcm_account *account = fcm_account_load(settings->fcm_service_account_file, error);
    struct fcm_topics *t;

    if (account == NULL) {
        g_prefix_error(error, "[fcm] service_account_file: ");
        return NULL;
    }
    t = g_new0(struct fcm_topics, 1);
    t->clock = clock;
    t->timeout_ms = (unsigned)settings->fcm_request_timeout_ms;
    t->per_registration_ns = USEC_PER_SEC * 1000 / settings->fcm_topic_rate;
    t->registrations_url = g_strdup_printf("https://%s/v1/projects/%s/registrations",
                                           settings->fcm_endpoint, account->project_id);
    t->send_url = g_strdup_printf("https://%s/v1/projects/%s/messages:send", settings->fcm_endpoint,
                                  account->project_id);
    t->batch_url[FCM_TOPIC_ADD] =
        g_strdup_printf("https://%s/iid/v1:batchAdd", settings->fcm_topic_endpoint);
    t->batch_url[FCM_TOPIC_REMOVE] =
        g_strdup_printf("https://%s/iid/v1:batchRemove", settings->fcm_topic_endpoint);
    g_queue_init(&t->waiting);
    t->open = g_hash_table_new(NULL, NULL);
    t->http = http_client_new(settings->fcm_ca_file[0] != '\0' ? settings->fcm_ca_file : NULL);
    t->credentials =
        fcm_credentials_new(account, settings->fcm_ca_file, clock,
                            &(struct fcm_credentials_events){
                                .on_valid = on_valid, .on_refused = on_refused, .user = t});
    fcm_credentials_start(t->credentials);
    return t;
}

void fcm_topics_free(struct fcm_topics *t)
{
    GHashTableIter iter;
    gpointer request;

    if (t == NULL)
        return;
    g_clear_handle_id(&t->timer, g_source_remove);
    http_client_free(t->http);
    fcm_credentials_free(t->credentials);
    g_hash_table_iter_init(&iter, t->open);
    while (g_hash_table_iter_next(&iter, &request, NULL))
        request_free(request);
    g_hash_table_unref(t->open);
    while ((request = g_queue_pop_head(&t->waiting)) != NULL)
        request_free(request);
    g_clear_error(&t->fatal);
    g_free(t->send_url);
    g_free(t->registrations_url);
    g_free(t->batch_url[FCM_TOPIC_ADD]);
    g_free(t->batch_url[FCM_TOPIC_REMOVE]);
    g_free(t);
}
