/* loa keys create DIR: every key of a new installation. The release key belongs on the machine that
 * releases; next.key belongs in a safe: phones pin both public keys, so it can take over. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "app/command.h"
#include "app/text.h"
#include "base/crypto.h"
#include "engine/release.h"

#define DEVICE_KEY_LEN 32

/* Writes a new file; never over an old one. */
static bool write_new(const char *path, const void *data, size_t len, mode_t mode, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    bool ok = fd >= 0 && write(fd, data, len) == (ssize_t)len && fsync(fd) == 0;

    if (!ok)
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "cannot write %s: %s", path,
                    g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool create_device_key(const char *dir, GError **error)
{
    g_autofree char *path = g_build_filename(dir, "device.key", NULL);
    uint8_t key[DEVICE_KEY_LEN];
    bool ok;

    crypto_random(key, sizeof(key));
    ok = write_new(path, key, sizeof(key), 0600, error);
    explicit_bzero(key, sizeof(key));
    return ok;
}

/* name.key and name.pub */
static bool create_pair(const char *dir, const char *name, GError **error)
{
    g_autofree char *private_path = g_strdup_printf("%s/%s.key", dir, name);
    g_autofree char *public_path = g_strdup_printf("%s/%s.pub", dir, name);
    g_autofree char *pem = NULL;
    uint8_t public_key[ED25519_KEY_LEN];

    if (!signing_key_create(private_path, public_key, error))
        return false;
    pem = release_public_pem(public_key);
    return write_new(public_path, pem, strlen(pem), 0644, error);
}

/* All or nothing: a second run must not leave a mixture of old and new keys. */
static bool none_exists(const char *dir, GError **error)
{
    static const char *const names[] = {"device.key", "release.key", "release.pub", "next.key",
                                        "next.pub"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);
        if (g_file_test(path, G_FILE_TEST_EXISTS)) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "%s exists; keys are never replaced",
                        path);
            return false;
        }
    }
    return true;
}

static int keys_create(struct command *command, int argc, char **argv)
{
    const GOptionEntry entries[] = {{NULL}};
    g_autoptr(GError) error = NULL;
    int exit_code;

    (void)command;
    if (!command_parse("keys create DIR", "Makes the device key and two release key pairs.",
                       entries, &argc, &argv, &exit_code))
        return exit_code;
    if (argc != 2) {
        fputs("loa keys create: give a directory\n", stderr);
        return EX_USAGE;
    }
    if (g_mkdir_with_parents(argv[1], 0700) != 0)
        g_set_error(&error, LOA_ERROR, LOA_ERROR_INVALID, "cannot make %s: %s", argv[1],
                    g_strerror(errno));
    if (error != NULL || !none_exists(argv[1], &error) || !create_device_key(argv[1], &error) ||
        !create_pair(argv[1], "release", &error) || !create_pair(argv[1], "next", &error))
        return command_fail("keys create", error);
    printf("keys written to %s\n", argv[1]);
    return EX_OK;
}

int command_keys(struct command *command, int argc, char **argv)
{
    static const struct text_subcommand subcommands[] = {{"create", keys_create}, {NULL, NULL}};

    return text_dispatch(subcommands, command, argc, argv);
}
