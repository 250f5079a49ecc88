/* What /info answers: how the guest was configured, as it understood it. */
#include "tcp.h"

static char lists[TEXT_MAX];
static unsigned lists_len;

/* A JSON array; items with no text are left out. */
static struct text listed(const struct text *items, unsigned count)
{
    unsigned from = lists_len;
    bool first = true;
    lists_len += format(lists + lists_len, sizeof lists - lists_len, "[");
    for (unsigned i = 0; i < count; i++) {
        if (!items[i].len)
            continue;
        lists_len += format(lists + lists_len, sizeof lists - lists_len, first ? "%J" : ",%J", &items[i]);
        first = false;
    }
    lists_len += format(lists + lists_len, sizeof lists - lists_len, "]");
    return (struct text){ lists + from, lists_len - from };
}

static struct text listed_all(const struct list *list)
{
    return listed(list->items, list->count);
}

void show_info(struct conn *c, struct text query)
{
    (void)query;
    lists_len = 0;
    struct text env = listed_all(&config.env), mounts = listed_all(&config.mounts), words = listed_all(&config.words);
    struct text dns = listed(config.dns, DNS_MAX);
    http_reply_text(c, "200 OK",
        "{\"config\":\"%s\",\"cmdline\":%J,\"env\":%T,\"mounts\":%T,\"words\":%T,\"dns\":%T,\"hostname\":%J,\"domain\":%J,"
        "\"mac\":\"%M\",\"addr\":\"%I\",\"mask\":\"%u\",\"gw\":\"%I\",\"gw_mac\":\"%M\",\"ip6\":%J,\"gw6\":%J,\"mtu\":%u,"
        "\"firmware_ms\":%u,\"boot_ms\":%u,\"requests\":%u,\"memory_bytes\":%u}\n",
        config.source, &config.cmdline, &env, &mounts, &words, &dns, &config.hostname, &config.domain,
        nic_mac, interface.addr, interface.prefix, interface.gw, interface.gw_mac, &config.ip6, &config.gw6, nic_mtu,
        firmware_ms, boot_ms, http_requests, memory_bytes);
}
