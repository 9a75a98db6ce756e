/* loa check-config: every fault of loa.conf at once. Beyond the words of the file it opens what the
 * roles will open at their start, so that a reload or a new machine holds no surprise. */
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/channels.h"
#include "app/command.h"
#include "base/error.h"
#include "base/http_listen.h"
#include "engine/device_secret.h"
#include "engine/release.h"

struct check {
    const struct settings *settings;
    const struct clock *clock;
    unsigned faults;
};

static void fault(struct check *check, const char *message)
{
    fprintf(stderr, "%s\n", message);
    check->faults++;
}

static void check_file(struct check *check, const char *section, const char *key, const char *path)
{
    if (path[0] == '\0' || access(path, R_OK) == 0)
        return;
    g_autofree char *message = g_strdup_printf("[%s] %s = %s: cannot be read", section, key, path);
    fault(check, message);
}

static void check_files(struct check *check)
{
#define CHECK_STRING(section, key)
#define CHECK_LIST(section, key)
#define CHECK_INT(section, key)
#define CHECK_BOOL(section, key)
#define CHECK_FILE(section, key)                                                                   \
    check_file(check, #section, #key, check->settings->section##_##key);
#define CHECK_ROW(section, key, type, deflt, min, max, unit, secret, help)                         \
    CHECK_##type(section, key)
    SETTINGS_TABLE(CHECK_ROW)
#undef CHECK_ROW
}

/* An address that is in use or privileged may be right: the role has it, or will. */
static void check_listen(struct check *check, const char *setting, const char *address)
{
    g_autoptr(GError) error = NULL;
    unsigned port;
    int fd = address[0] != '\0' ? http_listen(address, &port, &error) : -1;

    if (fd >= 0)
        close(fd);
    if (g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID)) {
        g_autofree char *message = g_strdup_printf("%s: %s", setting, error->message);
        fault(check, message);
    }
}

static void check_addresses(struct check *check)
{
    const struct settings *settings = check->settings;

    check_listen(check, "[api] listen", settings->api_listen);
    check_listen(check, "[deliver] metrics_listen", settings->deliver_metrics_listen);
    check_listen(check, "[mqtt] metrics_listen", settings->mqtt_metrics_listen);
    check_listen(check, "[tick] metrics_listen", settings->tick_metrics_listen);
}

/* Keys of the right form, credentials that parse. What needs the network is `loa doctor`'s. */
static void check_contents(struct check *check)
{
    const struct settings *settings = check->settings;
    struct channels channels;
    g_autoptr(GError) secret_error = NULL, keys_error = NULL, channel_error = NULL;

    if (settings->device_secret_key_file[0] == '\0') {
        fault(check, "[device] secret_key_file is not set: loa keys create makes one");
    } else {
        loa_auto(device_secret_key) key =
            device_secret_key_load(settings->device_secret_key_file, &secret_error);
        if (key == NULL)
            fault(check, secret_error->message);
    }
    if (settings->broadcast_public_key_files[0] == NULL) {
        fault(check, "[broadcast] public_key_files is not set: nothing could be sent");
    } else {
        loa_auto(release_keys) keys = release_keys_load(
            (const char *const *)settings->broadcast_public_key_files, &keys_error);
        if (keys == NULL)
            fault(check, keys_error->message);
    }
    if (channels_open_push(&channels, (const char *const *)settings->deliver_channels, settings,
                           check->clock, &channel_error))
        channels_clear(&channels);
    else
        fault(check, channel_error->message);
}

static int check_config(struct command *command)
{
    g_autoptr(GError) error = NULL;
    loa_auto(settings) settings = settings_load(command->config_path, &error);
    struct check check = {.settings = settings, .clock = command->clock};

    if (settings == NULL) {
        fprintf(stderr, "%s\n", error->message);
        return EX_CONFIG;
    }
    check_files(&check);
    check_addresses(&check);
    if (check.faults == 0)
        check_contents(&check);
    if (check.faults > 0) {
        fprintf(stderr, "%s: %u fault%s\n", command->config_path, check.faults,
                check.faults == 1 ? "" : "s");
        return EX_CONFIG;
    }
    printf("%s: no fault\n", command->config_path);
    return EX_OK;
}

int command_check_config(struct command *command, int argc, char **argv)
{
    gboolean sample = FALSE;
    const GOptionEntry entries[] = {{"sample", 0, 0, G_OPTION_ARG_NONE, &sample,
                                     "Prints a sample file with every setting instead", NULL},
                                    G_OPTION_ENTRY_NULL};
    int exit_code;

    if (!command_parse("check-config [--sample]",
                       "Checks the configuration and the files it names; changes nothing.", entries,
                       &argc, &argv, &exit_code))
        return exit_code;
    if (sample) {
        g_autofree char *text = settings_sample();
        fputs(text, stdout);
        return EX_OK;
    }
    return check_config(command);
}
