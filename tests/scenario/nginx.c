/* etc/nginx/loa.conf in a real nginx before a real loa api: alerts come from files, with everything
 * that makes them cheap, also when loa api is dead; the rest reaches loa api under its own address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "tests/scenario/rig_internal.h"
#include "tests/support/testwait.h"

#define LIMIT_MS 20000

struct front {
    struct rig *rig;
    struct rig_process nginx;
    char *base; /* https://localhost:PORT */
    char *ca;
    char *path;                      /* of the alert, below the host */
    const char *from;                /* our own address; NULL any */
    char *alert;                     /* its id */
    const char *awaited, *await_url; /* of contains() */
};

struct answer {
    long status, version; /* version: CURL_HTTP_VERSION_… */
    GString *head, *body;
};

static void answer_clear(struct answer *answer)
{
    g_string_free(answer->head, TRUE);
    g_string_free(answer->body, TRUE);
}
#define ANSWER __attribute__((cleanup(answer_clear))) struct answer

static size_t take(char *data, size_t size, size_t n, void *user)
{
    g_string_append_len(user, data, (gssize)(size * n));
    return size * n;
}

/* header: one "Name: value" or NULL; encoding: what curl asks for and undoes, NULL nothing. */
static struct answer get(const struct front *front, const char *method, const char *path,
                         const char *header, const char *encoding)
{
    struct answer answer = {0, 0, g_string_new(NULL), g_string_new(NULL)};
    g_autofree char *url = g_strconcat(front->base, path, NULL);
    struct curl_slist *headers = header != NULL ? curl_slist_append(NULL, header) : NULL;
    CURL *curl = curl_easy_init();

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOBODY, strcmp(method, "HEAD") == 0 ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, encoding);
    curl_easy_setopt(curl, CURLOPT_CAINFO, front->ca);
    curl_easy_setopt(curl, CURLOPT_IPRESOLVE, CURL_IPRESOLVE_V4);
    curl_easy_setopt(curl, CURLOPT_INTERFACE, front->from);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)LIMIT_MS);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer.head);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer.body);
    if (curl_easy_perform(curl) == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
        curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &answer.version);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return answer;
}

/* HTTP/2 has lower-case names. NULL: not there. Owned. */
static char *header_of(const struct answer *answer, const char *name)
{
    g_autofree char *start = g_strdup_printf("\n%s: ", name);
    const char *at = strstr(answer->head->str, start);

    return at != NULL ? g_strndup(at + strlen(start), strcspn(at + strlen(start), "\r\n")) : NULL;
}

static void assert_header(const struct answer *answer, const char *name, const char *value)
{
    g_autofree char *found = header_of(answer, name);

    if (g_strcmp0(found, value) != 0)
        fail_msg("%s: %s instead of %s", name, found, value);
}

/* A problem document of this status, not to be kept. */
static void assert_problem(const struct answer *answer, long status)
{
    g_autofree char *type = header_of(answer, "content-type");
    g_autofree char *member = g_strdup_printf("\"status\":%ld", status);

    if (answer->status != status || g_strcmp0(type, "application/problem+json") != 0 ||
        strstr(answer->body->str, member) == NULL)
        fail_msg("no problem %ld: %ld %s %s", status, answer->status, type, answer->body->str);
    assert_header(answer, "cache-control", "no-store");
}

static bool contains(void *user)
{
    const struct front *front = user;
    ANSWER answer = get(front, "GET", front->await_url, NULL, NULL);

    return answer.status == 200 && strstr(answer.body->str, front->awaited) != NULL;
}

/* Returns the ms that it took. */
static int64_t await(struct front *front, const char *path, const char *text)
{
    int64_t from = g_get_monotonic_time();

    front->await_url = path;
    front->awaited = text;
    if (!test_wait_until(contains, front, LIMIT_MS))
        fail_msg("%s never has %s", path, text);
    return (g_get_monotonic_time() - from) / 1000;
}

/* ---- the world ---- */

static char *released_alert_id(struct rig *rig)
{
    g_autoptr(PGresult) res =
        db_query(rig->db, "SELECT alert_id FROM broadcast ORDER BY id DESC LIMIT 1", NULL, NULL);

    return g_strdup(db_get_text(res, 0, 0));
}

static void start_nginx(struct front *front)
{
    const char *dir = front->rig->dir;
    int port = rig_free_port();
    g_autofree char *command =
        g_strdup_printf("%s/tests/support/nginx.sh prepare %s/nginx %d 127.0.0.1:%d %s/public "
                        "%s/pki/broker.pem %s/pki/broker.key",
                        LOA_SOURCE_DIR, dir, port, front->rig->api_port, dir, dir, dir);
    char *prepare[] = {"sh", "-c", command, NULL};
    char **run = g_new0(char *, 4);

    assert_int_equal(rig_run(prepare, NULL), 0);
    run[0] = g_strdup(LOA_SOURCE_DIR "/tests/support/nginx.sh");
    run[1] = g_strdup("run");
    run[2] = g_build_filename(dir, "nginx", NULL);
    rig_process_set(&front->nginx, "nginx", run);
    rig_start(front->rig, &front->nginx);
    front->base = g_strdup_printf("https://localhost:%d", port);
    front->ca = g_build_filename(dir, "pki/ca.pem", NULL);
    await(front, "/healthz", "alive");
}

static int setup(void **state)
{
    static const struct rig_options options = {.fcm = 5,
                                               .apns = 5,
                                               .deliver = 1,
                                               .api = true,
                                               .tick = true,
                                               .extra_conf = "[public]\nfiles_dir=public\n"
                                                             "[api]\ntrusted_proxies=127.0.0.1\n"
                                                             "public_url=https://loa.example.vn\n"
                                                             "rate_per_address=5\n"};
    struct front *front = g_new0(struct front, 1);

    front->rig = rig_new(&options);
    start_nginx(front);
    rig_release(front->rig, true, "1h");
    front->alert = released_alert_id(front->rig);
    front->path = g_strconcat("/api/v1/alerts/", front->alert, NULL);
    *state = front;
    return 0;
}

static int teardown(void **state)
{
    struct front *front = *state;

    rig_kill(&front->nginx);
    g_strfreev(front->nginx.argv);
    g_strfreev(front->nginx.envp);
    rig_free(front->rig);
    g_free(front->base);
    g_free(front->ca);
    g_free(front->path);
    g_free(front->alert);
    g_free(front);
    return 0;
}

/* Answered by a file: its ETag is nginx's, of time and size; loa api's is a hash of 22 characters.
 */
static bool from_file(const struct answer *answer)
{
    g_autofree char *etag = header_of(answer, "etag");

    return etag != NULL && strchr(etag, '-') != NULL && strlen(etag) < 22;
}

static bool file_is_there(void *user)
{
    const struct front *front = user;
    ANSWER answer = get(front, "GET", front->path, NULL, NULL);

    return answer.status == 200 && from_file(&answer);
}

static bool file_is_gone(void *user)
{
    return !file_is_there(user);
}

/* ---- tests ---- */

static void test_file(void **state)
{
    struct front *front = *state;
    const struct rig_request request = {.method = "GET", .path = front->path};
    g_autofree char *of_api = NULL;

    assert_true(test_wait_until(file_is_there, front, LIMIT_MS));
    ANSWER plain = get(front, "GET", front->path, NULL, NULL);
    assert_int_equal(rig_http(front->rig, &request, &of_api), 200);
    assert_string_equal(plain.body->str, of_api);
    assert_int_equal(plain.version, CURL_HTTP_VERSION_2_0);
    assert_header(&plain, "content-type", "application/json; charset=utf-8");
    assert_header(&plain, "cache-control", "public, max-age=10");
    assert_header(&plain, "vary", "Accept-Encoding");
    assert_header(&plain, "content-encoding", NULL);
    assert_header(&plain, "x-content-type-options", "nosniff");
    assert_header(&plain, "referrer-policy", "no-referrer");
    assert_header(&plain, "strict-transport-security", "max-age=31536000");
    assert_header(&plain, "content-security-policy", "default-src 'none'; frame-ancestors 'none'");

    ANSWER packed = get(front, "GET", front->path, NULL, "gzip");
    assert_header(&packed, "content-encoding", "gzip");
    assert_string_equal(packed.body->str, of_api);
    assert_true(from_file(&packed));
    g_autofree char *length = header_of(&packed, "content-length");
    assert_true(g_ascii_strtoull(length, NULL, 10) < strlen(of_api)); /* made beforehand */

    ANSWER head = get(front, "HEAD", front->path, NULL, NULL);
    assert_int_equal(head.status, 200);
}

/* Both forms have an ETag of their own; what is unchanged is not sent again. */
static void test_conditional(void **state)
{
    static const char *const encodings[] = {NULL, "gzip"};
    struct front *front = *state;
    g_autofree char *first = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(encodings); i++) {
        ANSWER full = get(front, "GET", front->path, NULL, encodings[i]);
        g_autofree char *etag = header_of(&full, "etag");
        g_autofree char *condition = g_strconcat("If-None-Match: ", etag, NULL);
        ANSWER unchanged = get(front, "GET", front->path, condition, encodings[i]);
        ANSWER other = get(front, "GET", front->path, "If-None-Match: \"x\"", encodings[i]);

        assert_int_equal(unchanged.status, 304);
        assert_int_equal(unchanged.body->len, 0);
        assert_header(&unchanged, "etag", etag);
        assert_header(&unchanged, "cache-control", "public, max-age=10");
        assert_int_equal(other.status, 200);
        assert_string_not_equal(first != NULL ? first : "", etag);
        g_free(first);
        first = g_strdup(etag);
    }
}

static void test_lists(void **state)
{
    static const struct {
        const char *path, *type;
        bool file;
    } lists[] = {
        {"/api/v1/alerts", "application/json; charset=utf-8", true},
        {"/api/v1/alerts?active=true", "application/json; charset=utf-8", true},
        {"/alerts", "application/json; charset=utf-8", true},
        {"/api/v1/alerts?limit=1", "application/json; charset=utf-8", false},
        {"/api/v1/alerts.atom", "application/atom+xml; charset=utf-8", true},
        {"/alerts.atom", "application/atom+xml; charset=utf-8", true},
    };
    struct front *front = *state;
    g_autofree char *short_path = g_strconcat("/alerts/", front->alert, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        const struct rig_request request = {.method = "GET", .path = lists[i].path};
        g_autofree char *of_api = NULL;
        ANSWER answer = get(front, "GET", lists[i].path, NULL, "gzip");

        assert_int_equal(rig_http(front->rig, &request, &of_api), 200);
        if (strcmp(answer.body->str, of_api) != 0 || from_file(&answer) != lists[i].file)
            fail_msg("%s: %s%s", lists[i].path, answer.head->str, answer.body->str);
        assert_header(&answer, "content-type", lists[i].type);
        assert_header(&answer, "cache-control", "public, max-age=10");
    }
    ANSWER same = get(front, "GET", short_path, NULL, NULL);
    assert_true(from_file(&same));
    /* The feed's link leads to the alert. */
    g_autofree char *link = g_strdup_printf("href=\"https://loa.example.vn%s\"", front->path);
    ANSWER feed = get(front, "GET", "/api/v1/alerts.atom", NULL, NULL);
    assert_non_null(strstr(feed.body->str, link));
}

static void test_refusals(void **state)
{
    struct front *front = *state;
    ANSWER unknown = get(front, "GET", "/api/v1/alerts/20000101-NOSUCH", NULL, NULL);
    ANSWER inside = get(front, "GET", "/metrics", NULL, NULL);
    ANSWER ready = get(front, "GET", "/readyz", NULL, NULL);
    ANSWER up = get(front, "GET", "/api/v1/alerts/..%2f..%2fv1%2falerts.json", NULL, NULL);
    ANSWER method = get(front, "DELETE", front->path, NULL, NULL);
    ANSWER registration = get(front, "POST", "/api/v1/devices", NULL, NULL);

    assert_problem(&unknown, 404);
    assert_problem(&inside, 404);
    assert_problem(&ready, 404);
    assert_int_equal(up.status / 100, 4);
    assert_problem(&method, 405);
    assert_header(&method, "allow", "GET, HEAD");
    assert_problem(&registration, 422);
    assert_header(&registration, "x-content-type-options", "nosniff");
}

/* loa api counts each phone's own address, whatever the phone says of itself. */
static void test_addresses(void **state)
{
    struct front *front = *state;
    long status = 200;
    int asked = 0;

    front->from = "127.0.0.2";
    for (; status == 200 && asked < 200; asked++) {
        g_autofree char *header = g_strdup_printf("X-Forwarded-For: 10.0.0.%d", asked);
        ANSWER answer = get(front, "GET", "/api/v1/alerts?limit=1", header, NULL);
        status = answer.status;
        if (status == 429)
            assert_problem(&answer, 429);
    }
    assert_int_equal(status, 429);
    ANSWER file = get(front, "GET", front->path, NULL, NULL);
    assert_int_equal(file.status, 200); /* files have no limit */
    front->from = "127.0.0.3";
    ANSWER other = get(front, "GET", "/api/v1/alerts?limit=1", NULL, NULL);
    assert_int_equal(other.status, 200);
    front->from = NULL;
}

static void test_cancel(void **state)
{
    struct front *front = *state;
    ANSWER before = get(front, "GET", front->path, NULL, NULL);
    g_autofree char *etag = header_of(&before, "etag");
    g_autofree char *condition = g_strconcat("If-None-Match: ", etag, NULL);
    g_autofree char *line = g_strdup_printf(
        "broadcast cancel %s --reason \"Sai địa bàn\" --as an --key @an.key", front->alert);
    g_autofree char *out = NULL, *errors = NULL;
    int exit = rig_loa_line(front->rig, line, &out, &errors);
    int64_t took_ms;

    if (exit != 0)
        fail_msg("%s%s", out, errors);
    took_ms = await(front, front->path, "\"state\":\"cancelled\"");
    print_message("cancel seen at nginx after %d ms\n", (int)took_ms);
    ANSWER after = get(front, "GET", front->path, condition, NULL);
    assert_int_equal(after.status, 200);
    assert_true(from_file(&after));
}

static void test_api_dead(void **state)
{
    struct front *front = *state;
    static const char *const paths[] = {"/api/v1/alerts", "/api/v1/alerts?active=true",
                                        "/api/v1/alerts.atom"};

    rig_kill(rig_role(front->rig, "api"));
    ANSWER alert = get(front, "GET", front->path, NULL, "gzip");
    assert_int_equal(alert.status, 200);
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        ANSWER list = get(front, "GET", paths[i], NULL, NULL);
        assert_int_equal(list.status, 200);
    }
    ANSWER unknown = get(front, "GET", "/api/v1/alerts/20000101-NOSUCH", NULL, NULL);
    assert_problem(&unknown, 503);
    assert_header(&unknown, "retry-after", "5");

    rig_start(front->rig, rig_role(front->rig, "api"));
    await(front, "/healthz", "alive");
}

/* Not there as a file: loa api answers. */
static void test_fall_back(void **state)
{
    struct front *front = *state;
    g_autofree char *file =
        g_strdup_printf("%s/public/api/v1/alerts/%s.json", front->rig->dir, front->alert);
    char *argv[] = {"rm", file, NULL};
    ANSWER before = get(front, "GET", front->path, NULL, NULL);

    rig_kill(rig_role(front->rig, "tick"));
    assert_int_equal(rig_run(argv, NULL), 0);
    assert_true(test_wait_until(file_is_gone, front, LIMIT_MS)); /* known for a second */
    ANSWER fallen = get(front, "GET", front->path, NULL, NULL);
    assert_int_equal(fallen.status, 200);
    assert_string_equal(fallen.body->str, before.body->str);
    assert_header(&fallen, "cache-control", "public, max-age=10");
    rig_start(front->rig, rig_role(front->rig, "tick"));
    assert_true(test_wait_until(file_is_there, front, LIMIT_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),      cmocka_unit_test(test_conditional),
        cmocka_unit_test(test_lists),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_api_dead),  cmocka_unit_test(test_fall_back),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
