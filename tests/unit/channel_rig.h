/* What the tests of the push channels share: a message, pushes that record their verdict, and an
 * engine that only listens. */
#ifndef LOA_TESTS_UNIT_CHANNEL_RIG_H
#define LOA_TESTS_UNIT_CHANNEL_RIG_H

#include "base/json.h"
#include "base/log.h"
#include "engine/channel.h"
#include "engine/push_id.h"
#include "tests/unit/h2_peer.h"

#define RIG_NOW_S INT64_C(1795000000)

static inline struct message rig_message(void)
{
    return (struct message){.type = MESSAGE_ALERT,
                            .alert_id = "20261123-K7M2QX",
                            .version = 1,
                            .kind = "CANH_BAO",
                            .level = "khan_cap",
                            .cls = "khan_cap",
                            .realm = "live",
                            .issued_s = RIG_NOW_S,
                            .expires_s = RIG_NOW_S + 3600,
                            .title = "Lũ quét",
                            .body = "Nước sông Bằng lên nhanh.",
                            .instruction = "Lên chỗ cao ngay!",
                            .areas = "01273,01279",
                            .language = "vi",
                            .url = "",
                            .source_document = "12/CĐ-PCTT",
                            .receipt_window_s = 600,
                            .key_id = "k1",
                            .is_signed = true,
                            .store = true};
}

struct rig_push {
    struct push push;
    unsigned done;
    struct verdict verdict;
    bool *sending;
};

static inline void rig_push_done(struct push *push, const struct verdict *verdict)
{
    struct rig_push *self = push->owner;
    assert_false(*self->sending); /* never from inside send */
    self->done++;
    self->verdict = *verdict;
}

struct rig {
    struct channel *channel;
    bool sending;
    unsigned room_calls;
    char *config_error;
    int64_t dry_runs;
    bool dry_run_ok;
    char *dry_run_detail;
};

static inline void rig_on_room(void *data, struct channel *channel)
{
    struct rig *rig = data;
    (void)channel;
    rig->room_calls++;
}

static inline void rig_on_config_error(void *data, struct channel *channel, const char *reason)
{
    struct rig *rig = data;
    (void)channel;
    g_free(rig->config_error);
    rig->config_error = g_strdup(reason);
}

static inline void rig_dry_run_done(bool ok, const char *detail, int64_t duration_us, void *user)
{
    struct rig *rig = user;
    assert_true(duration_us >= 0);
    rig->dry_runs++;
    rig->dry_run_ok = ok;
    g_free(rig->dry_run_detail);
    rig->dry_run_detail = g_strdup(detail);
}

static inline void rig_start(struct rig *rig, struct channel *channel)
{
    rig->channel = channel;
    channel->engine_data = rig;
    channel->on_room = rig_on_room;
    channel->on_config_error = rig_on_config_error;
    channel->ops->start(channel);
}

static inline void rig_end(struct rig *rig)
{
    if (rig->channel != NULL)
        rig->channel->ops->free(rig->channel);
    g_free(rig->config_error);
    g_free(rig->dry_run_detail);
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

/* Prepares and sends; waits for room before. */
static inline void rig_send(struct rig *rig, struct rig_push *push, enum lane lane,
                            const struct channel_payload *payload, const char *token)
{
    const struct channel_ops *ops = rig->channel->ops;
    bool is_fid = push->push.is_fid;
    PEER_WAIT_UNTIL(ops->room(rig->channel, lane, 0) > 0);
    *push = (struct rig_push){.sending = &rig->sending,
                              .push = {.payload = payload,
                                       .token = token,
                                       .is_fid = is_fid,
                                       .broadcast_id = 7,
                                       .device_id = 42,
                                       .lane = lane,
                                       .done = rig_push_done,
                                       .owner = push}};
    push_id_make(push->push.push_id, 7, 42, 1);
    rig->sending = true;
    ops->send(rig->channel, &push->push);
    rig->sending = false;
    ops->flush(rig->channel);
}

static inline void rig_write_file(const char *dir, const char *name, const char *text)
{
    g_autofree char *path = pki_file(dir, name);
    assert_true(
        g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
}

static inline void rig_drop_log(enum log_level level, const char *event, const char *line,
                                void *user)
{
    (void)level, (void)event, (void)line, (void)user;
}

#endif
