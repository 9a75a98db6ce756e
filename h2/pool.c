/* The connections of one endpoint, and their common TLS context. */
#include "h2/pool.h"

#include <signal.h>
#include <string.h>

#include <openssl/ssl.h>

#include "base/error.h"
#include "base/tls.h"
#include "h2/conn.h"

struct h2_pool {
    struct h2_target target;
    char *name;
    unsigned n;
    struct h2_conn *conns[];
};

static bool endpoint_parse(const char *endpoint, char **out_host, uint16_t *out_port,
                           GError **error)
{
    const char *colon = strrchr(endpoint, ':');
    size_t len = colon != NULL ? (size_t)(colon - endpoint) : 0;
    bool brackets = len > 2 && endpoint[0] == '[' && endpoint[len - 1] == ']';
    guint64 port = 0;

    if (len == 0 || (!brackets && memchr(endpoint, ':', len) != NULL) ||
        !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "endpoint '%s': write host:port, for example api.push.apple.com:443", endpoint);
        return false;
    }
    *out_host = brackets ? g_strndup(endpoint + 1, len - 2) : g_strndup(endpoint, len);
    *out_port = (uint16_t)port;
    return true;
}

static void fill_default(unsigned *value, unsigned fallback)
{
    if (*value == 0)
        *value = fallback;
}

/* Writing to a connection that the peer has just closed must be an error, not a signal. */
static void ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        (void)signal(SIGPIPE, SIG_IGN);
}

static void target_clear(struct h2_target *target)
{
    SSL_CTX_free(target->tls);
    g_free(target->host);
    g_free(target->authority);
}

static bool target_init(struct h2_target *target, const struct h2_config *config, GError **error)
{
    const char *end = strrchr(config->endpoint, ':');

    *target = (struct h2_target){.config = *config};
    if (!endpoint_parse(config->endpoint, &target->host, &target->port, error))
        return false;
    target->authority = target->port == 443
                            ? g_strndup(config->endpoint, (size_t)(end - config->endpoint))
                            : g_strdup(config->endpoint);
    target->tls = tls_client_context(config->ca_file, "h2", error);
    /* The caller's strings; the name is copied by the pool. */
    target->config.endpoint = target->config.ca_file = NULL;
    fill_default(&target->config.backoff_min_ms, 1000);
    fill_default(&target->config.backoff_max_ms, 60 * 1000);
    fill_default(&target->config.idle_ping_ms, 3600 * 1000);
    fill_default(&target->config.silence_ms, 5000);
    return target->tls != NULL;
}

struct h2_pool *h2_pool_new(const struct h2_config *config, GError **error)
{
    struct h2_pool *pool =
        g_malloc0(sizeof(struct h2_pool) + config->connections * sizeof(struct h2_conn *));

    if (!target_init(&pool->target, config, error)) {
        h2_pool_free(pool);
        return NULL;
    }
    ignore_sigpipe();
    pool->name = g_strdup(config->name);
    pool->target.config.name = pool->name;
    for (; pool->n < config->connections; pool->n++)
        pool->conns[pool->n] = h2_conn_new(&pool->target, pool->n);
    return pool;
}

void h2_pool_free(struct h2_pool *pool)
{
    if (pool == NULL)
        return;
    for (unsigned i = 0; i < pool->n; i++)
        h2_conn_free(pool->conns[i]);
    target_clear(&pool->target);
    g_free(pool->name);
    g_free(pool);
}

void h2_pool_start(struct h2_pool *pool)
{
    for (unsigned i = 0; i < pool->n; i++)
        h2_conn_start(pool->conns[i]);
}

unsigned h2_pool_slots(const struct h2_pool *pool)
{
    return pool->n;
}

const char *h2_pool_authority(const struct h2_pool *pool)
{
    return pool->target.authority;
}

unsigned h2_pool_room(const struct h2_pool *pool, unsigned slot)
{
    return h2_conn_room(pool->conns[slot]);
}

unsigned h2_pool_in_flight(const struct h2_pool *pool, unsigned slot)
{
    return h2_conn_in_flight(pool->conns[slot]);
}

void h2_pool_send(struct h2_pool *pool, unsigned slot, const struct h2_request *request)
{
    h2_conn_send(pool->conns[slot], request);
}

void h2_pool_settle(struct h2_pool *pool, unsigned slot, const struct h2_request *request,
                    enum h2_outcome outcome, const char *reason)
{
    h2_conn_settle(pool->conns[slot], request, outcome, reason);
}

void h2_pool_flush(struct h2_pool *pool)
{
    for (unsigned i = 0; i < pool->n; i++)
        h2_conn_flush(pool->conns[i]);
}

void h2_pool_prove(struct h2_pool *pool, unsigned slot)
{
    h2_conn_prove(pool->conns[slot]);
}

void h2_pool_drain(struct h2_pool *pool, unsigned slot, const char *reason)
{
    h2_conn_drain(pool->conns[slot], reason);
}

unsigned h2_pool_ready(const struct h2_pool *pool)
{
    unsigned ready = 0;

    for (unsigned i = 0; i < pool->n; i++)
        ready += h2_conn_state(pool->conns[i]) == H2_READY;
    return ready;
}

const char *h2_pool_trouble(const struct h2_pool *pool)
{
    for (unsigned i = 0; i < pool->n; i++)
        if (h2_conn_state(pool->conns[i]) != H2_READY)
            return h2_conn_trouble(pool->conns[i]);
    return "";
}
