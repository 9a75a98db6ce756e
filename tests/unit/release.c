/* lib: loa_engine */
/* A broadcast is believed only as it was released: every forged row is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/release.h"

#define NOW (INT64_C(1795000000) * USEC_PER_SEC)

static char *dir;
static struct signing_key *creator, *approver, *release_key, *next_key, *stranger;
static struct release_keys *keys;

static struct signing_key *new_key(const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    uint8_t public_key[ED25519_KEY_LEN];
    struct signing_key *key;

    assert_true(signing_key_create(path, public_key, NULL));
    key = signing_key_load(path, NULL);
    assert_non_null(key);
    g_unlink(path);
    return key;
}

static int set_up(void **state)
{
    uint8_t public_keys[2][ED25519_KEY_LEN];

    (void)state;
    crypto_init();
    dir = g_dir_make_tmp("loa-release-XXXXXX", NULL);
    creator = new_key("creator");
    approver = new_key("approver");
    release_key = new_key("release");
    next_key = new_key("next");
    stranger = new_key("stranger");
    signing_key_public(release_key, public_keys[0]);
    signing_key_public(next_key, public_keys[1]);
    keys = release_keys_new((const uint8_t(*)[ED25519_KEY_LEN])public_keys, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    signing_key_free(creator);
    signing_key_free(approver);
    signing_key_free(release_key);
    signing_key_free(next_key);
    signing_key_free(stranger);
    release_keys_free(keys);
    g_rmdir(dir);
    g_free(dir);
    return 0;
}

static void sign_people(struct broadcast *b)
{
    release_content_hash(b, b->content_hash);
    signing_key_public(creator, b->creator_key);
    release_sign_act(RELEASE_ACT_CREATE, b->content_hash, creator, b->creator_signature);
    if (b->type == MESSAGE_CANCEL)
        return;
    b->approver_id = 12;
    signing_key_public(approver, b->approver_key);
    release_sign_act(RELEASE_ACT_APPROVE, b->content_hash, approver, b->approver_signature);
}

static struct broadcast *unsigned_broadcast(const char *title)
{
    struct broadcast *b = broadcast_new();
    struct broadcast_text *vi = broadcast_text_add(b, "vi");
    struct broadcast_text *en = broadcast_text_add(b, "en");

    assert_true(broadcast_set_area(b, false, "01234,01288", NULL));
    b->id = 7;
    broadcast_set(&b->alert_id, "20261123-K7M2QX");
    b->realm = BROADCAST_LIVE;
    b->kind = BROADCAST_CANH_BAO;
    b->level = BROADCAST_KHAN_CAP;
    b->expires_utc_us = NOW + 3600 * USEC_PER_SEC;
    b->receipt_window_s = 600;
    broadcast_set(&vi->title, title);
    broadcast_set(&vi->body, "Nước vượt báo động 3.");
    broadcast_set(&vi->instruction, "Di dời ngay.");
    broadcast_set(&en->title, "Flood");
    broadcast_set(&en->body, "Water is rising.");
    broadcast_set(&en->instruction, "Leave now.");
    assert_true(broadcast_prepare(b, NOW, NULL, NULL));
    b->creator_id = 11;
    b->released_utc_us = NOW;
    b->state = BROADCAST_RELEASED;
    broadcast_set(&b->key_id, "k1");
    return b;
}

static struct broadcast *released(const char *title)
{
    struct broadcast *b = unsigned_broadcast(title);

    sign_people(b);
    release_sign(b, release_key);
    return b;
}

static bool genuine(const struct broadcast *b)
{
    g_autoptr(GError) error = NULL;
    bool ok = release_verify(b, keys, &error);

    if (!ok)
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED));
    return ok;
}

static struct broadcast_text *text(struct broadcast *b, const char *language)
{
    return broadcast_text_add(b, language);
}

static void test_genuine(void **state)
{
    loa_auto(broadcast) b = released("Lũ");

    (void)state;
    assert_true(genuine(b));
    b->state = BROADCAST_CANCELLED; /* it stays genuine after it was taken back */
    assert_true(genuine(b));
}

static void test_next_key_may_release(void **state)
{
    loa_auto(broadcast) b = released("Lũ");

    (void)state;
    release_sign(b, next_key);
    assert_true(genuine(b));
    release_sign(b, stranger);
    assert_false(genuine(b));
}

static void forge_text(struct broadcast *b)
{
    broadcast_set(&text(b, "vi")->body, "Nộp tiền vào tài khoản này.");
}
static void forge_other_language(struct broadcast *b)
{
    broadcast_set(&text(b, "en")->title, "Pay here");
}
static void forge_swapped_texts(struct broadcast *b)
{
    struct broadcast_text *vi = text(b, "vi"), *en = text(b, "en"), old = *vi;
    vi->title = en->title;
    en->title = old.title;
}
static void forge_swapped_signatures(struct broadcast *b)
{
    struct broadcast_text *vi = text(b, "vi"), *en = text(b, "en");
    memcpy(vi->signature, en->signature, sizeof(vi->signature));
}
static void forge_no_text_signature(struct broadcast *b)
{
    text(b, "en")->is_signed = false;
}
static void forge_dropped_language(struct broadcast *b)
{
    g_ptr_array_remove_index(b->texts, 0);
}
static void forge_added_language(struct broadcast *b)
{
    struct broadcast_text *added = text(b, "zh");
    broadcast_set(&added->title, "x");
}
static void forge_correction(struct broadcast *b)
{
    broadcast_set(&text(b, "vi")->correction_body, "Nộp tiền.");
}
static void forge_scope(struct broadcast *b)
{
    b->scope = BROADCAST_TOAN_TINH;
    b->communes[0][0] = '\0';
}
static void forge_commune(struct broadcast *b)
{
    b->communes[1][4] = '9';
}
static void forge_areas(struct broadcast *b)
{
    broadcast_set(&b->areas, "toan_tinh");
}
static void forge_realm(struct broadcast *b)
{
    b->realm = BROADCAST_EXERCISE;
    b->cls = BROADCAST_CLASS_DIEN_TAP;
}
static void forge_level(struct broadcast *b)
{
    b->level = BROADCAST_UU_TIEN;
    b->cls = BROADCAST_CLASS_UU_TIEN;
}
static void forge_class(struct broadcast *b)
{
    b->cls = BROADCAST_CLASS_THUONG;
}
static void forge_kind(struct broadcast *b)
{
    b->kind = BROADCAST_THONG_TIN;
    b->cls = BROADCAST_CLASS_UU_TIEN;
}
static void forge_expiry(struct broadcast *b)
{
    b->expires_utc_us += 86400 * USEC_PER_SEC;
}
static void forge_release_time(struct broadcast *b)
{
    b->released_utc_us += 1;
}
static void forge_window(struct broadcast *b)
{
    b->receipt_window_s = 1;
}
static void forge_url(struct broadcast *b)
{
    broadcast_set(&b->url, "https://evil.example/");
}
static void forge_source(struct broadcast *b)
{
    broadcast_set(&b->source_document, "1/UBND");
}
static void forge_id(struct broadcast *b)
{
    b->id = 8;
}
static void forge_alert_id(struct broadcast *b)
{
    broadcast_set(&b->alert_id, "20261123-AAAAAA");
}
static void forge_version(struct broadcast *b)
{
    b->version = 2;
}
static void forge_key_id(struct broadcast *b)
{
    broadcast_set(&b->key_id, "k2");
}
static void forge_type(struct broadcast *b)
{
    b->type = MESSAGE_CANCEL;
    b->corrects = 6;
}
static void forge_draft(struct broadcast *b)
{
    b->state = BROADCAST_DRAFT;
}
static void forge_unreleased(struct broadcast *b)
{
    b->released_utc_us = 0;
}
static void forge_no_signature(struct broadcast *b)
{
    b->has_release_signature = false;
}
static void forge_creator(struct broadcast *b)
{
    b->creator_id = 99;
}
static void forge_creator_key(struct broadcast *b)
{
    signing_key_public(stranger, b->creator_key);
}
static void forge_creator_signature(struct broadcast *b)
{
    b->creator_signature[5] ^= 1;
}
static void forge_approver(struct broadcast *b)
{
    b->approver_id = 99;
}
static void forge_approver_signature(struct broadcast *b)
{
    b->approver_signature[5] ^= 1;
}
static void forge_hash(struct broadcast *b)
{
    b->content_hash[0] ^= 1;
}

static void test_altered_rows_are_refused(void **state)
{
    static void (*const forgeries[])(struct broadcast *) = {
        forge_text,
        forge_other_language,
        forge_swapped_texts,
        forge_swapped_signatures,
        forge_no_text_signature,
        forge_dropped_language,
        forge_added_language,
        forge_correction,
        forge_scope,
        forge_commune,
        forge_areas,
        forge_realm,
        forge_level,
        forge_class,
        forge_kind,
        forge_expiry,
        forge_release_time,
        forge_window,
        forge_url,
        forge_source,
        forge_id,
        forge_alert_id,
        forge_version,
        forge_key_id,
        forge_type,
        forge_draft,
        forge_unreleased,
        forge_no_signature,
        forge_creator,
        forge_creator_key,
        forge_creator_signature,
        forge_approver,
        forge_approver_signature,
        forge_hash,
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(forgeries); i++) {
        loa_auto(broadcast) b = released("Lũ");
        assert_true(genuine(b));
        forgeries[i](b);
        if (genuine(b))
            fail_msg("forgery %zu was believed", i);
    }
}

/* The release key alone is not enough: two people must have signed what is released. */
static void test_release_key_needs_two_people(void **state)
{
    loa_auto(broadcast) b = unsigned_broadcast("Lũ");

    (void)state;
    sign_people(b);
    b->approver_id = 0;
    memset(b->approver_signature, 0, sizeof(b->approver_signature));
    release_sign(b, release_key);
    assert_false(genuine(b));

    sign_people(b);
    b->approver_id = b->creator_id;
    release_sign(b, release_key);
    assert_false(genuine(b));

    /* Two rows, one key: still one person. */
    sign_people(b);
    signing_key_public(creator, b->approver_key);
    release_sign_act(RELEASE_ACT_APPROVE, b->content_hash, creator, b->approver_signature);
    release_sign(b, release_key);
    assert_false(genuine(b));

    /* A creator's signature is no approval. */
    sign_people(b);
    release_sign_act(RELEASE_ACT_CREATE, b->content_hash, approver, b->approver_signature);
    release_sign(b, release_key);
    assert_false(genuine(b));

    /* People signed something else. */
    sign_people(b);
    broadcast_set(&text(b, "vi")->title, "Khác");
    release_sign(b, release_key);
    assert_false(genuine(b));

    sign_people(b);
    release_sign(b, release_key);
    assert_true(genuine(b));
}

static void test_signature_of_another_broadcast(void **state)
{
    loa_auto(broadcast) a = released("Lũ");
    loa_auto(broadcast) b = released("Cháy rừng");

    (void)state;
    memcpy(b->release_signature, a->release_signature, sizeof(b->release_signature));
    assert_false(genuine(b));
}

static void test_correction_needs_one_person(void **state)
{
    loa_auto(broadcast) original = released("Lũ");
    loa_auto(broadcast) c = broadcast_correction(original);

    (void)state;
    c->id = 8;
    c->state = BROADCAST_RELEASED;
    c->creator_id = 11;
    c->released_utc_us = NOW + 1;
    broadcast_set(&c->key_id, "k1");
    sign_people(c);
    release_sign(c, release_key);
    assert_true(genuine(c));
    c->corrects = 6; /* redirected to another broadcast */
    assert_false(genuine(c));
    c->corrects = 0;
    assert_false(genuine(c));
}

/* Phones rebuild the canonical bytes from what they receive. */
static void test_text_signature_is_over_the_message(void **state)
{
    loa_auto(broadcast) b = released("Lũ");
    struct message m;
    g_autoptr(GByteArray) bytes = NULL;

    (void)state;
    broadcast_message(b, "vi", &m);
    bytes = message_canonical_bytes(&m);
    assert_true(m.is_signed);
    assert_true(ed25519_verify(release_keys_get(keys, 0), bytes->data, bytes->len, m.signature));
}

static void test_public_pem(void **state)
{
    static const char *const wrong[] = {
        "", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY------END PUBLIC KEY-----", /* the two lines overlap */
        /* X25519, not Ed25519 */
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "-----END PUBLIC KEY-----"};
    uint8_t in[ED25519_KEY_LEN], out[ED25519_KEY_LEN];
    g_autofree char *pem = NULL;

    (void)state;
    signing_key_public(creator, in);
    pem = release_public_pem(in);
    assert_true(release_public_from_pem(pem, out, NULL));
    assert_memory_equal(in, out, sizeof(in));
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
        assert_false(release_public_from_pem(wrong[i], out, NULL));
}

/* What OpenSSL writes as a public key is read. */
static void test_known_pem(void **state)
{
    static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                              "-----END PUBLIC KEY-----\n"; /* RFC 8410 §10.1 */
    uint8_t out[ED25519_KEY_LEN];

    (void)state;
    assert_true(release_public_from_pem(pem, out, NULL));
    assert_int_equal(out[0], 0x19);
    assert_int_equal(out[31], 0xe1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genuine),
        cmocka_unit_test(test_next_key_may_release),
        cmocka_unit_test(test_altered_rows_are_refused),
        cmocka_unit_test(test_release_key_needs_two_people),
        cmocka_unit_test(test_signature_of_another_broadcast),
        cmocka_unit_test(test_correction_needs_one_person),
        cmocka_unit_test(test_text_signature_is_over_the_message),
        cmocka_unit_test(test_public_pem),
        cmocka_unit_test(test_known_pem),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
