/* A GSource carries the socket and the time limit; the resolver's thread answers through the same
 * main context. GLib's resolver does not cache. */
#include "h2/dial.h"

#include "base/clock.h"
#include "base/error.h"

#define LIMIT_US (10 * USEC_PER_SEC) /* for all of it */

struct h2_dial {
    struct ssl_ctx_st *tls;
    const char *host;
    uint16_t port;
    unsigned turn;
    h2_dialled_cb cb; /* NULL when it is over */
    void *user;
    int references; /* of the attempt, of the resolver, of a running dispatch */

    GCancellable *resolving;
    GList *addresses; /* GSocketAddress * not yet tried */
    struct h2_link *link;
    GSource *source;
    gpointer fd_tag;
};

struct dial_source {
    GSource source;
    struct h2_dial *dial;
};

static void dial_unref(struct h2_dial *dial)
{
    if (--dial->references > 0)
        return;
    g_source_unref(dial->source);
    g_object_unref(dial->resolving);
    g_free(dial);
}

static void link_drop(struct h2_dial *dial)
{
    if (dial->fd_tag != NULL)
        g_source_remove_unix_fd(dial->source, dial->fd_tag);
    dial->fd_tag = NULL;
    g_clear_pointer(&dial->link, h2_link_close);
}

void h2_dial_cancel(struct h2_dial *dial)
{
    if (dial == NULL || dial->cb == NULL)
        return;
    dial->cb = NULL;
    link_drop(dial);
    g_source_destroy(dial->source);
    g_cancellable_cancel(dial->resolving);
    g_list_free_full(g_steal_pointer(&dial->addresses), g_object_unref);
    dial_unref(dial);
}

/* The end; the link, if there is one, is handed over. */
static void finish(struct h2_dial *dial, const GError *error)
{
    h2_dialled_cb cb = dial->cb;
    void *user = dial->user;
    struct h2_link *link = error == NULL ? g_steal_pointer(&dial->link) : NULL;

    if (dial->fd_tag != NULL)
        g_source_remove_unix_fd(dial->source, dial->fd_tag);
    dial->fd_tag = NULL;
    h2_dial_cancel(dial);
    cb(link, error, user);
}

static void poll_for(struct h2_dial *dial)
{
    g_source_modify_unix_fd(dial->source, dial->fd_tag,
                            h2_link_wants_write(dial->link) ? G_IO_OUT : G_IO_IN);
}

/* Opens a socket to the next address that has a way to it; last: why the one before failed. */
static void try_next(struct h2_dial *dial, const GError *last)
{
    g_autoptr(GError) error = last != NULL ? g_error_copy(last) : NULL;

    link_drop(dial);
    while (dial->link == NULL && dial->addresses != NULL) {
        g_autoptr(GSocketAddress) address = dial->addresses->data;
        dial->addresses = g_list_delete_link(dial->addresses, dial->addresses);
        g_clear_error(&error);
        dial->link = h2_link_open(dial->tls, dial->host, address, &error);
    }
    if (dial->link == NULL) {
        if (error == NULL)
            g_set_error(&error, LOA_ERROR, LOA_ERROR_RETRY, "%s has no address", dial->host);
        finish(dial, error);
        return;
    }
    dial->fd_tag = g_source_add_unix_fd(dial->source, h2_link_fd(dial->link), G_IO_OUT);
}

static void resolved(GObject *object, GAsyncResult *result, gpointer data)
{
    struct h2_dial *dial = data;
    g_autoptr(GError) error = NULL;
    GList *found = g_resolver_lookup_by_name_finish(G_RESOLVER(object), result, &error);
    guint n = g_list_length(found);

    for (guint i = 0; dial->cb != NULL && i < n; i++) {
        GInetAddress *address = g_list_nth_data(found, (dial->turn + i) % n);
        dial->addresses =
            g_list_append(dial->addresses, g_inet_socket_address_new(address, dial->port));
    }
    g_resolver_free_addresses(found);
    if (dial->cb != NULL && error != NULL) {
        g_autoptr(GError) mapped = g_error_new(LOA_ERROR, LOA_ERROR_RETRY, "%s", error->message);
        finish(dial, mapped);
    } else if (dial->cb != NULL) {
        try_next(dial, NULL);
    }
    dial_unref(dial);
}

static void handshake(struct h2_dial *dial)
{
    g_autoptr(GError) error = NULL;

    switch (h2_link_handshake(dial->link, &error)) {
    case H2_IO_DONE:
        finish(dial, NULL);
        return;
    case H2_IO_AGAIN:
        poll_for(dial);
        return;
    case H2_IO_CLOSED:
        g_set_error(&error, LOA_ERROR, LOA_ERROR_RETRY, "%s closed during the handshake",
                    dial->host);
        break;
    case H2_IO_FAILED:
        break;
    }
    if (g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED))
        finish(dial, error); /* another address would show the same certificate */
    else
        try_next(dial, error);
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    struct h2_dial *dial = ((struct dial_source *)source)->dial;

    (void)callback, (void)data;
    dial->references++;
    if (g_get_monotonic_time() >= g_source_get_ready_time(source)) {
        g_autoptr(GError) error =
            g_error_new(LOA_ERROR, LOA_ERROR_RETRY, "no connection to %s within %d s", dial->host,
                        (int)(LIMIT_US / USEC_PER_SEC));
        finish(dial, error);
    } else if (dial->fd_tag != NULL) {
        handshake(dial);
    }
    dial_unref(dial);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {.dispatch = dispatch};

struct h2_dial *h2_dial_start(struct ssl_ctx_st *tls, const char *host, uint16_t port,
                              unsigned turn, h2_dialled_cb cb, void *user)
{
    g_autoptr(GResolver) resolver = g_resolver_get_default();
    struct h2_dial *dial = g_new0(struct h2_dial, 1);

    *dial = (struct h2_dial){
        .tls = tls, .host = host, .port = port, .turn = turn, .cb = cb, .user = user};
    dial->references = 2; /* ours and the resolver's */
    dial->resolving = g_cancellable_new();
    dial->source = g_source_new(&source_funcs, sizeof(struct dial_source));
    ((struct dial_source *)dial->source)->dial = dial;
    g_source_set_name(dial->source, "h2_dial");
    g_source_set_ready_time(dial->source, g_get_monotonic_time() + LIMIT_US);
    g_source_attach(dial->source, NULL);
    g_resolver_lookup_by_name_async(resolver, host, dial->resolving, resolved, dial);
    return dial;
}
