/* The rules of a device's registration: what an app may tell, and what row follows from it. One set
 * of rules for HTTP and for `loa device import`. Pure: no database, no network. */
#ifndef LOA_ENGINE_DEVICE_H
#define LOA_ENGINE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/json.h"

#define DEVICE_TOKEN_MAX       2048 /* bytes; real ones have about 160, an index row 2,704 */
#define DEVICE_APNS_TOKEN_MIN  64   /* hex digits */
#define DEVICE_APNS_TOKEN_MAX  200
#define DEVICE_OS_MAX          64
#define DEVICE_APP_VERSION_MAX 32
#define DEVICE_LANGUAGE_MAX    16
#define DEVICE_KEY_MIN         16 /* Idempotency-Key, import key */
#define DEVICE_KEY_MAX         200
#define DEVICE_BODY_MAX        8192 /* of a registration as JSON */

/* What the app tells. Strings are borrowed from the JSON object; NULL or -1 = not told. */
struct device_told {
    const char *platform;    /* "fcm" | "apns" | "mqtt" */
    const char *id_kind;     /* FCM: "token" (default) | "fid" */
    const char *token;       /* registration token, Firebase installation id, APNs device token */
    const char *environment; /* APNs: "production" (default) | "sandbox" */
    const char *os;
    const char *language; /* BCP 47 */
    const char *commune;  /* five digits; "" = none */
    const char *app_version;
    int mqtt;               /* also, or only, reachable by MQTT */
    int silent_information; /* information arrives without a sound */
};

/* The columns that follow. Strings are borrowed from what it was made of; NULL = SQL null. */
struct device_state {
    const char *channel; /* "fcm" | "apns" | "mqtt" | "none": the one on which it counts */
    const char *id_kind;
    const char *push_token;
    const char *apns_environment;
    bool mqtt;
    const char *os;
    const char *app_version;
    const char *language;
    const char *commune;
    bool silent_information;
};

/* Reads the fields named as in struct device_told; every fault becomes a complaint of the reader.
 * registering: platform must be there. The caller ends the reader itself. */
void device_told_read(struct json_reader *reader, bool registering, struct device_told *out);

/* What the row becomes when `told` is laid over `before` (NULL: a new device). communes: set of
 * known codes (keys). Contradictions become complaints of the reader; *out is complete only when it
 * then has none. */
void device_merge(const struct device_state *before, const struct device_told *told,
                  GHashTable *communes, struct json_reader *reader, struct device_state *out);

/* 16 to 200 printable ASCII characters: an Idempotency-Key or the key of an import line. */
bool device_key_valid(const char *key);

/* "Key" of a device in logs and on screens: the last 6 characters of a token, never more. */
const char *device_token_tail(const char *token);

#endif
