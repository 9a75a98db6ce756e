/* lib: loa_fcm loa_apns */
/* The bare send loop: the channels as `loa deliver` has them, fed from memory.
 *
 *   bench_push_send LOA.CONF send TOKENS CHANNEL=PUSHES...   all given channels at the same time
 *   bench_push_send LOA.CONF body CHANNEL                    the body for the first token
 *   bench_push_send LOA.CONF tokens CHANNEL TOKENS           the tokens, one a line
 *
 * The message is an emergency of usual size, rendered once; TOKENS different tokens take turns. A
 * run counts from the first push to the last answer, credentials and connections are there before.
 * Every push must end ACCEPTED: anything else makes the run fail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <glib.h>

#include "apns/apns.h"
#include "apns/payload.h"
#include "base/log.h"
#include "engine/push_id.h"
#include "fcm/fcm.h"
#include "fcm/payload.h"

#define CHANNELS      2
#define READY_LIMIT_S 20
#define FCM_TOKEN     "c%020" G_GINT64_MODIFIER "x:APA91b%0132" G_GINT64_MODIFIER "x" /* 160 long */
#define APNS_TOKEN    "ab00%060" G_GINT64_MODIFIER "x"

struct sender {
    struct channel *channel;
    struct channel_payload *payload;
    struct bench *bench;
    GPtrArray *tokens;
    struct push *pushes; /* as many as can be open */
    GPtrArray *idle;     /* struct push * */
    unsigned slots;
    uint64_t total, sent, done;
};

struct bench {
    GMainLoop *loop;
    struct sender senders[CHANNELS];
    unsigned n;
    uint64_t failed;
    bool over_limit;
};

static const struct message message = {
    .type = MESSAGE_ALERT,
    .alert_id = "20261123-K7M2QX",
    .version = 1,
    .kind = "CANH_BAO",
    .level = "khan_cap",
    .cls = "khan_cap",
    .realm = "live",
    .issued_s = 1795000000,
    .expires_s = 4000000000,
    .title = "Lũ quét: di dời ngay khỏi bờ sông Bằng",
    .body = "Nước sông Bằng tại thành phố Cao Bằng lên nhanh, vượt báo động 3 trong 30 phút tới.",
    .instruction = "Di dời ngay lên nơi cao. Không qua ngầm, tràn. Gọi 112 khi cần cứu hộ.",
    .areas = "01273,01279,01288",
    .language = "vi",
    .url = "https://loa.caobang.gov.vn/a/20261123-K7M2QX",
    .source_document = "12/CĐ-PCTT",
    .receipt_window_s = 600,
    .key_id = "k1",
    .is_signed = true,
    .store = true,
};

static char *token_text(const char *channel, uint64_t number)
{
    if (strcmp(channel, "apns") == 0)
        return g_strdup_printf(APNS_TOKEN, number);
    return g_strdup_printf(FCM_TOKEN, number, number);
}

/* ---- sending ---- */

static void push_done(struct push *push, const struct verdict *verdict)
{
    struct sender *sender = push->owner;
    struct bench *bench = sender->bench;

    g_ptr_array_add(sender->idle, push);
    sender->done++;
    if (verdict->kind != VERDICT_ACCEPTED && bench->failed++ == 0)
        fprintf(stderr, "%s: %s\n", sender->channel->name, verdict->reason);
    for (unsigned i = 0; i < bench->n; i++)
        if (bench->senders[i].done < bench->senders[i].total)
            return;
    g_main_loop_quit(bench->loop);
}

static void send_one(struct sender *sender, unsigned slot)
{
    struct push *push = g_ptr_array_steal_index_fast(sender->idle, sender->idle->len - 1);

    *push = (struct push){.payload = sender->payload,
                          .token = sender->tokens->pdata[sender->sent % sender->tokens->len],
                          .broadcast_id = 1,
                          .device_id = (int64_t)++sender->sent,
                          .lane = LANE_PROVEN,
                          .slot = slot,
                          .done = push_done,
                          .owner = sender};
    push_id_make(push->push_id, push->broadcast_id, push->device_id, 0);
    sender->channel->ops->send(sender->channel, push);
}

static void fill(struct sender *sender)
{
    const struct channel_ops *ops = sender->channel->ops;

    for (unsigned slot = 0; slot < sender->slots; slot++) {
        unsigned room = ops->room(sender->channel, LANE_PROVEN, slot);
        for (; room > 0 && sender->sent < sender->total; room--)
            send_one(sender, slot);
    }
    ops->flush(sender->channel);
}

static void on_room(void *data, struct channel *channel)
{
    (void)channel;
    if (((struct sender *)data)->total > 0)
        fill(data);
}

static void on_config_error(void *data, struct channel *channel, const char *reason)
{
    struct sender *sender = data;

    fprintf(stderr, "%s: %s\n", channel->name, reason);
    sender->bench->failed++;
    g_main_loop_quit(sender->bench->loop);
}

static bool ready(const struct bench *bench)
{
    for (unsigned i = 0; i < bench->n; i++) {
        const struct sender *s = &bench->senders[i];
        for (unsigned slot = 0; slot < s->slots; slot++)
            if (s->channel->ops->room(s->channel, LANE_PROVEN, slot) == 0)
                return false;
    }
    return true;
}

static gboolean too_late(gpointer data)
{
    struct bench *bench = data;

    bench->over_limit = true;
    return G_SOURCE_REMOVE;
}

static bool wait_ready(struct bench *bench)
{
    guint timer = g_timeout_add_seconds(READY_LIMIT_S, too_late, bench);

    while (!ready(bench) && !bench->over_limit && bench->failed == 0)
        g_main_context_iteration(NULL, TRUE);
    if (!bench->over_limit)
        g_source_remove(timer);
    return ready(bench);
}

/* ---- measuring ---- */

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

static int run(struct bench *bench, const uint64_t *totals)
{
    uint64_t done = 0;
    gint64 begin;
    double cpu, wall;

    if (!wait_ready(bench)) {
        fprintf(stderr, "not every connection came up\n");
        return 69;
    }
    begin = g_get_monotonic_time();
    cpu = cpu_s();
    for (unsigned i = 0; i < bench->n; i++) {
        bench->senders[i].total = totals[i];
        fill(&bench->senders[i]);
    }
    g_main_loop_run(bench->loop);
    wall = (double)(g_get_monotonic_time() - begin) / 1e6;
    cpu = cpu_s() - cpu;
    for (unsigned i = 0; i < bench->n; i++)
        done += bench->senders[i].done;
    printf("{\"pushes\":%" G_GUINT64_FORMAT ",\"failed\":%" G_GUINT64_FORMAT
           ",\"seconds\":%.3f,\"per_s\":%.0f,\"cpu_s_per_million\":%.3f}\n",
           done, bench->failed, wall, (double)done / wall, cpu * 1e6 / (double)MAX(done, 1));
    return bench->failed > 0;
}

/* ---- life ---- */

static struct channel *channel_new(const char *name, const struct settings *settings)
{
    g_autoptr(GError) error = NULL;
    struct channel *channel = strcmp(name, "apns") == 0
                                  ? apns_channel_new(settings, clock_system(), &error)
                                  : fcm_channel_new(settings, clock_system(), &error);

    if (channel == NULL)
        fprintf(stderr, "%s\n", error->message);
    return channel;
}

static bool sender_init(struct bench *bench, const char *name, const struct settings *settings,
                        uint64_t tokens)
{
    struct sender *s = &bench->senders[bench->n];
    unsigned streams = (unsigned)(strcmp(name, "apns") == 0 ? settings->apns_streams_max
                                                            : settings->fcm_streams_max);

    if ((s->channel = channel_new(name, settings)) == NULL)
        return false;
    bench->n++;
    s->bench = bench;
    s->channel->engine_data = s;
    s->channel->on_room = on_room;
    s->channel->on_config_error = on_config_error;
    s->slots = s->channel->ops->slots(s->channel, LANE_PROVEN);
    s->payload = s->channel->ops->render(s->channel, &message, NULL);
    s->tokens = g_ptr_array_new_with_free_func(g_free);
    for (uint64_t i = 0; i < tokens; i++)
        g_ptr_array_add(s->tokens, token_text(name, i));
    s->pushes = g_new0(struct push, s->slots * streams);
    s->idle = g_ptr_array_new();
    for (unsigned i = 0; i < s->slots * streams; i++)
        g_ptr_array_add(s->idle, &s->pushes[i]);
    s->channel->ops->start(s->channel);
    return true;
}

static void sender_clear(struct sender *s)
{
    s->channel->ops->payload_free(s->payload);
    s->channel->ops->free(s->channel);
    g_ptr_array_unref(s->tokens);
    g_ptr_array_unref(s->idle);
    g_free(s->pushes);
}

static int send_all(const struct settings *settings, uint64_t tokens, char **args, int n)
{
    struct bench bench = {.loop = g_main_loop_new(NULL, FALSE)};
    uint64_t totals[CHANNELS] = {0};
    int status = 0;

    for (int i = 0; i < n && status == 0; i++) {
        g_auto(GStrv) pair = g_strsplit(args[i], "=", 2);
        if (g_strv_length(pair) != 2 || !sender_init(&bench, pair[0], settings, tokens))
            status = 78;
        else
            totals[i] = g_ascii_strtoull(pair[1], NULL, 10);
    }
    if (status == 0)
        status = run(&bench, totals);
    for (unsigned i = 0; i < bench.n; i++)
        sender_clear(&bench.senders[i]);
    g_main_loop_unref(bench.loop);
    return status;
}

/* ---- the same bytes for others ---- */

static void print_body(const struct settings *settings, const char *name)
{
    bool is_apns = strcmp(name, "apns") == 0;
    struct channel *channel =
        is_apns ? apns_renderer_new(settings) : fcm_renderer_new(clock_system());
    struct channel_payload *payload = channel->ops->render(channel, &message, NULL);
    g_autofree char *token = token_text(name, 0);
    struct h2_piece pieces[H2_PIECES_MAX] = {{0}};

    if (is_apns)
        pieces[0] = (struct h2_piece){payload->body, payload->body_len};
    else
        fcm_payload_body(payload, token, false, false, pieces);
    for (size_t i = 0; i < G_N_ELEMENTS(pieces) && pieces[i].len > 0; i++)
        fwrite(pieces[i].data, 1, pieces[i].len, stdout);
    channel->ops->payload_free(payload);
    channel->ops->free(channel);
}

static void print_tokens(const char *name, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        g_autofree char *token = token_text(name, i);
        puts(token);
    }
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    loa_auto(settings) settings = argc > 3 ? settings_load(argv[1], &error) : NULL;

    log_init("bench", LOG_LEVEL_WARN);
    if (settings == NULL) {
        fprintf(stderr,
                "%s\nusage: %s LOA.CONF send TOKENS CHANNEL=PUSHES... | body CHANNEL | "
                "tokens CHANNEL N\n",
                error != NULL ? error->message : "", argv[0]);
        return 64;
    }
    if (strcmp(argv[2], "send") == 0 && argc <= 4 + CHANNELS)
        return send_all(settings, g_ascii_strtoull(argv[3], NULL, 10), argv + 4, argc - 4);
    if (strcmp(argv[2], "body") == 0)
        print_body(settings, argv[3]);
    else if (strcmp(argv[2], "tokens") == 0 && argc == 5)
        print_tokens(argv[3], g_ascii_strtoull(argv[4], NULL, 10));
    return 0;
}
