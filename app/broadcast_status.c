/* loa broadcast status: how far it has come, per channel and, with --by commune, per commune;
 * --follow draws it until it has finished. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/broadcast_command.h"
#include "app/broadcast_reach.h"
#include "app/text.h"
#include "app/topic_publish.h"
#include "engine/area_store.h"
#include "engine/broadcast_store.h"
#include "engine/progress_store.h"

#define FOLLOW_STEP_MS 500
#define BAR_WIDTH      20
/* Counting receipts reads all of them, communes every open chunk's members: never more than a tenth
 * of the database's time for it. */
#define READING_SHARE 10

struct status {
    struct command *command;
    struct db *db;
    struct broadcast *broadcast;
    struct progress *progress;
    struct topic_status topics;
    uint64_t last_final; /* of the reading before, for the rate */
    int64_t last_mono_us;
    double rate; /* devices settled per second, lately */
    int64_t receipts_after_mono_us;
    int64_t reading_us;     /* the last one took so long */
    GHashTable *area_names; /* NULL unless per commune */
    int lines;              /* drawn on the terminal */
    char *last_text;
};

static json_t *channel_json(const struct progress_channel *c)
{
    json_t *outcomes = json_object();
    json_t *suppressed = json_object();

    for (const char *const *name = outcome_names(); *name != NULL; name++)
        json_object_set_new(outcomes, *name,
                            json_integer((json_int_t)outcome_tally_name(&c->tally, *name)));
    for (unsigned byte = 0; byte < 256; byte++)
        if (outcome_reason((uint8_t)byte)[0] != '\0' && c->tally.by_byte[byte] > 0)
            json_object_set_new(suppressed, outcome_reason((uint8_t)byte),
                                json_integer((json_int_t)c->tally.by_byte[byte]));
    return json_pack("{s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:s?}", "targeted",
                     (json_int_t)c->targeted, "outcomes", outcomes, "suppressed", suppressed,
                     "retry", (json_int_t)c->tally.by_byte[OUTCOME_RETRY], "sending",
                     (json_int_t)c->sending, "not_sent", (json_int_t)c->not_sent, "unaccounted",
                     (json_int_t)progress_unaccounted(c), "shown", (json_int_t)c->shown, "opened",
                     (json_int_t)c->opened, "stopped", c->stopped, "halted", c->halted);
}

static struct progress_channel total_of(const struct progress *p)
{
    struct progress_channel total = {.name = "all"};

    for (int i = 0; i < PROGRESS_CHANNELS; i++) {
        const struct progress_channel *c = &p->channels[i];
        total.targeted += c->targeted;
        total.sending += c->sending;
        total.not_sent += c->not_sent;
        for (int byte = 0; byte < 256; byte++)
            total.tally.by_byte[byte] += c->tally.by_byte[byte];
    }
    total.shown = p->shown;
    total.opened = p->opened;
    return total;
}

static void print_json(const struct status *s)
{
    const struct progress *p = s->progress;
    const struct broadcast *b = s->broadcast;
    struct progress_channel total = total_of(p);
    json_t *object = channel_json(&total);
    json_t *channels = json_object();

    json_object_del(object, "stopped");
    json_object_del(object, "halted");
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        json_object_set_new(channels, p->channels[i].name, channel_json(&p->channels[i]));
    json_object_update_new(object,
                           json_pack("{s:I, s:s, s:i, s:s, s:b, s:b, s:b, s:f, s:o}", "broadcast",
                                     (json_int_t)b->id, "alert", b->alert_id, "version", b->version,
                                     "state", broadcast_state_name(b->state), "planned", p->planned,
                                     "finished", p->finished, "refused", p->refused, "rate",
                                     s->rate, "channels", channels));
    if (p->reach != NULL)
        json_object_set_new(object, "communes", broadcast_reach_json(p->reach, s->area_names));
    json_object_set_new(object, "topics", topic_status_json(&s->topics));
    text_print_json(object);
}

static const char *situation(const struct status *s)
{
    const struct progress *p = s->progress;

    if (p->refused)
        return "REFUSED: its release signature is not valid; nothing is sent";
    if (s->broadcast->state == BROADCAST_DRAFT || s->broadcast->state == BROADCAST_WITHDRAWN)
        return "not released";
    if (p->finished)
        return "finished";
    return p->planned ? "sending" : "freezing the audience";
}

static void append_channel(GString *out, const struct progress_channel *c, bool bar)
{
    uint64_t final = outcome_tally_final(&c->tally);
    uint64_t accepted = outcome_tally_name(&c->tally, "ACCEPTED");
    uint64_t dead = outcome_tally_name(&c->tally, "DEAD_TOKEN");

    g_string_append_printf(out, "%-5s ", c->name);
    if (bar) {
        unsigned filled = c->targeted > 0 ? (unsigned)(final * BAR_WIDTH / c->targeted) : 0;
        for (unsigned i = 0; i < BAR_WIDTH; i++)
            g_string_append(out, i < filled ? "█" : "░");
        g_string_append_c(out, ' ');
    }
    g_string_append_printf(
        out,
        "%8" PRIu64 " targeted %8" PRIu64 " accepted %6" PRIu64 " dead %6" PRIu64 " other %6" PRIu64
        " retry %8" PRIu64 " waiting %7" PRIu64 " shown %6" PRIu64 " opened",
        c->targeted, accepted, dead, final - accepted - dead, c->tally.by_byte[OUTCOME_RETRY],
        c->sending + c->not_sent, c->shown, c->opened);
    if (c->halted != NULL)
        g_string_append_printf(out, "  HALTED: %s", c->halted);
    else if (c->stopped != NULL)
        g_string_append_printf(out, "  STOPPED: %s", c->stopped);
    g_string_append_c(out, '\n');
}

static char *render(const struct status *s, bool bar)
{
    const struct progress *p = s->progress;
    struct progress_channel total = total_of(p);
    g_autofree char *released = text_time(s->broadcast->released_utc_us);
    GString *out = g_string_new(NULL);

    g_string_append_printf(out, "%s v%d %s, released %s: %s, %.0f/s\n", s->broadcast->alert_id,
                           s->broadcast->version, broadcast_state_name(s->broadcast->state),
                           released, situation(s), s->rate);
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        if (p->channels[i].chunks > 0 || p->channels[i].stopped != NULL)
            append_channel(out, &p->channels[i], bar);
    append_channel(out, &total, bar);
    if (progress_unaccounted(&total) != 0)
        g_string_append_printf(out, "UNACCOUNTED: %" PRId64 ": run loa doctor\n",
                               progress_unaccounted(&total));
    if (p->reach != NULL)
        broadcast_reach_append(out, p->reach, s->area_names);
    topic_status_append(&s->topics, out);
    return g_string_free(out, FALSE);
}

/* Up to where the last picture began, or to the top of the terminal when it was taller. */
static void go_back(int lines)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && lines >= size.ws_row)
        fputs("\033[H\033[J", stdout);
    else
        printf("\033[%dA\033[J", lines);
}

/* Draws over the last picture on a terminal; elsewhere prints only what has changed. */
static void draw(struct status *s, bool terminal)
{
    g_autofree char *text = render(s, terminal);

    if (terminal && s->lines > 0)
        go_back(s->lines);
    if (terminal || s->last_text == NULL || strcmp(text, s->last_text) != 0)
        fputs(text, stdout);
    fflush(stdout);
    s->lines = 0;
    for (const char *p = text; *p != '\0'; p++)
        s->lines += *p == '\n';
    g_free(s->last_text);
    s->last_text = g_steal_pointer(&text);
}

/* The rate since the release when nothing was read before, else since the last reading. */
static void measure_rate(struct status *s, int64_t mono_us, int64_t now_utc_us)
{
    struct progress_channel total = total_of(s->progress);
    uint64_t final = outcome_tally_final(&total.tally);
    int64_t until_us = s->progress->finished && s->broadcast->finished_utc_us != 0
                           ? s->broadcast->finished_utc_us
                           : now_utc_us;
    int64_t span_us =
        s->last_mono_us != 0 ? mono_us - s->last_mono_us : until_us - s->broadcast->released_utc_us;
    uint64_t more = final > s->last_final ? final - s->last_final : 0;

    s->rate = span_us > 0 && s->broadcast->released_utc_us != 0
                  ? (double)more * (double)USEC_PER_SEC / (double)span_us
                  : 0;
    s->last_final = final;
    s->last_mono_us = mono_us;
}

static bool read_once(struct status *s, GError **error)
{
    const struct clock *clock = s->command->clock;
    int64_t before_us = clock->mono_us(clock);
    bool receipts = before_us >= s->receipts_after_mono_us;
    struct broadcast *fresh = broadcast_load(s->db, s->progress->broadcast_id, error);

    if (fresh == NULL)
        return false;
    broadcast_free(s->broadcast);
    s->broadcast = fresh;
    if (!progress_store_read(s->db, s->progress, receipts, error) ||
        !topic_status_read(s->db, s->broadcast, &s->topics, error))
        return false;
    s->reading_us = clock->mono_us(clock) - before_us;
    if (receipts)
        s->receipts_after_mono_us = before_us + s->reading_us * READING_SHARE;
    measure_rate(s, clock->mono_us(clock), clock->utc_us(clock));
    return true;
}

/* Nothing will change any more. */
static bool is_over(const struct status *s)
{
    return s->progress->finished || s->progress->refused ||
           s->broadcast->state == BROADCAST_DRAFT || s->broadcast->state == BROADCAST_WITHDRAWN;
}

static int64_t pause_us(const struct status *s)
{
    int64_t step_us = FOLLOW_STEP_MS * USEC_PER_MSEC;

    return s->progress->reach != NULL ? MAX(step_us, s->reading_us * (READING_SHARE - 1)) : step_us;
}

static bool follow(struct status *s, bool json, GError **error)
{
    bool terminal = !json && isatty(STDOUT_FILENO);

    for (;;) {
        if (json)
            print_json(s);
        else
            draw(s, terminal);
        fflush(stdout);
        if (is_over(s))
            return true;
        g_usleep((gulong)pause_us(s));
        if (!read_once(s, error)) {
            if (!g_error_matches(*error, LOA_ERROR, LOA_ERROR_RETRY))
                return false;
            g_clear_error(error); /* the database comes back */
        }
    }
}

static bool prepare(struct status *s, bool by_commune, GError **error)
{
    if (!by_commune)
        return true;
    progress_by_commune(s->progress);
    s->area_names = area_names(s->db, error);
    return s->area_names != NULL;
}

static int run(struct command *command, const char *which, bool by_commune, bool keep_on, bool json)
{
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = NULL;
    loa_auto(progress) progress = NULL;
    struct status s = {.command = command};
    int64_t id;
    int exit_code = EX_OK;

    db = command_db(command, "broadcast status", &exit_code);
    if (db == NULL)
        return exit_code;
    if (!broadcast_store_resolve(db, which, &id, &error))
        return command_fail("broadcast status", error);
    progress = progress_new(id);
    s.db = db;
    s.progress = progress;
    if (!prepare(&s, by_commune, &error) || !read_once(&s, &error) ||
        (keep_on && !follow(&s, json, &error)))
        exit_code = command_fail("broadcast status", error);
    else if (!keep_on && json)
        print_json(&s);
    else if (!keep_on)
        draw(&s, false);
    broadcast_free(s.broadcast);
    g_clear_pointer(&s.area_names, g_hash_table_unref);
    topic_status_clear(&s.topics);
    g_free(s.last_text);
    return exit_code;
}

int broadcast_command_status(struct command *command, int argc, char **argv)
{
    gboolean keep_on = FALSE, json = FALSE;
    g_autofree char *by = NULL;
    const GOptionEntry entries[] = {
        {"by", 0, 0, G_OPTION_ARG_STRING, &by, "Also per commune: --by commune", "commune"},
        {"follow", 'f', 0, G_OPTION_ARG_NONE, &keep_on, "Until every device has its outcome", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "JSON, one object per reading", NULL},
        {NULL}};
    const char *which;
    int exit_code;

    if (!command_parse("broadcast status ID [--by commune] [--follow] [--json]",
                       "How far a broadcast has come.", entries, &argc, &argv, &exit_code))
        return exit_code;
    if (by != NULL && strcmp(by, "commune") != 0) {
        fprintf(stderr, "loa broadcast status: --by %s: only --by commune is known\n", by);
        return EX_USAGE;
    }
    which = broadcast_argument("broadcast status", argc, argv);
    return which != NULL ? run(command, which, by != NULL, keep_on, json) : EX_USAGE;
}
