/* A header's place is found by its length and then its bytes. */
#include "tests/sim/request_head.h"

static enum request_header header_find(struct text name)
{
    static const struct {
        struct text name;
        enum request_header header;
    } known[] = {
        {{":method", 7}, HEADER_METHOD},
        {{":path", 5}, HEADER_PATH},
        {{"content-type", 12}, HEADER_CONTENT_TYPE},
        {{"authorization", 13}, HEADER_AUTHORIZATION},
        {{"apns-id", 7}, HEADER_APNS_ID},
        {{"apns-topic", 10}, HEADER_APNS_TOPIC},
        {{"apns-push-type", 14}, HEADER_APNS_PUSH_TYPE},
        {{"apns-priority", 13}, HEADER_APNS_PRIORITY},
        {{"apns-expiration", 15}, HEADER_APNS_EXPIRATION},
        {{"apns-collapse-id", 16}, HEADER_APNS_COLLAPSE_ID},
        {{"access_token_auth", 17}, HEADER_ACCESS_TOKEN_AUTH},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (text_equal(name, known[i].name))
            return known[i].header;
    return HEADER_COUNT;
}

void request_head_add(struct request_head *head, struct request *request, struct text name,
                      struct text value)
{
    enum request_header header = header_find(name);

    if (header == HEADER_COUNT)
        return;
    if (request->header[header].at != NULL) {
        request->duplicate_header = true;
        return;
    }
    if (value.len > sizeof(head->bytes) - head->len) {
        request->headers_too_big = true;
        return;
    }
    memcpy(head->bytes + head->len, value.at, value.len);
    request->header[header] = (struct text){head->bytes + head->len, value.len};
    head->len += value.len;
}
