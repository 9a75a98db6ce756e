/* Temporary name in the same folder, fsync, rename, fsync of the folder: the order that survives a
 * power cut. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define FILE_MODE   0644
#define FOLDER_MODE 0755

static bool fail(GError **error, const char *what, const char *path)
{
    int saved = errno;
    enum loa_error code = saved == ENOSPC || saved == EDQUOT                    ? LOA_ERROR_LIMIT
                          : saved == EACCES || saved == EPERM || saved == EROFS ? LOA_ERROR_DENIED
                          : saved == ENOENT ? LOA_ERROR_NOT_FOUND
                                            : LOA_ERROR_INTERNAL;

    g_set_error(error, LOA_ERROR, code, "%s %s: %s", what, path, g_strerror(saved));
    return false;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

char *file_stage(const char *path, const void *data, size_t len, int64_t mtime_s, GError **error)
{
    const struct timespec times[2] = {{.tv_sec = mtime_s}, {.tv_sec = mtime_s}};
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *staged = g_build_filename(folder, FILE_STAGED_PREFIX "XXXXXX", NULL);
    int fd = mkostemp(staged, O_CLOEXEC);
    bool ok;

    if (fd < 0) {
        fail(error, "create a file in", folder);
        return NULL;
    }
    ok = (write_all(fd, data, len) && fchmod(fd, FILE_MODE) == 0 && futimens(fd, times) == 0 &&
          fsync(fd) == 0) ||
         fail(error, "write", staged);
    if (close(fd) != 0 && ok)
        ok = fail(error, "write", staged);
    if (!ok) {
        unlink(staged);
        return NULL;
    }
    return g_steal_pointer(&staged);
}

bool file_commit(const char *staged, const char *path, GError **error)
{
    if (rename(staged, path) == 0)
        return true;
    fail(error, "replace", path);
    unlink(staged);
    return false;
}

bool file_remove(const char *path, GError **error)
{
    return unlink(path) == 0 || errno == ENOENT || fail(error, "remove", path);
}

bool file_sync_folder(const char *folder, GError **error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (!ok)
        fail(error, "write the folder", folder);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool file_make_folder(const char *folder, GError **error)
{
    if (mkdir(folder, FOLDER_MODE) == 0)
        return chmod(folder, FOLDER_MODE) == 0 || fail(error, "open to everybody", folder);
    return (errno == EEXIST && g_file_test(folder, G_FILE_TEST_IS_DIR)) ||
           fail(error, "make the folder", folder);
}

bool file_is(const char *path, const void *data, size_t len, int64_t mtime_s)
{
    struct stat st;
    g_autofree char *found = NULL;
    gsize found_len;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0777) == FILE_MODE &&
           st.st_mtim.tv_sec == mtime_s && st.st_mtim.tv_nsec == 0 && (size_t)st.st_size == len &&
           g_file_get_contents(path, &found, &found_len, NULL) && found_len == len &&
           memcmp(found, data, len) == 0;
}
