/* The configuration: rumprun's JSON, from multiboot module 0 or else from the first `{` of the command line.
   It refuses what rumprun refuses, so that a supervisor's mistake is seen and not papered over. */
#include "guest.h"

enum { HAS_CMDLINE = 1 << 2, HAS_MODULES = 1 << 3, FLAGS = 0, CMDLINE = 4, MODULE_COUNT = 5, MODULES = 6 };

static char copy[CONFIG_MAX_BYTES + 1];
struct config config = { .source = "none", .cmdline = { "hello", 5 } };

static bool parse_ip(struct text t, uint32_t *out)
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

struct net { struct text interface, type, method, addr, mask, gw; };

static void use_net(const struct net *n)
{
    if (text_is(n->type, "inet6")) {
        say("net: inet6 ignored\n");
        return;
    }
    if (!text_is(n->type, "inet") || !text_is(n->interface, "vioif0"))
        bootstrap_failed("net: not an inet configuration of vioif0");
    if (config.wants_network)
        bootstrap_failed("net: a second inet configuration");
    config.wants_network = true;
    if (text_is(n->method, "dhcp")) {
        config.dhcp = true;
        return;
    }
    config.has_gw = n->gw.at != NULL;
    if (!text_is(n->method, "static") || !parse_ip(n->addr, &config.addr) || !text_number(n->mask, 32, &config.prefix)
        || (config.has_gw && !parse_ip(n->gw, &config.gw)))
        bootstrap_failed("net: bad static address, mask or gateway");
    uint32_t mask = config.prefix ? ~0u << (32 - config.prefix) : 0;
    if (config.has_gw && ((config.addr ^ config.gw) & mask))
        bootstrap_failed("net: the gateway is not on the link");
}

static void read_net(struct json *j)
{
    struct net n = { 0 };
    struct text key;
    json_open_object(j);
    for (bool first = true; json_next_key(j, first, &key); first = false) {
        if (text_is(key, "if")) json_string(j, &n.interface);
        else if (text_is(key, "type")) json_string(j, &n.type);
        else if (text_is(key, "method")) json_string(j, &n.method);
        else if (text_is(key, "addr")) json_string(j, &n.addr);
        else if (text_is(key, "mask")) json_string(j, &n.mask);
        else if (text_is(key, "gw")) json_string(j, &n.gw);
        else json_skip(j);
    }
    if (!j->bad)
        use_net(&n);
}

static void read_env(struct json *j)
{
    if (config.env_count == ENV_MAX)
        bootstrap_failed("config: too many env entries");
    if (json_string(j, &config.env[config.env_count]))
        config.env_count++;
}

static void read_text(const char *at, unsigned len)
{
    struct json j = { copy, copy + len, false };
    struct text key;
    if (len > CONFIG_MAX_BYTES)
        bootstrap_failed("config: too long");
    memcpy(copy, at, len);
    json_open_object(&j);
    for (bool first = true; json_next_key(&j, first, &key); first = false) {
        if (text_is(key, "cmdline")) json_string(&j, &config.cmdline);
        else if (text_is(key, "env")) read_env(&j);
        else if (text_is(key, "net")) read_net(&j);
        else json_skip(&j);
    }
    if (!json_at_end(&j))
        bootstrap_failed("config: bad JSON");
}

/* QEMU puts the kernel's path first on the command line, so the text starts at the first brace. The text is
   copied: the memory that the loader used is given away afterwards. */
void config_read(const uint32_t *multiboot)
{
    if (multiboot[FLAGS] & HAS_MODULES && multiboot[MODULE_COUNT]) {
        const uint32_t *module = (const uint32_t *)multiboot[MODULES];
        config.source = "module";
        read_text((const char *)module[0], module[1] - module[0]);
    } else if (multiboot[FLAGS] & HAS_CMDLINE) {
        const char *at = (const char *)multiboot[CMDLINE];
        while (*at && *at != '{')
            at++;
        if (*at) {
            config.source = "command line";
            read_text(at, strlen(at));
        }
    }
    say("config: %s\ncmdline: %T\n", config.source, &config.cmdline);
    for (unsigned i = 0; i < config.env_count; i++)
        say("env: %T\n", &config.env[i]);
}
