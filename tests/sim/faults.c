/* Rules live in one list in order of creation; with none the cost per request is one comparison.
 * Chance comes from a seeded generator, so a run can be repeated. */
#include "tests/sim/faults.h"

#include <inttypes.h>

#include <nghttp2/nghttp2.h>

#include "base/clock.h"
#include "base/error.h"

#define PREFIX_MAX 512

struct fault {
    uint64_t id;
    enum sim_channel channel;
    char *prefix;        /* of the token; "" = any */
    double share;        /* 0 … 1 */
    int64_t every;       /* n-th request that has the prefix; 1 = each */
    int64_t met;         /* requests with the prefix so far */
    int64_t count;       /* applications left; < 0 = no limit */
    int64_t deadline_us; /* monotonic; INT64_MAX = no limit */
    int64_t applied;
    struct fault_action action;
};

struct faults {
    GPtrArray *rules;
    uint64_t last_id;
    uint64_t random;
};

static const char *const channel_names[SIM_CHANNELS] = {
    [SIM_FCM] = "fcm", [SIM_APNS] = "apns", [SIM_OAUTH] = "oauth", [SIM_IID] = "iid"};

const char *sim_channel_name(enum sim_channel channel)
{
    return channel_names[channel];
}

bool sim_channel_parse(const char *name, enum sim_channel *out)
{
    for (int i = 0; name != NULL && i < SIM_CHANNELS; i++) {
        if (strcmp(name, channel_names[i]) == 0) {
            *out = (enum sim_channel)i;
            return true;
        }
    }
    return false;
}

static void fault_free(void *user)
{
    struct fault *fault = user;

    g_free(fault->prefix);
    g_free(fault);
}

struct faults *faults_new(uint64_t seed)
{
    struct faults *faults = g_new0(struct faults, 1);

    faults->rules = g_ptr_array_new_with_free_func(fault_free);
    faults->random = seed;
    return faults;
}

void faults_free(struct faults *faults)
{
    g_ptr_array_free(faults->rules, TRUE);
    g_free(faults);
}

/* SplitMix64: one word of state, good enough for shares. */
static double random_share(struct faults *faults)
{
    uint64_t z = faults->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) / (double)(UINT64_C(1) << 53);
}

/* ---- reading a rule ---- */

static bool complain(GError **error, const char *field, const char *what)
{
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: %s", field, what);
    return false;
}

static bool read_int(const json_t *object, const char *name, int64_t min, int64_t max,
                     int64_t fallback, int64_t *out, GError **error)
{
    const json_t *value = json_object_get(object, name);

    *out = fallback;
    if (value == NULL)
        return true;
    *out = json_integer_value(value);
    if (!json_is_integer(value) || *out < min || *out > max) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "%s: expected a whole number from %" PRId64 " to %" PRId64, name, min, max);
        return false;
    }
    return true;
}

static bool names_are_known(const json_t *object, const char *const *names, GError **error)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        if (!g_strv_contains(names, name))
            return complain(error, name, "unknown field");
    }
    return true;
}

static bool read_match(struct fault *fault, const json_t *match, GError **error)
{
    static const char *const names[] = {"prefix", "share", "every", NULL};
    const json_t *prefix = json_object_get(match, "prefix"), *share;

    share = json_object_get(match, "share");
    if (match != NULL && !json_is_object(match))
        return complain(error, "match", "expected an object");
    if (!names_are_known(match, names, error) ||
        !read_int(match, "every", 1, INT64_MAX, 1, &fault->every, error))
        return false;
    if (prefix != NULL && (!json_is_string(prefix) || json_string_length(prefix) > PREFIX_MAX))
        return complain(error, "prefix", "expected a short string");
    fault->prefix = g_strdup(prefix != NULL ? json_string_value(prefix) : "");
    fault->share = share != NULL ? json_number_value(share) : 1.0;
    if (share != NULL && (!json_is_number(share) || fault->share < 0 || fault->share > 1))
        return complain(error, "share", "expected a number from 0 to 1");
    return true;
}

static bool read_reason(struct fault *fault, const json_t *todo, int64_t status, GError **error)
{
    const json_t *reason = json_object_get(todo, "reason"), *field = json_object_get(todo, "field");
    struct fault_action *action = &fault->action;

    if (reason != NULL) {
        action->reason =
            json_is_string(reason) ? reason_find(fault->channel, json_string_value(reason)) : NULL;
        if (action->reason == NULL)
            return complain(error, "reason", "this channel documents no such reason");
    } else if (status != 0) {
        action->reason = reason_of_status(fault->channel, (int)status);
    }
    action->status = status != 0 || action->reason == NULL ? (int)status : action->reason->status;
    if (field != NULL &&
        (!json_is_string(field) || json_string_length(field) >= sizeof(action->field)))
        return complain(error, "field", "expected a short string");
    g_strlcpy(action->field, field != NULL ? json_string_value(field) : "message.token",
              sizeof(action->field));
    return true;
}

/* "rst": true, or the error's name. */
static bool read_rst(struct fault_action *action, const json_t *rst, GError **error)
{
    static const struct {
        const char *name;
        uint32_t code;
    } codes[] = {{"INTERNAL_ERROR", NGHTTP2_INTERNAL_ERROR},
                 {"REFUSED_STREAM", NGHTTP2_REFUSED_STREAM},
                 {"CANCEL", NGHTTP2_CANCEL},
                 {"ENHANCE_YOUR_CALM", NGHTTP2_ENHANCE_YOUR_CALM}};

    if (rst == NULL || json_is_false(rst))
        return true;
    if (json_is_true(rst))
        action->rst_code = NGHTTP2_INTERNAL_ERROR;
    for (size_t i = 0; json_is_string(rst) && i < G_N_ELEMENTS(codes); i++)
        if (strcmp(json_string_value(rst), codes[i].name) == 0)
            action->rst_code = codes[i].code;
    return action->rst_code != 0 ||
           complain(error, "rst", "expected true or the name of an HTTP/2 error");
}

static bool read_flags(struct fault_action *action, const json_t *todo, GError **error)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"goaway", &action->goaway},
                 {"no_answer", &action->no_answer},
                 {"close", &action->close},
                 {"expired_token", &action->expired_token},
                 {"accept", &action->accept}};

    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        const json_t *value = json_object_get(todo, flags[i].name);
        if (value != NULL && !json_is_boolean(value))
            return complain(error, flags[i].name, "expected true or false");
        *flags[i].flag = json_is_true(value);
    }
    return true;
}

static bool read_action(struct fault *fault, const json_t *todo, GError **error)
{
    static const char *const names[] = {
        "status", "reason", "field",     "retry_after", "timestamp_ms",  "delay_ms", "max_streams",
        "rst",    "goaway", "no_answer", "close",       "expired_token", "accept",   NULL};
    struct fault_action *action = &fault->action;
    int64_t status, delay_ms, max_streams;

    if (!json_is_object(todo) || json_object_size(todo) == 0)
        return complain(error, "do", "expected an object that says what to do");
    if (!names_are_known(todo, names, error) ||
        !read_int(todo, "status", 200, 599, 0, &status, error) ||
        !read_int(todo, "retry_after", 0, 86400, -1, &action->retry_after_s, error) ||
        !read_int(todo, "timestamp_ms", 0, INT64_MAX, 0, &action->timestamp_ms, error) ||
        !read_int(todo, "delay_ms", 0, 3600000, 0, &delay_ms, error) ||
        !read_int(todo, "max_streams", 1, 100000, 0, &max_streams, error) ||
        !read_reason(fault, todo, status, error) ||
        !read_rst(action, json_object_get(todo, "rst"), error) || !read_flags(action, todo, error))
        return false;
    action->delay_us = delay_ms * USEC_PER_MSEC;
    action->max_streams = (int)max_streams;
    return true;
}

static bool read_rule(struct fault *fault, const json_t *command, int64_t mono_us, GError **error)
{
    static const char *const names[] = {"cmd", "channel", "match", "do", "for_ms", "count", NULL};
    int64_t for_ms;

    if (!sim_channel_parse(json_string_value(json_object_get(command, "channel")), &fault->channel))
        return complain(error, "channel", "expected fcm, apns, oauth or iid");
    if (!names_are_known(command, names, error) ||
        !read_match(fault, json_object_get(command, "match"), error) ||
        !read_action(fault, json_object_get(command, "do"), error) ||
        !read_int(command, "for_ms", 0, INT64_C(86400000), -1, &for_ms, error) ||
        !read_int(command, "count", 1, INT64_MAX, -1, &fault->count, error))
        return false;
    fault->deadline_us = for_ms < 0 ? INT64_MAX : mono_us + for_ms * USEC_PER_MSEC;
    return true;
}

uint64_t faults_add(struct faults *faults, const json_t *command, int64_t mono_us, GError **error)
{
    struct fault *fault;

    if (faults->rules->len >= FAULTS_MAX) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "there are %d faults already", FAULTS_MAX);
        return 0;
    }
    fault = g_new0(struct fault, 1);
    if (!read_rule(fault, command, mono_us, error)) {
        fault_free(fault);
        return 0;
    }
    fault->id = ++faults->last_id;
    g_ptr_array_add(faults->rules, fault);
    return fault->id;
}

unsigned faults_clear(struct faults *faults, uint64_t id)
{
    unsigned removed = 0;

    for (guint i = faults->rules->len; i > 0; i--) {
        const struct fault *fault = g_ptr_array_index(faults->rules, i - 1);
        if (id == 0 || fault->id == id) {
            g_ptr_array_remove_index(faults->rules, i - 1);
            removed++;
        }
    }
    return removed;
}

/* ---- applying ---- */

static bool fault_meets(struct faults *faults, struct fault *fault, enum sim_channel channel,
                        struct text token, int64_t mono_us)
{
    if (fault->channel != channel || fault->count == 0 || mono_us >= fault->deadline_us)
        return false;
    if (fault->prefix[0] != '\0' && !text_has_prefix(token, fault->prefix))
        return false;
    if (++fault->met % fault->every != 0)
        return false;
    return fault->share >= 1.0 || random_share(faults) < fault->share;
}

const struct fault_action *faults_pick(struct faults *faults, enum sim_channel channel,
                                       struct text token, int64_t mono_us)
{
    for (guint i = 0; i < faults->rules->len; i++) {
        struct fault *fault = g_ptr_array_index(faults->rules, i);
        if (!fault_meets(faults, fault, channel, token, mono_us))
            continue;
        fault->applied++;
        fault->count -= fault->count > 0;
        return &fault->action;
    }
    return NULL;
}

json_t *faults_list(const struct faults *faults)
{
    json_t *list = json_array();

    for (guint i = 0; i < faults->rules->len; i++) {
        const struct fault *fault = g_ptr_array_index(faults->rules, i);
        json_array_append_new(list, json_pack("{s:I,s:s,s:I}", "id", (json_int_t)fault->id,
                                              "channel", channel_names[fault->channel], "applied",
                                              (json_int_t)fault->applied));
    }
    return list;
}
