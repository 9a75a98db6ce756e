/* lib: loa_testbroker */
/* The whole way over MQTT, with `loa-sim fleet` as the phones: published, verified and shown on
 * every phone it is for, acknowledged, confirmed; and what the fleet counts is what happened. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/json.h"
#include "engine/release.h"
#include "mqtt/receipts.h"
#include "tests/support/mqttstage.h"
#include "tests/support/testlog.h"

#define PHONES     60 /* odd ids in commune 01273, even ones in 01288 */
#define IN_COMMUNE (PHONES / 2)
#define READER     "1000" /* a phone of the test's own */

struct fleet {
    struct mqttstage *mqtt;
    struct receipts *receipts;
    char *directory, *control;
    GPid pid;
    int64_t started_us;  /* UTC */
    const char *counter; /* what until_count waits for */
    int64_t at_least;
};

/* build/tests/test_store_mqtt_fleet → build/loa-sim */
static char *sim_path(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *directory = g_path_get_dirname(self);

    return g_build_filename(directory, "..", "loa-sim", NULL);
}

static void child_setup(gpointer user)
{
    (void)user;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static json_t *ask(struct fleet *fleet, const char *request)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(fleet->control);
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, NULL);
    char answer[4096];
    gsize len = 0;

    if (connection == NULL)
        return NULL;
    assert_true(g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)),
                                          request, strlen(request), NULL, NULL, NULL));
    assert_true(g_input_stream_read_all(g_io_stream_get_input_stream(G_IO_STREAM(connection)),
                                        answer, sizeof(answer), &len, NULL, NULL));
    return json_parse_object(answer, len, sizeof(answer), NULL);
}

static int64_t count(struct fleet *fleet, const char *counter)
{
    g_autoptr(json_t) stats = ask(fleet, "{\"cmd\":\"stats\"}\n");

    return stats != NULL ? json_integer_value(json_object_get(stats, counter)) : -1;
}

static bool has_count(void *user)
{
    struct fleet *fleet = user;

    return count(fleet, fleet->counter) >= fleet->at_least;
}

static void until_count(struct fleet *fleet, const char *counter, int64_t at_least)
{
    fleet->counter = counter;
    fleet->at_least = at_least;
    stage_until_true(has_count, fleet);
    assert_int_equal(count(fleet, counter), at_least);
}

static void write_files(struct fleet *fleet)
{
    g_autofree char *devices = g_build_filename(fleet->directory, "devices.csv", NULL);
    g_autofree char *key = g_build_filename(fleet->directory, "release.pem", NULL);
    g_autofree char *pem = release_public_pem(release_keys_get(fleet->mqtt->stage->keys, 0));
    g_autoptr(GString) text = g_string_new("id,password,commune,language\n");

    for (int i = 1; i <= PHONES; i++)
        g_string_append_printf(text, "%d,1.secret-%d,%s,%s\n", i, i, i % 2 ? "01273" : "01288",
                               i % 3 ? "vi" : "tyz");
    assert_true(g_file_set_contents(devices, text->str, -1, NULL));
    assert_true(g_file_set_contents(key, pem, -1, NULL));
}

static void spawn(struct fleet *fleet)
{
    g_autofree char *sim = sim_path();
    g_autofree char *pki = g_path_get_dirname(testbroker_pki("ca.pem"));
    g_autofree char *devices = g_build_filename(fleet->directory, "devices.csv", NULL);
    g_autofree char *key = g_build_filename(fleet->directory, "release.pem", NULL);
    g_autofree char *brokers = g_strdup_printf("127.0.0.1:%d,127.0.0.1:%d",
                                               testbroker_device_port(fleet->mqtt->brokers[0]),
                                               testbroker_device_port(fleet->mqtt->brokers[1]));
    const char *argv[] = {sim,
                          "fleet",
                          "--pki",
                          pki,
                          "--broker",
                          brokers,
                          "--devices",
                          devices,
                          "--public-key",
                          key,
                          "--processes",
                          "2",
                          "--receipt-window",
                          "1",
                          "--control",
                          fleet->control,
                          NULL};
    g_autoptr(GError) error = NULL;

    if (!g_spawn_async(NULL, (char **)argv, NULL,
                       G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, child_setup, NULL,
                       &fleet->pid, &error))
        fail_msg("%s: %s", sim, error->message);
}

static struct fleet *fleet_new(const char *name)
{
    struct fleet *fleet = g_new0(struct fleet, 1);
    g_autofree struct mosquitto_device *devices = g_new0(struct mosquitto_device, PHONES + 1);

    for (int i = 0; i < PHONES; i++) {
        devices[i].id = i + 1;
        devices[i].password = g_strdup_printf("1.secret-%d", i + 1);
        devices[i].realm = "live";
    }
    devices[PHONES] = (struct mosquitto_device){1000, "1.secret", "live"};
    fleet->started_us = g_get_real_time();
    fleet->mqtt = mqttstage_new(name, 0);
    for (; fleet->mqtt->n_brokers < 2; fleet->mqtt->n_brokers++)
        fleet->mqtt->brokers[fleet->mqtt->n_brokers] = testbroker_new(devices, PHONES + 1);
    for (int i = 0; i < PHONES; i++)
        g_free((char *)devices[i].password);
    stage_devices(fleet->mqtt->stage, "mqtt", PHONES, true);
    mqttstage_start(fleet->mqtt, "engine");
    fleet->receipts = receipts_new(fleet->mqtt->engine, fleet->mqtt->db, clock_system(), 2);
    fleet->directory = g_dir_make_tmp("loa-fleet-XXXXXX", NULL);
    fleet->control = g_build_filename(fleet->directory, "control", NULL);
    write_files(fleet);
    spawn(fleet);
    until_count(fleet, "connected", PHONES);
    return fleet;
}

static void fleet_free(struct fleet *fleet)
{
    static const char *const files[] = {"devices.csv", "release.pem", "dump.tsv", "control"};
    int status;

    kill(fleet->pid, SIGTERM);
    assert_int_equal(waitpid(fleet->pid, &status, 0), fleet->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(fleet->directory, files[i], NULL);
        g_unlink(path);
    }
    g_rmdir(fleet->directory);
    receipts_free(fleet->receipts);
    mqttstage_free(fleet->mqtt);
    g_free(fleet->directory);
    g_free(fleet->control);
    g_free(fleet);
}

/* distinct of every phone, by the dump. */
static void assert_dump(struct fleet *fleet, int64_t odd, int64_t even)
{
    g_autofree char *path = g_build_filename(fleet->directory, "dump.tsv", NULL);
    g_autofree char *request = g_strdup_printf("{\"cmd\":\"dump\",\"file\":\"%s\"}\n", path);
    g_autoptr(json_t) answer = ask(fleet, request);
    g_autofree char *text = NULL;

    assert_true(json_is_true(json_object_get(answer, "ok")));
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    assert_int_equal(g_strv_length(lines), PHONES + 1);
    for (int i = 1; i <= PHONES; i++) {
        g_auto(GStrv) cells = g_strsplit(lines[i - 1], "\t", 0);
        assert_int_equal(g_ascii_strtoll(cells[0], NULL, 10), i);
        assert_int_equal(g_ascii_strtoll(cells[1], NULL, 10), i % 2 ? odd : even);
        assert_in_range(g_ascii_strtoll(cells[3], NULL, 10), fleet->started_us, g_get_real_time());
    }
}

static void test_shown_and_confirmed(void **state)
{
    struct fleet *fleet = fleet_new("fleet_shown");
    (void)state;

    stage_release(fleet->mqtt->stage, true);
    until_count(fleet, "distinct", PHONES);
    mqttstage_release(fleet->mqtt, BROADCAST_LIVE, "01273");
    until_count(fleet, "distinct", PHONES + IN_COMMUNE);
    until_count(fleet, "receipts_confirmed", PHONES + IN_COMMUNE);
    assert_int_equal(stage_i64(fleet->mqtt->stage, "SELECT count(*) FROM receipt"),
                     PHONES + IN_COMMUNE);
    assert_dump(fleet, 2, 1);
    assert_int_equal(count(fleet, "emergencies"), PHONES); /* the commune's was none */
    assert_int_equal(count(fleet, "bad_signatures"), 0);
    assert_int_equal(count(fleet, "malformed"), 0);
    fleet_free(fleet);
}

static void test_cancelled(void **state)
{
    struct fleet *fleet = fleet_new("fleet_cancel");
    int64_t id;
    (void)state;

    id = stage_release(fleet->mqtt->stage, true);
    until_count(fleet, "distinct", PHONES);
    stage_cancel(fleet->mqtt->stage, id);
    until_count(fleet, "cancelled", PHONES);
    assert_dump(fleet, 2, 2);
    fleet_free(fleet);
}

/* The engine's certificate alone does not make an alert: the phones check the signature. */
static void test_forged(void **state)
{
    struct fleet *fleet = fleet_new("fleet_forged");
    struct testclient *engine = testclient_engine(fleet->mqtt->brokers[0], "engine");
    struct testclient *reader = testclient_device(fleet->mqtt->brokers[0], READER, "1.secret");
    (void)state;

    stage_release(fleet->mqtt->stage, true);
    until_count(fleet, "distinct", PHONES);
    assert_int_equal(testclient_connect(reader), 0);
    testclient_subscribe(reader, "loa/v1/emergency/all/+");
    testclient_until_messages(reader, 1);
    const struct testmessage *genuine = testclient_messages(reader)->pdata[0];
    g_auto(GStrv) parts = g_strsplit(genuine->payload, "\"v\":\"1\"", 2);
    g_autofree char *newer = g_strjoinv("\"v\":\"2\"", parts);
    assert_string_not_equal(newer, genuine->payload);

    /* Half of the phones are at this broker. */
    assert_int_equal(testclient_connect(engine), 0);
    assert_true(testclient_publish(engine, genuine->topic, newer, false) < 0x80);
    until_count(fleet, "bad_signatures", PHONES / 2);
    assert_true(testclient_publish(engine, genuine->topic, "{}", false) < 0x80);
    until_count(fleet, "malformed", PHONES / 2);
    assert_true(testclient_publish(engine, genuine->topic, genuine->payload, false) < 0x80);
    until_count(fleet, "duplicates", PHONES / 2);
    assert_dump(fleet, 1, 1);
    testclient_free(reader);
    testclient_free(engine);
    fleet_free(fleet);
}

/* Phones come back to a broker that was killed, and are told again what is live. */
static void test_broker_killed(void **state)
{
    struct fleet *fleet = fleet_new("fleet_killed");
    int64_t connects;
    (void)state;

    testlog_allow("broker_lost");
    stage_release(fleet->mqtt->stage, true);
    until_count(fleet, "distinct", PHONES);
    connects = count(fleet, "connects");
    testbroker_kill(fleet->mqtt->brokers[1]);
    testbroker_wipe(fleet->mqtt->brokers[1]);
    until_count(fleet, "connects", connects + PHONES / 2); /* at the other broker */
    until_count(fleet, "connected", PHONES);
    testbroker_start(fleet->mqtt->brokers[1]);
    stage_release(fleet->mqtt->stage, true);
    until_count(fleet, "distinct", 2 * PHONES);
    assert_dump(fleet, 2, 2);
    fleet_free(fleet);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, testlog_setup, testlog_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_shown_and_confirmed),
        TEST(test_cancelled),
        TEST(test_forged),
        TEST(test_broker_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
