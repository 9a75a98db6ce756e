/* lib: PkgConfig::CURL PkgConfig::GLIB */
/* The home-made peer of script/bench push: a sender over libcurl's multi interface, as one would
 * write it with care. Handles are used again, HTTP/2 streams share a few connections, one epoll
 * serves all sockets (curl_multi_socket_action: no handle is looked at without need).
 *
 *   bench_curl_multi CA.pem URLS BODY PUSHES CONNECTIONS STREAMS HEADER...
 *
 * URLS: a file, one address a line; they take turns. BODY: a file, sent with every request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <curl/curl.h>
#include <glib.h>

#define EVENTS 64
#define REPEATS_SHARE                                                                              \
    20 /* one in so many may be sent again: 7.88 loses some for no fault of theirs */

struct bench {
    CURLM *multi;
    int epoll_fd;
    long timeout_ms; /* libcurl's wish; -1 = none */
    char **urls;
    size_t n_urls;
    uint64_t total, sent, done, failed, repeated;
};

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known)
{
    struct bench *bench = user;
    struct epoll_event event = {.data.fd = fd};

    (void)easy;
    if (what == CURL_POLL_REMOVE)
        return epoll_ctl(bench->epoll_fd, EPOLL_CTL_DEL, fd, NULL) != 0 && known != NULL ? -1 : 0;
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (known == NULL)
        curl_multi_assign(bench->multi, fd, bench); /* anything but NULL */
    return epoll_ctl(bench->epoll_fd, known == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
}

static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
    (void)multi;
    ((struct bench *)user)->timeout_ms = timeout_ms;
    return 0;
}

static size_t drop(char *data, size_t size, size_t n, void *user)
{
    (void)data, (void)user;
    return size * n;
}

static void next(struct bench *bench, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_URL, bench->urls[bench->sent % bench->n_urls]);
    curl_multi_add_handle(bench->multi, easy);
    bench->sent++;
}

static void take_done(struct bench *bench)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(bench->multi, &left)) != NULL) {
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        long status = 0;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        curl_multi_remove_handle(bench->multi, easy);
        if (result != CURLE_OK && bench->repeated++ < bench->total / REPEATS_SHARE) {
            curl_multi_add_handle(bench->multi, easy);
            continue;
        }
        bench->done++;
        if ((result != CURLE_OK || status != 200) && bench->failed++ == 0)
            fprintf(stderr, "%s, status %ld\n", curl_easy_strerror(result), status);
        if (bench->sent < bench->total)
            next(bench, easy);
        else
            curl_easy_cleanup(easy);
    }
}

static void run(struct bench *bench)
{
    struct epoll_event events[EVENTS];
    int running;

    while (bench->done < bench->total) {
        int n = epoll_wait(bench->epoll_fd, events, EVENTS, (int)bench->timeout_ms);
        if (n == 0 && bench->timeout_ms >= 0) {
            bench->timeout_ms = -1;
            curl_multi_socket_action(bench->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        for (int i = 0; i < n; i++)
            curl_multi_socket_action(bench->multi, events[i].data.fd,
                                     (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                                         (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                         (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0),
                                     &running);
        take_done(bench);
    }
}

static CURL *easy_new(const char *ca_file, const char *body, size_t body_len,
                      struct curl_slist *headers)
{
    CURL *easy = curl_easy_init();

    curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)body_len);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    return easy;
}

int main(int argc, char **argv)
{
    struct bench bench = {.timeout_ms = 0};
    g_autofree char *urls = NULL, *body = NULL;
    gsize body_len;
    struct curl_slist *headers = NULL;
    uint64_t at_once;

    if (argc < 7 || !g_file_get_contents(argv[2], &urls, NULL, NULL) ||
        !g_file_get_contents(argv[3], &body, &body_len, NULL)) {
        fprintf(stderr, "usage: %s CA.pem URLS BODY PUSHES CONNECTIONS STREAMS HEADER...\n",
                argv[0]);
        return 64;
    }
    bench.urls = g_strsplit(g_strchomp(urls), "\n", -1);
    bench.n_urls = g_strv_length(bench.urls);
    bench.total = g_ascii_strtoull(argv[4], NULL, 10);
    long connections = strtol(argv[5], NULL, 10), streams = strtol(argv[6], NULL, 10);
    at_once = MIN((uint64_t)(connections * streams), bench.total);
    for (int i = 7; i < argc; i++)
        headers = curl_slist_append(headers, argv[i]);
    bench.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    bench.multi = curl_multi_init();
    curl_multi_setopt(bench.multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(bench.multi, CURLMOPT_MAX_HOST_CONNECTIONS, connections);
    curl_multi_setopt(bench.multi, CURLMOPT_MAX_CONCURRENT_STREAMS, streams);
    curl_multi_setopt(bench.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(bench.multi, CURLMOPT_SOCKETDATA, &bench);
    curl_multi_setopt(bench.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(bench.multi, CURLMOPT_TIMERDATA, &bench);

    gint64 begin = g_get_monotonic_time();
    double cpu = cpu_s(), wall;
    for (uint64_t i = 0; i < at_once; i++)
        next(&bench, easy_new(argv[1], body, body_len, headers));
    run(&bench);
    wall = (double)(g_get_monotonic_time() - begin) / 1e6;
    cpu = cpu_s() - cpu;
    printf("{\"pushes\":%" G_GUINT64_FORMAT ",\"failed\":%" G_GUINT64_FORMAT
           ",\"repeated\":%" G_GUINT64_FORMAT
           ",\"seconds\":%.3f,\"per_s\":%.0f,\"cpu_s_per_million\":%.3f}\n",
           bench.done, bench.failed, bench.repeated, wall, (double)bench.done / wall,
           cpu * 1e6 / (double)bench.done);
    curl_multi_cleanup(bench.multi);
    curl_slist_free_all(headers);
    curl_global_cleanup();
    g_strfreev(bench.urls);
    close(bench.epoll_fd);
    return bench.failed > 0;
}
