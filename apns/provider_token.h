/* APNs' provider token: an ES256 JWT that is refreshed no more than once every 20 minutes and no
 * less than once an hour (Apple, "Establishing a token-based connection to APNs"). One for all
 * connections of the process. */
#ifndef LOA_APNS_PROVIDER_TOKEN_H
#define LOA_APNS_PROVIDER_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/clock.h"

struct provider_token;

/* key_file: the .p8 of the developer account. Mints the first token, so that a bad key is found
 * here. Strings are copied, clock is borrowed. Owned. */
struct provider_token *provider_token_new(const char *key_file, const char *key_id,
                                          const char *team_id, const struct clock *clock,
                                          GError **error) G_GNUC_WARN_UNUSED_RESULT;
void provider_token_free(struct provider_token *token);
LOA_AUTO_DEFINE(provider_token, provider_token_free)

/* The Authorization header's value, minted anew when it is due; borrowed until the next call.
 * out_generation (may be NULL) names the token. */
const char *provider_token_header(struct provider_token *token, uint32_t *out_generation);
/* APNs has taken a request under this token. */
void provider_token_accepted(struct provider_token *token, uint32_t generation);
/* APNs has called this token expired: the next header is a new one. For a token that is younger
 * than 20 minutes this happens once in 20 minutes only (Apple counts updates per connection, and
 * the refused one is closed). Returns false when that one was also refused for half a minute on
 * end: then our clock is wrong, and no new token will help. */
bool provider_token_expired(struct provider_token *token, uint32_t generation);

#endif
