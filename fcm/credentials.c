/* Everything turns on one timer: the next mint. */
#include "fcm/credentials.h"

#include <string.h>

#include "base/error.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"

#define MINT_TIMEOUT_MS  10000
#define MARGIN_US        (300 * USEC_PER_SEC) /* renewed so long before it expires */
#define MARGIN_JITTER_US (60 * USEC_PER_SEC)  /* and up to so much earlier */
#define REMINT_US        (60 * USEC_PER_SEC)  /* between mints after a 401 or a refusal */
#define BACKOFF_MAX_US   (60 * USEC_PER_SEC)
#define LIFE_MIN_S       60
#define LIFE_MAX_S       86400
#define TOKEN_MAX        4096
#define ANSWER_MAX       16384

struct fcm_credentials {
    struct fcm_account *account;
    const struct clock *clock;
    struct fcm_credentials_events events;
    struct http_client *http;
    guint timer;
    bool started, minting;
    unsigned failures;
    int64_t minted_us; /* monotonic, when the last mint began */

    char *header; /* "Bearer …"; NULL when there is none */
    int64_t expires_us;
    uint32_t generation;
    bool replaces_refused; /* minted because of a 401, not accepted yet */
    char *trouble;
};

static void mint(struct fcm_credentials *c);

static int64_t now_us(const struct fcm_credentials *c)
{
    return c->clock->mono_us(c->clock);
}

static gboolean mint_due(gpointer data)
{
    struct fcm_credentials *c = data;

    c->timer = 0;
    mint(c);
    return G_SOURCE_REMOVE;
}

static void mint_in(struct fcm_credentials *c, int64_t wait_us)
{
    g_clear_handle_id(&c->timer, g_source_remove);
    c->timer = g_timeout_add((guint)(MAX(wait_us, 0) / USEC_PER_MSEC), mint_due, c);
}

static void token_drop(struct fcm_credentials *c)
{
    if (c->header != NULL)
        explicit_bzero(c->header, strlen(c->header));
    g_clear_pointer(&c->header, g_free);
}

/* ---- the answer ---- */

static void mint_failed(struct fcm_credentials *c, const char *why, bool refused)
{
    int64_t wait = USEC_PER_SEC;
    bool valid = fcm_credentials_header(c, NULL) != NULL;

    for (unsigned i = 0; i < c->failures && wait < BACKOFF_MAX_US; i++)
        wait *= 2;
    wait = refused ? REMINT_US : MIN(wait, BACKOFF_MAX_US);
    c->failures++;
    g_free(c->trouble);
    c->trouble = g_strdup_printf("%s: %s", refused ? "oauth_refused" : "oauth_failed", why);
    metric_add(METRIC_TOKEN_FAILURES, "fcm", 1);
    log_event(valid ? LOG_LEVEL_WARN : LOG_LEVEL_ALERT, "credentials_failed",
              LOG_STR("channel", "fcm"), LOG_STR("reason", why), LOG_BOOL("refused", refused),
              LOG_BOOL("still_valid", valid));
    mint_in(c, (int64_t)((double)wait * g_random_double_range(0.5, 1.5)));
    if (refused && !valid)
        c->events.on_refused(c->trouble, c->events.user);
}

static bool token_is_plain(const char *token)
{
    size_t len = strnlen(token, TOKEN_MAX + 1);

    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isgraph(token[i]))
            return false;
    return len > 0 && len <= TOKEN_MAX;
}

static void token_take(struct fcm_credentials *c, const char *token, int64_t life_s)
{
    int64_t life_us = CLAMP(life_s, LIFE_MIN_S, LIFE_MAX_S) * USEC_PER_SEC;
    int64_t margin = MARGIN_US + (int64_t)(g_random_double() * MARGIN_JITTER_US);
    bool was_valid = fcm_credentials_header(c, NULL) != NULL;

    token_drop(c);
    c->header = g_strdup_printf("Bearer %s", token);
    c->generation++;
    c->expires_us = c->minted_us + life_us;
    c->failures = 0;
    g_clear_pointer(&c->trouble, g_free);
    metric_add(METRIC_TOKEN_MINTS, "fcm", 1);
    log_event(LOG_LEVEL_INFO, "credentials_minted", LOG_STR("channel", "fcm"),
              LOG_INT("life_s", life_us / USEC_PER_SEC));
    mint_in(c, life_us > 2 * margin ? life_us - margin : life_us / 2);
    if (!was_valid)
        c->events.on_valid(c->events.user);
}

/* The error word of RFC 6749 §5.2, if it is one; never the whole body, which may hold anything. */
static char *oauth_error(const struct http_client_response *response)
{
    g_autoptr(json_t) body =
        json_parse_object(response->body, response->body_len, ANSWER_MAX, NULL);
    const char *word = json_string_value(json_object_get(body, "error"));
    const char *text = json_string_value(json_object_get(body, "error_description"));

    if (word == NULL)
        return g_strdup_printf("HTTP %ld", response->status);
    return g_strdup_printf("HTTP %ld, %.60s: %.200s", response->status, word,
                           text != NULL ? text : "");
}

static void answered(const struct http_client_response *response, void *user)
{
    struct fcm_credentials *c = user;
    g_autoptr(json_t) body = NULL;
    const char *token;
    json_int_t life_s;

    c->minting = false;
    if (response->error != NULL) {
        mint_failed(c, response->error->message,
                    g_error_matches(response->error, LOA_ERROR, LOA_ERROR_DENIED));
        return;
    }
    if (response->status != 200) {
        g_autofree char *why = oauth_error(response);
        mint_failed(c, why,
                    response->status >= 400 && response->status < 500 && response->status != 429 &&
                        response->status != 408);
        return;
    }
    body = json_parse_object(response->body, response->body_len, ANSWER_MAX, NULL);
    token = json_string_value(json_object_get(body, "access_token"));
    life_s = json_integer_value(json_object_get(body, "expires_in"));
    if (token == NULL || !token_is_plain(token) || life_s <= 0)
        mint_failed(c, "the answer holds no access token", false);
    else
        token_take(c, token, life_s);
}

/* ---- the request ---- */

static void mint(struct fcm_credentials *c)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    int64_t utc_s = c->clock->utc_us(c->clock) / USEC_PER_SEC;
    g_autoptr(GError) error = NULL;
    g_autofree char *assertion = NULL, *form = NULL;

    if (c->minting)
        return;
    c->minted_us = now_us(c);
    assertion = fcm_account_assertion(c->account, utc_s, &error);
    if (assertion == NULL) {
        mint_failed(c, error->message, true);
        return;
    }
    /* base64url and dots need no escaping in a form */
    form = g_strdup_printf(
        "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&assertion=%s",
        assertion);
    c->minting = true;
    http_client_send(c->http, "POST", c->account->token_uri, headers, form, strlen(form),
                     MINT_TIMEOUT_MS, answered, c);
    explicit_bzero(assertion, strlen(assertion));
    explicit_bzero(form, strlen(form));
}

/* ---- the owner's calls ---- */

struct fcm_credentials *fcm_credentials_new(struct fcm_account *account, const char *ca_file,
                                            const struct clock *clock,
                                            const struct fcm_credentials_events *events)
{
    struct fcm_credentials *c = g_new0(struct fcm_credentials, 1);

    c->account = account;
    c->clock = clock;
    c->events = *events;
    c->http = http_client_new(*ca_file != '\0' ? ca_file : NULL);
    return c;
}

void fcm_credentials_free(struct fcm_credentials *c)
{
    if (c == NULL)
        return;
    g_clear_handle_id(&c->timer, g_source_remove);
    http_client_free(c->http);
    token_drop(c);
    fcm_account_free(c->account);
    g_free(c->trouble);
    g_free(c);
}

void fcm_credentials_start(struct fcm_credentials *c)
{
    if (!c->started)
        mint_in(c, 0);
    c->started = true;
}

const char *fcm_credentials_header(const struct fcm_credentials *c, uint32_t *out_generation)
{
    if (c->header == NULL || now_us(c) >= c->expires_us)
        return NULL;
    if (out_generation != NULL)
        *out_generation = c->generation;
    return c->header;
}

void fcm_credentials_accepted(struct fcm_credentials *c, uint32_t generation)
{
    if (generation == c->generation)
        c->replaces_refused = false;
}

bool fcm_credentials_rejected(struct fcm_credentials *c, uint32_t generation)
{
    bool hopeless;

    if (generation != c->generation || c->header == NULL)
        return true; /* an answer to a token that is gone already */
    hopeless = c->replaces_refused;
    c->replaces_refused = true;
    token_drop(c);
    g_free(c->trouble);
    c->trouble = g_strdup("access token refused by FCM");
    log_event(LOG_LEVEL_WARN, "credentials_rejected", LOG_STR("channel", "fcm"),
              LOG_BOOL("again", hopeless));
    mint_in(c, c->minted_us + REMINT_US - now_us(c));
    return !hopeless;
}

const char *fcm_credentials_trouble(const struct fcm_credentials *c)
{
    if (fcm_credentials_header(c, NULL) != NULL)
        return "";
    return c->trouble != NULL ? c->trouble : "waiting for the first access token";
}
