/* Shared by http_server.c (the library's callbacks) and http_request.c (what handlers call). */
#ifndef LOA_BASE_HTTP_INTERNAL_H
#define LOA_BASE_HTTP_INTERNAL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/http_guard.h"
#include "base/http_route.h"
#include "base/http_server.h"
#include "base/http_watch.h"

struct MHD_Connection;
struct MHD_Response;

enum http_stage {
    HTTP_STAGE_HEAD,      /* request line read → BODY, or answered early */
    HTTP_STAGE_BODY,      /* head accepted; the body comes → REFUSED, SUSPENDED, ANSWERED */
    HTTP_STAGE_REFUSED,   /* answered on the socket; what still comes is thrown away */
    HTTP_STAGE_SUSPENDED, /* out of the library's loop until resumed → ANSWERED */
    HTTP_STAGE_ANSWERED   /* the library has the answer */
};

struct http_reply_field {
    char *name, *value;
};

/* One request; owned by the library's connection, used by one thread at a time. */
struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_watched *watched;
    enum http_stage stage;
    const char *uri_at; /* where the library has it: compared, never read */
    char *uri;          /* raw */
    size_t uri_len;
    const char *method; /* borrowed from the library */

    enum http_verdict verdict;
    char *allow; /* for 405 */
    struct http_target *target;
    const struct http_route *route;
    const char *params[HTTP_SEGMENTS_MAX];
    unsigned n_params;
    GString *body;
    size_t swallowed; /* bytes thrown away while REFUSED */
    bool close;       /* no further request on this connection */
    char address[INET6_ADDRSTRLEN];

    bool handling;     /* counted in server->handling */
    http_handler then; /* while SUSPENDED */
    void *then_data;
    GDestroyNotify then_free;

    unsigned status; /* 0 = not answered yet */
    char *reply_type;
    void *reply; /* g_malloc */
    size_t reply_len;
    GArray *reply_fields; /* struct http_reply_field */
};

struct http_server {
    struct http_server_options options; /* routes and user borrowed */
    char **trusted_proxies;             /* owned, in inet_ntop's form */
    struct MHD_Daemon *daemon;
    struct http_watch *watch;
    GSource *source; /* threads == 0 */
    pthread_key_t thread_key;
    unsigned next_thread; /* atomic */
    bool stopping;        /* atomic */
    unsigned handling;    /* atomic: requests with their handler, suspended or being resumed */
    unsigned port;
};

/* A request that begins; uri as the library has it, NULL when the line names none. Owned. */
struct http_request *http_request_new(struct http_server *server, struct MHD_Connection *connection,
                                      const char *uri);
void http_request_free(struct http_request *request);
/* Answers with the problem document of a verdict. */
void http_reply_verdict(struct http_request *request, enum http_verdict verdict);
/* The reply as the library wants it; takes request->reply. NULL when out of memory. */
struct MHD_Response *http_request_response(struct http_request *request);

/* An address in inet_ntop's form, IPv4-mapped IPv6 as IPv4; false when it is none. */
bool http_address_normalise(const char *text, char out[INET6_ADDRSTRLEN]);

#endif
