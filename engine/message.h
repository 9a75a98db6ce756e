/* One text in one language, ready to be rendered for a channel: an alert, its correction, or a
 * targeted notification. docs/device-protocol.md describes the same fields for app developers. */
#ifndef LOA_ENGINE_MESSAGE_H
#define LOA_ENGINE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/crypto.h"

#define MESSAGE_TITLE_MAX       200  /* UTF-8 bytes */
#define MESSAGE_BODY_MAX        2400 /* UTF-8 bytes */
#define MESSAGE_INSTRUCTION_MAX 1200 /* UTF-8 bytes */
#define MESSAGE_URL_MAX         300
#define MESSAGE_SOURCE_MAX      200

enum message_type {
    MESSAGE_ALERT,  /* "alert": a released broadcast */
    MESSAGE_CANCEL, /* "cancel": its correction, same alert id, higher version */
    MESSAGE_NOTICE, /* "notice": a targeted notification; unsigned */
};
const char *message_type_name(enum message_type type);

/* Strings are borrowed; optional ones are "" when absent, never NULL. */
struct message {
    enum message_type type;
    const char *alert_id; /* ≤ 32 bytes of [A-Za-z0-9-]; also APNs' collapse id */
    int version;          /* 1, then +1 per correction */
    const char *kind;     /* "THONG_TIN" | "CANH_BAO"; "" for a notice */
    const char *level;    /* "thuong" | "uu_tien" | "khan_cap" */
    const char *cls;      /* device class: "khan_cap" "uu_tien" "thuong" "phan_anh" "dien_tap" */
    const char *realm;    /* "live" | "exercise" | "test" */
    int64_t issued_s;     /* Unix seconds, UTC */
    int64_t expires_s;    /* Unix seconds, UTC */
    const char *title;
    const char *body;
    const char *instruction;
    const char *areas;    /* "toan_tinh" or commune codes joined by "," */
    const char *language; /* BCP 47: "vi", "tyz", "hmn", "en" … */
    const char *url;
    const char *source_document;
    int64_t receipt_window_s; /* 0 = no receipt wanted */
    const char *key_id;
    uint8_t signature[ED25519_SIGNATURE_LEN]; /* over message_canonical_bytes; zero for a notice */
    bool is_signed;
    bool store;  /* the provider may keep it for a phone that is off, until expires_s; else now or
                    never, and at APNs nothing that is kept there is displaced */
    bool silent; /* information to a citizen who made information silent */
};

/* The bytes that are signed: "loa-alert-v1", then every field from type to key_id in the order of
 * the struct (not signature, is_signed, store, silent), each as a 4-byte big-endian length and its
 * UTF-8 bytes; numbers in decimal. */
GByteArray *message_canonical_bytes(const struct message *message);

/* An emergency: realm live, kind CANH_BAO, level khan_cap. */
bool message_is_emergency(const struct message *message);

/* A JSON object of the payload's fields in their wire names: "alert" "v" "type" "kind" "level"
 * "class" "realm" "issued" "expires" "title" "body" "instruction" "areas" "lang" "url" "source"
 * "window" "key" "sig" (base64url). All values are strings (FCM's data map demands it); empty
 * optional fields are left out. fields_skip: NULL-terminated names to leave out. json_t *, owned.
 */
void *message_to_json(const struct message *message, const char *const *fields_skip);

#endif
