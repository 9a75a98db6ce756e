/* The state machine of one connection. One GSource carries its descriptor and its next deadline;
 * all callbacks to the user run from that source (or from free), never from inside a call. */
#include "h2/conn.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "h2/dial.h"
#include "h2/link.h"
#include "h2/session.h"

#define GREETING_LIMIT_US (10 * USEC_PER_SEC) /* from TLS to the peer's SETTINGS */
#define STEADY_US         (60 * USEC_PER_SEC) /* a connection that lived so long was a good one */
#define READS_PER_TURN    16                  /* then others on the loop have their turn */
#define NEVER             INT64_MAX

struct h2_conn {
    const struct h2_target *target;
    const struct h2_config *config; /* the target's */
    unsigned number;
    int references; /* the owner's, the running dispatch's */
    bool freed;

    enum h2_state state;
    struct h2_session *session;
    struct h2_link *link;
    struct h2_dial *dial; /* CONNECTING */

    GSource *source;
    gpointer fd_tag;
    GIOCondition polled; /* what fd_tag asks for */
    int64_t wake_us;     /* when the source runs by itself; may be too early, never too late */
    int64_t retry_us;    /* WAITING: when it ends */
    int64_t limit_us;    /* GREETING: when the attempt has failed */
    int64_t ready_us;    /* since when READY */
    int64_t quiet_us;    /* last byte from the peer, or first request after a pause */
    bool pinged;         /* since quiet_us */
    bool more;           /* to read, whatever the descriptor says */
    bool blocked;        /* the socket takes no more */
    bool proven;
    unsigned failures;    /* in a row */
    unsigned attempts;    /* chooses among the addresses */
    const char *draining; /* why; static */
    char *trouble;        /* why it ended last */
    bool refused;         /* the user must hear of the trouble */
};

static int64_t now_us(const struct h2_conn *conn)
{
    return conn->config->clock->mono_us(conn->config->clock);
}

/* ---- waking up ---- */

static void wake_at(struct h2_conn *conn, int64_t at_us)
{
    int64_t ready_us = at_us; /* GLib's own clock; 0 = at once, -1 = never */

    if (at_us == NEVER)
        ready_us = -1;
    else if (at_us != 0)
        ready_us = g_get_monotonic_time() + at_us - now_us(conn);
    conn->wake_us = at_us;
    g_source_set_ready_time(conn->source, ready_us);
}

/* The source runs as soon as the loop turns. */
static void kick(struct h2_conn *conn)
{
    if (conn->wake_us != 0)
        wake_at(conn, 0);
}

static int64_t ping_due(const struct h2_conn *conn)
{
    unsigned wait_ms = h2_session_in_flight(conn->session) > 0 ? conn->config->silence_ms
                                                               : conn->config->idle_ping_ms;

    if (conn->pinged)
        wait_ms += conn->config->silence_ms;
    return conn->quiet_us + wait_ms * USEC_PER_MSEC;
}

static int64_t next_deadline(const struct h2_conn *conn)
{
    if (conn->state == H2_CONNECTING)
        return NEVER; /* the dial has its own limit */
    if (conn->state == H2_WAITING)
        return conn->retry_us;
    if (conn->state == H2_GREETING)
        return conn->limit_us;
    return MIN(h2_session_deadline(conn->session), ping_due(conn));
}

static void poll_for(struct h2_conn *conn, bool output)
{
    GIOCondition wanted = G_IO_IN | (output ? G_IO_OUT : 0);

    if (conn->fd_tag == NULL || conn->polled == wanted)
        return;
    conn->polled = wanted;
    g_source_modify_unix_fd(conn->source, conn->fd_tag, wanted);
}

/* ---- the end of a connection ---- */

static void link_drop(struct h2_conn *conn)
{
    if (conn->fd_tag != NULL)
        g_source_remove_unix_fd(conn->source, conn->fd_tag);
    conn->fd_tag = NULL;
    conn->more = false;
    g_clear_pointer(&conn->link, h2_link_close);
}

/* 1 s doubling to a minute, × U(0.5, 1.5) so that many do not come back at one instant. */
static int64_t backoff_us(const struct h2_conn *conn)
{
    double wait_ms = conn->config->backoff_min_ms;

    for (unsigned i = 1; i < conn->failures && wait_ms < conn->config->backoff_max_ms; i++)
        wait_ms *= 2;
    return (int64_t)(MIN(wait_ms, conn->config->backoff_max_ms) * g_random_double_range(0.5, 1.5)) *
           USEC_PER_MSEC;
}

/* Of a series of failed attempts only the first is news. */
static void log_end(const struct h2_conn *conn, bool was_up, const char *reason, const char *detail)
{
    enum log_level level = was_up                ? LOG_LEVEL_INFO
                           : conn->failures == 0 ? LOG_LEVEL_WARN
                                                 : LOG_LEVEL_DEBUG;

    log_event(level, was_up ? "connection_closed" : "connection_failed",
              LOG_STR("channel", conn->config->name), LOG_STR("host", conn->target->host),
              LOG_INT("slot", conn->number), LOG_STR("reason", reason), LOG_STR("detail", detail),
              LOG_INT("open", h2_session_in_flight(conn->session)));
}

/* Ends what there is and waits for the next attempt. reason is static: requests get it too. */
static void disconnect(struct h2_conn *conn, const char *reason, const char *detail)
{
    bool was_up = conn->state == H2_READY || conn->state == H2_DRAINING;
    bool graceful = false;
    const char *goaway = NULL;
    bool told = was_up && h2_session_goaway(conn->session, &graceful, &goaway);
    bool worked =
        was_up && (h2_session_answered(conn->session) || now_us(conn) - conn->ready_us > STEADY_US);

    if (told)
        detail = goaway;
    log_end(conn, was_up, told ? "goaway" : reason, detail);
    if (worked && (!told || graceful))
        conn->failures = 0;
    if (!worked || !graceful)
        conn->failures++;
    g_free(conn->trouble);
    conn->trouble = g_strdup_printf("%s: %s", reason, detail);
    link_drop(conn);
    g_clear_pointer(&conn->dial, h2_dial_cancel);
    h2_session_close(conn->session, reason);
    conn->state = H2_WAITING;
    conn->retry_us = now_us(conn) + (worked && graceful ? 0 : backoff_us(conn));
    kick(conn);
}

/* An error of the link. A refused certificate is the operator's to mend, and tried again slowly. */
static void link_failed(struct h2_conn *conn, const GError *error)
{
    if (!g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED)) {
        disconnect(conn, "connection_lost", error->message);
        return;
    }
    disconnect(conn, "tls_untrusted", error->message);
    conn->refused = true;
    conn->retry_us = now_us(conn) + conn->config->backoff_max_ms * USEC_PER_MSEC;
}

/* ---- the beginning ---- */

static void dialled(struct h2_link *link, const GError *error, void *user)
{
    struct h2_conn *conn = user;

    conn->dial = NULL;
    if (link == NULL) {
        link_failed(conn, error);
        return;
    }
    conn->link = link;
    conn->polled = G_IO_IN;
    conn->fd_tag = g_source_add_unix_fd(conn->source, h2_link_fd(link), conn->polled);
    conn->state = H2_GREETING;
    conn->limit_us = now_us(conn) + GREETING_LIMIT_US;
    conn->blocked = conn->proven = conn->pinged = false;
    conn->more = true; /* the peer's SETTINGS often come with the end of the handshake */
    h2_session_open(conn->session);
    kick(conn);
}

static void begin(struct h2_conn *conn)
{
    conn->state = H2_CONNECTING;
    conn->dial = h2_dial_start(conn->target->tls, conn->target->host, conn->target->port,
                               conn->number + conn->attempts++, dialled, conn);
}

static void conn_unref(struct h2_conn *conn)
{
    if (--conn->references > 0)
        return;
    h2_session_free(conn->session);
    g_source_unref(conn->source);
    g_free(conn->trouble);
    g_free(conn);
}

/* ---- bytes ---- */

static void flush(struct h2_conn *conn)
{
    g_autoptr(GError) error = NULL;
    size_t len = 0, done = 0;
    enum h2_io io = H2_IO_DONE;

    while (conn->link != NULL && io == H2_IO_DONE) {
        if (!h2_session_fill(conn->session)) {
            disconnect(conn, "protocol_error", "our side");
            return;
        }
        const uint8_t *data = h2_session_output(conn->session, &len);
        if (len == 0)
            break;
        io = h2_link_write(conn->link, data, MIN(len, H2_RECORD_MAX), &done, &error);
        if (io == H2_IO_DONE)
            h2_session_wrote(conn->session, done);
    }
    if (io == H2_IO_FAILED)
        link_failed(conn, error);
    else if (io == H2_IO_CLOSED)
        disconnect(conn, "peer_closed", "");
    if (conn->link == NULL)
        return;
    conn->blocked = io == H2_IO_AGAIN;
    poll_for(conn, conn->blocked && h2_link_wants_write(conn->link));
}

static void greeted(struct h2_conn *conn)
{
    conn->state = H2_READY;
    conn->ready_us = conn->quiet_us;
    g_clear_pointer(&conn->trouble, g_free);
    log_event(LOG_LEVEL_INFO, "connection_opened", LOG_STR("channel", conn->config->name),
              LOG_STR("host", conn->target->host), LOG_INT("slot", conn->number),
              LOG_INT("streams_max", h2_session_limit(conn->session)));
}

static void receive(struct h2_conn *conn)
{
    g_autoptr(GError) error = NULL;
    enum h2_io io = H2_IO_DONE;
    uint8_t data[H2_RECORD_MAX];
    size_t len = 0;

    for (int i = 0; i < READS_PER_TURN && io == H2_IO_DONE; i++) {
        io = h2_link_read(conn->link, data, sizeof(data), &len, &error);
        if (io != H2_IO_DONE)
            break;
        conn->quiet_us = now_us(conn);
        conn->pinged = false;
        if (!h2_session_receive(conn->session, data, len)) {
            disconnect(conn, "protocol_error", "the peer's side");
            return;
        }
    }
    if (conn->state == H2_GREETING && h2_session_greeted(conn->session))
        greeted(conn);
    conn->more = io == H2_IO_DONE; /* OpenSSL may hold more than the descriptor shows */
    if (conn->more)
        kick(conn);
    else if (io == H2_IO_FAILED)
        link_failed(conn, error);
    else if (io == H2_IO_CLOSED || h2_session_over(conn->session))
        disconnect(conn, "peer_closed", "");
}

/* ---- the machine ---- */

static void watch_requests(struct h2_conn *conn, int64_t now)
{
    bool graceful;
    const char *text;

    if (h2_session_goaway(conn->session, &graceful, &text))
        h2_conn_drain(conn, "goaway");
    h2_session_expire(conn->session, now);
    if (now < ping_due(conn))
        return;
    if (conn->pinged) {
        disconnect(conn, "silent_peer", "no answer to PING");
        return;
    }
    h2_session_ping(conn->session);
    conn->pinged = true;
}

static void step(struct h2_conn *conn, bool io)
{
    int64_t now = now_us(conn);

    if (io)
        receive(conn);
    switch (conn->state) {
    case H2_WAITING:
        if (now >= conn->retry_us)
            begin(conn);
        break;
    case H2_CONNECTING:
        break;
    case H2_GREETING:
        if (now >= conn->limit_us)
            disconnect(conn, "connect_timeout", "no SETTINGS from the peer");
        break;
    case H2_READY:
    case H2_DRAINING:
        watch_requests(conn, now);
        break;
    }
}

/* Everything that the user hears of this turn, when our own affairs are in order. Any of it may
 * free the connection. */
static void tell_user(struct h2_conn *conn, unsigned room_before)
{
    bool refused = conn->refused;

    conn->refused = false;
    h2_session_deliver(conn->session);
    if (!conn->freed && refused && conn->config->on_refused != NULL)
        conn->config->on_refused(conn->trouble, conn->config->user);
    if (!conn->freed && conn->config->on_room != NULL && h2_conn_room(conn) > room_before)
        conn->config->on_room(conn->config->user);
}

/* After the turn: what the user queued goes out, a drained connection ends, the alarm is set. */
static void finish_turn(struct h2_conn *conn)
{
    int64_t next;

    flush(conn);
    if (conn->state == H2_DRAINING && h2_session_in_flight(conn->session) == 0)
        disconnect(conn, conn->draining, "");
    next = h2_session_has_settled(conn->session) ? 0 : next_deadline(conn);
    if (next < conn->wake_us)
        wake_at(conn, next);
}

struct conn_source {
    GSource source;
    struct h2_conn *conn;
};

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    struct h2_conn *conn = ((struct conn_source *)source)->conn;
    bool io = conn->fd_tag != NULL && g_source_query_unix_fd(source, conn->fd_tag) != 0;
    unsigned room_before = h2_conn_room(conn);

    (void)callback, (void)data;
    conn->references++;
    if (conn->wake_us == 0 || now_us(conn) >= conn->wake_us)
        wake_at(conn, NEVER);
    step(conn, io || conn->more);
    if (conn->blocked)
        flush(conn); /* room that comes back is told at once */
    tell_user(conn, room_before);
    if (!conn->freed)
        finish_turn(conn);
    conn_unref(conn);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {.dispatch = dispatch};

/* ---- the owner's calls ---- */

struct h2_conn *h2_conn_new(const struct h2_target *target, unsigned number)
{
    struct h2_conn *conn = g_new0(struct h2_conn, 1);

    conn->target = target;
    conn->config = &target->config;
    conn->number = number;
    conn->references = 1;
    conn->wake_us = NEVER;
    conn->retry_us = NEVER;
    conn->session = h2_session_new(conn->config->streams_max, conn->config->copy_max,
                                   conn->config->timeout_ms * USEC_PER_MSEC);
    conn->source = g_source_new(&source_funcs, sizeof(struct conn_source));
    ((struct conn_source *)conn->source)->conn = conn;
    g_source_set_name(conn->source, "h2_conn");
    g_source_attach(conn->source, NULL);
    return conn;
}

void h2_conn_free(struct h2_conn *conn)
{
    if (conn == NULL)
        return;
    conn->freed = true;
    flush(conn);
    link_drop(conn);
    g_clear_pointer(&conn->dial, h2_dial_cancel);
    h2_session_close(conn->session, "connection_freed");
    while (h2_session_has_settled(conn->session))
        h2_session_deliver(conn->session);
    g_source_destroy(conn->source);
    conn_unref(conn);
}

void h2_conn_start(struct h2_conn *conn)
{
    if (conn->retry_us != NEVER || conn->state != H2_WAITING)
        return;
    conn->retry_us = 0;
    kick(conn);
}

enum h2_state h2_conn_state(const struct h2_conn *conn)
{
    return conn->state;
}

unsigned h2_conn_in_flight(const struct h2_conn *conn)
{
    return h2_session_in_flight(conn->session);
}

unsigned h2_conn_room(const struct h2_conn *conn)
{
    unsigned busy = h2_session_in_flight(conn->session), limit;

    if (conn->state != H2_READY || conn->blocked)
        return 0;
    limit = h2_session_limit(conn->session);
    if (conn->config->one_until_proven && !conn->proven)
        limit = MIN(limit, 1);
    return limit > busy ? limit - busy : 0;
}

void h2_conn_send(struct h2_conn *conn, const struct h2_request *request)
{
    bool idle = h2_session_in_flight(conn->session) == 0;

    assert(!conn->freed);
    if (conn->state != H2_READY) {
        h2_conn_settle(conn, request, H2_NOT_SENT, "not_connected");
        return;
    }
    if (idle) {
        conn->quiet_us = now_us(conn);
        conn->pinged = false;
    }
    h2_session_send(conn->session, request, now_us(conn));
    if (h2_session_has_settled(conn->session))
        kick(conn);
    else if (idle && next_deadline(conn) < conn->wake_us)
        wake_at(conn, next_deadline(conn));
}

void h2_conn_settle(struct h2_conn *conn, const struct h2_request *request, enum h2_outcome outcome,
                    const char *reason)
{
    assert(!conn->freed);
    h2_session_refuse(conn->session, request, outcome, reason);
    kick(conn);
}

void h2_conn_flush(struct h2_conn *conn)
{
    if (!conn->blocked)
        flush(conn);
}

void h2_conn_prove(struct h2_conn *conn)
{
    conn->proven = true;
}

void h2_conn_drain(struct h2_conn *conn, const char *reason)
{
    if (conn->state != H2_READY)
        return;
    conn->state = H2_DRAINING;
    conn->draining = reason;
    kick(conn);
}

const char *h2_conn_trouble(const struct h2_conn *conn)
{
    if (conn->state == H2_READY)
        return "";
    return conn->trouble != NULL ? conn->trouble : "connecting";
}
