/* loa doctor: one line per thing that must work, in the order in which to mend it. Nothing is
 * changed and no phone is reached. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/channels.h"
#include "app/command.h"
#include "app/legal_files.h"
#include "app/topic_publish.h"
#include "base/migrate.h"
#include "engine/checks.h"
#include "engine/device_secret.h"
#include "engine/release.h"
#include "feedback/day.h"
#include "mqtt/channel.h"
#include "mqtt/probe.h"

#define DRY_RUN_LIMIT_MS 20000
#define CHECKS_SHOWN     20

struct doctor {
    struct command *command;
    unsigned failures;
};

/* todo: what the operator should do; only shown with a failure. */
static void report(struct doctor *doctor, bool ok, const char *what, const char *detail,
                   const char *todo)
{
    printf("%-4s  %-12s %s%s%s\n", ok ? "OK" : "FAIL", what, detail, ok || todo == NULL ? "" : ": ",
           ok || todo == NULL ? "" : todo);
    fflush(stdout);
    doctor->failures += !ok;
}

/* --- keys --- */

static void check_keys(struct doctor *doctor)
{
    const struct settings *settings = doctor->command->settings;
    g_autoptr(GError) secret_error = NULL, keys_error = NULL;
    loa_auto(device_secret_key) secret =
        device_secret_key_load(settings->device_secret_key_file, &secret_error);
    loa_auto(release_keys) keys =
        release_keys_load((const char *const *)settings->broadcast_public_key_files, &keys_error);

    report(doctor, secret != NULL, "device key",
           secret != NULL ? "readable by this user only" : secret_error->message,
           "[device] secret_key_file, made by loa keys create");
    report(doctor, keys != NULL, "release keys", keys != NULL ? "readable" : keys_error->message,
           "[broadcast] public_key_files, made by loa keys create");
}

/* --- database --- */

static void check_migrations(struct doctor *doctor, struct db *db)
{
    g_autoptr(GError) error = NULL;
    int pending = migrate_pending(db, migrate_default_dir(), &error);
    g_autofree char *detail = pending > 0 ? g_strdup_printf("%d not applied", pending) : NULL;

    report(doctor, pending == 0, "schema",
           pending < 0    ? error->message
           : pending == 0 ? "current"
                          : detail,
           pending > 0 ? "run loa migrate" : NULL);
}

static void check_invariants(struct doctor *doctor, struct db *db)
{
    g_autofree char *dir = g_build_filename(migrate_default_dir(), "checks", NULL);
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    if (!checks_run(db, dir, faults, &error)) {
        report(doctor, false, "accounting", error->message, NULL);
        return;
    }
    g_autofree char *detail =
        faults->len > 0 ? g_strdup_printf("%u sums do not add up", faults->len) : NULL;
    report(doctor, faults->len == 0, "accounting",
           faults->len == 0 ? "every sum of sql/checks adds up" : detail,
           "this is a bug; loa stop --all, keep the database, report it");
    for (guint i = 0; i < faults->len && i < CHECKS_SHOWN; i++)
        printf("      %s\n", (const char *)faults->pdata[i]);
}

static void check_database(struct doctor *doctor)
{
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = db_open(doctor->command->settings->database_conninfo, &error);

    if (db == NULL) {
        report(doctor, false, "database", error->message,
               "is PostgreSQL running, and is [database] conninfo right?");
        return;
    }
    g_autofree char *detail =
        g_strdup_printf("PostgreSQL %d answers", PQserverVersion(db_conn(db)) / 10000);
    report(doctor, PQserverVersion(db_conn(db)) >= 150000, "database", detail,
           "15 or newer is needed");
    check_migrations(doctor, db);
    check_invariants(doctor, db);
}

/* --- law --- */

static void check_calendar(struct doctor *doctor)
{
    const struct clock *clock = doctor->command->clock;
    g_autoptr(GError) error = NULL;
    g_autofree char *file = legal_file_default(LEGAL_CALENDAR_FILE);
    loa_auto(calendar) calendar = legal_calendar_load(file, &error);
    loa_auto(policy) policy = calendar != NULL ? legal_policy_load(NULL, &error) : NULL;
    g_autofree char *missing = NULL, *detail = NULL, *todo = NULL;

    if (policy == NULL) {
        report(doctor, false, "calendar", error->message, "see docs/deadlines.md");
        return;
    }
    missing = calendar_missing_official(calendar, instant_day(clock->utc_us(clock), NULL));
    detail = missing != NULL ? g_strdup_printf("not announced: %s", missing) : NULL;
    todo = g_strdup_printf("add the official rows to %s (docs/deadlines.md)", file);
    report(doctor, missing == NULL, "calendar",
           missing == NULL ? "the official days off are there" : detail, todo);
}

/* --- channels --- */

struct dry_run {
    struct doctor *doctor;
    struct channel *channel;
    const char *todo;
    GMainLoop *loop;
    bool answered;
};

static void settle(struct dry_run *run, bool ok, const char *detail, int64_t duration_us)
{
    if (run->answered)
        return;
    run->answered = true;
    g_autofree char *text =
        ok ? g_strdup_printf("%s (%" PRId64 " ms)", detail, duration_us / USEC_PER_MSEC)
           : g_strdup(detail);
    report(run->doctor, ok, run->channel->name, text, run->todo);
    g_main_loop_quit(run->loop);
}

static void on_answer(bool ok, const char *detail, int64_t duration_us, void *user)
{
    settle(user, ok, detail, duration_us);
}

static void on_config_error(void *engine_data, struct channel *channel, const char *reason)
{
    (void)channel;
    settle(engine_data, false, reason, 0);
}

static void on_room(void *engine_data, struct channel *channel)
{
    (void)engine_data, (void)channel;
}

static gboolean on_limit(gpointer user)
{
    settle(user, false, "no answer", 0);
    return G_SOURCE_CONTINUE;
}

/* Takes the channel. */
static void check_channel(struct doctor *doctor, struct channel *channel, const char *todo)
{
    struct dry_run run = {
        .doctor = doctor, .channel = channel, .todo = todo, .loop = g_main_loop_new(NULL, FALSE)};
    guint limit = g_timeout_add(DRY_RUN_LIMIT_MS, on_limit, &run);

    channel->engine_data = &run;
    channel->on_room = on_room;
    channel->on_config_error = on_config_error;
    channel->ops->start(channel);
    if (!run.answered)
        channel->ops->dry_run(channel, on_answer, &run);
    if (!run.answered)
        g_main_loop_run(run.loop);
    g_source_remove(limit);
    channel->ops->free(channel);
    g_main_loop_unref(run.loop);
}

static void check_push(struct doctor *doctor, const char *name, const char *setting, bool wanted)
{
    static const char todo[] = "network, credentials and clock of this machine, in this order";
    const char *const names[] = {name, NULL};
    struct channels channels;
    g_autoptr(GError) error = NULL;

    if (!wanted) {
        printf("--    %-12s off: %s is not set\n", name, setting);
        return;
    }
    if (!channels_open_push(&channels, names, doctor->command->settings, doctor->command->clock,
                            &error)) {
        report(doctor, false, name, error->message, NULL);
        return;
    }
    if (channels.n == 1)
        check_channel(doctor, channels.channel[0], todo);
}

/* Only where topics are in use: they are for the case that the rest does not work. */
static void check_topics(struct doctor *doctor)
{
    const struct settings *settings = doctor->command->settings;
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = db_open(settings->database_conninfo, NULL);
    g_autoptr(GPtrArray) owed = NULL;
    bool used = false;

    if (db == NULL || settings->fcm_service_account_file[0] == '\0')
        return; /* told before */
    if (!topic_store_used(db, &used, &error) ||
        (used && (owed = topic_store_owed(db, 0, &error)) == NULL)) {
        report(doctor, false, "topics", error->message, "run loa migrate");
        return;
    }
    if (!used) {
        printf("--    %-12s off: loa topic sync has not been run\n", "topics");
        return;
    }
    bool ok = topic_publish_dry_run(settings, doctor->command->clock, &error);
    report(doctor, ok, "topics", ok ? "messages and subscriptions accepted" : error->message,
           "may the service account manage this project's topics?");
    for (guint i = 0; i < owed->len; i++) {
        const struct topic_owed *one = owed->pdata[i];
        g_autofree char *detail =
            g_strdup_printf("%s went to topics, its correction has not: loa topic send %" PRId64,
                            one->alert_id, one->correction_id);
        report(doctor, false, "topics", detail, NULL);
    }
}

struct broker_check {
    struct doctor *doctor;
    const char *address;
};

static void on_probe(bool ok, const char *detail, void *user)
{
    const struct broker_check *check = user;
    g_autofree char *text = g_strdup_printf("%s: %s", check->address, detail);

    report(check->doctor, ok, "mqtt", text, "docs/scale.md");
}

static void check_mqtt(struct doctor *doctor)
{
    const struct settings *settings = doctor->command->settings;
    unsigned failures = doctor->failures;
    g_autoptr(GError) error = NULL;

    if (settings->mqtt_brokers[0] == NULL) {
        printf("--    %-12s off: [mqtt] brokers is not set\n", "mqtt");
        return;
    }
    struct channel *channel = mqtt_channel_open(settings, doctor->command->clock, &error);
    if (channel == NULL)
        report(doctor, false, "mqtt", error->message, NULL);
    else
        check_channel(doctor, channel,
                      "is every broker of [mqtt] brokers running, and does it "
                      "trust the engine's certificate?");
    if (doctor->failures > failures)
        return;
    for (char **address = settings->mqtt_brokers; *address != NULL; address++) {
        struct broker_check check = {.doctor = doctor, .address = *address};
        mqtt_probe_run(settings, *address, on_probe, &check);
    }
}

int command_doctor(struct command *command, int argc, char **argv)
{
    struct doctor doctor = {.command = command};
    struct settings *settings = command->settings;
    int exit_code;

    if (!command_parse(
            "doctor",
            "Checks keys, database, accounting, the legal calendar, providers and brokers "
            "by dry runs.",
            NULL, &argc, &argv, &exit_code))
        return exit_code;
    settings->fcm_connections = settings->apns_connections = 1;
    check_keys(&doctor);
    check_database(&doctor);
    check_calendar(&doctor);
    check_push(&doctor, "fcm", "[fcm] service_account_file",
               settings->fcm_service_account_file[0] != '\0');
    check_topics(&doctor);
    check_push(&doctor, "apns", "[apns] key_file", settings->apns_key_file[0] != '\0');
    check_mqtt(&doctor);
    return doctor.failures > 0 ? 1 : EX_OK;
}
