/* For the tests of the simulators: a private `loa-sim serve` and a client that can misbehave. */
#ifndef LOA_SIM_RIG_H
#define LOA_SIM_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "base/auto.h"
#include "base/json.h"

#define RIG_WAIT_MS 10000 /* every wait of a test ends here */
#define RIG_STREAMS 512   /* requests of one client */

struct rig {
    char dir[64]; /* PKI and socket; removed by rig_stop */
    char control[96];
    pid_t pid;
    int fcm, apns, sandbox, oauth, iid; /* ports */
};

/* Starts a server with every port open. extra: NULL-terminated further options, or NULL. */
void rig_start(struct rig *rig, const char *const *extra);
void rig_stop(struct rig *rig);
/* A path in the rig's directory. Owned. */
char *rig_path(const struct rig *rig, const char *name);
/* Sends a control command; the answer is owned. */
json_t *rig_ctl(const struct rig *rig, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Adds a fault and fails the test when it is refused. */
void rig_fault(const struct rig *rig, const char *json);
/* No faults, no counts: for the set-up of each test. */
void rig_fresh(const struct rig *rig);
/* A number in the stats, by path: "fcm", "rejected", "UNREGISTERED". 0 when it is absent. */
int64_t rig_stat(const struct rig *rig, const char *channel, const char *name, const char *reason);
/* A valid bearer or provider token with its scheme. Owned. */
char *rig_authorization(const struct rig *rig, const char *channel);
/* Text of a file in the rig's directory. Owned. */
char *rig_file(const struct rig *rig, const char *name);

/* ---- client ---- */

struct reply {
    bool closed;         /* the stream has ended */
    uint32_t reset_code; /* with RST_STREAM */
    int status;
    char retry_after[24];
    char apns_id[64];
    char content_type[64];
    char body[2048];
    size_t body_len;
};

struct client {
    int fd;
    SSL_CTX *tls;
    SSL *ssl;
    nghttp2_session *session;
    int64_t max_streams; /* last SETTINGS value; -1 = none yet */
    bool goaway;
    int32_t goaway_last;
    uint32_t goaway_code;
    char goaway_data[64];
    bool closed;                       /* by the server */
    struct reply replies[RIG_STREAMS]; /* of stream 2n + 1 */
    const char *bodies[RIG_STREAMS];
    size_t body_sent[RIG_STREAMS];
};

/* Connects with verified TLS and sends nothing but the connection preface. Null when TLS fails. */
struct client *client_new(const struct rig *rig, int port);
void client_free(struct client *client);
LOA_AUTO_DEFINE(client, client_free)

/* headers: name, value, …, NULL; ":method" and ":path" among them, ":method" defaults to POST.
 * The body is borrowed until the answer. Returns the stream's number n (0, 1, …). */
int client_submit(struct client *client, const char *const *headers, const char *body);
/* Sends what is queued. */
void client_flush(struct client *client);
/* Runs until stream n has ended, the connection has, or RIG_WAIT_MS are over. */
const struct reply *client_wait(struct client *client, int n);
/* Runs until the server has closed the connection. False when it did not in time. */
bool client_wait_closed(struct client *client);
/* Runs until the server's n-th SETTINGS value of MAX_CONCURRENT_STREAMS equals limit. */
bool client_wait_limit(struct client *client, int64_t limit);
/* submit and wait. */
const struct reply *client_ask(struct client *client, const char *const *headers, const char *body);
/* The value at a path of names in the reply's JSON body, "" when absent. Owned. */
char *reply_text(const struct reply *reply, const char *path);

#endif
