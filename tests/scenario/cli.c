/* The command line as an operator uses it, on a small rig: what works says so, and every refusal
 * names the field and what to do, with an exit code of sysexits(3), and changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/message.h"
#include "engine/outbox.h"
#include "engine/outcome.h"
#include "tests/scenario/rig.h"

#define FCM  4000
#define AN   " --as an --key @an.key"
#define BINH " --as binh --key @binh.key"
#define TEXT " --title 'Lịch tiêm chủng' --body 'Trạm y tế mở cửa từ 7 giờ.'"
#define INFO "broadcast create --kind THONG_TIN --level thuong" AN
/* Words of one line's answer. */
#define SAYS_MAX 5

/* One line typed and what must come of it. */
struct line {
    const char *line;
    int exit;
    const char *says[SAYS_MAX]; /* on standard output or standard error */
};

static struct rig *rig;

static int setup(void **state)
{
    static const struct rig_options options = {.fcm = FCM,
                                               .apns = 10,
                                               .mqtt = 5,
                                               .fleet = 2,
                                               .brokers = 1,
                                               .deliver = 1,
                                               .extra_conf = "[fcm]\nquota_per_minute=100000000\n"};

    (void)state;
    rig = rig_new(&options);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

/* Standard output and error of a line, one behind the other. Owned. */
static char *type_line(const char *line, int expected_exit)
{
    g_autofree char *out = NULL, *errors = NULL;
    int code = rig_loa_line(rig, line, &out, &errors);

    if (code != expected_exit)
        fail_msg("loa %s: exit %d, not %d\n%s%s", line, code, expected_exit, out, errors);
    return g_strconcat(out, errors, NULL);
}

static void type_lines(const struct line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *text = type_line(lines[i].line, lines[i].exit);
        for (size_t k = 0; k < SAYS_MAX && lines[i].says[k] != NULL; k++)
            if (strstr(text, lines[i].says[k]) == NULL)
                fail_msg("loa %s does not say \"%s\":\n%s", lines[i].line, lines[i].says[k], text);
    }
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(rig->dir, name, NULL);

    assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* A line with numbers in it. Owned. */
static char *line_of(const char *format, ...) G_GNUC_PRINTF(1, 2);
static char *line_of(const char *format, ...)
{
    va_list args;
    char *line;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    return line;
}

/* Creates as "an" with --json; returns the number. */
static int64_t create(const char *options)
{
    g_autofree char *line = line_of(INFO TEXT " --again --expires 2h --json %s", options);
    g_autofree char *out = NULL;
    g_autofree char *errors = NULL;
    g_autoptr(json_t) json = NULL;

    assert_int_equal(rig_loa_line(rig, line, &out, &errors), EX_OK);
    json = json_loads(out, 0, NULL);
    assert_non_null(json);
    return json_integer_value(json_object_get(json, "broadcast"));
}

static void approve(int64_t id)
{
    g_autofree char *line = line_of("broadcast approve %ld --yes --again" BINH, (long)id);
    g_autofree char *text = type_line(line, EX_OK);

    assert_non_null(strstr(text, "RELEASED"));
}

static void until_finished(int64_t id)
{
    g_autofree char *sql = g_strdup_printf(
        "SELECT (finished_at IS NOT NULL)::int FROM broadcast WHERE id = %" G_GINT64_FORMAT, id);

    rig_until(rig, sql, 60, true);
}

/* ---- devices ---- */

static void write_imports(void)
{
    write_file("good.csv", "platform,token,commune,os\n"
                           "fcm,cli-1,01273,android 14\n"
                           "fcm,cli-2,01273,\"android, 15\"\n");
    write_file("bad.csv", "platform,token,commune\n"
                          "fcm,cli-3,01273\n"
                          "fcm,cli-4,99999\n"
                          "pager,cli-5,01273\n"
                          "fcm,cli-6,01273,more\n");
    write_file("header.csv", "platform,tokn\nfcm,cli-7\n");
    write_file("empty.csv", "");
    write_file("good.ndjson", "{\"platform\":\"fcm\",\"token\":\"cli-8\"}\n"
                              "{\"platform\":\"mqtt\",\"key\":\"install-0123456789\"}\n");
    write_file("bad.ndjson", "{\"platform\":\"fcm\",\"token\":\"cli-9\"}\n"
                             "{\"platform\":\"fcm\",\"token\":\n"
                             "{\"platform\":\"fcm\"}\n"
                             "{\"platform\":\"mqtt\"}\n"
                             "{\"platform\":\"fcm\",\"token\":\"cli-10\",\"age\":7}\n");
}

static void test_device_import(void **state)
{
    static const struct line refused[] = {
        {"device import @bad.csv",
         EX_DATAERR,
         {"line 3: commune: is not a commune", "line 4: platform: ", "line 5: has more fields",
          "3 of 4 lines are bad; nothing was imported"}},
        {"device import @header.csv", EX_DATAERR, {"tokn", "unknown", "known: platform"}},
        {"device import @empty.csv", EX_DATAERR, {"empty", "must name the columns"}},
        {"device import @missing.csv", EX_DATAERR, {"missing.csv: No such file"}},
        {"device import @bad.ndjson",
         EX_DATAERR,
         {"line 2: ", "line 3: token: is needed", "line 4: key: is needed",
          "line 5: age: ", "4 of 5 lines are bad"}},
        {"device import", EX_USAGE, {"give one FILE"}},
        {"device import @good.csv --realm real", EX_USAGE, {"--realm live"}},
    };
    static const struct line taken[] = {
        {"device import @good.csv", EX_OK, {"2 devices added, 0 updated"}},
        {"device import @good.csv", EX_OK, {"0 devices added, 2 updated"}},
        {"device import @good.ndjson", EX_OK, {"2 devices added"}},
        {"device import @bad.csv --skip-bad", EX_OK, {"line 3: ", "1 devices added"}},
    };
    int64_t before = rig_i64(rig, "SELECT count(*) FROM device");

    (void)state;
    write_imports();
    type_lines(refused, G_N_ELEMENTS(refused));
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM device"), before);
    type_lines(taken, G_N_ELEMENTS(taken));
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM device"), before + 5);
    rig_exec(rig,
             "DELETE FROM device WHERE push_token LIKE 'cli-%' OR id > " G_STRINGIFY(FCM) " + 15");
}

static void test_device_show(void **state)
{
    static const struct line before[] = {
        {"device show 1", EX_OK, {"device      1\n", "channel     fcm", "…rig-1", ": none"}},
        {"device show 999999", EX_NOINPUT, {"999999"}},
        {"device show one", EX_USAGE, {"give one device id, a number"}},
    };
    static const struct line after[] = {
        {"device show 1", EX_OK, {" v1 alert  fcm/", "chunk 0[", "ACCEPTED"}},
        {"device show 4011", EX_OK, {"mqtt", "ACCEPTED"}},
    };
    int64_t id;

    (void)state;
    type_lines(before, G_N_ELEMENTS(before));
    id = create("--province");
    approve(id);
    until_finished(id);
    type_lines(after, G_N_ELEMENTS(after));
}

/* ---- people ---- */

static void test_accounts(void **state)
{
    static const struct line lines[] = {
        {"account create chi --key-out @chi.key", EX_OK, {"account ", "\"chi\" created"}},
        {"account create chi --key-out @chi2.key", EX_DATAERR, {"account \"chi\" exists"}},
        {"account create dung --key-out @chi.key", EX_DATAERR, {"chi.key", "exist"}},
        {"account create 17 --key-out @17.key", EX_DATAERR, {"account name: ", "not only digits"}},
        {"account create dung", EX_USAGE, {"--key-out FILE"}},
        {"account list", EX_OK, {"an ", "binh ", "chi "}},
        {"account disable nobody", EX_NOINPUT, {"no account \"nobody\""}},
        {"account disable chi", EX_OK, {"\"chi\" is disabled"}},
        {"account list", EX_OK, {"DISABLED"}},
        {"stop --all --reason thử --as chi --key @chi.key",
         EX_NOPERM,
         {"account \"chi\" is disabled", "another account"}},
        {"stop --all --reason thử --as an --key @binh.key",
         EX_NOPERM,
         {"this key is not the key of account \"an\"", "--key"}},
        {"stop --all --reason thử --as nobody --key @an.key",
         EX_NOINPUT,
         {"no account", "loa account list"}},
        {"stop --all --reason thử --as an", EX_DATAERR, {"--as NAME --key FILE"}},
        {"stop --all --reason thử --as an --key @missing.key", EX_NOINPUT, {"missing.key"}},
        {"stop --list", EX_OK, {"nothing is stopped"}},
    };

    (void)state;
    type_lines(lines, G_N_ELEMENTS(lines));
}

static void test_two_people(void **state)
{
    int64_t id = create("--communes 01273");
    g_autofree char *by_creator = line_of("broadcast approve %ld --yes" AN, (long)id);
    g_autofree char *unconfirmed = line_of("broadcast approve %ld" BINH, (long)id);
    g_autofree char *by_binh = line_of("broadcast approve %ld --yes --again" BINH, (long)id);
    g_autofree char *alone =
        line_of("broadcast approve %ld --yes --as binh --key @an.key", (long)id);
    const struct line lines[] = {
        {by_creator, EX_NOPERM, {"creator and approver must be two people"}},
        {alone, EX_NOPERM, {"not the key of account \"binh\""}},
        {unconfirmed, EX_DATAERR, {"reaches ", "nothing was released", "--yes"}},
        {by_binh, EX_OK, {"01273", "reaches ", "RELEASED"}},
        {by_binh, EX_OK, {"was already released by you"}},
        {"broadcast approve 999999 --yes" BINH, EX_NOINPUT, {"999999"}},
    };

    (void)state;
    type_lines(lines, G_N_ELEMENTS(lines));
    until_finished(id);
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM audit WHERE act = 'broadcast_released'"
                                  " AND object = (SELECT 'broadcast:' || max(id) FROM broadcast)"),
                     1);
}

/* ---- broadcasts ---- */

static void write_texts(void)
{
    g_autofree char *body = g_strnfill(MESSAGE_BODY_MAX + 1, 'a');
    g_autofree char *quotes = g_strnfill(MESSAGE_BODY_MAX, '\n');
    g_autoptr(json_t) too_big = NULL;
    g_autofree char *options = g_strdup_printf("{\"title\":\"T\",\"body\":\"%s\"}", body);

    write_file("long.json", options);
    quotes[0] = quotes[MESSAGE_BODY_MAX - 1] = 'a';
    too_big = json_pack("{s:s, s:s}", "title", "T", "body", quotes);
    g_free(options);
    options = json_dumps(too_big, 0);
    write_file("escapes.json", options);
    write_file("broken.json", "{\"title\":\"T\",\"boddy\":\"B\"}");
}

static void test_create_refusals(void **state)
{
    g_autofree char *body = g_strnfill(MESSAGE_BODY_MAX + 1, 'a');
    g_autofree char *too_long = line_of(INFO " --province --expires 2h --title T --body %s", body);
    const struct line lines[] = {
        {INFO TEXT " --expires 2h", EX_DATAERR, {"area: ", "--province", "--communes"}},
        {INFO TEXT " --expires 2h --province --communes 01273", EX_DATAERR, {"area: ", "not both"}},
        {INFO TEXT " --expires 2h --communes 01273,99999",
         EX_DATAERR,
         {"communes: unknown codes: 99999", "areas.csv"}},
        {INFO TEXT " --expires 2h --communes 1273",
         EX_DATAERR,
         {"communes: \"1273\"", "five-digit"}},
        {INFO TEXT " --province --expires 2020-01-01T00:00", EX_DATAERR, {"expires: ", "future"}},
        {INFO TEXT " --province --expires soon", EX_DATAERR, {"expires: \"soon\"", "30m, 6h, 3d"}},
        {INFO TEXT " --province", EX_DATAERR, {"expires: ", "--expires 6h"}},
        {INFO TEXT " --province --expires 400d", EX_DATAERR, {"expires: ", "days from now"}},
        {too_long, EX_DATAERR, {"body.vi: 2401 bytes, at most 2400"}},
        {INFO " --province --expires 2h --text vi=@long.json",
         EX_DATAERR,
         {"long.json", "body: ", "2400 bytes"}},
        {INFO " --province --expires 2h --text vi=@escapes.json",
         EX_DATAERR,
         {"language vi", "channel ", " bytes for ", "at most "}},
        {INFO " --province --expires 2h --text vi=@broken.json",
         EX_DATAERR,
         {"broken.json: ", "body: ", "boddy: "}},
        {INFO " --province --expires 2h --text vi=@missing.json", EX_DATAERR, {"missing.json"}},
        {INFO " --province --expires 2h --text @long.json", EX_DATAERR, {"LANGUAGE=FILE"}},
        {INFO " --province --expires 2h",
         EX_DATAERR,
         {"text: the Vietnamese text (vi) is missing"}},
        {INFO TEXT " --province --expires 2h --url http://x.vn", EX_DATAERR, {"url: ", "https://"}},
        {"broadcast create --kind THONG_TIN --level khan_cap --province --expires 2h" TEXT AN,
         EX_DATAERR,
         {"level: ", "CANH_BAO"}},
        {"broadcast create --kind CANH_BAO --level khan_cap --province --expires 2h" TEXT AN,
         EX_DATAERR,
         {"instruction.vi: "}},
        {"broadcast create --kind TIN --level thuong --province --expires 2h" TEXT AN,
         EX_DATAERR,
         {"kind: one of THONG_TIN, CANH_BAO"}},
        {INFO TEXT " --realm exercise --province --expires 2h --instruction 'không phải diễn tập'",
         EX_DATAERR,
         {"an exercise must not say"}},
        {INFO TEXT " --province --expires 2h --colour red", EX_USAGE, {"--colour", "--help"}},
    };
    int64_t before = rig_i64(rig, "SELECT count(*) FROM broadcast");

    (void)state;
    write_texts();
    type_lines(lines, G_N_ELEMENTS(lines));
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM broadcast"), before);
}

/* A drill is marked, finishes, and no live device is in it. */
static void test_exercise(void **state)
{
    g_autofree char *show = NULL, *text = NULL;
    int64_t id, requests;
    g_autoptr(json_t) before = rig_sim(rig, "{\"cmd\":\"stats\"}");
    g_autoptr(json_t) after = NULL;

    (void)state;
    id = create("--province --realm exercise");
    approve(id);
    until_finished(id);
    show = line_of("broadcast show %ld", (long)id);
    text = type_line(show, EX_OK);
    assert_non_null(strstr(text, "[DIỄN TẬP]"));
    assert_non_null(strstr(text, "class dien_tap"));
    assert_non_null(strstr(text, "release signature: valid"));
    after = rig_sim(rig, "{\"cmd\":\"stats\"}");
    requests = json_integer_value(json_object_get(json_object_get(before, "fcm"), "requests"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(after, "fcm"), "requests")),
                     requests);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), 0);
}

static void test_status_list_show(void **state)
{
    int64_t id = create("--communes 01273");
    g_autofree char *status = line_of("broadcast status %ld", (long)id);
    g_autofree char *status_json = line_of("broadcast status %ld --json", (long)id);
    g_autofree char *show = line_of("broadcast show %ld", (long)id);
    g_autofree char *number = line_of("\"broadcast\":%ld,", (long)id);
    g_autofree char *text = NULL;
    g_autoptr(json_t) json = NULL;
    const struct line draft[] = {
        {status, EX_OK, {"draft", "not released"}},
        {show, EX_OK, {"Lịch tiêm chủng", "created by an", "if taken back: ĐÍNH CHÍNH"}},
        {"broadcast list --json --limit 1", EX_OK, {number, "\"state\":\"draft\""}},
        {"broadcast status 999999", EX_NOINPUT, {"999999"}},
        {"broadcast show", EX_USAGE, {"give one broadcast, by its number or alert id"}},
    };
    const struct line released[] = {
        {status, EX_OK, {"released", "finished", "4000 accepted"}},
        {show, EX_OK, {"approved by binh", "broadcast_released"}},
        {"broadcast list", EX_OK, {"released", "THONG_TIN", "Lịch tiêm chủng"}},
    };

    (void)state;
    type_lines(draft, G_N_ELEMENTS(draft));
    approve(id);
    until_finished(id);
    type_lines(released, G_N_ELEMENTS(released));
    text = type_line(status_json, EX_OK);
    json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "targeted")), FCM + 15);
    assert_int_equal(json_integer_value(json_object_get(json, "unaccounted")), 0);
    assert_true(json_is_true(json_object_get(json, "finished")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "outcomes"), "ACCEPTED")),
        FCM + 15);
}

static void test_cancel(void **state)
{
    int64_t id = create("--province");
    g_autofree char *cancel = line_of("broadcast cancel %ld --reason 'sai ngày'" AN, (long)id);
    g_autofree char *no_reason = line_of("broadcast cancel %ld" AN, (long)id);
    g_autofree char *late = line_of("broadcast approve %ld --yes" BINH, (long)id);
    const struct line lines[] = {
        {no_reason, EX_USAGE, {"--reason"}},
        {cancel, EX_OK, {"withdrawn; nobody had got it"}},
        {cancel, EX_OK, {"was taken back before"}},
        {late, EX_DATAERR, {"\"withdrawn\" cannot be released"}},
    };

    (void)state;
    type_lines(lines, G_N_ELEMENTS(lines));
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), 0);
}

/* ---- stop, outbox, doctor and the rest ---- */

/* One channel is stopped while its flights are out: they end, no other leaves, the other channels
 * go on; after the resume everybody is reached once. */
static void test_stop_and_resume(void **state)
{
    static const struct line stop[] = {
        {"stop --channel fcm" AN, EX_USAGE, {"--reason"}},
        {"stop --channel sms --reason thử" AN, EX_DATAERR, {"\"sms\"", "fcm, apns or mqtt"}},
        {"stop --reason thử" AN, EX_DATAERR, {"--all, --channel", "--broadcast"}},
        {"stop --channel fcm --reason 'nhầm nội dung'" AN, EX_OK, {"channel:fcm: stopped"}},
        {"stop --channel fcm --reason 'nhầm nội dung'" AN, EX_OK, {"stopped already"}},
        {"stop --list", EX_OK, {"channel:fcm", "by an: nhầm nội dung"}},
    };
    static const struct line resume[] = {
        {"resume --channel fcm --reason 'đã kiểm tra'" BINH, EX_OK, {"resumed"}},
        {"resume --channel fcm --reason 'đã kiểm tra'" BINH, EX_OK, {"was not stopped"}},
        {"stop --list", EX_OK, {"nothing is stopped"}},
    };
    g_autofree char *status = NULL, *text = NULL;
    int64_t id, accepted;

    (void)state;
    json_decref(rig_sim(rig, "{\"cmd\":\"reset\"}"));
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{},"
                             "\"do\":{\"delay_ms\":1000},\"for_ms\":600000}"));
    id = create("--province");
    approve(id);
    rig_until(rig, "SELECT count(*) FROM fanout_flight WHERE codes IS NULL", 30, true);
    type_lines(stop, G_N_ELEMENTS(stop));
    rig_until(rig, "SELECT (count(*) = 0)::int FROM fanout_flight WHERE codes IS NULL", 30, true);
    json_decref(rig_sim(rig, "{\"cmd\":\"clear\"}"));
    accepted = rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED);
    assert_true(accepted < FCM);
    status = line_of("broadcast status %ld", (long)id);
    text = type_line(status, EX_OK);
    assert_non_null(strstr(text, "STOPPED: nhầm nội dung"));
    rig_until(rig,
              "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE channel = 'apns'"
              " AND state = 'open'",
              30, true);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED), 10);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), accepted);
    type_lines(resume, G_N_ELEMENTS(resume));
    until_finished(id);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), FCM);
    assert_int_equal(rig_assert_tokens(rig, id, "fcm"), 0);
}

static void test_outbox(void **state)
{
    const struct notification notification = {
        .key = "cli:1",
        .account_id = rig_i64(rig, "SELECT id FROM account WHERE name = 'an'"),
        .title = "Phản ánh đã được trả lời",
        .body = "Mời xem kết quả.",
        .expires_utc_us = g_get_real_time() + 3600 * USEC_PER_SEC};
    static const struct line dead[] = {
        {"outbox list", EX_OK, {"dead", "cli:1: no_device"}},
        {"outbox list --state dead --json", EX_OK, {"\"reason\":\"no_device\""}},
        {"outbox list --state lost", EX_USAGE, {"pending, sending, done, dead"}},
        {"outbox retry 999999" AN, EX_NOINPUT, {"no notification 999999"}},
        {"outbox retry 1", EX_DATAERR, {"--as NAME --key FILE"}},
        {"outbox retry 1 --as an --key @binh.key", EX_NOPERM, {"not the key"}},
        {"outbox retry one" AN, EX_USAGE, {"the number of a notification"}},
    };
    static const struct line retried[] = {
        {"outbox retry 1 --hours 2" AN, EX_OK, {"tried again for 2 hours"}}};
    static const struct line done[] = {
        {"outbox list --state done", EX_OK, {"1/1 accepted"}},
        {"outbox list", EX_OK, {"nothing"}},
        {"outbox retry 1" AN, EX_DATAERR, {"1", "done"}},
    };
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_true(outbox_enqueue(rig->db, &notification, 1, &error));
    rig_until(rig, "SELECT count(*) FROM notification_status WHERE state = 'dead'", 30, false);
    type_lines(dead, G_N_ELEMENTS(dead));
    rig_exec(rig, "UPDATE device SET account_id = (SELECT id FROM account WHERE name = 'an')"
                  " WHERE id = 1");
    type_lines(retried, G_N_ELEMENTS(retried));
    rig_until(rig, "SELECT count(*) FROM notification_status WHERE state = 'done'", 30, false);
    type_lines(done, G_N_ELEMENTS(done));
}

static void test_doctor(void **state)
{
    static const struct line bad[] = {
        {"doctor", 1, {"FAIL  mqtt", "is every broker of [mqtt] brokers running", "OK    fcm"}}};
    g_autofree char *text = type_line("doctor", EX_OK);

    (void)state;
    assert_null(strstr(text, "FAIL"));
    assert_non_null(strstr(text, "OK    accounting"));
    assert_non_null(strstr(text, "OK    mqtt"));
    assert_non_null(strstr(text, "nobody gets in without the certificate"));
    rig_kill(&rig->broker[0]);
    type_lines(bad, G_N_ELEMENTS(bad));
    rig_start(rig, &rig->broker[0]);
}

static void test_config_and_migrate(void **state)
{
    static const struct line lines[] = {
        {"check-config", EX_OK, {"no fault"}},
        {"check-config --config @broken.conf",
         EX_CONFIG,
         {"[deliver] lease_ms", "[deliver] speed", "fishes", "broken.conf"}},
        {"check-config --config @missing.conf", EX_CONFIG, {"missing.conf"}},
        {"check-config --config @nofile.conf", EX_CONFIG, {"[fcm] service_account_file", "cannot"}},
        {"broadcast list --config @broken.conf", EX_CONFIG, {"[deliver] speed"}},
        {"migrate", EX_OK, {"0 migrations applied, the schema is current"}},
        {"migrate", EX_OK, {"0 migrations applied, the schema is current"}},
        {"fly", EX_USAGE, {"there is no command \"fly\"", "loa --help"}},
    };
    g_autofree char *conf = NULL;
    g_autoptr(GString) nofile = NULL;

    (void)state;
    write_file("broken.conf", "[deliver]\nlease_ms=soon\nspeed=9\n[fishes]\ncount=1\n");
    assert_true(g_file_get_contents(rig->conf, &conf, NULL, NULL));
    nofile = g_string_new(conf);
    g_string_replace(nofile, "fcm-service-account", "missing", 0);
    write_file("nofile.conf", nofile->str);
    type_lines(lines, G_N_ELEMENTS(lines));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_import),    cmocka_unit_test(test_device_show),
        cmocka_unit_test(test_accounts),         cmocka_unit_test(test_two_people),
        cmocka_unit_test(test_create_refusals),  cmocka_unit_test(test_exercise),
        cmocka_unit_test(test_status_list_show), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_stop_and_resume),  cmocka_unit_test(test_outbox),
        cmocka_unit_test(test_doctor),           cmocka_unit_test(test_config_and_migrate),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
