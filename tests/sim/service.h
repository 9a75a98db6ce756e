/* The provider side: judges a request, lets faults change the answer, keeps the books. */
#ifndef LOA_SIM_SERVICE_H
#define LOA_SIM_SERVICE_H

#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/json.h"
#include "tests/sim/apns_payload.h"
#include "tests/sim/credentials.h"
#include "tests/sim/exchange.h"
#include "tests/sim/faults.h"
#include "tests/sim/fcm_message.h"
#include "tests/sim/ledger.h"
#include "tests/sim/pace.h"
#include "tests/sim/sim.h"
#include "tests/sim/topics.h"

#define APNS_STREAMS 1000 /* SETTINGS_MAX_CONCURRENT_STREAMS after the first valid token */
#define FCM_STREAMS  100

struct channel_stats {
    uint64_t requests;
    uint64_t accepted;  /* OAuth: tokens issued */
    uint64_t validated; /* validate_only requests that were right */
    uint64_t connections;
    uint64_t refused_streams; /* opened above the limit before the client had confirmed it */
    uint64_t protocol_errors; /* above a confirmed limit, or malformed: the connection ended */
    GHashTable *rejected;     /* static word → count */
};

struct service {
    const struct clock *clock;
    struct credentials *credentials;
    struct faults *faults;
    struct ledger *ledgers[SIM_CHANNELS]; /* none for OAuth and subscriptions */
    struct topics *topics;
    struct channel_stats stats[SIM_CHANNELS];
    uint64_t seq;                     /* last sequence number given to an FCM or APNs request */
    struct pace pace;                 /* of seq */
    uint64_t message_id;              /* last message name given */
    struct fcm_message fcm_message;   /* of the request in hand: judgements borrow from it */
    struct apns_payload apns_payload; /* likewise */
    char *token_uri; /* what an assertion's aud must be; "" without an OAuth port */
};

/* Reads the keys of DIR. Owned. */
struct service *service_new(const char *pki_dir, uint64_t seed, const struct clock *clock,
                            GError **error);
void service_free(struct service *service);
LOA_AUTO_DEFINE(service, service_free)

/* Judges one complete request. */
void service_handle(struct service *service, enum sim_channel channel, struct peer *peer,
                    const struct request *request, struct answer *out);
/* Forgets counters and tokens; sequence numbers go on. */
void service_reset(struct service *service);
/* The answer to {"cmd":"stats"}; owned. */
json_t *service_stats(const struct service *service);

/* ---- for the judges (fcm.c, apns.c, oauth.c, iid.c) ---- */

/* What a judge has found out. */
struct judgement {
    const char *refused; /* word for the counters; NULL = accepted */
    bool sound;          /* nothing was wrong with the request itself: faults may apply */
    bool validate_only;
    struct credential *credential; /* the one shown, when it is valid */
    struct text token;             /* absent: not entered in the ledger */
    struct text alert, version;
    /* What the request changes; runs after the faults have let it pass. NULL = nothing. */
    void (*commit)(struct service *service, const struct request *request);
};

void fcm_judge(struct service *service, struct peer *peer, const struct request *request,
               int64_t now_s, struct judgement *out, struct answer *answer);
void apns_judge(struct service *service, struct peer *peer, const struct request *request,
                int64_t now_s, struct judgement *out, struct answer *answer);
void oauth_judge(struct service *service, const struct request *request, int64_t now_s,
                 struct judgement *out, struct answer *answer);
void iid_judge(struct service *service, struct peer *peer, const struct request *request,
               int64_t now_s, struct judgement *out, struct answer *answer);
/* The subscription API of FCM's port. False: the path is not its own. */
bool registration_judge(struct service *service, struct peer *peer, const struct request *request,
                        int64_t now_s, struct judgement *out, struct answer *answer);
/* The valid bearer of the request, or NULL. */
struct credential *fcm_find_bearer(struct service *service, struct peer *peer, struct text header,
                                   int64_t now_s);
/* Write an error answer. action may be NULL. */
void fcm_refuse(struct answer *answer, const struct reason *reason, const char *field,
                const char *message, const struct fault_action *action);
void apns_refuse(struct answer *answer, const struct reason *reason, int64_t timestamp_ms);
void iid_refuse(struct answer *answer, const struct reason *reason);
void oauth_refuse(struct answer *answer, const struct reason *reason, const char *message);
/* A front-end's page. */
void html_refuse(struct answer *answer, int status);

#endif
