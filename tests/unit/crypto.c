/* lib: loa_base */
/* Known answers of the RFCs, what is refused, and how key files are treated. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <glib/gstdio.h>

#include "base/crypto.h"
#include "base/error.h"

static char *dir; /* for the key files of a run */

static int make_dir(void **state)
{
    (void)state;
    crypto_init();
    dir = g_dir_make_tmp("loa-crypto-XXXXXX", NULL);
    return dir == NULL;
}

static int remove_dir(void **state)
{
    GDir *entries = g_dir_open(dir, 0, NULL);
    const char *name;
    (void)state;
    while ((name = g_dir_read_name(entries)) != NULL) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        g_unlink(path);
    }
    g_dir_close(entries);
    g_rmdir(dir);
    g_free(dir);
    return 0;
}

/* A file of this content and mode in dir. Owned path. */
static char *file_with(const char *name, const char *data, size_t len, unsigned mode)
{
    char *path = g_build_filename(dir, name, NULL);
    assert_true(g_file_set_contents(path, data, (gssize)len, NULL));
    assert_int_equal(g_chmod(path, (int)mode), 0);
    return path;
}

static char *hex(const uint8_t *data, size_t len)
{
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < len; i++)
        g_string_append_printf(text, "%02x", data[i]);
    return g_string_free(text, FALSE);
}

static size_t unhex(const char *text, uint8_t *out)
{
    size_t len = strlen(text) / 2;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(g_ascii_xdigit_value(text[2 * i]) * 16 +
                           g_ascii_xdigit_value(text[2 * i + 1]));
    return len;
}

static void test_sha256(void **state)
{
    uint8_t hash[SHA256_LEN];
    (void)state;
    crypto_sha256("abc", 3, hash); /* FIPS 180-2, B.1 */
    g_autofree char *abc = hex(hash, sizeof hash);
    assert_string_equal(abc, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256("", 0, hash);
    g_autofree char *empty = hex(hash, sizeof hash);
    assert_string_equal(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_hmac(void **state)
{
    char long_key[131];
    uint8_t mac[SHA256_LEN];
    (void)state;
    memset(long_key, 0xaa, sizeof long_key);
    /* RFC 4231, cases 2 and 6 */
    crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
    g_autofree char *two = hex(mac, sizeof mac);
    assert_string_equal(two, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    crypto_hmac_sha256(long_key, sizeof long_key,
                       "Test Using Larger Than Block-Size Key - Hash Key First", 54, mac);
    g_autofree char *six = hex(mac, sizeof mac);
    assert_string_equal(six, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_equal_and_random(void **state)
{
    uint8_t a[32] = {0}, b[32] = {0};
    (void)state;
    assert_true(crypto_equal(a, b, sizeof a));
    b[31] = 1;
    assert_false(crypto_equal(a, b, sizeof a));
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_false(crypto_equal(a, b, sizeof a));
}

static void test_base64url(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        const char *hex;
    } cases[] = {
        {"", true, ""},           {"Zg", true, "66"},
        {"Zm8", true, "666f"},    {"Zm9v", true, "666f6f"},
        {"-_-_", true, "fbffbf"}, {"____", true, "ffffff"},
        {"Zg==", false, NULL},    {"+/+/", false, NULL},
        {"Z", false, NULL},       {"Zh", false, NULL}, /* bits left over */
        {"Zm9v ", false, NULL},   {" Zm9v", false, NULL},
        {"Zm\n9v", false, NULL},  {"Zm9vZm9vZg", false, NULL}, /* longer than the buffer */
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint8_t out[6];
        size_t len = 99;
        bool ok = crypto_base64url_decode(cases[i].text, out, sizeof out, &len);
        if (ok != cases[i].ok || (!ok && len != 99))
            fail_msg("'%s': %d", cases[i].text, ok);
        if (!ok)
            continue;
        g_autofree char *got = hex(out, len);
        g_autofree char *back = crypto_base64url(out, len);
        assert_string_equal(got, cases[i].hex);
        assert_string_equal(back, cases[i].text);
    }
}

/* RFC 8032 §7.1, tests 1 and 2, and one bit changed in each part. */
static void test_ed25519(void **state)
{
    static const struct {
        const char *public_key, *message, *signature;
    } cases[] = {
        {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "c"
         "f9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0"
         "f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint8_t key[ED25519_KEY_LEN], signature[ED25519_SIGNATURE_LEN], message[8] = {0};
        unhex(cases[i].public_key, key);
        unhex(cases[i].signature, signature);
        size_t len = unhex(cases[i].message, message);
        assert_true(ed25519_verify(key, message, len, signature));
        assert_false(ed25519_verify(key, message, len + 1, signature));
        key[0] ^= 1;
        assert_false(ed25519_verify(key, message, len, signature));
        key[0] ^= 1;
        signature[63] ^= 0x10;
        assert_false(ed25519_verify(key, message, len, signature));
    }
}

static void test_signing_key(void **state)
{
    g_autofree char *path = g_build_filename(dir, "release.pem", NULL);
    g_autoptr(GError) error = NULL;
    uint8_t public_key[ED25519_KEY_LEN], loaded[ED25519_KEY_LEN];
    uint8_t signature[ED25519_SIGNATURE_LEN];
    struct stat st;
    (void)state;
    assert_true(signing_key_create(path, public_key, &error));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    loa_auto(signing_key) key = signing_key_load(path, &error);
    assert_non_null(key);
    signing_key_public(key, loaded);
    assert_memory_equal(loaded, public_key, sizeof loaded);
    signing_key_sign(key, "loa", 3, signature);
    assert_true(ed25519_verify(public_key, "loa", 3, signature));
    assert_false(ed25519_verify(public_key, "lob", 3, signature));
    /* An existing key is never overwritten. */
    assert_false(signing_key_create(path, public_key, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    g_clear_error(&error);
    assert_false(signing_key_create("/nowhere/at/all.pem", public_key, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    g_clear_error(&error);
    g_chmod(path, 0644);
    assert_null(signing_key_load(path, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED));
}

/* The seed of RFC 8410 §10.3 and keys that are none. */
static void test_signing_key_files(void **state)
{
    static const char good[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                               "-----END PRIVATE KEY-----\n";
    static const struct {
        const char *name, *text;
    } bad[] = {
        {"empty", ""},
        {"text", "hello\n"},
        {"cut", "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n"},
        {"ec", "-----BEGIN PRIVATE KEY-----\n"
               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
               "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
               "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
               "-----END PRIVATE KEY-----\n"},
        {"encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                      "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj3Sys8Z6bVVAICCAAw\n"
                      "-----END ENCRYPTED PRIVATE KEY-----\n"},
    };
    g_autofree char *path = file_with("rfc8410.pem", good, strlen(good), 0600);
    g_autoptr(GError) error = NULL;
    uint8_t public_key[ED25519_KEY_LEN];
    (void)state;
    loa_auto(signing_key) key = signing_key_load(path, &error);
    assert_non_null(key);
    signing_key_public(key, public_key);
    g_autofree char *text = hex(public_key, sizeof public_key);
    assert_string_equal(text, "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *bad_path = file_with(bad[i].name, bad[i].text, strlen(bad[i].text), 0600);
        g_autoptr(GError) why = NULL;
        assert_null(signing_key_load(bad_path, &why));
        if (!g_error_matches(why, LOA_ERROR, LOA_ERROR_INVALID))
            fail_msg("%s: %s", bad[i].name, why->message);
    }
}

static void test_secret_files(void **state)
{
    static const struct {
        const char *name, *data;
        size_t len;
        unsigned mode;
        int code; /* -1 = read */
        size_t out_len;
    } cases[] = {
        {"plain", "secret", 6, 0600, -1, 6},
        {"newline", "secret\r\n", 8, 0600, -1, 6},
        {"read-only", "secret", 6, 0400, -1, 6},
        {"empty", "", 0, 0600, -1, 0},
        {"random", "\x01\xff\n", 3, 0600, -1, 3}, /* random bytes may end in 0x0a */
        {"NUL", "a\0b\n", 4, 0600, -1, 4},
        {"full", "0123456789", 10, 0600, -1, 10},
        {"too-long", "0123456789a", 11, 0600, LOA_ERROR_LIMIT, 0},
        {"others-read", "secret", 6, 0604, LOA_ERROR_DENIED, 0},
        {"all-read", "secret", 6, 0644, LOA_ERROR_DENIED, 0},
        {"group-writes", "secret", 6, 0660, LOA_ERROR_DENIED, 0},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path =
            file_with(cases[i].name, cases[i].data, cases[i].len, cases[i].mode);
        g_autofree char *out = NULL;
        g_autoptr(GError) error = NULL;
        size_t len = 99;
        bool ok = secret_file_read(path, 10, &out, &len, &error);
        if (ok != (cases[i].code < 0) || (!ok && !g_error_matches(error, LOA_ERROR, cases[i].code)))
            fail_msg("%s: %s", cases[i].name, ok ? "read" : error->message);
        if (ok) {
            assert_int_equal(len, cases[i].out_len);
            assert_memory_equal(out, cases[i].data, len);
            assert_int_equal(out[len], '\0');
        }
    }
}

/* The group may read what root owns: Debian's root:loa 0640. */
static void test_group_of_root(void **state)
{
    (void)state;
    g_autofree char *path = file_with("group", "secret", 6, 0640);
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;
    size_t len;
    bool ok = secret_file_read(path, 10, &out, &len, &error);
    assert_int_equal(ok, getuid() == 0);
    if (getuid() != 0)
        return;
    assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
    g_free(g_steal_pointer(&out));
    assert_false(secret_file_read(path, 10, &out, &len, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED));
}

static void test_no_secret_file(void **state)
{
    g_autofree char *missing = g_build_filename(dir, "missing", NULL);
    g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);
    const struct {
        const char *path;
        int code;
    } cases[] = {
        {missing, LOA_ERROR_NOT_FOUND},
        {dir, LOA_ERROR_INVALID},
        {fifo, LOA_ERROR_INVALID}, /* and does not wait for a writer */
    };
    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *out = NULL;
        g_autoptr(GError) error = NULL;
        size_t len;
        assert_false(secret_file_read(cases[i].path, 10, &out, &len, &error));
        if (!g_error_matches(error, LOA_ERROR, cases[i].code))
            fail_msg("%s: %s", cases[i].path, error->message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_equal_and_random),
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_ed25519),
        cmocka_unit_test(test_signing_key),
        cmocka_unit_test(test_signing_key_files),
        cmocka_unit_test(test_secret_files),
        cmocka_unit_test(test_group_of_root),
        cmocka_unit_test(test_no_secret_file),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
