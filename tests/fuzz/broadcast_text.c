/* lib: loa_engine */
/* What people type for a broadcast: fields separated by bytes 0x01. Whatever passes keeps its
 * limits, and its correction fits as well. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/broadcast.h"
#include "engine/release.h"

#define NOW (INT64_C(1795000000) * 1000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct broadcast_text *text)
{
    assert(strlen(text->title) >= 1 && strlen(text->title) <= MESSAGE_TITLE_MAX);
    assert(strlen(text->body) >= 1 && strlen(text->body) <= MESSAGE_BODY_MAX);
    assert(strlen(text->instruction) <= MESSAGE_INSTRUCTION_MAX);
    assert(strlen(text->correction_title) >= 1);
    assert(strlen(text->correction_title) <= MESSAGE_TITLE_MAX);
    assert(strlen(text->correction_body) >= 1 && strlen(text->correction_body) <= MESSAGE_BODY_MAX);
    assert(g_utf8_validate(text->title, -1, NULL));
    assert(g_utf8_validate(text->correction_title, -1, NULL));
}

static void prepare(char **field, uint8_t flags)
{
    loa_auto(broadcast) b = broadcast_new();
    struct broadcast_text *vi = broadcast_text_add(b, "vi");
    struct broadcast_text *other = broadcast_text_add(b, field[3]);

    b->realm = (enum broadcast_realm)(flags % BROADCAST_REALM_COUNT);
    b->kind = flags & 4 ? BROADCAST_CANH_BAO : BROADCAST_THONG_TIN;
    b->level = flags & 8 ? BROADCAST_UU_TIEN : BROADCAST_THUONG;
    broadcast_set(&vi->title, field[0]);
    broadcast_set(&vi->body, field[1]);
    broadcast_set(&vi->instruction, field[2]);
    broadcast_set(&other->title, field[4]);
    broadcast_set(&other->body, field[5]);
    broadcast_set(&other->instruction, field[2]);
    broadcast_set(&b->url, field[6]);
    if (!broadcast_set_area(b, field[7][0] == '\0', field[7][0] == '\0' ? NULL : field[7], NULL) ||
        !broadcast_parse_expiry(field[8], NOW, &b->expires_utc_us, NULL) ||
        !broadcast_prepare(b, NOW, NULL, NULL))
        return;
    for (guint i = 0; i < b->texts->len; i++)
        check_text(b->texts->pdata[i]);
    assert(b->expires_utc_us > NOW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = size > 0 ? g_strndup((const char *)data + 1, size - 1) : g_strdup("");
    g_auto(GStrv) fields = g_strsplit(text, "\x01", 9);
    uint8_t key[ED25519_KEY_LEN];

    if (g_strv_length(fields) == 9)
        prepare(fields, data[0]);
    (void)release_public_from_pem(text, key, NULL);
    return 0;
}
