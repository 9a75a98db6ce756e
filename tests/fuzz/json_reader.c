/* lib: loa_base */
/* A JSON body and every kind of field reader: what is handed out keeps its promises. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"

#define TEXT_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    if (text == NULL)
        return;
    g_autofree char *nfc = g_utf8_normalize(text, -1, G_NORMALIZE_NFC);
    if (strlen(text) > TEXT_MAX || nfc == NULL || strcmp(nfc, text) != 0 ||
        strpbrk(text, "\r\x01\x1b\x7f") != NULL)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"fcm", "apns", NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) object = json_parse_object((const char *)data, size, 4096, &error);
    if ((object == NULL) != (error != NULL) || (object != NULL && size > 4096))
        __builtin_trap();
    if (object == NULL)
        return 0;
    loa_auto(json_reader) reader = json_reader_new(object);
    const char *text = json_read_string(reader, "s", TEXT_MAX, true);
    const char *again = json_read_string(reader, "s", TEXT_MAX, false);
    check_text(text);
    if (text != NULL && text != again) /* normalised once, then stable */
        __builtin_trap();
    const char *word = json_read_word(reader, "w", words, false);
    int64_t number = json_read_int(reader, "i", -5, 5, 0, false);
    json_read_bool(reader, "b", false);
    json_reader_end(reader);
    if ((word != NULL && word != words[0] && word != words[1]) || number < -5 || number > 5 ||
        json_reader_complaints(reader) > 32)
        __builtin_trap();
    for (size_t i = 0; i < json_reader_complaints(reader); i++) {
        const char *name, *detail;
        json_reader_complaint(reader, i, &name, &detail);
        if (!g_utf8_validate(name, -1, NULL) || !g_utf8_validate(detail, -1, NULL))
            __builtin_trap();
    }
    return 0;
}
