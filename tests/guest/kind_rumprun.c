/* Rumprun: JSON from multiboot module 0, or else from the first `{` of the command line. It refuses what rumprun refuses,
   so that a supervisor's mistake is seen and not papered over. Whatever ends it, it halts, and QEMU lives on. */
#include "guest.h"

const char kind_name[] = "rumprun";
const bool kind_hears_button = false;

struct net { struct text interface, type, method, addr, mask, gw; };

static void use_net(const struct net *n)
{
    if (text_is(n->type, "inet6")) {
        say("net: inet6 ignored\n");
        return;
    }
    if (!text_is(n->type, "inet") || n->interface.len != 6 || memcmp(n->interface.at, "vioif", 5))
        bootstrap_failed("net: not an inet configuration of vioifN");
    if (n->interface.at[5] != '0') {
        say("net: %T ignored, this guest drives one card\n", &n->interface);
        return;
    }
    if (config.wants_network)
        bootstrap_failed("net: a second inet configuration");
    if (text_is(n->method, "dhcp")) {
        config.wants_network = config.dhcp = true;
        return;
    }
    if (!text_is(n->method, "static"))
        bootstrap_failed("net: bad static address, mask or gateway");
    config_static(n->addr, n->mask, (struct text){ 0 }, n->gw);
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
    struct text variable;
    if (json_string(j, &variable))
        config_env(variable);
}

static void read_json(struct text t)
{
    struct json j = { t.at, t.at + t.len, false };
    struct text key;
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

void kind_configure(const uint32_t *multiboot)
{
    struct text t = config_module(multiboot);
    if (!t.at) {
        t = config_command_line(multiboot);
        while (t.len && *t.at != '{')
            t = (struct text){ t.at + 1, t.len - 1 };
    }
    if (t.len)
        read_json(t);
    else
        config.source = "none";
}

static void __attribute__((noreturn)) halted(void)
{
    say("halted\n");
    stop_cpu();
}

void kind_failed(const char *why)
{
    say("%s\n=== bootstrap failed\n", why);
    halted();
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    say("FATAL TRAP: exception %u at 0x%X, error code 0x%x\n", vector, at, error);
    stop_cpu();
}

void kind_exit(uint32_t code)
{
    struct text rest = config.cmdline, name = cut(&rest, ' ');
    if (code)
        say("=== ERROR: _exit(%u) called ===\n", code);
    else
        say("=== main() of \"%T\" returned 0 ===\n", &name);
    halted();
}

void kind_abort(void)
{
    say("_lwpabort() called\n");
    halted();
}
