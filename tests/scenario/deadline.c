/* `loa deadline` and the calendar's line of `loa doctor`, as the real program, without a database:
 * the answer for people and for scripts, the operator's own files, and every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "feedback/day.h"
#include "tests/scenario/rig_internal.h"

#define SAYS_MAX 4

static char *dir;

/* Runs `loa LINE`, "@" in it standing for the folder, with the clock shifted; both outputs owned.
 */
static int loa_at(const char *line, int64_t clock_offset_s, char **out, char **out_errors)
{
    g_autofree char *folder = g_strconcat(dir, "/", NULL);
    g_autofree char *offset = g_strdup_printf("%" G_GINT64_FORMAT, clock_offset_s);
    g_autofree char *program = rig_binary("loa");
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) argv = NULL;
    g_auto(GStrv) envp = g_environ_setenv(g_get_environ(), "LOA_CLOCK_OFFSET_S", offset, TRUE);
    g_autoptr(GError) error = NULL;
    int status;

    g_string_printf(text, "%s %s", program, line);
    g_string_replace(text, "@", folder, 0);
    assert_true(g_shell_parse_argv(text->str, NULL, &argv, NULL));
    if (!g_spawn_sync(NULL, argv, envp, G_SPAWN_DEFAULT, NULL, NULL, out, out_errors, &status,
                      &error))
        fail_msg("%s", error->message);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int setup(void **state)
{
    (void)state;
    dir = g_dir_make_tmp("loa-deadline-XXXXXX", NULL);
    return dir == NULL;
}

static int teardown(void **state)
{
    static const char *const files[] = {"own.csv", "bad.csv", "policy.csv", "doctor.conf"};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(dir, files[i], NULL);
        g_unlink(path);
    }
    assert_int_equal(g_rmdir(dir), 0);
    g_free(dir);
    return 0;
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* The one JSON object of a line. Owned. */
static json_t *json_of(const char *line)
{
    g_autofree char *out = NULL, *errors = NULL;
    int code = loa_at(line, 0, &out, &errors);
    json_t *json = json_loads(out, 0, NULL);

    if (code != EX_OK || json == NULL || errors[0] != '\0')
        fail_msg("loa %s: exit %d\n%s%s", line, code, out, errors);
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    if (text == NULL)
        fail_msg("no \"%s\"", key);
    return text;
}

static void test_json(void **state)
{
    g_autoptr(json_t) json =
        json_of("deadline --kind intake --start 2025-10-03T16:30+07:00 --json");
    const json_t *part = json_array_get(json_object_get(json, "parts"), 2);
    const json_t *note = json_array_get(json_object_get(json, "notes"), 0);
    (void)state;

    assert_string_equal(text_of(json, "kind"), "intake");
    assert_string_equal(text_of(json, "start"), "2025-10-03T16:30:00+07:00");
    assert_string_equal(text_of(json, "due"), "2025-10-06T16:30:00+07:00");
    assert_string_equal(text_of(json, "last_day"), "2025-10-06");
    assert_int_equal(json_integer_value(json_object_get(json, "amount")), 8);
    assert_string_equal(text_of(json, "unit"), "working-hours");
    assert_string_equal(text_of(json, "citation"), "Điều 9.2a");
    assert_true(g_str_has_prefix(text_of(json, "derivation"),
                                 "8 giờ = 0,5 giờ thứ Sáu + 7,5 giờ thứ Hai\n"));
    assert_int_equal(json_array_size(json_object_get(json, "parts")), 3);
    assert_string_equal(text_of(part, "date"), "2025-10-06");
    assert_string_equal(text_of(part, "from"), "2025-10-06T13:00:00+07:00");
    assert_string_equal(text_of(part, "to"), "2025-10-06T16:30:00+07:00");
    assert_int_equal(json_array_size(json_object_get(json, "notes")), 2);
    assert_string_equal(text_of(note, "date"), "2025-10-04");
    assert_string_equal(text_of(note, "day"), "weekly-rest");
    assert_true(json_is_false(json_object_get(json, "estimated")));
    assert_string_equal(text_of(json, "urgent_target"), "2025-10-03T17:30:00+07:00");
    assert_int_equal(strlen(text_of(json, "calendar_version")), 16);
    assert_int_equal(strlen(text_of(json, "policy_version")), 16);
}

/* Every kind; a term in days ends at 00:00 of the day after its last. */
static void test_every_kind(void **state)
{
    static const struct {
        const char *kind, *start, *due, *last_day;
    } rows[] = {
        {"intake", "2026-01-01T20:00+07:00", "2026-01-05T17:00:00+07:00", "2026-01-05"},
        {"dispatch", "2025-10-06T10:00:00Z", "2025-10-07T11:30:00+07:00", "2025-10-07"},
        {"redispatch", "2025-10-06T11:00", "2025-10-06T16:30:00+07:00", "2025-10-06"},
        {"handling", "2026-02-06T09:12:33+07:00", "2026-02-25T00:00:00+07:00", "2026-02-24"},
        {"urgent", "2025-10-01T03:10+07:00", "2025-10-01T11:30:00+07:00", "2025-10-01"},
        {"clarify-window", "2026-02-12", "2026-02-24T00:00:00+07:00", "2026-02-23"},
        {"clarify-answer", "2025-10-06", "2025-10-16T00:00:00+07:00", "2025-10-15"},
        {"maintenance", "2025-10-02", "2025-10-08T00:00:00+07:00", "2025-10-07"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *line =
            g_strdup_printf("deadline --kind %s --start %s --json", rows[i].kind, rows[i].start);
        g_autoptr(json_t) json = json_of(line);
        assert_string_equal(text_of(json, "due"), rows[i].due);
        assert_string_equal(text_of(json, "last_day"), rows[i].last_day);
    }
}

/* A person reads Vietnamese. */
static void test_text(void **state)
{
    g_autofree char *out = NULL, *errors = NULL;
    (void)state;

    assert_int_equal(loa_at("deadline --kind handling --start 2027-01-28", 0, &out, &errors),
                     EX_OK);
    assert_true(g_str_has_prefix(out, "Hạn: hết ngày thứ Hai, 15/02/2027 (24:00)\n"));
    assert_non_null(strstr(out, "Tết Âm lịch (dự kiến, chưa có văn bản)"));
    assert_string_equal(errors, "");
}

static void test_own_files(void **state)
{
    static const char calendar[] = "record,from,to,what,status,document,name\n"
                                   "hours,2021-01-01,,mon-sat 08:00-12:00,official,1/QĐ,Giờ\n";
    g_autofree char *shipped = NULL;
    g_auto(GStrv) parts = NULL;
    g_autofree char *policy = NULL;
    (void)state;

    assert_true(g_file_get_contents(LOA_SOURCE_DIR "/etc/policy.csv", &shipped, NULL, NULL));
    parts = g_strsplit(shipped, "intake,2021-01-01,,8,", 2);
    policy = g_strjoin("intake,2021-01-01,,6,", parts[0], parts[1], NULL);
    write_file("own.csv", calendar);
    write_file("policy.csv", policy);
    g_autoptr(json_t) own = json_of("deadline --kind intake --start 2025-10-03T10:00 --json "
                                    "--calendar @own.csv --policy @policy.csv");
    g_autoptr(json_t) usual = json_of("deadline --kind intake --start 2025-10-03T10:00 --json");

    assert_string_equal(text_of(own, "due"), "2025-10-04T12:00:00+07:00");
    assert_string_equal(text_of(usual, "due"), "2025-10-06T10:00:00+07:00");
    assert_string_not_equal(text_of(own, "calendar_version"), text_of(usual, "calendar_version"));
    assert_string_not_equal(text_of(own, "policy_version"), text_of(usual, "policy_version"));
}

static void test_refusals(void **state)
{
    static const struct {
        const char *line;
        int exit;
        const char *says[SAYS_MAX]; /* on standard error */
    } rows[] = {
        {"deadline --start 2025-10-03T16:30", EX_USAGE, {"loa deadline: give --kind"}},
        {"deadline --kind intake", EX_USAGE, {"loa deadline: give --start"}},
        {"deadline --kind intake --start 2025-10-03T16:30 more", EX_USAGE, {"\"more\""}},
        {"deadline --kind intake --begin now", EX_USAGE, {"--begin", "loa deadline --help"}},
        {"deadline --kind sum --start 2025-10-03T16:30",
         EX_DATAERR,
         {"kind: \"sum\" is none of intake, ", "maintenance"}},
        {"deadline --kind intake --start tomorrow",
         EX_DATAERR,
         {"start: \"tomorrow\" is no time such as 2025-10-03T16:30+07:00"}},
        {"deadline --kind intake --start 2025-10-03",
         EX_DATAERR,
         {"start: intake is counted in hours, so \"2025-10-03\" needs a time of day"}},
        {"deadline --kind intake --start 2019-10-03T16:30",
         EX_DATAERR,
         {"policy: no rule for intake on 2019-10-03"}},
        {"deadline --kind intake --start 2025-10-03T16:30 --calendar @none.csv",
         EX_NOINPUT,
         {"none.csv"}},
        {"deadline --kind intake --start 2025-10-03T16:30 --policy @none.csv",
         EX_NOINPUT,
         {"none.csv"}},
        {"deadline --kind intake --start 2025-10-03T16:30 --calendar @bad.csv",
         EX_DATAERR,
         {"bad.csv: 2 faults, nothing was taken:", "line 2: record: must be hours, holiday",
          "line 3: document: an official row names"}},
        {"deadline --kind intake --start 2025-10-03T16:30 --calendar /dev/zero",
         EX_DATAERR,
         {"/dev/zero is no file of at most"}},
    };
    (void)state;

    write_file("bad.csv", "record,from,to,what,status,document,name\n"
                          "hour,2021-01-01,,mon-fri 07:30-11:30,official,d,x\n"
                          "hours,2021-01-01,,mon-fri 07:30-11:30,official,,x\n");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *out = NULL, *errors = NULL;
        int code = loa_at(rows[i].line, 0, &out, &errors);
        if (code != rows[i].exit || out[0] != '\0')
            fail_msg("loa %s: exit %d\n%s%s", rows[i].line, code, out, errors);
        for (size_t k = 0; k < SAYS_MAX && rows[i].says[k] != NULL; k++)
            if (strstr(errors, rows[i].says[k]) == NULL)
                fail_msg("loa %s does not say \"%s\":\n%s", rows[i].line, rows[i].says[k], errors);
    }
}

/* Seconds from now to 09:00 of a day in Viet Nam. */
static int64_t offset_to(int year, int month, int day)
{
    int64_t then = instant_of(day_from_date(year, month, day), 9 * 3600 * USEC_PER_SEC);

    return (then - clock_system()->utc_us(clock_system())) / USEC_PER_SEC;
}

/* Before 1 December next year's rows may be missing, after it they may not. */
static void test_doctor(void **state)
{
    static const struct {
        int year, month, day;
        const char *says;
    } rows[] = {
        {2026, 12, 1, "OK    calendar     the official days off are there\n"},
        {2026, 12, 2,
         "FAIL  calendar     not announced: Tết Âm lịch 2027, Quốc khánh 2027: add the official "
         "rows to "},
    };
    (void)state;

    write_file("doctor.conf", "[database]\nconninfo=host=/nonexistent dbname=loa\n");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *out = NULL, *errors = NULL;
        loa_at("doctor --config @doctor.conf", offset_to(rows[i].year, rows[i].month, rows[i].day),
               &out, &errors);
        if (strstr(out, rows[i].says) == NULL)
            fail_msg("%s%s", out, errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),     cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_text),     cmocka_unit_test(test_own_files),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_doctor),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
