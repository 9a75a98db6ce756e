/* create, approve and cancel, each in one transaction. The rules of content are
 * broadcast_prepare.c's, the signatures release.c's, the SQL broadcast_*store.c's; here is the
 * order of things. */
#include "engine/broadcast_acts.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/account_store.h"
#include "engine/audit_store.h"
#include "engine/broadcast_store.h"

static bool conflict(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool conflict(GError **error, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, LOA_ERROR, LOA_ERROR_CONFLICT, message);
    return false;
}

/* The account as it is now: it may have been disabled since the caller looked. */
static bool actor_may_act(const struct broadcast_actor *actor, GError **error)
{
    g_autofree char *id = g_strdup_printf("%" PRId64, actor->account->id);
    loa_auto(account) now = account_store_find(actor->db, id, error);

    return now != NULL && account_may_act(now, actor->account_key, error);
}

static bool audit(const struct broadcast_actor *actor, const char *act, int64_t id,
                  const char *detail, GError **error)
{
    g_autofree char *object = g_strdup_printf("broadcast:%" PRId64, id);

    return audit_store_add(actor->db, actor->account, act, object, detail, error);
}

static char *hash_text(const uint8_t hash[SHA256_LEN])
{
    GString *text = g_string_sized_new(2 * SHA256_LEN);

    for (size_t i = 0; i < SHA256_LEN; i++)
        g_string_append_printf(text, "%02x", hash[i]);
    return g_string_free(text, FALSE);
}

/* LA County 2025, Hawaii 2018: the second alert minutes later was a mistake. */
static bool check_duplicate(const struct broadcast_actor *actor, const struct broadcast *b,
                            int64_t now_utc_us, bool again, GError **error)
{
    g_autofree char *other = NULL;

    if (!broadcast_store_find_duplicate(
            actor->db, b, now_utc_us - BROADCAST_DUPLICATE_S * USEC_PER_SEC, &other, error))
        return false;
    if (other != NULL && !again)
        return conflict(error,
                        "%s with the same title was released less than %d minutes ago; say --again "
                        "if this one is meant",
                        other, (int)(BROADCAST_DUPLICATE_S / 60));
    return true;
}

static void make_create_key(const struct broadcast_actor *actor, const char *idempotency_key,
                            uint8_t out[SHA256_LEN])
{
    g_autofree char *text = g_strdup_printf("%" PRId64 ":%s", actor->account->id, idempotency_key);

    crypto_sha256(text, strlen(text), out);
}

/* A repeat under the same key must ask for the same thing. The alert id and an expiry that was
 * given as a duration are the first one's. */
static bool same_as_existing(const struct broadcast_actor *actor, struct broadcast *b, int64_t id,
                             GError **error)
{
    loa_auto(broadcast) existing = broadcast_load(actor->db, id, error);
    uint8_t hash[SHA256_LEN];

    if (existing == NULL)
        return false;
    broadcast_set(&b->alert_id, existing->alert_id);
    b->expires_utc_us = existing->expires_utc_us;
    release_content_hash(b, hash);
    if (!crypto_equal(hash, existing->content_hash, sizeof(hash)))
        return conflict(error, "this idempotency key was used for another broadcast (%" PRId64 ")",
                        id);
    return true;
}

static bool measure(const struct broadcast_actor *actor, const struct broadcast *b,
                    int64_t now_utc_us, GError **error)
{
    return actor->meter == NULL ||
           broadcast_measure(b, actor->meter, actor->release_key_id, now_utc_us, error);
}

static bool store_draft(const struct broadcast_actor *actor, struct broadcast *b,
                        const uint8_t *create_key, int64_t now_utc_us, GError **error)
{
    uint8_t random[4];
    g_autofree char *hash = NULL;

    crypto_random(random, sizeof(random));
    g_free(b->alert_id);
    b->alert_id = broadcast_make_alert_id(now_utc_us, random);
    b->creator_id = actor->account->id;
    release_content_hash(b, b->content_hash);
    release_sign_act(RELEASE_ACT_CREATE, b->content_hash, actor->account_key, b->creator_signature);
    hash = hash_text(b->content_hash);
    return broadcast_store_insert_draft(actor->db, b, create_key, error) &&
           audit(actor, "broadcast_created", b->id, hash, error);
}

static bool create_in_transaction(const struct broadcast_actor *actor, struct broadcast *b,
                                  const struct broadcast_create_options *options, GPtrArray *notes,
                                  int64_t *out_existing, GError **error)
{
    uint8_t create_key[SHA256_LEN];
    int64_t now_utc_us;

    if (!actor_may_act(actor, error) || !broadcast_store_now(actor->db, &now_utc_us, error) ||
        !broadcast_prepare(b, now_utc_us, notes, error) ||
        !broadcast_store_check_communes(actor->db, b, error))
        return false;
    if (options->idempotency_key != NULL) {
        make_create_key(actor, options->idempotency_key, create_key);
        if (!broadcast_store_find_key(actor->db, create_key, out_existing, error))
            return false;
        if (*out_existing != 0)
            return same_as_existing(actor, b, *out_existing, error);
    }
    if (!check_duplicate(actor, b, now_utc_us, options->again, error))
        return false;
    /* Measured with its real id: the payload names it. */
    return store_draft(actor, b, options->idempotency_key != NULL ? create_key : NULL, now_utc_us,
                       error) &&
           measure(actor, b, now_utc_us, error);
}

bool broadcast_create(const struct broadcast_actor *actor, struct broadcast *b,
                      const struct broadcast_create_options *options, GPtrArray *notes,
                      int64_t *out_existing, GError **error)
{
    *out_existing = 0;
    if (!db_begin(actor->db, error))
        return false;
    if (!create_in_transaction(actor, b, options, notes, out_existing, error) ||
        !db_commit(actor->db, error)) {
        db_rollback(actor->db);
        return false;
    }
    return true;
}

/* What the approver answers for must be what the creator signed and what was shown. */
static bool check_content(const struct broadcast_actor *actor, const struct broadcast *b,
                          const uint8_t shown_hash[SHA256_LEN], int64_t now_utc_us, GError **error)
{
    uint8_t hash[SHA256_LEN];
    g_autofree char *creator_id = g_strdup_printf("%" PRId64, b->creator_id);
    loa_auto(account) creator = NULL;

    release_content_hash(b, hash);
    if (!crypto_equal(hash, b->content_hash, sizeof(hash)) ||
        !crypto_equal(hash, shown_hash, sizeof(hash)) ||
        !release_verify_act(RELEASE_ACT_CREATE, hash, b->creator_key, b->creator_signature))
        return conflict(error,
                        "the draft's content is not what its creator signed and you were shown; "
                        "withdraw it and create it anew");
    if (b->expires_utc_us <= now_utc_us)
        return conflict(error, "the draft has expired; create it anew");
    creator = account_store_find(actor->db, creator_id, error);
    if (creator == NULL)
        return false;
    if (creator->disabled_utc_us != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED,
                    "account \"%s\", which created this draft, is disabled", creator->name);
        return false;
    }
    return true;
}

/* A release that the delivery processes would refuse must fail here, where a person sees it. */
static bool sign_and_verify(const struct broadcast_actor *actor, struct broadcast *b,
                            GError **error)
{
    uint8_t public_key[1][ED25519_KEY_LEN];
    loa_auto(release_keys) keys = NULL;

    signing_key_public(actor->release_key, public_key[0]);
    keys = release_keys_new((const uint8_t(*)[ED25519_KEY_LEN])public_key, 1);
    b->state = BROADCAST_RELEASED;
    broadcast_set(&b->key_id, actor->release_key_id);
    release_sign(b, actor->release_key);
    return release_verify(b, keys, error);
}

static bool approve_in_transaction(const struct broadcast_actor *actor, int64_t id,
                                   const uint8_t shown_hash[SHA256_LEN], bool again,
                                   bool *out_already, GError **error)
{
    loa_auto(broadcast) b = NULL;
    g_autofree char *hash = NULL;
    int64_t now_utc_us;

    if (!actor_may_act(actor, error) || !broadcast_store_now(actor->db, &now_utc_us, error))
        return false;
    b = broadcast_load_locked(actor->db, id, error);
    if (b == NULL)
        return false;
    *out_already = b->state == BROADCAST_RELEASED && b->approver_id == actor->account->id;
    if (*out_already)
        return true;
    if (!broadcast_next_state(b->state, BROADCAST_EVENT_RELEASE, &b->state, error) ||
        !broadcast_check_approver(b, actor->account->id, error) ||
        !check_content(actor, b, shown_hash, now_utc_us, error) ||
        !check_duplicate(actor, b, now_utc_us, again, error) ||
        !measure(actor, b, now_utc_us, error))
        return false;
    b->approver_id = actor->account->id;
    memcpy(b->approver_key, actor->account->public_key, ED25519_KEY_LEN);
    release_sign_act(RELEASE_ACT_APPROVE, b->content_hash, actor->account_key,
                     b->approver_signature);
    b->cls = broadcast_class_of(b->realm, b->kind, b->level);
    b->released_utc_us = now_utc_us;
    hash = hash_text(b->content_hash);
    return sign_and_verify(actor, b, error) && broadcast_store_release(actor->db, b, error) &&
           audit(actor, "broadcast_released", id, hash, error) &&
           broadcast_store_notify(actor->db, broadcast_is_emergency(b), error);
}

bool broadcast_approve(const struct broadcast_actor *actor, int64_t id,
                       const uint8_t shown_hash[SHA256_LEN], bool again, bool *out_already,
                       GError **error)
{
    assert(actor->release_key != NULL);
    if (!db_begin(actor->db, error))
        return false;
    if (!approve_in_transaction(actor, id, shown_hash, again, out_already, error) ||
        !db_commit(actor->db, error)) {
        db_rollback(actor->db);
        return false;
    }
    return true;
}

static bool release_correction(const struct broadcast_actor *actor,
                               const struct broadcast *original, int64_t now_utc_us,
                               int64_t *out_id, GError **error)
{
    loa_auto(broadcast) correction = broadcast_correction(original);

    if (!broadcast_store_next_id(actor->db, &correction->id, error))
        return false;
    correction->creator_id = actor->account->id;
    memcpy(correction->creator_key, actor->account->public_key, ED25519_KEY_LEN);
    release_content_hash(correction, correction->content_hash);
    release_sign_act(RELEASE_ACT_CREATE, correction->content_hash, actor->account_key,
                     correction->creator_signature);
    correction->released_utc_us = now_utc_us;
    *out_id = correction->id;
    return sign_and_verify(actor, correction, error) &&
           broadcast_store_insert_correction(actor->db, correction, error);
}

static bool cancel_released(const struct broadcast_actor *actor, const struct broadcast *b,
                            const char *reason, struct broadcast_cancel_result *out, GError **error)
{
    g_autofree char *from = g_strdup_printf("of broadcast:%" PRId64 ": %s", b->id, reason);
    int64_t now_utc_us;

    if (actor->release_key == NULL) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                            "taking back a released broadcast needs the release key");
        return false;
    }
    if (b->type == MESSAGE_CANCEL)
        return conflict(error, "a correction cannot be taken back; release a new broadcast");
    if (!broadcast_store_now(actor->db, &now_utc_us, error))
        return false;
    if (b->expires_utc_us <= now_utc_us)
        return conflict(error, "the broadcast has expired; there is nothing to take back");
    /* Never sign a correction whose words come from a row that nobody released. */
    return release_verify(b, actor->release_keys, error) &&
           release_correction(actor, b, now_utc_us, &out->correction_id, error) &&
           audit(actor, "broadcast_cancelled", b->id, reason, error) &&
           audit(actor, "correction_released", out->correction_id, from, error) &&
           broadcast_store_notify(actor->db, broadcast_is_emergency(b), error);
}

static bool cancel_in_transaction(const struct broadcast_actor *actor, int64_t id,
                                  const char *reason, struct broadcast_cancel_result *out,
                                  GError **error)
{
    loa_auto(broadcast) b = NULL;
    enum broadcast_state next;

    if (!actor_may_act(actor, error))
        return false;
    b = broadcast_load_locked(actor->db, id, error);
    if (b == NULL)
        return false;
    out->already = b->state == BROADCAST_CANCELLED || b->state == BROADCAST_WITHDRAWN;
    if (out->already)
        return true;
    if (!broadcast_next_state(b->state, BROADCAST_EVENT_CANCEL, &next, error))
        return false;
    if (next == BROADCAST_CANCELLED)
        return cancel_released(actor, b, reason, out, error);
    out->withdrawn = true;
    return broadcast_store_withdraw(actor->db, id, actor->account->id, error) &&
           audit(actor, "broadcast_withdrawn", id, reason, error);
}

bool broadcast_cancel(const struct broadcast_actor *actor, int64_t id, const char *reason,
                      struct broadcast_cancel_result *out, GError **error)
{
    *out = (struct broadcast_cancel_result){.already = false};
    if (!db_begin(actor->db, error))
        return false;
    if (!cancel_in_transaction(actor, id, reason, out, error) || !db_commit(actor->db, error)) {
        db_rollback(actor->db);
        return false;
    }
    return true;
}
