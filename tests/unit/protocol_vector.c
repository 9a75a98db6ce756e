/* lib: loa_engine */
/* The worked example of docs/device-protocol.md is true: key, message, canonical bytes, hash and
 * signature stand there as the code makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/message.h"

static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
                          "-----END PRIVATE KEY-----\n";

static struct message example(void)
{
    return (struct message){.type = MESSAGE_ALERT,
                            .alert_id = "20261123-K7M2QX",
                            .version = 1,
                            .kind = "CANH_BAO",
                            .level = "khan_cap",
                            .cls = "khan_cap",
                            .realm = "live",
                            .issued_s = 1795392000,
                            .expires_s = 1795413600,
                            .title = "Lũ khẩn cấp trên sông Bằng",
                            .body = "Nước sông Bằng vượt báo động 3.",
                            .instruction = "Di dời ngay lên nơi cao.",
                            .areas = "01273,01279",
                            .language = "vi",
                            .url = "",
                            .source_document = "CV 12/PCTT",
                            .receipt_window_s = 600,
                            .key_id = "k1",
                            .is_signed = true};
}

static struct signing_key *load_key(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("loa-vector-XXXXXX", &path, NULL);
    struct signing_key *key;

    assert_int_equal(write(fd, pem, strlen(pem)), (ssize_t)strlen(pem));
    close(fd);
    key = signing_key_load(path, NULL);
    unlink(path);
    assert_non_null(key);
    return key;
}

static char *hex(const uint8_t *bytes, size_t len, size_t per_line)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < len; i++)
        g_string_append_printf(text, "%s%02x",
                               per_line > 0 && i > 0 && i % per_line == 0 ? "\n" : "", bytes[i]);
    return g_string_free(text, FALSE);
}

static void in_document(const char *document, const char *what, const char *text)
{
    if (strstr(document, text) == NULL)
        fail_msg("docs/device-protocol.md: %s must be\n%s", what, text);
}

static void test_document(void **state)
{
    loa_auto(signing_key) key = load_key();
    struct message message = example();
    g_autoptr(GByteArray) bytes = message_canonical_bytes(&message);
    uint8_t public_key[ED25519_KEY_LEN], hash[SHA256_LEN];
    g_autofree char *document = NULL;

    (void)state;
    signing_key_public(key, public_key);
    signing_key_sign(key, bytes->data, bytes->len, message.signature);
    crypto_sha256(bytes->data, bytes->len, hash);
    assert_true(
        g_file_get_contents(LOA_SOURCE_DIR "/docs/device-protocol.md", &document, NULL, NULL));

    g_autofree char *public_text = crypto_base64url(public_key, sizeof(public_key));
    g_autofree char *canonical = hex(bytes->data, bytes->len, 32);
    g_autofree char *hash_text = hex(hash, sizeof(hash), 0);
    g_autofree char *length = g_strdup_printf("Canonical bytes (%u)", bytes->len);
    g_autoptr(json_t) json = message_to_json(&message, NULL);
    g_autofree char *json_text = json_dumps(json, JSON_INDENT(2));
    in_document(document, "the private key", pem);
    in_document(document, "the public key", public_text);
    in_document(document, "the length", length);
    in_document(document, "the canonical bytes", canonical);
    in_document(document, "their hash", hash_text);
    in_document(document, "the message", json_text);
}

/* What the document tells developers to try. */
static void test_changed_message_fails(void **state)
{
    loa_auto(signing_key) key = load_key();
    struct message message = example();
    g_autoptr(GByteArray) bytes = message_canonical_bytes(&message);
    uint8_t public_key[ED25519_KEY_LEN];

    (void)state;
    signing_key_public(key, public_key);
    signing_key_sign(key, bytes->data, bytes->len, message.signature);
    assert_true(ed25519_verify(public_key, bytes->data, bytes->len, message.signature));
    message.body = "Nước sông Bằng vượt báo động 2.";
    g_autoptr(GByteArray) other_body = message_canonical_bytes(&message);
    assert_false(ed25519_verify(public_key, other_body->data, other_body->len, message.signature));
    message = example();
    message.areas = "01273";
    g_autoptr(GByteArray) other_area = message_canonical_bytes(&message);
    assert_false(ed25519_verify(public_key, other_area->data, other_area->len, message.signature));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_changed_message_fails),
    };

    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
