/* A broadcast: one released text, its audience and its rules. Pure: no database, no network, `now`
 * is an argument. The same rules stand behind the command line and, later, HTTP.
 * Words of the regulation: thông tin (THONG_TIN, information) and cảnh báo (CANH_BAO, warning). */
#ifndef LOA_ENGINE_BROADCAST_H
#define LOA_ENGINE_BROADCAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "engine/message.h"

#define BROADCAST_LANGUAGES_MAX      16
#define BROADCAST_COMMUNES_MAX       512
#define BROADCAST_WARNING_LIFE_S     (INT64_C(7) * 86400)  /* a warning dies within 7 days */
#define BROADCAST_INFORMATION_LIFE_S (INT64_C(30) * 86400) /* information within 30 */
#define BROADCAST_DUPLICATE_S        (INT64_C(30) * 60)    /* same title again: ask first */
#define BROADCAST_EXERCISE_MARK      "[DIỄN TẬP]"          /* first and last words of a drill */

#define BROADCAST_UTC_OFFSET_S 25200 /* Viet Nam is UTC+7 all year */

/* Each X(id, "word"): the word is the text form in the database, in JSON and on the wire. */
#define BROADCAST_REALMS(X)                                                                        \
    X(BROADCAST_LIVE, "live")         /* reaches live devices */                                   \
    X(BROADCAST_EXERCISE, "exercise") /* reaches exercise devices only; texts are marked */        \
    X(BROADCAST_TEST, "test")         /* reaches test devices only */
#define BROADCAST_KINDS(X)                                                                         \
    X(BROADCAST_THONG_TIN, "THONG_TIN") /* information (Đ3.10) */                                 \
    X(BROADCAST_CANH_BAO, "CANH_BAO")   /* warning: needs an instruction */
#define BROADCAST_LEVELS(X)                                                                        \
    X(BROADCAST_THUONG, "thuong")     /* ordinary */                                               \
    X(BROADCAST_UU_TIEN, "uu_tien")   /* priority */                                               \
    X(BROADCAST_KHAN_CAP, "khan_cap") /* urgent; warnings only */
/* The device's channel of loudness. A broadcast is never phan_anh: that is for feedback notices. */
#define BROADCAST_CLASSES(X)                                                                       \
    X(BROADCAST_CLASS_KHAN_CAP, "khan_cap") /* live warning of level khan_cap: an emergency */     \
    X(BROADCAST_CLASS_UU_TIEN, "uu_tien")   /* live, level uu_tien */                              \
    X(BROADCAST_CLASS_THUONG, "thuong")     /* live, level thuong */                               \
    X(BROADCAST_CLASS_PHAN_ANH, "phan_anh") /* news about one's own case */                        \
    X(BROADCAST_CLASS_DIEN_TAP, "dien_tap") /* whatever is not live */
#define BROADCAST_STATES(X)                                                                        \
    X(BROADCAST_DRAFT, "draft")         /* next: released, withdrawn */                            \
    X(BROADCAST_WITHDRAWN, "withdrawn") /* final; nobody ever got it */                            \
    X(BROADCAST_RELEASED, "released")   /* next: cancelled */                                      \
    X(BROADCAST_CANCELLED, "cancelled") /* final; a correction went to the same devices */
#define BROADCAST_SCOPES(X)                                                                        \
    X(BROADCAST_TOAN_TINH, "toan_tinh") /* the whole province, by explicit choice */               \
    X(BROADCAST_COMMUNES, "communes")   /* the listed communes */

#define BROADCAST_ENUM(id, word) id,
enum broadcast_realm { BROADCAST_REALMS(BROADCAST_ENUM) BROADCAST_REALM_COUNT };
enum broadcast_kind { BROADCAST_KINDS(BROADCAST_ENUM) BROADCAST_KIND_COUNT };
enum broadcast_level { BROADCAST_LEVELS(BROADCAST_ENUM) BROADCAST_LEVEL_COUNT };
enum broadcast_class { BROADCAST_CLASSES(BROADCAST_ENUM) BROADCAST_CLASS_COUNT };
enum broadcast_state { BROADCAST_STATES(BROADCAST_ENUM) BROADCAST_STATE_COUNT };
enum broadcast_scope { BROADCAST_SCOPES(BROADCAST_ENUM) BROADCAST_SCOPE_COUNT };
#undef BROADCAST_ENUM

/* Text forms, static. */
const char *broadcast_realm_name(enum broadcast_realm realm);
const char *broadcast_kind_name(enum broadcast_kind kind);
const char *broadcast_level_name(enum broadcast_level level);
const char *broadcast_class_name(enum broadcast_class cls);
const char *broadcast_state_name(enum broadcast_state state);
const char *broadcast_scope_name(enum broadcast_scope scope);
/* The enum of a word; -1 for an unknown one. NULL-terminated word lists are in enum order. */
int broadcast_word(const char *const *words, const char *word);
extern const char *const broadcast_realm_words[];
extern const char *const broadcast_kind_words[];
extern const char *const broadcast_level_words[];
extern const char *const broadcast_class_words[];
extern const char *const broadcast_state_words[];
extern const char *const broadcast_scope_words[];

/* One language. Strings owned, never NULL ("" when absent), NFC. */
struct broadcast_text {
    char *language; /* BCP 47, [a-z]{2,3}(-[A-Za-z0-9]{2,8})? */
    char *title;
    char *body;
    char *instruction;
    char *correction_title; /* prepared at creation; "" in a cancel */
    char *correction_body;
    bool is_signed; /* released */
    uint8_t signature[ED25519_SIGNATURE_LEN];
};

/* One row with its texts and the public keys of its people. Strings owned, never NULL. */
struct broadcast {
    int64_t id;
    char *alert_id; /* "20261123-K7M2QX" */
    int version;
    enum message_type type; /* MESSAGE_ALERT or MESSAGE_CANCEL */
    int64_t corrects;       /* MESSAGE_CANCEL: id of the broadcast taken back; else 0 */
    enum broadcast_realm realm;
    enum broadcast_kind kind;
    enum broadcast_level level;
    enum broadcast_class cls; /* follows from realm, kind and level */
    enum broadcast_state state;
    enum broadcast_scope scope;
    char **communes; /* sorted codes, NULL-terminated; empty for toan_tinh */
    char *areas;     /* "toan_tinh" or the codes joined by ",": as on the wire */
    char *url;
    char *source_document;
    int64_t expires_utc_us; /* whole seconds */
    int64_t receipt_window_s;
    GPtrArray *texts; /* struct broadcast_text *, sorted by language */

    uint8_t content_hash[SHA256_LEN];
    int64_t created_utc_us;
    int64_t creator_id;
    char *creator_name;
    uint8_t creator_key[ED25519_KEY_LEN];
    uint8_t creator_signature[ED25519_SIGNATURE_LEN];
    int64_t approver_id; /* 0 before approval, and for a cancel */
    char *approver_name; /* "" then */
    uint8_t approver_key[ED25519_KEY_LEN];
    uint8_t approver_signature[ED25519_SIGNATURE_LEN];
    int64_t released_utc_us; /* 0 before release */
    char *key_id;            /* of the release key; "" before release */
    bool has_release_signature;
    uint8_t release_signature[ED25519_SIGNATURE_LEN];
    int64_t cancelled_utc_us;  /* 0 */
    int64_t mqtt_acked_utc_us; /* 0 until every broker has it */
    int64_t finished_utc_us;   /* 0 until every chunk is settled */
    int64_t refused_utc_us;    /* 0, or when its signature was found wrong */
};

/* An empty draft of type alert, version 1, with "" everywhere. Owned. */
struct broadcast *broadcast_new(void);
void broadcast_free(struct broadcast *broadcast);
LOA_AUTO_DEFINE(broadcast, broadcast_free)

/* The text of a language, created empty when missing. Borrowed. NULL when there are too many. */
struct broadcast_text *broadcast_text_add(struct broadcast *broadcast, const char *language);
/* NULL when there is none. Borrowed. */
const struct broadcast_text *broadcast_text_find(const struct broadcast *broadcast,
                                                 const char *language);
/* Sets an owned string field. NULL counts as "". */
void broadcast_set(char **field, const char *value);

/* Where an area comes from: never by omission (a lost polygon once warned ten million). Exactly one
 * of province and codes ("01234,01237") must be given. INVALID. */
bool broadcast_set_area(struct broadcast *broadcast, bool province, const char *codes,
                        GError **error);

/* When a draft ends: "30m", "6h", "3d" from now, or an ISO 8601 time, Viet Nam's unless it names
 * its zone. INVALID. */
bool broadcast_parse_expiry(const char *text, int64_t now_utc_us, int64_t *out_utc_us,
                            GError **error);

/* Makes a draft ready to be stored, or says with INVALID everything that is wrong, one line
 * "field: what and what to do" each: normalises to NFC and trims, marks exercise texts, fills in
 * the prepared correction where none was given, derives the class, sorts languages and communes,
 * checks lengths, characters, url, expiry and that a warning tells people what to do. notes (may be
 * NULL) receives owned strings about what was added or looks odd. */
bool broadcast_prepare(struct broadcast *broadcast, int64_t now_utc_us, GPtrArray *notes,
                       GError **error);

/* Realm → kind → level → class. */
enum broadcast_class broadcast_class_of(enum broadcast_realm realm, enum broadcast_kind kind,
                                        enum broadcast_level level);
/* Realm live, kind CANH_BAO, level khan_cap; also its correction. */
bool broadcast_is_emergency(const struct broadcast *broadcast);

enum broadcast_event { BROADCAST_EVENT_RELEASE, BROADCAST_EVENT_CANCEL, BROADCAST_EVENT_COUNT };
/* The one place where a state changes: draft → released (release), draft → withdrawn (cancel),
 * released → cancelled (cancel). CONFLICT otherwise. */
bool broadcast_next_state(enum broadcast_state state, enum broadcast_event event,
                          enum broadcast_state *out, GError **error);
/* Two people for a release (Đ12.4, Đ13): DENIED when creator and approver are the same. */
bool broadcast_check_approver(const struct broadcast *broadcast, int64_t approver_id,
                              GError **error);

/* The correction of a released broadcast: same alert id, audience, class and expiry, version + 1,
 * texts from the prepared correction. Unsigned, id 0, creator 0. Owned. */
struct broadcast *broadcast_correction(const struct broadcast *original);

/* Fills out with the text in this language, else in Vietnamese; everything is borrowed from the
 * broadcast. store is true, silent false. */
void broadcast_message(const struct broadcast *broadcast, const char *language,
                       struct message *out);

/* "20261123-K7M2QX": the date in Viet Nam and 30 random bits in Crockford's base 32. Owned. */
char *broadcast_make_alert_id(int64_t now_utc_us, const uint8_t random[4]);

struct channel;
/* Where a payload must fit. Everything is borrowed; nothing needs a connection. */
struct broadcast_meter {
    struct channel *const *channels; /* one language per payload */
    size_t n_channels;
    /* A channel that carries every language in one payload (MQTT); NULL = none. INVALID when the
     * messages, one per language, do not fit together. */
    bool (*fits_together)(const struct message *messages, size_t n, GError **error);
};
/* Renders every language for every channel, and the correction's as well, as if released now with
 * this key id. INVALID names channel, language, bytes and limit. */
bool broadcast_measure(const struct broadcast *broadcast, const struct broadcast_meter *meter,
                       const char *key_id, int64_t now_utc_us, GError **error);

#endif
