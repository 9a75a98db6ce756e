/* loa device show: one registration and what became of every alert on it. The import stands in
 * command_device_import.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/command.h"
#include "app/command_device.h"
#include "engine/channel.h"
#include "engine/device_history.h"
#include "engine/device_store.h"

static const char *const lane_names[LANE_COUNT] = {
    [LANE_PROVEN] = "proven", [LANE_UNPROVEN] = "unproven", [LANE_SANDBOX] = "sandbox"};

/* "2026-11-23 01:02:03Z", "-" for 0. */
static void print_time(const char *label, int64_t utc_us)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(utc_us / USEC_PER_SEC);
    g_autofree char *text = utc_us == 0 || time == NULL
                                ? g_strdup("-")
                                : g_date_time_format(time, "%Y-%m-%d %H:%M:%SZ");

    printf("%s%s", label, text);
}

static const char *or_dash(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : "-";
}

static void print_row(const struct device_row *row)
{
    const struct device_state *state = &row->state;

    printf("device      %" PRId64 "\nrealm       %s\nchannel     %s", row->id, row->realm,
           state->channel);
    if (state->push_token != NULL)
        printf(" (%s …%s%s%s)", state->id_kind, device_token_tail(state->push_token),
               state->apns_environment != NULL ? ", " : "",
               state->apns_environment != NULL ? state->apns_environment : "");
    printf("\nmqtt        %s\n", state->mqtt ? "yes" : "no");
    printf("os          %s\napp         %s\nlanguage    %s\ncommune     %s\n", or_dash(state->os),
           or_dash(state->app_version), state->language, or_dash(state->commune));
    printf("information %s\ngeneration  %d\n", state->silent_information ? "silent" : "audible",
           row->generation);
    print_time("registered  ", row->registered_utc_us);
    print_time("\nlast seen   ", row->last_seen_utc_us);
    print_time("\ntoken since ", row->token_utc_us);
    print_time("\nproven      ", row->proven_utc_us);
    if (row->retired_utc_us != 0) {
        print_time("\nretired     ", row->retired_utc_us);
        printf(" (%s)", or_dash(row->retired_reason));
    }
    putchar('\n');
}

static void print_history(const struct device_history *history)
{
    const char *lane =
        history->lane >= 0 && history->lane < LANE_COUNT ? lane_names[history->lane] : "?";

    print_time("", history->released_utc_us);
    printf("  %s v%d %s  %s/%s chunk %d[%d]  %s%s%s%s", history->alert_id, history->version,
           history->message_type, history->channel, lane, history->chunk_no, history->position,
           history->outcome, history->reason[0] != '\0' ? "(" : "", history->reason,
           history->reason[0] != '\0' ? ")" : "");
    if (history->uncertain > 0)
        printf(", taken over %d×", history->uncertain);
    if (history->retry_reason != NULL) {
        printf(", %d attempts, last %s", history->attempts, history->retry_reason);
        print_time(", again at ", history->retry_at_utc_us);
    }
    if (history->shown_utc_us != 0)
        print_time(", shown ", history->shown_utc_us);
    if (history->opened_utc_us != 0)
        print_time(", opened ", history->opened_utc_us);
    putchar('\n');
}

static bool show(struct db *db, int64_t id, int limit, GError **error)
{
    loa_auto(device_row) row = device_get(db, id, false, error);
    g_autoptr(GPtrArray) history = NULL;

    if (row == NULL)
        return false;
    history = device_history_load(db, id, limit, error);
    if (history == NULL)
        return false;
    print_row(row);
    printf("\nalerts, newest first%s\n", history->len == 0 ? ": none" : "");
    for (guint i = 0; i < history->len; i++)
        print_history(g_ptr_array_index(history, i));
    return true;
}

static int command_device_show(struct command *command, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    int limit = 100;
    int code = EX_OK;
    guint64 id;
    const GOptionEntry entries[] = {
        {"limit", 'n', 0, G_OPTION_ARG_INT, &limit, "Newest N alerts (default 100)", "N"},
        G_OPTION_ENTRY_NULL};

    if (!command_parse("device show ID",
                       "Shows one device and the outcome of every alert sent to it.\n"
                       "Of its token only the last six characters are printed.",
                       entries, &argc, &argv, &code))
        return code;
    if (argc != 2 || limit < 1 ||
        !g_ascii_string_to_unsigned(argv[1], 10, 1, INT64_MAX, &id, NULL)) {
        fprintf(stderr, "loa device show: give one device id, a number\n");
        return EX_USAGE;
    }
    loa_auto(db) db = command_db(command, "device show", &code);
    if (db == NULL)
        return code;
    return show(db, (int64_t)id, limit, &error) ? EX_OK : command_fail("device show", error);
}

int command_device(struct command *command, int argc, char **argv)
{
    int code = EX_OK;
    const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};

    if (argc > 1 && strcmp(argv[1], "import") == 0)
        return command_device_import(command, argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "show") == 0)
        return command_device_show(command, argc - 1, argv + 1);
    if (!command_parse("device import|show …",
                       "import FILE  registers the devices of a CSV or NDJSON file\n"
                       "show ID      tells what became of every alert on one device\n"
                       "`loa device import --help` describes the file.",
                       entries, &argc, &argv, &code))
        return code;
    fprintf(stderr, "loa device: say import or show\n");
    return EX_USAGE;
}
