/* See the header. Children die with the test program (PR_SET_PDEATHSIG); their output goes to
 * DIR/NAME.log, whose tails are printed when a test fails. */
#include "tests/scenario/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "base/crypto.h"
#include "tests/scenario/rig_internal.h"
#include "tests/support/testwait.h"

#define LOOK_US 20000 /* between two looks at the database: the roles need it, too */

extern char **environ;

/* ---- processes ---- */

static void child_setup(gpointer data)
{
    (void)data;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void rig_start(struct rig *rig, struct rig_process *process)
{
    g_autofree char *log = g_strdup_printf("%s/%s.log", rig->dir, process->name);
    g_autoptr(GError) error = NULL;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    GPid pid;

    assert_true(fd >= 0);
    assert_int_equal(process->pid, 0);
    if (!g_spawn_async_with_fds(NULL, process->argv, process->envp, G_SPAWN_DO_NOT_REAP_CHILD,
                                child_setup, NULL, &pid, -1, fd, fd, &error))
        fail_msg("%s: %s", process->name, error->message);
    close(fd);
    process->pid = pid;
    process->starts++;
}

static int reap(struct rig_process *process)
{
    int status = 0;

    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    process->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void rig_kill(struct rig_process *process)
{
    if (process->pid == 0)
        return;
    kill(process->pid, SIGKILL);
    reap(process);
}

bool rig_alive(const struct rig_process *process)
{
    siginfo_t info = {.si_pid = 0};

    return process->pid != 0 &&
           waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

int rig_stop(struct rig_process *process)
{
    kill(process->pid, SIGTERM);
    return reap(process);
}

void rig_process_set(struct rig_process *process, const char *name, char **argv)
{
    g_strlcpy(process->name, name, sizeof(process->name));
    process->argv = argv;
    process->envp = g_strdupv(environ);
}

struct rig_process *rig_role(struct rig *rig, const char *name)
{
    for (size_t i = 0; i < rig->n_roles; i++)
        if (strcmp(rig->role[i].name, name) == 0)
            return &rig->role[i];
    fail_msg("no role %s", name);
    return NULL;
}

char *rig_binary(const char *name)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *tests = g_path_get_dirname(self);
    g_autofree char *build = g_path_get_dirname(tests);

    return g_build_filename(build, name, NULL);
}

/* Runs a program to its end. */
static int run(char **argv, char **out, char **out_errors)
{
    g_autoptr(GError) error = NULL;
    int status;

    if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, child_setup, NULL, out, out_errors,
                      &status, &error))
        fail_msg("%s: %s", argv[0], error->message);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int rig_run(char **argv, char **out)
{
    g_autofree char *text = NULL, *errors = NULL;
    int status = run(argv, &text, &errors);

    if (status != 0)
        print_message("%s %s: exit %d\n%s%s", argv[0], argv[1], status, text, errors);
    if (out != NULL)
        *out = g_steal_pointer(&text);
    return status;
}

static GPtrArray *loa_argv(struct rig *rig)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(argv, rig_binary("loa"));
    g_ptr_array_add(argv, g_strdup("--config"));
    g_ptr_array_add(argv, g_strdup(rig->conf));
    return argv;
}

int rig_loa(struct rig *rig, char **out, ...)
{
    g_autoptr(GPtrArray) argv = loa_argv(rig);
    const char *arg;
    va_list args;

    va_start(args, out);
    while ((arg = va_arg(args, const char *)) != NULL)
        g_ptr_array_add(argv, g_strdup(arg));
    va_end(args);
    g_ptr_array_add(argv, NULL);
    return rig_run((char **)argv->pdata, out);
}

int rig_loa_line(struct rig *rig, const char *line, char **out, char **out_errors)
{
    g_autoptr(GPtrArray) argv = loa_argv(rig);
    g_autofree char *folder = g_strconcat(rig->dir, "/", NULL);
    g_autoptr(GString) text = g_string_new(line);
    g_auto(GStrv) words = NULL;

    g_string_replace(text, "@", folder, 0);
    assert_true(g_shell_parse_argv(text->str, NULL, &words, NULL));
    for (char **word = words; *word != NULL; word++)
        g_ptr_array_add(argv, g_strdup(*word));
    g_ptr_array_add(argv, NULL);
    return run((char **)argv->pdata, out, out_errors);
}

/* ---- control sockets ---- */

static json_t *control(const char *path, const char *command)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autoptr(GString) answer = g_string_new(NULL);
    g_autofree char *line = g_strdup_printf("%s\n", command);
    char chunk[4096];
    ssize_t n;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return NULL;
    }
    assert_int_equal(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    while (strchr(answer->str, '\n') == NULL && (n = read(fd, chunk, sizeof(chunk))) > 0)
        g_string_append_len(answer, chunk, n);
    close(fd);
    return json_loads(answer->str, 0, NULL);
}

json_t *rig_sim(struct rig *rig, const char *format, ...)
{
    g_autofree char *command = NULL;
    va_list args;
    json_t *answer;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    answer = control(rig->control, command);
    if (answer == NULL || json_object_get(answer, "error") != NULL)
        fail_msg("loa-sim refuses %s", command);
    return answer;
}

json_t *rig_fleet(struct rig *rig, const char *command)
{
    return control(rig->fleet_control, command);
}

/* ---- the database ---- */

int64_t rig_i64(struct rig *rig, const char *sql)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = db_query(rig->db, sql, NULL, &error);

    if (res == NULL)
        fail_msg("%s: %s", sql, error->message);
    assert_int_equal(PQntuples(res), 1);
    return db_get_i64(res, 0, 0);
}

void rig_exec(struct rig *rig, const char *sql)
{
    g_autoptr(GError) error = NULL;

    if (!db_exec(rig->db, sql, NULL, &error))
        fail_msg("%s: %s", sql, error->message);
}

void rig_assert_checks(struct rig *rig)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    if (!checks_run(rig->db, LOA_SOURCE_DIR "/sql/checks", faults, &error))
        fail_msg("%s", error->message);
    for (guint i = 0; i < faults->len; i++)
        print_error("%s\n", (const char *)faults->pdata[i]);
    assert_int_equal(faults->len, 0);
}

/* A question that is asked again and again. */
struct until {
    struct rig *rig;
    const char *sql;
    bool checks;
    int64_t next_us; /* not before */
};

static bool until_true(void *user)
{
    struct until *until = user;
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = NULL;

    if (g_get_monotonic_time() < until->next_us)
        return false;
    res = db_query(until->rig->db, until->sql, NULL, &error); /* may be down just now */
    if (res != NULL && PQntuples(res) == 1 && db_get_i64(res, 0, 0) != 0)
        return true;
    if (res != NULL && until->checks)
        rig_assert_checks(until->rig);
    until->next_us = g_get_monotonic_time() + LOOK_US;
    return false;
}

void rig_until(struct rig *rig, const char *sql, int limit_s, bool checks)
{
    struct until until = {.rig = rig, .sql = sql, .checks = checks};

    if (!test_wait_until(until_true, &until, limit_s * 1000))
        fail_msg("not true within %d s: %s", limit_s, sql);
}

int rig_log_count(struct rig *rig, const char *process, const char *text)
{
    g_autofree char *path = g_strdup_printf("%s/%s.log", rig->dir, process);
    g_autofree char *log = NULL;
    int n = 0;

    if (!g_file_get_contents(path, &log, NULL, NULL))
        return 0;
    for (const char *at = log; (at = strstr(at, text)) != NULL; at += strlen(text))
        n++;
    return n;
}

bool rig_logged(struct rig *rig, const char *process, const char *event)
{
    g_autofree char *needle = g_strdup_printf("\"event\":\"%s\"", event);

    return rig_log_count(rig, process, needle) > 0;
}

/* ---- broadcasts ---- */

int64_t rig_release(struct rig *rig, bool emergency, const char *expires)
{
    g_autofree char *an = g_build_filename(rig->dir, "an.key", NULL);
    g_autofree char *binh = g_build_filename(rig->dir, "binh.key", NULL);
    g_autofree char *out = NULL;
    g_autofree char *number = NULL;
    g_autoptr(json_t) json = NULL;
    int64_t id;

    assert_int_equal(
        rig_loa(rig, &out, "broadcast", "create", "--as", "an", "--key", an, "--province", "--kind",
                emergency ? "CANH_BAO" : "THONG_TIN", "--level", emergency ? "khan_cap" : "thuong",
                "--title", emergency ? "Lũ khẩn cấp trên sông Bằng" : "Lịch tiêm chủng tháng 12",
                "--body",
                emergency ? "Nước sông Bằng vượt báo động 3." : "Trạm y tế mở cửa từ 7 giờ.",
                "--instruction", emergency ? "Di dời ngay lên nơi cao." : "", "--expires", expires,
                "--again", "--json", NULL),
        0);
    json = json_loads(out, 0, NULL);
    assert_non_null(json);
    id = json_integer_value(json_object_get(json, "broadcast"));
    assert_true(id > 0);
    number = g_strdup_printf("%" G_GINT64_FORMAT, id);
    assert_int_equal(rig_loa(rig, NULL, "broadcast", "approve", number, "--as", "binh", "--key",
                             binh, "--yes", "--again", NULL),
                     0);
    return id;
}

int64_t rig_outcomes(struct rig *rig, int64_t broadcast, const char *channel, int byte)
{
    g_autofree char *sql = g_strdup_printf(
        "SELECT count(*) FROM fanout_flight f JOIN fanout_chunk c USING (broadcast_id, chunk_no),"
        " generate_series(0, f.size - 1) AS i WHERE f.broadcast_id = %" G_GINT64_FORMAT
        " AND c.channel = '%s' AND get_byte(f.codes, i) = %d",
        broadcast, channel, byte);

    return rig_i64(rig, sql);
}

/* ---- accounting, token by token ---- */

/* What Loa says: token → outcome byte, and whether its flight was ever uncertain. */
static GHashTable *loa_outcomes(struct rig *rig, int64_t broadcast, const char *channel)
{
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *sql = g_strdup_printf(
        "SELECT c.chunk_no, c.members, c.member_count, f.first, f.codes, f.uncertain"
        " FROM fanout_flight f JOIN fanout_chunk c USING (broadcast_id, chunk_no)"
        " WHERE f.broadcast_id = %" G_GINT64_FORMAT " AND c.channel = '%s'",
        broadcast, channel);
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = db_query(rig->db, sql, NULL, &error);

    assert_non_null(res);
    for (int row = 0; row < PQntuples(res); row++) {
        size_t len, n;
        const void *members = db_get_bytes(res, row, 1, &len);
        int32_t count = (int32_t)db_get_i64(res, row, 2), first = (int32_t)db_get_i64(res, row, 3);
        const uint8_t *codes = db_get_bytes(res, row, 4, &n);
        g_autofree int64_t *ids = g_new(int64_t, (gsize)count);
        assert_true(members_decode(members, len, ids, (size_t)count, NULL));
        for (size_t i = 0; i < n; i++) {
            char *token = rig_token(rig, channel, ids[first + (int32_t)i]);
            int value = codes[i] | (db_get_i64(res, row, 5) > 0 ? 256 : 0);
            assert_true(g_hash_table_insert(table, token, GINT_TO_POINTER(value)));
        }
    }
    return table;
}

int64_t rig_assert_tokens(struct rig *rig, int64_t broadcast, const char *channel)
{
    g_autoptr(GHashTable) loa = loa_outcomes(rig, broadcast, channel);
    g_autofree char *path = g_strdup_printf("%s/%s.tsv", rig->dir, channel);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    int64_t repeats = 0, accepted = 0, said = 0;
    GHashTableIter iter;
    gpointer value;

    json_decref(
        rig_sim(rig, "{\"cmd\":\"dump\",\"channel\":\"%s\",\"file\":\"%s\"}", channel, path));
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; **line != '\0'; line++) {
        g_auto(GStrv) field = g_strsplit(*line, "\t", -1);
        int64_t count = g_ascii_strtoll(field[1], NULL, 10);
        int said_of_it = GPOINTER_TO_INT(g_hash_table_lookup(loa, field[0]));
        if (count == 0 || strspn(field[0], "0") == strlen(field[0]))
            continue; /* never accepted; or the canary's made-up token */
        accepted++;
        if (count > 1) {
            repeats += count - 1;
            if ((said_of_it & 256) == 0)
                fail_msg("%s came %d times, but its flight was never uncertain", field[0],
                         (int)count);
        }
        /* Accepted there: ACCEPTED here, or UNKNOWN_SENT in a flight that was uncertain. */
        if ((said_of_it & 255) != OUTCOME_ACCEPTED && (said_of_it & 255) != OUTCOME_UNKNOWN_SENT)
            fail_msg("%s was accepted, Loa says %s", field[0],
                     outcome_name((uint8_t)(said_of_it & 255)));
    }
    g_hash_table_iter_init(&iter, loa);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        said += (GPOINTER_TO_INT(value) & 255) == OUTCOME_ACCEPTED;
    assert_true(said <= accepted); /* nobody is called warned who was not */
    return repeats;
}
