/* What one channel has seen, token by token: the other side of Loa's books. */
#ifndef LOA_SIM_LEDGER_H
#define LOA_SIM_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/json.h"
#include "tests/sim/text.h"

#define LEDGER_TOKENS_MAX                                                                          \
    10000000                      /* distinct tokens; requests for more are counted as untracked   \
                                   */
#define LEDGER_ALERTS_MAX 1000000 /* distinct (alert, version); more share one entry */

/* One request as it is entered. */
struct ledger_entry {
    struct text token;
    struct text alert, version; /* absent in a message that names no alert */
    uint64_t seq;               /* global over all channels, from 1 */
    int64_t now_us;             /* UTC */
    bool accepted;              /* the provider has taken the message */
};

struct ledger_totals {
    uint64_t accepted;
    uint64_t distinct;         /* (token, alert, version) accepted at least once */
    uint64_t duplicates;       /* accepted beyond the first of each */
    uint64_t untracked;        /* entries refused because tokens_max was reached */
    int64_t first_us, last_us; /* UTC of the first and last accepted; 0 = none */
};

struct ledger;
struct ledger *ledger_new(size_t tokens_max);
void ledger_free(struct ledger *ledger);
LOA_AUTO_DEFINE(ledger, ledger_free)

void ledger_enter(struct ledger *ledger, const struct ledger_entry *entry);
/* Forgets everything. */
void ledger_reset(struct ledger *ledger);
const struct ledger_totals *ledger_totals(const struct ledger *ledger);
/* One line per token in order of first sight: token, accepted, requests, first seq, last seq, with
 * tabs between. Blocks until the file is written. */
bool ledger_dump(const struct ledger *ledger, const char *path, GError **error);
/* {"ALERT/VERSION":{"accepted","distinct","duplicates","requests","first_seq","last_seq",
 * "others_between"},…}; the last: requests for other alerts on the channel between its first and
 * its last. Owned. */
json_t *ledger_alerts(const struct ledger *ledger);

#endif
