/* Runs a fuzz target once on every file of a corpus folder, in the order of their names, without
 * libFuzzer. Fails when the folder holds fewer than SEEDS_MIN files: a target without seeds tests
 * nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#define SEEDS_MIN 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int by_name(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(const char *const *)a, *(const char *const *)b);
}

static GPtrArray *files_of(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    GPtrArray *files = g_ptr_array_new_with_free_func(g_free);
    const char *name;
    if (dir == NULL)
        return files;
    while ((name = g_dir_read_name(dir)) != NULL)
        g_ptr_array_add(files, g_build_filename(folder, name, NULL));
    g_dir_close(dir);
    g_ptr_array_sort(files, by_name);
    return files;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return EXIT_FAILURE;
    }
    g_autoptr(GPtrArray) files = files_of(argv[1]);
    if (files->len < SEEDS_MIN) {
        fprintf(stderr, "%s: %u seeds, at least %d are wanted\n", argv[1], files->len, SEEDS_MIN);
        return EXIT_FAILURE;
    }
    for (guint i = 0; i < files->len; i++) {
        g_autofree char *data = NULL;
        g_autoptr(GError) error = NULL;
        gsize len;
        if (!g_file_get_contents(files->pdata[i], &data, &len, &error)) {
            fprintf(stderr, "%s\n", error->message);
            return EXIT_FAILURE;
        }
        fprintf(stderr, "%s\n", (const char *)files->pdata[i]); /* the last one named has failed */
        /* An exact copy, so that AddressSanitizer sees a read behind the end. */
        g_autofree uint8_t *exact = g_memdup2(data, len);
        (void)LLVMFuzzerTestOneInput(exact, len);
    }
    printf("%u seeds\n", files->len);
    return EXIT_SUCCESS;
}
