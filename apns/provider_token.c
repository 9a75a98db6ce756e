#include "apns/provider_token.h"

#include <inttypes.h>
#include <string.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"

#define KEY_MAX         4096
#define PATIENCE_US     (30 * USEC_PER_SEC) /* with a young token that APNs calls expired */
#define REFRESH_MIN_US  (20 * 60 * USEC_PER_SEC)
#define REFRESH_FROM_US (40 * 60 * USEC_PER_SEC) /* a random instant between these two */
#define REFRESH_TO_US   (50 * 60 * USEC_PER_SEC)

struct provider_token {
    char *pem, *key_id, *team_id;
    const struct clock *clock;
    char *header;
    uint32_t generation;
    int64_t minted_mono_us, minted_utc_us;
    int64_t refresh_us; /* age at which the next one is due */
    bool refused;       /* since refused_mono_us, and not accepted in between */
    int64_t refused_mono_us;
    int64_t early_from_mono_us; /* a young token may be replaced again from here on */
};

/* By whichever clock says more: the monotonic one stands still while the machine sleeps. */
static int64_t age_us(const struct provider_token *t)
{
    int64_t mono = t->clock->mono_us(t->clock) - t->minted_mono_us;
    int64_t utc = t->clock->utc_us(t->clock) - t->minted_utc_us;

    return MAX(mono, utc);
}

static bool mint(struct provider_token *t, GError **error)
{
    int64_t utc_us = t->clock->utc_us(t->clock);
    g_autofree char *claims =
        g_strdup_printf("{\"iss\":\"%s\",\"iat\":%" PRId64 "}", t->team_id, utc_us / USEC_PER_SEC);
    g_autofree char *jwt = jwt_sign("ES256", t->key_id, t->pem, claims, error);

    if (jwt == NULL)
        return false;
    g_free(t->header);
    t->header = g_strconcat("bearer ", jwt, NULL);
    t->generation++;
    t->refused = false;
    t->minted_mono_us = t->clock->mono_us(t->clock);
    t->minted_utc_us = utc_us;
    t->refresh_us = (int64_t)g_random_double_range(REFRESH_FROM_US, REFRESH_TO_US);
    metric_add(METRIC_TOKEN_MINTS, "apns", 1);
    log_event(LOG_LEVEL_INFO, "credentials_minted", LOG_STR("channel", "apns"),
              LOG_INT("refresh_s", t->refresh_us / USEC_PER_SEC));
    return true;
}

/* Ids stand in JSON as they are. */
static bool id_is_plain(const char *id, const char *setting, GError **error)
{
    const char *at = id;

    while (g_ascii_isalnum(*at))
        at++;
    if (*at == '\0' && at > id)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: letters and digits wanted, have '%s'",
                setting, id);
    return false;
}

struct provider_token *provider_token_new(const char *key_file, const char *key_id,
                                          const char *team_id, const struct clock *clock,
                                          GError **error)
{
    loa_auto(provider_token) t = g_new0(struct provider_token, 1);
    size_t len;

    t->clock = clock;
    t->key_id = g_strdup(key_id);
    t->team_id = g_strdup(team_id);
    if (!id_is_plain(key_id, "key_id", error) || !id_is_plain(team_id, "team_id", error) ||
        !secret_file_read(key_file, KEY_MAX, &t->pem, &len, error))
        return NULL;
    if (!mint(t, error)) {
        g_prefix_error(error, "%s: ", key_file);
        return NULL;
    }
    return g_steal_pointer(&t);
}

void provider_token_free(struct provider_token *t)
{
    if (t == NULL)
        return;
    if (t->pem != NULL)
        explicit_bzero(t->pem, strlen(t->pem));
    g_free(t->pem);
    g_free(t->key_id);
    g_free(t->team_id);
    g_free(t->header);
    g_free(t);
}

const char *provider_token_header(struct provider_token *t, uint32_t *out_generation)
{
    g_autoptr(GError) error = NULL;

    if (age_us(t) >= t->refresh_us && !mint(t, &error)) { /* the key has worked before */
        metric_add(METRIC_TOKEN_FAILURES, "apns", 1);
        log_event(LOG_LEVEL_ERROR, "credentials_failed", LOG_STR("channel", "apns"),
                  LOG_STR("reason", error->message));
        t->refresh_us += REFRESH_MIN_US;
    }
    if (out_generation != NULL)
        *out_generation = t->generation;
    return t->header;
}

void provider_token_accepted(struct provider_token *t, uint32_t generation)
{
    if (generation == t->generation)
        t->refused = false;
}

bool provider_token_expired(struct provider_token *t, uint32_t generation)
{
    int64_t now_us = t->clock->mono_us(t->clock);

    if (generation != t->generation)
        return true; /* an answer to a token that is gone already */
    if (age_us(t) >= REFRESH_MIN_US || now_us >= t->early_from_mono_us) {
        if (age_us(t) < REFRESH_MIN_US)
            t->early_from_mono_us = now_us + REFRESH_MIN_US;
        t->refresh_us = 0;
        return true;
    }
    if (!t->refused)
        t->refused_mono_us = now_us;
    t->refused = true;
    return now_us - t->refused_mono_us < PATIENCE_US;
}
