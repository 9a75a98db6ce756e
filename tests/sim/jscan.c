/* One pass over the bytes; strings are validated (UTF-8, escapes, surrogate pairs) and measured
 * while they are skipped, unescaped only when somebody wants them. */
#include "tests/sim/jscan.h"

#include <stdint.h>

/* Classes of a byte inside a string. */
enum byte_class {
    PLAIN,   /* stands for itself */
    SPECIAL, /* quote, backslash, control */
    LEAD2,   /* first byte of 2 */
    LEAD3,   /* first byte of 3 */
    LEAD4,   /* first byte of 4 */
    BAD,     /* never first in UTF-8 */
};

static const uint8_t classes[256] = {
    [0x00 ... 0x1f] = SPECIAL, ['"'] = SPECIAL,         ['\\'] = SPECIAL,
    [0x80 ... 0xc1] = BAD,     [0xc2 ... 0xdf] = LEAD2, [0xe0 ... 0xef] = LEAD3,
    [0xf0 ... 0xf4] = LEAD4,   [0xf5 ... 0xff] = BAD,
};

void jscan_init(struct jscan *scan, const char *text, size_t len)
{
    scan->at = (const unsigned char *)text;
    scan->end = scan->at + len;
    scan->depth = 0;
}

static void skip_space(struct jscan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

char jscan_peek(struct jscan *scan)
{
    skip_space(scan);
    return scan->at < scan->end ? (char)*scan->at : '\0';
}

bool jscan_end(struct jscan *scan)
{
    skip_space(scan);
    return scan->at == scan->end;
}

static bool take(struct jscan *scan, char byte)
{
    if (jscan_peek(scan) != byte)
        return false;
    scan->at++;
    return true;
}

static bool take_word(struct jscan *scan, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
        return false;
    scan->at += len;
    return true;
}

static int hex_value(unsigned char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
        return (byte | 0x20) - 'a' + 10;
    return -1;
}

/* The four digits of \uXXXX at p, or -1. */
static int32_t hex4(const unsigned char *p, const unsigned char *end)
{
    int32_t code = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* Reads the escape at p (a backslash). Returns its length in the input, 0 when malformed. */
static size_t read_escape(const unsigned char *p, const unsigned char *end, int32_t *out_code)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name;
    int32_t code, low;

    if (end - p < 2)
        return 0;
    if (p[1] != 'u') {
        name = p[1] != '\0' ? strchr(names, p[1]) : NULL;
        if (name == NULL)
            return 0;
        *out_code = values[name - names];
        return 2;
    }
    code = hex4(p + 2, end);
    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff))
        return 0;
    *out_code = code;
    if (code < 0xd800 || code > 0xdbff)
        return 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return 0;
    low = hex4(p + 8, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *out_code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

static size_t utf8_len(int32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static bool is_tail(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Length of the well-formed multi-byte character at p (RFC 3629 §4), 0 when malformed. */
static size_t utf8_sequence(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);

    switch (classes[*p]) {
    case LEAD2:
        return left >= 2 && is_tail(p[1]) ? 2 : 0;
    case LEAD3:
        if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]) || (p[0] == 0xe0 && p[1] < 0xa0) ||
            (p[0] == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    case LEAD4:
        if (left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]) ||
            (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
            return 0;
        return 4;
    default:
        return 0;
    }
}

bool jscan_string(struct jscan *scan, struct jscan_text *out)
{
    const unsigned char *p, *start;
    size_t len = 0, step;
    int32_t code;

    if (!take(scan, '"'))
        return false;
    start = p = scan->at;
    while (p < scan->end) {
        if (classes[*p] == PLAIN) {
            p++;
            len++;
        } else if (*p == '"') {
            out->raw = (struct text){(const char *)start, (size_t)(p - start)};
            out->len = len;
            scan->at = p + 1;
            return true;
        } else if (*p == '\\') {
            step = read_escape(p, scan->end, &code);
            if (step == 0)
                return false;
            p += step;
            len += utf8_len(code);
        } else {
            step = utf8_sequence(p, scan->end);
            if (step == 0)
                return false;
            p += step;
            len += step;
        }
    }
    return false;
}

static size_t put_utf8(int32_t code, char *out)
{
    size_t len = utf8_len(code);

    if (len == 1) {
        out[0] = (char)code;
        return 1;
    }
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf00 >> len & 0xff) | code);
    return len;
}

bool jscan_unescape(const struct jscan_text *string, char *buffer, size_t max, struct text *out)
{
    const unsigned char *p = (const unsigned char *)string->raw.at;
    const unsigned char *end = p + string->raw.len;
    size_t len = 0;
    int32_t code = 0;

    if (string->len > max)
        return false;
    if (string->len == string->raw.len) { /* an escape is always longer than what it stands for */
        *out = string->raw;
        return true;
    }
    while (p < end) {
        if (*p != '\\') {
            buffer[len++] = (char)*p++;
            continue;
        }
        p += read_escape(p, end, &code);
        if (code == 0)
            return false;
        len += put_utf8(code, buffer + len);
    }
    *out = (struct text){buffer, len};
    return true;
}

static size_t take_digits(struct jscan *scan)
{
    const unsigned char *start = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return (size_t)(scan->at - start);
}

bool jscan_number(struct jscan *scan, struct text *out)
{
    const unsigned char *start;

    skip_space(scan);
    start = scan->at;
    if (scan->at < scan->end && *scan->at == '-')
        scan->at++;
    if (scan->at < scan->end && *scan->at == '0')
        scan->at++;
    else if (take_digits(scan) == 0)
        return false;
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        if (take_digits(scan) == 0)
            return false;
    }
    if (scan->at < scan->end && (*scan->at | 0x20) == 'e') {
        scan->at++;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
            scan->at++;
        if (take_digits(scan) == 0)
            return false;
    }
    *out = (struct text){(const char *)start, (size_t)(scan->at - start)};
    return true;
}

bool jscan_bool(struct jscan *scan, bool *out)
{
    *out = jscan_peek(scan) == 't';
    return take_word(scan, *out ? "true" : "false");
}

bool jscan_object(struct jscan *scan, jscan_member member, void *user)
{
    struct jscan_text name;

    if (scan->depth >= JSCAN_DEPTH_MAX || !take(scan, '{'))
        return false;
    scan->depth++;
    if (jscan_peek(scan) != '}') {
        do {
            if (!jscan_string(scan, &name) || !take(scan, ':') || !member(scan, &name, user))
                return false;
        } while (take(scan, ','));
    }
    scan->depth--;
    return take(scan, '}');
}

static bool skip_member(struct jscan *scan, const struct jscan_text *name, void *user)
{
    (void)name;
    (void)user;
    return jscan_skip(scan);
}

static bool skip_array(struct jscan *scan)
{
    if (scan->depth >= JSCAN_DEPTH_MAX || !take(scan, '['))
        return false;
    scan->depth++;
    if (jscan_peek(scan) != ']') {
        do {
            if (!jscan_skip(scan))
                return false;
        } while (take(scan, ','));
    }
    scan->depth--;
    return take(scan, ']');
}

bool jscan_skip(struct jscan *scan)
{
    struct jscan_text string;
    struct text number;

    switch (jscan_peek(scan)) {
    case '{':
        return jscan_object(scan, skip_member, NULL);
    case '[':
        return skip_array(scan);
    case '"':
        return jscan_string(scan, &string);
    case 't':
        return take_word(scan, "true");
    case 'f':
        return take_word(scan, "false");
    case 'n':
        return take_word(scan, "null");
    default:
        return jscan_number(scan, &number);
    }
}
