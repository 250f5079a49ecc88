/* The configuration, in the terms that all kinds share. Each kind reads it from words of its own, by what is here, and
   refuses what that kind refuses, so that a supervisor's mistake shows. */
#include "guest.h"

enum { HAS_CMDLINE = 1 << 2, HAS_MODULES = 1 << 3, FLAGS = 0, CMDLINE = 4, MODULE_COUNT = 5, MODULES = 6 };

static char copy[TEXT_MAX];
struct config config;

static bool read_ip(struct text t, uint32_t *out)
{
    uint32_t ip = 0, octet;
    for (int left = 4; left; left--) {
        struct text part = { t.at, 0 };
        while (part.len < t.len && t.at[part.len] != '.')
            part.len++;
        if (!text_number(part, 255, &octet) || (left > 1) != (part.len < t.len))
            return false;
        ip = ip << 8 | octet;
        unsigned step = part.len + (left > 1);
        t = (struct text){ t.at + step, t.len - step };
    }
    *out = ip;
    return true;
}

static bool read_mask(struct text t, uint32_t *prefix)
{
    uint32_t mask;
    if (!read_ip(t, &mask) || (~mask & (~mask + 1)))
        return false;
    for (*prefix = 0; mask; mask <<= 1)
        ++*prefix;
    return true;
}

static bool take_address(struct text ip, uint32_t prefix)
{
    if (!read_ip(ip, &config.ip4.addr))
        return false;
    config.ip4.prefix = prefix;
    return config.ip4.has_address = true;
}

bool config_address(struct text ip, struct text prefix)
{
    uint32_t bits;
    return text_number(prefix, 32, &bits) && take_address(ip, bits);
}

bool config_address_masked(struct text ip, struct text mask)
{
    uint32_t bits;
    return read_mask(mask, &bits) && take_address(ip, bits);
}

bool config_gateway(struct text gw)
{
    if (!read_ip(gw, &config.ip4.gw))
        return false;
    return config.ip4.has_gw = true;
}

bool config_gateway_is_on_link(void)
{
    uint32_t bits = config.ip4.prefix ? ~0u << (32 - config.ip4.prefix) : 0;
    return !((config.ip4.addr ^ config.ip4.gw) & bits);
}

void list_add(struct list *list, struct text item)
{
    if (list->count == LIST_MAX)
        kind_failed("hello: this test guest has no room for so many entries");
    list->items[list->count++] = item;
}

/* The text is copied: the memory that the loader used is given away afterwards. */
static struct text copied(const char *source, const char *at, unsigned len)
{
    if (len > sizeof copy)
        kind_failed("hello: this test guest has no room for so long a text");
    memcpy(copy, at, len);
    config.source = source;
    return (struct text){ copy, len };
}

bool config_has_module(const uint32_t *multiboot)
{
    return multiboot[FLAGS] & HAS_MODULES && multiboot[MODULE_COUNT];
}

struct text config_module(const uint32_t *multiboot)
{
    const uint32_t *module = (const uint32_t *)multiboot[MODULES];
    return copied("module", (const char *)module[0], module[1] - module[0]);
}

struct text config_command_line(const uint32_t *multiboot, unsigned *path_bytes)
{
    *path_bytes = 0;
    if (!(multiboot[FLAGS] & HAS_CMDLINE))
        return (struct text){ 0 };
    const char *at = (const char *)multiboot[CMDLINE];
    struct text all = { at, strlen(at) };
    cut(&all, ' ');
    *path_bytes = all.at - at;
    return copied("command line", all.at, all.len);
}

void config_read(const uint32_t *multiboot)
{
    config.source = "none";
    config.cmdline = (struct text){ "hello", 5 };
    kind_configure(multiboot);
    say("config: %s\ncmdline: %T\n", config.source, &config.cmdline);
    for (unsigned i = 0; i < config.env.count; i++)
        say("env: %T\n", &config.env.items[i]);
}
