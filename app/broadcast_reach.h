/* The table and the JSON of `loa broadcast status --by commune`. */
#ifndef LOA_APP_BROADCAST_REACH_H
#define LOA_APP_BROADCAST_REACH_H

#include <glib.h>

#include "base/json.h"
#include "engine/reach.h"

/* Appends a line per commune, and one with the sums: in all, then per channel that has any. names:
 * by code; a commune without one is shown by its code. */
void broadcast_reach_append(GString *out, const struct reach *reach, GHashTable *names);
/* [{"commune","name","targeted","accepted","shown","opened","channels":{…}}…]. Owned. */
json_t *broadcast_reach_json(const struct reach *reach, GHashTable *names);

#endif
