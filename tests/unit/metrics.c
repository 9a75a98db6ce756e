/* lib: loa_base */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"

static void expect_line(const char *line)
{
    g_autofree char *text = metrics_text();
    g_autofree char *whole = g_strdup_printf("\n%s\n", line);
    if (strstr(text, whole) == NULL)
        fail_msg("no line %s in:\n%s", line, text);
}

static void test_text_form(void **state)
{
    (void)state;
    expect_line("# HELP loa_db_queries_total Statements sent to PostgreSQL");
    expect_line("# TYPE loa_db_queries_total counter");
    expect_line("# TYPE loa_chunks_held gauge");
    expect_line("loa_db_queries_total 0"); /* without a label: there from the start */
    metric_add(METRIC_DB_QUERIES, NULL, 3);
    expect_line("loa_db_queries_total 3");
    metric_set(METRIC_CHUNKS_HELD, "fcm", 5);
    metric_set(METRIC_CHUNKS_HELD, "fcm", 2.5);
    expect_line("loa_chunks_held{channel=\"fcm\"} 2.5");
    metric_add(METRIC_PUSH_VERDICTS, "apns/ACCEPTED", 1e9);
    expect_line("loa_push_verdicts_total{channel=\"apns\",verdict=\"ACCEPTED\"} 1000000000");
    metric_add(METRIC_HTTP_REQUESTS, "/api/v1/alerts/2xx", 1);
    expect_line("loa_http_requests_total{route=\"/api/v1/alerts\",status=\"2xx\"} 1");
    metric_add(METRIC_RECEIPTS_REFUSED, "a\"b\\c\nd\xff", 1);
    expect_line("loa_receipts_refused_total{reason=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\"} 1");
    expect_line("# TYPE process_cpu_seconds_total counter");
    g_autofree char *text = metrics_text();
    const char *rss = strstr(text, "\nprocess_resident_memory_bytes ");
    assert_non_null(rss);
    assert_true(g_ascii_strtod(rss + strlen("\nprocess_resident_memory_bytes "), NULL) > 1e5);
}

static void test_values_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        g_autofree char *broker = g_strdup_printf("broker-%d", i);
        metric_add(METRIC_BROKER_UP, broker, 1);
        g_autofree char *pair = g_strdup_printf("x/%d", i);
        metric_add(METRIC_OUTBOX_SENT, pair, 1);
    }
    expect_line("loa_broker_up{broker=\"broker-62\"} 1");
    expect_line("loa_broker_up{broker=\"other\"} 137");
    expect_line("loa_outbox_pushes_total{channel=\"other\",outcome=\"other\"} 137");
    assert_true(metric_get(METRIC_BROKER_UP, "broker-62") == 1);
    assert_true(metric_get(METRIC_BROKER_UP, "broker-63") == 0);
    g_autofree char *long_label = g_strnfill(1000, 'x');
    metric_add(METRIC_CANARY_OK, long_label, 1);
    metric_add(METRIC_CANARY_OK, long_label, 1);
    assert_true(metric_get(METRIC_CANARY_OK, long_label) == 2);
}

static void *add_many(void *user)
{
    for (int i = 0; i < 20000; i++)
        metric_add(METRIC_TOKEN_MINTS, user, 1);
    return NULL;
}

static void test_threads(void **state)
{
    static char fcm[] = "fcm";
    pthread_t threads[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, add_many, fcm);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(metric_get(METRIC_TOKEN_MINTS, "fcm") == 80000);
}

/* docs/metrics.md is written from the table; LOA_WRITE_GENERATED=1 writes it anew. */
static void test_docs_page(void **state)
{
    static const char path[] = LOA_SOURCE_DIR "/docs/metrics.md";
    g_autofree char *table = metrics_markdown();
    g_autofree char *want = g_strconcat(
        "# Metrics\n\n"
        "`GET /metrics` of every long-running process answers in Prometheus' text format. Beside "
        "these there are\n`process_resident_memory_bytes` and `process_cpu_seconds_total`. "
        "Counters start at 0 with the process:\nwhat must survive it is counted in the "
        "database.\n\n",
        table, NULL);
    g_autofree char *have = NULL;
    (void)state;
    if (g_getenv("LOA_WRITE_GENERATED") != NULL)
        assert_true(g_file_set_contents(path, want, -1, NULL));
    assert_true(g_file_get_contents(path, &have, NULL, NULL));
    assert_string_equal(have, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_form),
        cmocka_unit_test(test_values_are_bounded),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_docs_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
