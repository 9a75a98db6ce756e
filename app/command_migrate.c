/* loa migrate: the schema and the communes. Safe to run again, and from several machines at once.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/command.h"
#include "base/migrate.h"
#include "engine/area_store.h"

/* Beside sql/: the file of an installed program, or the source tree's. Owned. */
static char *default_areas(const char *sql_dir)
{
    g_autofree char *parent = g_path_get_dirname(sql_dir);

    return g_build_filename(parent, strncmp(parent, "/usr/", 5) == 0 ? "" : "etc", "areas.csv",
                            NULL);
}

static bool migrate(struct db *db, const char *sql_dir, const char *areas, GError **error)
{
    int applied = migrate_run(db, sql_dir, error);
    int communes = applied < 0 ? -1 : area_load_csv(db, areas, error);

    if (communes < 0)
        return false;
    printf("%d migration%s applied, the schema is current; %d communes\n", applied,
           applied == 1 ? "" : "s", communes);
    return true;
}

int command_migrate(struct command *command, int argc, char **argv)
{
    g_autofree char *areas = NULL;
    const GOptionEntry entries[] = {{"areas", 0, 0, G_OPTION_ARG_FILENAME, &areas,
                                     "Communes to load, code,name,kind (default: the province's)",
                                     "FILE"},
                                    G_OPTION_ENTRY_NULL};
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    if (!command_parse("migrate [--areas FILE]",
                       "Brings the database up to this program's version and loads the communes.",
                       entries, &argc, &argv, &exit_code))
        return exit_code;
    db = command_db(command, "migrate", &exit_code);
    if (db == NULL)
        return exit_code;
    if (areas == NULL)
        areas = default_areas(migrate_default_dir());
    return migrate(db, migrate_default_dir(), areas, &error) ? EX_OK
                                                             : command_fail("migrate", error);
}
