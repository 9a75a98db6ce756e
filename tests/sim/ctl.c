/* Sends one line to a control socket (of serve or fleet) and prints the answer. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "tests/sim/commands.h"

#define ANSWER_MAX       (256 * 1024 * 1024)
#define ANSWER_TIMEOUT_S 120

static int connect_unix(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 &&
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) < sizeof(address.sun_path) &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0 &&
        connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "cannot connect to %s: %s", path,
                g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool exchange(int fd, const char *command, GString *answer, GError **error)
{
    g_autofree char *line = g_strconcat(command, "\n", NULL);
    char data[16384];
    ssize_t len = send(fd, line, strlen(line), MSG_NOSIGNAL);

    if (len != (ssize_t)strlen(line)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "cannot send: %s",
                    len < 0 ? g_strerror(errno) : "the simulator closed the connection");
        return false;
    }
    while (answer->len < ANSWER_MAX && (len = recv(fd, data, sizeof(data), 0)) > 0) {
        g_string_append_len(answer, data, len);
        if (data[len - 1] == '\n')
            return true;
    }
    g_set_error(error, LOA_ERROR, LOA_ERROR_UNCERTAIN, "no answer: %s",
                len == 0 ? "connection closed" : g_strerror(errno));
    return false;
}

int ctl_main(int argc, char **argv)
{
    const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
    g_autoptr(GError) error = NULL;
    GString *answer;
    int fd, status = sim_parse_options("SOCKET JSON - send one command", entries, &argc, &argv);

    if (status >= 0)
        return status;
    if (argc != 3 || strchr(argv[2], '\n') != NULL) {
        fprintf(stderr, "loa-sim ctl: expected SOCKET and one line of JSON\n");
        return EX_USAGE;
    }
    fd = connect_unix(argv[1], &error);
    if (fd < 0)
        return sim_fail("ctl", error);
    answer = g_string_new(NULL);
    status = EX_OK;
    if (!exchange(fd, argv[2], answer, &error))
        status = sim_fail("ctl", error);
    else if (strncmp(answer->str, "{\"ok\":false", 11) == 0)
        status = EX_DATAERR;
    fputs(answer->str, stdout);
    g_string_free(answer, TRUE);
    close(fd);
    return status;
}
