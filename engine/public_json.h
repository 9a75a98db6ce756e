/* A released alert and the list of them as outsiders read them: the same bytes from the API and
 * from the files of engine/public_files.h. The caller has verified the broadcasts. */
#ifndef LOA_ENGINE_PUBLIC_JSON_H
#define LOA_ENGINE_PUBLIC_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "engine/broadcast.h"

#define PUBLIC_JSON_TYPE "application/json; charset=utf-8"

/* All languages and "state": "active", "cancelled" or "expired"; the fields that belong to one text
 * stand under "texts". Owned. */
json_t *public_alert_json(const struct broadcast *broadcast, bool expired);
/* {"alerts":[…],"next":"cursor" or null}; next 0 = the end. Takes the array. Owned. */
json_t *public_list_json(json_t *alerts, int64_t next);
/* The bytes that are served. Takes the reference. Owned. */
char *public_json_text(json_t *json);

/* When public_alert_json last changed, in Unix seconds: its release, or its expiry; a later version
 * always counts as later, also when it was released in the same second. */
int64_t public_changed_s(const struct broadcast *broadcast, bool expired);

#endif
