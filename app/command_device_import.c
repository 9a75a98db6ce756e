/* loa device import: the command around engine/device_import.h. Shows progress, lists bad lines,
 * writes the secrets of MQTT devices; the file of secrets appears under its name only when the
 * import has been committed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/command_device.h"
#include "base/error.h"
#include "engine/device_import.h"

#define BAD_SHOWN      100     /* bad lines listed on a screen */
#define BAD_FILE_SHOWN 1000000 /* and in a file */
#define PLAIN_STEP     100000  /* lines between two progress lines without a terminal */
#define BAR_WIDTH      30

static const char description[] =
    "Registers the devices of FILE (- = standard input), all or nothing.\n\n"
    "CSV: the first line names the columns, in any order. NDJSON: one object per line.\n"
    "  platform            fcm, apns or mqtt (required)\n"
    "  token               the push token; needed with fcm and apns\n"
    "  id_kind             fcm: token (default) or fid\n"
    "  environment         apns: production (default) or sandbox\n"
    "  mqtt                true: reachable by MQTT beside its token\n"
    "  key                 16-200 characters naming the install; needed without a token\n"
    "  os, app_version, language (default vi), commune (5 digits), silent_information\n\n"
    "A device that is known by its token or key is updated, so an import can be repeated.";

/* The command's options and what it shows. */
struct screen {
    char *format;
    char *realm;
    char *errors_path;
    char *secrets_path;
    gboolean proven;
    gboolean skip_bad;

    FILE *errors;  /* where bad lines go */
    FILE *secrets; /* NULL: not asked for */
    uint64_t bad;
    uint64_t bad_limit;
    bool terminal;
    bool bar_shown;
    uint64_t size; /* of the input; 0 = unknown */
    int64_t started_us;
    const struct clock *clock;
};

static void clear_bar(struct screen *screen)
{
    if (screen->bar_shown)
        fprintf(stderr, "\r\033[K");
    screen->bar_shown = false;
}

static void on_bad(uint64_t line, const char *reason, void *user)
{
    struct screen *screen = user;

    if (++screen->bad > screen->bad_limit)
        return;
    clear_bar(screen);
    fprintf(screen->errors, "line %" PRIu64 ": %s\n", line, reason);
}

static void draw_bar(struct screen *screen, uint64_t lines, uint64_t bytes, double per_second)
{
    char bar[BAR_WIDTH + 1];
    int full = screen->size > 0 ? (int)(MIN(bytes, screen->size) * BAR_WIDTH / screen->size) : 0;

    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', (size_t)full);
    bar[BAR_WIDTH] = '\0';
    if (screen->size > 0)
        fprintf(stderr, "\r\033[K[%s] %3d %%  %" PRIu64 " lines  %.0f/s", bar,
                (int)(MIN(bytes, screen->size) * 100 / screen->size), lines, per_second);
    else
        fprintf(stderr, "\r\033[K%" PRIu64 " lines  %.0f/s", lines, per_second);
    fflush(stderr);
    screen->bar_shown = true;
}

static void on_progress(uint64_t lines, uint64_t bytes, const char *step, void *user)
{
    struct screen *screen = user;
    double seconds = (double)(screen->clock->mono_us(screen->clock) - screen->started_us) / 1e6;

    if (step != NULL) {
        clear_bar(screen);
        fprintf(stderr, "%.1f s: %" PRIu64 " lines read, %s\n", seconds, lines, step);
    } else if (screen->terminal) {
        draw_bar(screen, lines, bytes, seconds > 0 ? (double)lines / seconds : 0);
    } else if (lines % PLAIN_STEP == 0) {
        fprintf(stderr, "%.1f s: %" PRIu64 " lines read\n", seconds, lines);
    }
}

static bool on_secret(int64_t id, const char *secret, const char *commune, const char *language,
                      void *user, GError **error)
{
    struct screen *screen = user;

    if (fprintf(screen->secrets, "%" PRId64 ",%s,%s,%s\n", id, secret, commune, language) > 0)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "%s: %s", screen->secrets_path,
                g_strerror(errno));
    return false;
}

static FILE *create_file(const char *path, mode_t mode, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    FILE *file = fd >= 0 && fchmod(fd, mode) == 0 ? fdopen(fd, "w") : NULL;

    if (file == NULL)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: %s", path, g_strerror(errno));
    if (file == NULL && fd >= 0)
        close(fd);
    return file;
}

/* Everything on disk, under the final name. Closes the file. */
static bool publish(FILE **file, const char *part, const char *path, GError **error)
{
    bool ok = fflush(*file) == 0 && fsync(fileno(*file)) == 0;

    ok = fclose(g_steal_pointer(file)) == 0 && ok;
    if (ok && rename(part, path) == 0)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                "the devices are imported, but %s could not be written: %s (import again: nothing "
                "is registered twice)",
                path, g_strerror(errno));
    return false;
}

static void print_summary(struct screen *screen, const struct device_import_counts *counts)
{
    double seconds = (double)(screen->clock->mono_us(screen->clock) - screen->started_us) / 1e6;

    clear_bar(screen);
    if (screen->bad > screen->bad_limit)
        fprintf(screen->errors, "and %" PRIu64 " more\n", screen->bad - screen->bad_limit);
    printf("%" PRIu64 " lines, %" PRIu64 " bad, %" PRIu64 " repeated; %" PRIu64
           " devices added, %" PRIu64 " updated, %" PRIu64 " lost their token; %.1f s\n",
           counts->lines, counts->bad, counts->repeated, counts->added, counts->updated,
           counts->moved, seconds);
}

static bool run_import(struct command *command, struct screen *screen, struct db *db, FILE *in,
                       enum device_import_format format, GError **error)
{
    loa_auto(device_secret_key) key = NULL;
    g_autofree char *part =
        g_strconcat(screen->secrets_path ? screen->secrets_path : "", ".part", NULL);
    struct device_import_counts counts;
    struct device_import_options options = {
        .format = format,
        .realm = screen->realm,
        .proven = screen->proven,
        .skip_bad = screen->skip_bad,
        .on_bad = on_bad,
        .on_progress = on_progress,
        .on_secret = on_secret,
        .user = screen,
    };
    bool ok;

    if (screen->secrets_path != NULL) {
        key = device_secret_key_load(command->settings->device_secret_key_file, error);
        if (key == NULL || (screen->secrets = create_file(part, 0600, error)) == NULL)
            return false;
        options.secrets_key = key;
    }
    ok = device_import(db, in, &options, &counts, error);
    print_summary(screen, &counts);
    if (screen->secrets != NULL && ok)
        return publish(&screen->secrets, part, screen->secrets_path, error);
    if (screen->secrets != NULL) {
        fclose(screen->secrets);
        unlink(part);
    }
    return ok;
}

static bool parse_format(const char *text, enum device_import_format *out)
{
    *out = g_strcmp0(text, "csv") == 0      ? DEVICE_IMPORT_CSV
           : g_strcmp0(text, "ndjson") == 0 ? DEVICE_IMPORT_NDJSON
                                            : DEVICE_IMPORT_AUTO;
    return text == NULL || *out != DEVICE_IMPORT_AUTO;
}

static FILE *open_input(struct screen *screen, const char *path, GError **error)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    struct stat info;

    if (in == NULL)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: %s", path, g_strerror(errno));
    else if (fstat(fileno(in), &info) == 0 && S_ISREG(info.st_mode))
        screen->size = (uint64_t)info.st_size;
    return in;
}

static int import_file(struct command *command, struct screen *screen, const char *path,
                       enum device_import_format format)
{
    g_autoptr(GError) error = NULL;
    int code = EX_OK;
    FILE *in = open_input(screen, path, &error);
    bool ok = in != NULL;

    screen->errors = stderr;
    screen->bad_limit = BAD_SHOWN;
    if (ok && screen->errors_path != NULL) {
        screen->errors = create_file(screen->errors_path, 0600, &error);
        screen->bad_limit = BAD_FILE_SHOWN;
        ok = screen->errors != NULL;
    }
    if (ok) {
        loa_auto(db) db = command_db(command, "device import", &code);
        if (db != NULL)
            ok = run_import(command, screen, db, in, format, &error);
    }
    if (screen->errors != NULL && screen->errors != stderr && fclose(screen->errors) != 0)
        fprintf(stderr, "loa device import: %s: %s\n", screen->errors_path, g_strerror(errno));
    if (in != NULL && in != stdin)
        fclose(in);
    return error != NULL ? command_fail("device import", error) : code;
}

int command_device_import(struct command *command, int argc, char **argv)
{
    struct screen screen = {.terminal = isatty(STDERR_FILENO) == 1, .clock = command->clock};
    enum device_import_format format;
    int code = EX_OK;
    const GOptionEntry entries[] = {
        {"format", 0, 0, G_OPTION_ARG_STRING, &screen.format,
         "csv or ndjson (default: by the first byte)", "FORMAT"},
        {"realm", 0, 0, G_OPTION_ARG_STRING, &screen.realm, "live (default), exercise or test",
         "REALM"},
        {"proven", 0, 0, G_OPTION_ARG_NONE, &screen.proven,
         "The tokens are known to work: they need not stand in line with unknown ones", NULL},
        {"skip-bad", 0, 0, G_OPTION_ARG_NONE, &screen.skip_bad,
         "Import the good lines although there are bad ones", NULL},
        {"errors", 0, 0, G_OPTION_ARG_FILENAME, &screen.errors_path,
         "List bad lines in FILE instead of on the screen", "FILE"},
        {"secrets", 0, 0, G_OPTION_ARG_FILENAME, &screen.secrets_path,
         "Write id,password,commune,language of the MQTT devices to FILE (mode 0600)", "FILE"},
        G_OPTION_ENTRY_NULL};

    if (!command_parse("device import FILE", description, entries, &argc, &argv, &code))
        return code;
    screen.started_us = command->clock->mono_us(command->clock);
    if (screen.realm == NULL)
        screen.realm = g_strdup("live");
    if (argc != 2 || !parse_format(screen.format, &format) ||
        !g_strv_contains((const char *const[]){"live", "exercise", "test", NULL}, screen.realm)) {
        fprintf(stderr, "loa device import: give one FILE, --format csv or ndjson, --realm live, "
                        "exercise or test\n");
        code = EX_USAGE;
    } else {
        code = import_file(command, &screen, argv[1], format);
    }
    g_free(screen.format);
    g_free(screen.realm);
    g_free(screen.errors_path);
    g_free(screen.secrets_path);
    return code;
}
