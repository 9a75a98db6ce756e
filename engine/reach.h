/* Whom a broadcast has reached, per commune and channel: sums over the frozen members of its
 * chunks, their outcomes and the receipts. Pure; progress_store.c feeds it. */
#ifndef LOA_ENGINE_REACH_H
#define LOA_ENGINE_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

enum reach_channel {
    REACH_FCM,
    REACH_APNS,
    REACH_MQTT,
    REACH_NONE, /* receipts only: the device counted on no channel when the first one came */
    REACH_CHANNELS
};
/* "fcm", "apns", "mqtt", "none". */
const char *reach_channel_name(enum reach_channel channel);
/* REACH_NONE for any other name. */
enum reach_channel reach_channel_find(const char *name);

struct reach_count {
    uint64_t targeted; /* frozen members; the commune of the moment of planning */
    uint64_t accepted; /* outcome ACCEPTED */
    uint64_t shown;    /* receipts; the commune of the moment when the first one came */
    uint64_t opened;
};
void reach_count_add(struct reach_count *sum, const struct reach_count *more);

struct reach_commune {
    char *code; /* "" = none */
    struct reach_count channels[REACH_CHANNELS];
};
struct reach_count reach_commune_total(const struct reach_commune *commune);

struct reach;
struct reach *reach_new(void);
void reach_free(struct reach *reach);
LOA_AUTO_DEFINE(reach, reach_free)
/* Makes to the same as from. */
void reach_copy(struct reach *to, const struct reach *from);
/* Communes by code, "" last: struct reach_commune, borrowed until the reach changes. Owned. */
GPtrArray *reach_list(const struct reach *reach);

/* A chunk as it stands in the database; everything borrowed. */
struct reach_chunk {
    enum reach_channel channel;
    size_t members;
    const char *const *communes; /* distinct codes; NULL or none: not recorded, counted under "" */
    const void *index;           /* engine/member_communes.h */
    size_t index_len;
    const uint8_t *codes; /* outcomes of the first codes_len members; 0 = not settled */
    size_t codes_len;
};
/* INTERNAL, and nothing added, when the index is broken. */
bool reach_add_chunk(struct reach *reach, const struct reach_chunk *chunk, GError **error);

void reach_add_receipts(struct reach *reach, const char *commune, enum reach_channel channel,
                        uint64_t shown, uint64_t opened);
/* Back to no receipts. */
void reach_clear_receipts(struct reach *reach);

#endif
