/* A phone's list is short (the live alerts), so it is searched in order. */
#include "tests/sim/fleet_phone.h"

bool phone_show(GArray **list, const char *alert_id, int version, int64_t window_s, double share,
                int64_t now_us)
{
    int64_t window_us = window_s * 1000000;
    struct phone_alert alert = {.alert_id = alert_id, .version = version};

    if (*list == NULL)
        *list = g_array_new(FALSE, FALSE, sizeof(struct phone_alert));
    for (guint i = 0; i < (*list)->len; i++) {
        const struct phone_alert *shown = &g_array_index(*list, struct phone_alert, i);
        if (shown->alert_id == alert_id && shown->version >= version)
            return false;
    }
    if (window_s > 0) {
        alert.receipt_due_us = now_us + (int64_t)(share * (double)window_us);
        alert.repeat_us = MAX(window_us / 2, PHONE_REPEAT_MIN_US);
    }
    g_array_append_val(*list, alert);
    return true;
}

bool phone_confirm(GArray *list, const char *alert_id, int version)
{
    for (guint i = 0; list != NULL && i < list->len; i++) {
        struct phone_alert *alert = &g_array_index(list, struct phone_alert, i);
        if (alert->alert_id == alert_id && alert->version == version && !alert->confirmed) {
            alert->confirmed = true;
            return true;
        }
    }
    return false;
}

static bool is_owed(const struct phone_alert *alert)
{
    return !alert->confirmed && alert->receipt_due_us != 0;
}

const struct phone_alert *phone_receipt_due(GArray *list, int64_t now_us)
{
    for (guint i = 0; list != NULL && i < list->len; i++) {
        struct phone_alert *alert = &g_array_index(list, struct phone_alert, i);
        if (is_owed(alert) && alert->receipt_due_us <= now_us) {
            alert->receipt_due_us = now_us + alert->repeat_us;
            return alert;
        }
    }
    return NULL;
}

int64_t phone_next_due_us(const GArray *list)
{
    int64_t next_us = INT64_MAX;

    for (guint i = 0; list != NULL && i < list->len; i++) {
        const struct phone_alert *alert = &g_array_index(list, struct phone_alert, i);
        if (is_owed(alert))
            next_us = MIN(next_us, alert->receipt_due_us);
    }
    return next_us;
}

void phone_hurry(GArray *list, int64_t window_s, double share, int64_t now_us)
{
    int64_t latest_us = now_us + (int64_t)(share * (double)window_s * 1e6);

    for (guint i = 0; list != NULL && i < list->len; i++) {
        struct phone_alert *alert = &g_array_index(list, struct phone_alert, i);
        if (is_owed(alert)) {
            alert->receipt_due_us = MIN(alert->receipt_due_us, latest_us);
            alert->repeat_us = MAX(window_s * 1000000 / 2, PHONE_REPEAT_MIN_US);
        }
    }
}
