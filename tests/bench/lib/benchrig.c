/* See the header. */
#include "tests/bench/lib/benchrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DEVICES_STEP 500000

int64_t bench_env(const char *name, int64_t fallback)
{
    const char *value = g_getenv(name);

    return value != NULL ? g_ascii_strtoll(value, NULL, 10) : fallback;
}

/* A statement may run for a minute. */
static void add_devices(struct rig *rig, int64_t upto, int64_t n, int64_t local)
{
    g_autofree char *sql = g_strdup_printf(
        "INSERT INTO device (id, channel, id_kind, push_token, apns_environment, os, proven_at,"
        " commune)"
        " SELECT g, CASE WHEN (g + g / 100) %% 10 < 6 THEN 'fcm' ELSE 'apns' END, 'token',"
        " CASE WHEN (g + g / 100) %% 10 < 6 THEN 'rig-' || g ELSE 'ab00' || lpad(to_hex(g), 60, "
        "'0') END,"
        " CASE WHEN (g + g / 100) %% 10 >= 6 THEN 'production' END,"
        " CASE WHEN (g + g / 100) %% 10 < 6 THEN 'android 14' ELSE 'ios 18' END, now(),"
        " CASE WHEN (g * %" G_GINT64_FORMAT ") %% %" G_GINT64_FORMAT " < %" G_GINT64_FORMAT
        " THEN '01273' ELSE '01279' END"
        " FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM device), %" G_GINT64_FORMAT
        ") AS g",
        local, n, local, upto);

    rig_exec(rig, sql);
}

void bench_devices(struct rig *rig, int64_t n, int64_t local)
{
    int64_t have = rig_i64(rig, "SELECT coalesce(max(id), 0) FROM device");

    for (; have < n; have += DEVICES_STEP)
        add_devices(rig, MIN(n, have + DEVICES_STEP), n, local);
    rig_exec(rig, "VACUUM (ANALYZE) device");
    rig_exec(rig, "CHECKPOINT");
}

int64_t bench_release(struct rig *rig, bool emergency, const char *area)
{
    g_autofree char *place =
        area != NULL ? g_strdup_printf("--communes %s", area) : g_strdup("--province");
    g_autofree char *create = g_strdup_printf(
        "broadcast create --as an --key @/an.key %s --kind %s --level %s --title '%s' --body '%s'"
        " --instruction '%s' --expires 2h --again --json",
        place, emergency ? "CANH_BAO" : "THONG_TIN", emergency ? "khan_cap" : "thuong",
        emergency ? "Lũ khẩn cấp trên sông Bằng" : "Lịch tiêm chủng tháng 12",
        emergency ? "Nước sông Bằng vượt báo động 3." : "Trạm y tế mở cửa từ 7 giờ.",
        emergency ? "Di dời ngay lên nơi cao." : "");
    g_autofree char *out = NULL, *errors = NULL, *approve = NULL, *quiet = NULL, *why = NULL;
    g_autoptr(json_t) json = NULL;
    int64_t id;

    if (rig_loa_line(rig, create, &out, &errors) != 0)
        fail_msg("%s", errors);
    json = json_loads(out, 0, NULL);
    id = json_integer_value(json_object_get(json, "broadcast"));
    approve = g_strdup_printf(
        "broadcast approve %" G_GINT64_FORMAT " --as binh --key @/binh.key --yes --again", id);
    if (rig_loa_line(rig, approve, &quiet, &why) != 0)
        fail_msg("%s", why);
    return id;
}

int64_t bench_commit_us(struct rig *rig, int64_t id)
{
    g_autofree char *sql = g_strdup_printf(
        "SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM audit"
        " WHERE act = 'broadcast_released' AND object = 'broadcast:%" G_GINT64_FORMAT "'",
        id);

    return rig_i64(rig, sql);
}

char *bench_alert(struct rig *rig, int64_t id)
{
    g_autofree char *sql =
        g_strdup_printf("SELECT alert_id FROM broadcast WHERE id = %" G_GINT64_FORMAT, id);
    g_autoptr(PGresult) res = db_query(rig->db, sql, NULL, NULL);

    assert_int_equal(PQntuples(res), 1);
    return g_strdup(db_get_text(res, 0, 0));
}

int64_t bench_alert_number(struct rig *rig, const char *channel, const char *alert,
                           const char *name)
{
    g_autoptr(json_t) alerts = rig_sim(rig, "{\"cmd\":\"alerts\",\"channel\":\"%s\"}", channel);
    g_autofree char *key = g_strdup_printf("%s/1", alert);

    return json_integer_value(json_object_get(json_object_get(alerts, key), name));
}

/* Field n (from 1, after the program's name) of /proc/PID/stat. */
static double stat_ticks(const char *stat, int first, int last)
{
    g_auto(GStrv) fields = g_strsplit(strrchr(stat, ')') + 2, " ", -1);
    double sum = 0;

    for (int i = first; i <= last; i++)
        sum += g_ascii_strtod(fields[i - 3], NULL);
    return sum / (double)sysconf(_SC_CLK_TCK);
}

double bench_cpu_s(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    return stat_ticks(text, 14, 17); /* utime, stime, cutime, cstime */
}

static pid_t parent_of(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/stat", pid);
    g_autofree char *text = NULL;
    g_auto(GStrv) fields = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    fields = g_strsplit(strrchr(text, ')') + 2, " ", 3);
    return (pid_t)g_ascii_strtoll(fields[1], NULL, 10);
}

double bench_postgres_cpu_s(struct rig *rig)
{
    pid_t postmaster = (pid_t)rig_i64(
        rig, "SELECT (string_to_array(pg_read_file('postmaster.pid'), E'\\n'))[1]::bigint");
    GDir *proc = g_dir_open("/proc", 0, NULL);
    double sum = bench_cpu_s(postmaster);
    const char *name;

    while ((name = g_dir_read_name(proc)) != NULL)
        if (g_ascii_isdigit(*name) && parent_of(name) == postmaster)
            sum += bench_cpu_s((pid_t)g_ascii_strtoll(name, NULL, 10));
    g_dir_close(proc);
    return sum;
}

static bool is_deliver(const struct rig_process *process)
{
    return g_str_has_prefix(process->name, "deliver");
}

double bench_deliver_cpu_s(const struct rig *rig)
{
    double sum = 0;

    for (size_t i = 0; i < rig->n_roles; i++)
        if (is_deliver(&rig->role[i]))
            sum += bench_cpu_s(rig->role[i].pid);
    return sum;
}

double bench_deliver_peak_mib(const struct rig *rig)
{
    double peak = 0;

    for (size_t i = 0; i < rig->n_roles; i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)rig->role[i].pid);
        g_autofree char *text = NULL;
        if (is_deliver(&rig->role[i]) && g_file_get_contents(path, &text, NULL, NULL))
            peak = MAX(peak, g_ascii_strtod(strstr(text, "VmHWM:") + 6, NULL) / 1024);
    }
    return peak;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t n, double part)
{
    size_t at = (size_t)(part * (double)(n - 1) + 0.5);

    qsort(values, n, sizeof(*values), by_value);
    return values[at];
}
