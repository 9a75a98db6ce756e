/* loa broadcast: the table of subcommands, list and show. */
#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>

#include "app/broadcast_command.h"
#include "app/text.h"
#include "engine/audit_store.h"
#include "engine/broadcast_store.h"
#include "engine/release.h"

#define LIST_MAX 1000

int command_broadcast(struct command *command, int argc, char **argv)
{
    static const struct text_subcommand subcommands[] = {{"create", broadcast_command_create},
                                                         {"approve", broadcast_command_approve},
                                                         {"status", broadcast_command_status},
                                                         {"cancel", broadcast_command_cancel},
                                                         {"list", broadcast_command_list},
                                                         {"show", broadcast_command_show},
                                                         {NULL, NULL}};

    return text_dispatch(subcommands, command, argc, argv);
}

const char *broadcast_argument(const char *name, int argc, char **argv)
{
    if (argc == 2)
        return argv[1];
    fprintf(stderr, "loa %s: give one broadcast, by its number or alert id\n", name);
    return NULL;
}

static void print_text(const struct broadcast_text *text)
{
    printf("  [%s] %s\n       %s\n", text->language, text->title, text->body);
    if (text->instruction[0] != '\0')
        printf("       → %s\n", text->instruction);
    if (text->correction_title[0] != '\0')
        printf("       if taken back: %s / %s\n", text->correction_title, text->correction_body);
}

void broadcast_print(const struct broadcast *b)
{
    g_autofree char *expires = text_time(b->expires_utc_us);

    printf("%s v%d (broadcast %" PRId64 "), %s\n", b->alert_id, b->version, b->id,
           broadcast_state_name(b->state));
    printf("  realm %s, kind %s, level %s, class %s%s\n", broadcast_realm_name(b->realm),
           broadcast_kind_name(b->kind), broadcast_level_name(b->level),
           broadcast_class_name(b->cls),
           broadcast_is_emergency(b) ? "  *** LIVE EMERGENCY ***" : "");
    printf("  area: %s\n",
           b->scope == BROADCAST_TOAN_TINH ? "toan_tinh (the WHOLE PROVINCE)" : b->areas);
    printf("  expires: %s\n", expires);
    if (b->url[0] != '\0')
        printf("  url: %s\n", b->url);
    if (b->source_document[0] != '\0')
        printf("  source document: %s\n", b->source_document);
    printf("  created by %s%s%s\n", b->creator_name, b->approver_id != 0 ? ", approved by " : "",
           b->approver_name);
    for (guint i = 0; i < b->texts->len; i++)
        print_text(b->texts->pdata[i]);
    printf("  content hash: ");
    for (size_t i = 0; i < SHA256_LEN; i++)
        printf("%02x", b->content_hash[i]);
    putchar('\n');
}

static json_t *list_item(const struct broadcast *b)
{
    return json_pack("{s:I, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "broadcast",
                     (json_int_t)b->id, "alert", b->alert_id, "version", b->version, "type",
                     message_type_name(b->type), "state", broadcast_state_name(b->state), "realm",
                     broadcast_realm_name(b->realm), "kind", broadcast_kind_name(b->kind), "level",
                     broadcast_level_name(b->level), "areas", b->areas, "title",
                     broadcast_text_find(b, "vi")->title, "finished", b->finished_utc_us != 0);
}

static void list_line(const struct broadcast *b)
{
    g_autofree char *released = text_time(b->released_utc_us);

    printf("%6" PRId64 "  %-16s v%d %-6s  %-9s %-8s %-9s %-8s  %-19s  %s\n", b->id, b->alert_id,
           b->version, message_type_name(b->type), broadcast_state_name(b->state),
           broadcast_realm_name(b->realm), broadcast_kind_name(b->kind),
           broadcast_level_name(b->level), released, broadcast_text_find(b, "vi")->title);
}

int broadcast_command_list(struct command *command, int argc, char **argv)
{
    gint limit = 50;
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        {"limit", 0, 0, G_OPTION_ARG_INT, &limit, "At most so many (default 50)", "N"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "One JSON object per line", NULL},
        {NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    if (!command_parse("broadcast list", "Lists broadcasts, newest first.", entries, &argc, &argv,
                       &exit_code))
        return exit_code;
    db = command_db(command, "broadcast list", &exit_code);
    if (db == NULL)
        return exit_code;
    list = broadcast_store_list(db, CLAMP(limit, 1, LIST_MAX), &error);
    if (list == NULL)
        return command_fail("broadcast list", error);
    for (guint i = 0; i < list->len; i++) {
        if (json)
            text_print_json(list_item(list->pdata[i]));
        else
            list_line(list->pdata[i]);
    }
    return EX_OK;
}

/* Would a delivery process believe it? */
static void print_signature(const struct command *command, const struct broadcast *b)
{
    loa_auto(release_keys) keys = NULL;
    g_autoptr(GError) error = NULL;

    if (b->released_utc_us == 0)
        return;
    keys = release_keys_load((const char *const *)command->settings->broadcast_public_key_files,
                             &error);
    if (keys != NULL && release_verify(b, keys, &error))
        printf("  release signature: valid, key %s\n", b->key_id);
    else
        printf("  release signature: NOT VALID HERE: %s\n", error->message);
}

static bool print_history(struct db *db, int64_t id, GError **error)
{
    g_autofree char *object = g_strdup_printf("broadcast:%" PRId64, id);
    g_autoptr(GPtrArray) rows = audit_store_history(db, object, error);

    for (guint i = 0; rows != NULL && i < rows->len; i++) {
        const struct audit_row *row = rows->pdata[i];
        g_autofree char *at = text_time(row->at_utc_us);
        printf("  %s  %-20s %s%s%s\n", at, row->act, row->actor, row->detail[0] != '\0' ? ": " : "",
               row->detail);
    }
    return rows != NULL;
}

int broadcast_command_show(struct command *command, int argc, char **argv)
{
    const GOptionEntry entries[] = {{NULL}};
    g_autoptr(GError) error = NULL;
    loa_auto(broadcast) b = NULL;
    loa_auto(db) db = NULL;
    const char *which;
    int64_t id;
    int exit_code;

    if (!command_parse("broadcast show ID", "Shows one broadcast and its history.", entries, &argc,
                       &argv, &exit_code))
        return exit_code;
    which = broadcast_argument("broadcast show", argc, argv);
    if (which == NULL)
        return EX_USAGE;
    db = command_db(command, "broadcast show", &exit_code);
    if (db == NULL)
        return exit_code;
    if (!broadcast_store_resolve(db, which, &id, &error) ||
        (b = broadcast_load(db, id, &error)) == NULL)
        return command_fail("broadcast show", error);
    broadcast_print(b);
    print_signature(command, b);
    return print_history(db, id, &error) ? EX_OK : command_fail("broadcast show", error);
}
