/* An FCM message rendered once; only the registration is put in per device. Data-only: the app
 * itself checks the signature, shows the text and sends the receipt. */
#ifndef LOA_FCM_PAYLOAD_H
#define LOA_FCM_PAYLOAD_H

#include <stdbool.h>

#include "engine/channel.h"
#include "h2/request.h"

#define FCM_PAYLOAD_MAX 4096 /* keys and values of data, as FCM counts them */
#define FCM_TOKEN_MAX   4096

/* INVALID when it does not fit. now_s: for the time to live. Owned: fcm_payload_free. */
struct channel_payload *fcm_payload_render(const struct message *message, int64_t now_s,
                                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
void fcm_payload_free(struct channel_payload *payload);
/* As FCM counts. */
size_t fcm_payload_size(const struct channel_payload *payload);

/* What FCM counts of a data map (json_t *): the bytes of keys and values. */
size_t fcm_data_size(void *data);
/* AndroidConfig of a message: priority, time to live, direct boot. json_t *, owned. */
void *fcm_android_config(const struct message *message, int64_t now_s);

/* A registration that can stand in a JSON string as it is. */
bool fcm_token_is_plain(const char *token);
/* The three pieces of the body for one device; they borrow payload and token. */
void fcm_payload_body(const struct channel_payload *payload, const char *token, bool is_fid,
                      bool validate_only, struct h2_piece out[H2_PIECES_MAX]);

#endif
