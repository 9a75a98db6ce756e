#include "tests/sim/topics.h"

#include <glib.h>

struct topic {
    GHashTable *members; /* registration, set */
    uint64_t messages, reached;
    char *last;
};

struct topics {
    GHashTable *by_name; /* struct topic */
};

static void topic_free(void *user)
{
    struct topic *topic = user;

    g_hash_table_destroy(topic->members);
    g_free(topic->last);
    g_free(topic);
}

struct topics *topics_new(void)
{
    struct topics *topics = g_new0(struct topics, 1);

    topics->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, topic_free);
    return topics;
}

void topics_free(struct topics *topics)
{
    g_hash_table_destroy(topics->by_name);
    g_free(topics);
}

void topics_reset(struct topics *topics)
{
    g_hash_table_remove_all(topics->by_name);
}

bool topic_name_is_valid(struct text name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!g_ascii_isalnum(name.at[i]) &&
            (name.at[i] == '\0' || strchr("-_.~%", name.at[i]) == NULL))
            return false;
    return name.at != NULL && name.len >= 1 && name.len <= 900;
}

static struct topic *topic_get(struct topics *topics, const char *name)
{
    struct topic *topic = g_hash_table_lookup(topics->by_name, name);

    if (topic != NULL)
        return topic;
    topic = g_new0(struct topic, 1);
    topic->members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    topic->last = g_strdup("");
    g_hash_table_insert(topics->by_name, g_strdup(name), topic);
    return topic;
}

bool topics_has(const struct topics *topics, const char *name, const char *registration)
{
    const struct topic *topic = g_hash_table_lookup(topics->by_name, name);

    return topic != NULL && g_hash_table_contains(topic->members, registration);
}

void topics_add(struct topics *topics, const char *name, const char *registration)
{
    g_hash_table_add(topic_get(topics, name)->members, g_strdup(registration));
}

void topics_remove(struct topics *topics, const char *name, const char *registration)
{
    g_hash_table_remove(topic_get(topics, name)->members, registration);
}

void topics_publish(struct topics *topics, struct text name, struct text alert, struct text version)
{
    g_autofree char *copy = g_strndup(name.at, name.len);
    struct topic *topic = topic_get(topics, copy);

    topic->messages++;
    topic->reached += g_hash_table_size(topic->members);
    g_free(topic->last);
    topic->last = g_strdup_printf("%.*s/%.*s", (int)alert.len, alert.at != NULL ? alert.at : "",
                                  (int)version.len, version.at != NULL ? version.at : "");
}

json_t *topics_json(const struct topics *topics)
{
    json_t *object = json_object();
    GHashTableIter iter;
    gpointer name, user;

    g_hash_table_iter_init(&iter, topics->by_name);
    while (g_hash_table_iter_next(&iter, &name, &user)) {
        const struct topic *topic = user;
        json_object_set_new(object, name,
                            json_pack("{s:I,s:I,s:I,s:s}", "subscribers",
                                      (json_int_t)g_hash_table_size(topic->members), "messages",
                                      (json_int_t)topic->messages, "reached",
                                      (json_int_t)topic->reached, "last", topic->last));
    }
    return object;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(a, b);
}

json_t *topics_of(const struct topics *topics, const char *registration)
{
    json_t *list = json_array();
    GList *names = g_list_sort(g_hash_table_get_keys(topics->by_name), compare_names);

    for (const GList *name = names; name != NULL; name = name->next)
        if (topics_has(topics, name->data, registration))
            json_array_append_new(list, json_string(name->data));
    g_list_free(names);
    return list;
}
