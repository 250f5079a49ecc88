/* The configuration, in the terms that all kinds share. Each kind reads it from words of its own, by what is here; all
   are strict, so that a supervisor's mistake is seen and not papered over. */
#include "guest.h"

enum { HAS_CMDLINE = 1 << 2, HAS_MODULES = 1 << 3, FLAGS = 0, CMDLINE = 4, MODULE_COUNT = 5, MODULES = 6 };

static char copy[CONFIG_MAX_BYTES + 1];
struct config config = { .source = "none", .cmdline = { "hello", 5 } };

bool config_ip(struct text t, uint32_t *out)
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

bool config_mask(struct text t, uint32_t *prefix)
{
    uint32_t mask;
    if (!config_ip(t, &mask) || (~mask & (~mask + 1)))
        return false;
    for (*prefix = 0; mask; mask <<= 1)
        ++*prefix;
    return true;
}

void config_env(struct text variable)
{
    if (config.env_count == ENV_MAX)
        bootstrap_failed("config: too many env entries");
    config.env[config.env_count++] = variable;
}

/* With a prefix length or a dotted mask; a gateway that is no text is none. */
void config_static(struct text addr, struct text prefix, struct text mask, struct text gw)
{
    config.wants_network = true;
    config.has_gw = gw.at && gw.len;
    if (!config_ip(addr, &config.addr) || (config.has_gw && !config_ip(gw, &config.gw))
        || !(mask.at ? config_mask(mask, &config.prefix) : text_number(prefix, 32, &config.prefix)))
        bootstrap_failed("net: bad static address, mask or gateway");
    uint32_t bits = config.prefix ? ~0u << (32 - config.prefix) : 0;
    if (config.has_gw && ((config.addr ^ config.gw) & bits))
        bootstrap_failed("net: the gateway is not on the link");
}

/* The text is copied: the memory that the loader used is given away afterwards. */
static struct text copied(const char *at, unsigned len)
{
    if (len > CONFIG_MAX_BYTES)
        bootstrap_failed("config: too long");
    memcpy(copy, at, len);
    return (struct text){ copy, len };
}

struct text config_module(const uint32_t *multiboot)
{
    if (!(multiboot[FLAGS] & HAS_MODULES) || !multiboot[MODULE_COUNT])
        return (struct text){ 0 };
    const uint32_t *module = (const uint32_t *)multiboot[MODULES];
    config.source = "module";
    return copied((const char *)module[0], module[1] - module[0]);
}

/* QEMU puts the kernel's path first. */
struct text config_command_line(const uint32_t *multiboot)
{
    if (!(multiboot[FLAGS] & HAS_CMDLINE))
        return (struct text){ 0 };
    const char *at = (const char *)multiboot[CMDLINE];
    struct text all = { at, strlen(at) };
    cut(&all, ' ');
    config.source = "command line";
    return copied(all.at, all.len);
}

void config_read(const uint32_t *multiboot)
{
    kind_configure(multiboot);
    say("config: %s\ncmdline: %T\n", config.source, &config.cmdline);
    for (unsigned i = 0; i < config.env_count; i++)
        say("env: %T\n", &config.env[i]);
}
