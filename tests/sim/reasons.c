/* The tables of the FCM HTTP v1 error codes, of APNs' "Handling notification responses" and of RFC
 * 6749 §5.2. The first row of a status is the one a fault without a reason gets. */
#include "tests/sim/reasons.h"

#include <string.h>

static const struct reason fcm_reasons[] = {
    {"INVALID_ARGUMENT", 400, "INVALID_ARGUMENT",
     "The registration token is not a valid FCM registration token"},
    {"UNAUTHENTICATED", 401, "UNAUTHENTICATED",
     "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie "
     "or other valid authentication credential."},
    {"THIRD_PARTY_AUTH_ERROR", 401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"},
    {"SENDER_ID_MISMATCH", 403, "PERMISSION_DENIED", "SenderId mismatch"},
    {"PERMISSION_DENIED", 403, "PERMISSION_DENIED",
     "Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist)."},
    {"UNREGISTERED", 404, "NOT_FOUND", "Requested entity was not found."},
    {"QUOTA_EXCEEDED", 429, "RESOURCE_EXHAUSTED",
     "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute'."},
    {"INTERNAL", 500, "INTERNAL", "Internal error encountered."},
    {"UNSPECIFIED_ERROR", 500, "UNKNOWN", "An unknown error occurred."},
    {"UNAVAILABLE", 503, "UNAVAILABLE", "The service is currently unavailable."},
    {NULL, 0, NULL, NULL},
};

static const struct reason apns_reasons[] = {
    {"BadDeviceToken", 400, NULL, NULL},
    {"BadCollapseId", 400, NULL, NULL},
    {"BadExpirationDate", 400, NULL, NULL},
    {"BadMessageId", 400, NULL, NULL},
    {"BadPriority", 400, NULL, NULL},
    {"BadTopic", 400, NULL, NULL},
    {"DeviceTokenNotForTopic", 400, NULL, NULL},
    {"DuplicateHeaders", 400, NULL, NULL},
    {"IdleTimeout", 400, NULL, NULL},
    {"InvalidPushType", 400, NULL, NULL},
    {"MissingDeviceToken", 400, NULL, NULL},
    {"MissingTopic", 400, NULL, NULL},
    {"PayloadEmpty", 400, NULL, NULL},
    {"TopicDisallowed", 400, NULL, NULL},
    {"InvalidProviderToken", 403, NULL, NULL},
    {"BadCertificate", 403, NULL, NULL},
    {"BadCertificateEnvironment", 403, NULL, NULL},
    {"BadEnvironmentKeyIdInToken", 403, NULL, NULL},
    {"ExpiredProviderToken", 403, NULL, NULL},
    {"Forbidden", 403, NULL, NULL},
    {"MissingProviderToken", 403, NULL, NULL},
    {"UnrelatedKeyIdInToken", 403, NULL, NULL},
    {"BadPath", 404, NULL, NULL},
    {"MethodNotAllowed", 405, NULL, NULL},
    {"Unregistered", 410, NULL, NULL},
    {"ExpiredToken", 410, NULL, NULL},
    {"PayloadTooLarge", 413, NULL, NULL},
    {"TooManyRequests", 429, NULL, NULL},
    {"TooManyProviderTokenUpdates", 429, NULL, NULL},
    {"InternalServerError", 500, NULL, NULL},
    {"ServiceUnavailable", 503, NULL, NULL},
    {"Shutdown", 503, NULL, NULL},
    {NULL, 0, NULL, NULL},
};

static const struct reason oauth_reasons[] = {
    {"invalid_grant", 400, NULL, "Invalid JWT Signature."},
    {"invalid_request", 400, NULL, "Required parameter is missing: grant_type"},
    {"unsupported_grant_type", 400, NULL, "Invalid grant_type"},
    {"invalid_scope", 400, NULL, "Invalid OAuth scope or ID token audience provided."},
    {"invalid_client", 401, NULL, "The OAuth client was not found."},
    {"internal_failure", 500, NULL, "Internal failure."},
    {"backend_error", 503, NULL, "The service is currently unavailable."},
    {NULL, 0, NULL, NULL},
};

static const struct reason iid_reasons[] = {
    {"INVALID_ARGUMENT", 400, NULL, NULL},  {"UNAUTHENTICATED", 401, NULL, NULL},
    {"PERMISSION_DENIED", 403, NULL, NULL}, {"RESOURCE_EXHAUSTED", 429, NULL, NULL},
    {"INTERNAL", 500, NULL, NULL},          {"UNAVAILABLE", 503, NULL, NULL},
    {"DEADLINE_EXCEEDED", 504, NULL, NULL}, {NULL, 0, NULL, NULL},
};

const struct reason *reason_table(enum sim_channel channel)
{
    static const struct reason *const tables[SIM_CHANNELS] = {[SIM_FCM] = fcm_reasons,
                                                              [SIM_APNS] = apns_reasons,
                                                              [SIM_OAUTH] = oauth_reasons,
                                                              [SIM_IID] = iid_reasons};

    return tables[channel];
}

const struct reason *reason_find(enum sim_channel channel, const char *word)
{
    for (const struct reason *r = reason_table(channel); r->word != NULL; r++)
        if (strcmp(r->word, word) == 0)
            return r;
    return NULL;
}

const struct reason *reason_of_status(enum sim_channel channel, int status)
{
    for (const struct reason *r = reason_table(channel); r->word != NULL; r++)
        if (r->status == status)
            return r;
    return NULL;
}
