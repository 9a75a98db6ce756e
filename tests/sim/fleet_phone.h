/* What one phone has seen and still owes. Pure: time and chance are arguments. */
#ifndef LOA_SIM_FLEET_PHONE_H
#define LOA_SIM_FLEET_PHONE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define PHONE_REPEAT_MIN_US (INT64_C(5) * 1000000)

/* An alert version that this phone has shown. */
struct phone_alert {
    const char *alert_id; /* interned */
    int version;
    bool confirmed;         /* the receipt */
    int64_t receipt_due_us; /* monotonic; the next time it is sent; 0 = no receipt wanted */
    int64_t repeat_us;      /* wait before it is sent again */
};

/* False: a repeat, or older than what was shown: drop it. Else notes it and plans its receipt at
 * now + share of the window; window_s 0 = none wanted. *list: GArray of struct phone_alert, made
 * when NULL. */
bool phone_show(GArray **list, const char *alert_id, int version, int64_t window_s, double share,
                int64_t now_us);
/* True when this confirms a receipt for the first time. */
bool phone_confirm(GArray *list, const char *alert_id, int version);
/* The next receipt due at now, with its repetition planned; NULL when there is none. */
const struct phone_alert *phone_receipt_due(GArray *list, int64_t now_us);
/* When the next receipt is due; INT64_MAX = never. */
int64_t phone_next_due_us(const GArray *list);
/* Receipts not sent yet are due within the window from now. */
void phone_hurry(GArray *list, int64_t window_s, double share, int64_t now_us);

#endif
