/* Unikraft as QEMU's multiboot loads it, in the syntax since 0.16 or (built with -DBEFORE_0_16) the one before, built so
   that it prints messages of level info (LIBUKDEBUG_PRINTK_INFO). Whatever ends it, it powers off. */
#include "guest.h"

enum {
    WORDS_MAX = 60, ENV_WORDS_MAX = 8, CARDS_MAX = 4, LINE_MAX = 4096,         /* Config.uk of ukboot, posix-environ, uknetdev */
    DEBUG_EXIT = 0x501, CRASHED = 42, PVPANIC = 0x505, PANICKED = 1, EINVAL = 22, E2BIG = 7
};

struct word { struct text text, rest; };

/* ukplat_terminate(UKPLAT_CRASH) */
static void __attribute__((noreturn)) crashed(void)
{
    outw(DEBUG_EXIT, CRASHED);
    outb(PVPANIC, PANICKED);
    power_off();
}

static void __attribute__((noreturn)) init_failed(unsigned error)
{
    say("[    0.010000] ERR:  [libukboot] <boot.c @  405> Init function at 0x11e8f0 returned error -%u\n", error);
    crashed();
}

#ifdef BEFORE_0_16
const struct kind kind = { "Unikraft before 0.16 (libukboot, ipv4_subnet_mask)", ON_BOTH, false, 0 };
#define RETURNED "main returned %u, halting system"

static struct text addr, mask, gw;

static bool read_network(struct text name, struct text value)
{
    if (text_is(name, "netdev.ipv4_addr")) addr = value;
    else if (text_is(name, "netdev.ipv4_gw_addr")) gw = value;
    else if (text_is(name, "netdev.ipv4_subnet_mask")) mask = value;
    else return false;
    return true;
}

static void finish(void)
{
    static struct text class_c = { "255.255.255.0", 13 };
    if (addr.at && config_address_masked(addr, mask.at ? mask : class_c) && gw.at)
        config_gateway(gw);
}
#else
const struct kind kind = { "Unikraft (libukboot)", ON_BOTH, false, 0 };
#define RETURNED "main returned %u"

static void error(const char *why, struct text what)
{
    say("[    0.010000] ERR:  [liblwip] <init.c @  246> %s: %T\n", why, &what);
}

/* ADDRESS/PREFIX:GATEWAY:DNS0:DNS1:HOST:DOMAIN, as lib-lwip's init.c takes it: what is bad is left out, and without an
   address it asks DHCP. This guest drives one card. */
static void read_card(struct text card)
{
    struct text address = cut(&card, ':'), gw = cut(&card, ':'), prefix = address, ip = cut(&prefix, '/');
    for (unsigned i = 0; i < DNS_MAX; i++)
        config.dns[i] = cut(&card, ':');
    config.hostname = cut(&card, ':');
    config.domain = cut(&card, ':');
    if (!address.len)
        return;
    if (ip.len == address.len)
        error("Failed to find maskbits separator of CIDR IP address", address);
    else if (!config_address(ip, prefix))
        error("Error converting IP address", address);
    else if (gw.len && !config_gateway(gw))
        error("Error converting gateway", gw);
}

static bool read_network(struct text name, struct text value)
{
    static unsigned cards;
    if (!text_is(name, "netdev.ip"))
        return false;
    if (!cards)
        read_card(value);
    return cards++ < CARDS_MAX;
}

static void finish(void)
{
}
#endif

static const uint32_t *loaded_by;

/* DEVICE:PATH:DRIVER[:FLAGS:OPTIONS:UKOPTIONS] (lib/vfscore/automount.c) */
static void read_mount(struct text volume)
{
    struct text rest = volume, device = cut(&rest, ':'), path = cut(&rest, ':'), driver = cut(&rest, ':');
    list_add(&config.mounts, volume);
    if (!path.len || *path.at != '/') {
        say("[    0.010000] ERR:  [libvfscore] <automount.c @  775> vfs.fstab: Mountpoint \"%T\" is not absolute\n", &path);
        init_failed(EINVAL);
    }
    if (text_is(driver, "extract") && text_is(device, "initrd0") && !config_has_module(loaded_by)) {
        say("[    0.010000] CRIT: [libvfscore] <automount.c @  513> Could not find an initrd!\n");
        init_failed(1);
    }
}

static void read_parameter(struct text name, struct text value)
{
    if (text_is(name, "vfs.fstab")) {
        read_mount(value);
    } else if (text_is(name, "env.vars")) {
        if (config.env.count < ENV_WORDS_MAX)
            list_add(&config.env, value);
    } else if (!read_network(name, value)) {
        say("[    0.010000] Warn: [libuklibparam] <parser.c @  606> Parameter %T: Unknown or invalid\n", &name);
        list_add(&config.words, joined(name, "=", value));
    }
}

/* uk_libparam_parse(): NAME=VALUE or NAME=[ VALUE VALUE ], up to `--`; returns where that is. A value in a list that ends
   with `]` ends the list. */
static unsigned read_parameters(const struct word *words, unsigned count, bool scan_only)
{
    struct text name = { 0 };
    bool in_list = false;
    for (unsigned i = 0; i < count; i++) {
        struct text value = words[i].text;
        if (!value.len)
            continue;
        if (!in_list) {
            if (text_is(value, "--"))
                return i;
            name = cut(&value, '=');
            struct text member = name;
            cut(&member, '.');
            in_list = value.len && *value.at == '[';
            if (!member.len)
                in_list = false;
            else if (!in_list && !scan_only)
                read_parameter(name, value);
            if (!in_list || !--value.len)
                continue;
            value.at++;
        }
        bool last = value.at[value.len - 1] == ']';
        value.len -= last;
        if (value.len && !scan_only)
            read_parameter(name, value);
        in_list = !last;
    }
    return count;
}

static struct text between(const struct word *from, const struct word *last)
{
    struct text t = { from->rest.at, last->rest.at - from->rest.at };
    while (t.len && *t.at == ' ')
        t = (struct text){ t.at + 1, t.len - 1 };
    return t;
}

/* uk_boot_early_init_parse_cmdl(). The kernel's path is the first of the words. Without `--`, or with nothing in front of
   it, all words are the program's. */
void kind_configure(const uint32_t *multiboot)
{
    static struct word words[WORDS_MAX];
    unsigned path_bytes, count = 1;
    struct text line = config_command_line(multiboot, &path_bytes);
    struct words w = { line, " \r\n\t\v", "'\"", "\"\\", false };
    loaded_by = multiboot;
#ifndef BEFORE_0_16
    if (path_bytes + line.len > LINE_MAX) {
        say("[    0.000000] ERR:  [libukboot] <early_init.c @   51> Could not parse cmdline (-%u)\n", E2BIG);
        kind_failed("Early init call @ 0x11d0a0 failed with -7");
    }
#endif
    words[0].rest = line;
    for (; count < WORDS_MAX && word_next(&w, &words[count].text); count++)
        words[count].rest = w.rest;
    unsigned stop = read_parameters(words + 1, count - 1, true);
    if (stop && stop < count - 1)
        read_parameters(words + 1, count - 1, false);
    else
        stop = 0;
    config.cmdline = between(words + (stop ? stop + 1 : 0), words + count - 1);
    finish();
    config.dhcp = true;
}

void kind_failed(const char *why)
{
    say("[    0.010000] CRIT: [libukboot] <early_init.c @  121> %s\n", why);
    crashed();
}

/* do_unhandled_trap(); do_page_fault() says less */
void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    const char *name = vector == 6 ? "invalid opcode" : vector == 13 ? "general protection" : "trap";
    if (vector != 14)
        say("[    0.500000] CRIT: [libkvmplat] <traps.c @   84> Unhandled Trap %u (%s), error code=0x%x\n", vector, name, error);
    say("[    0.500000] CRIT: [libkvmplat] <trace.c @   41> RIP: 00000000%X CS: 0008\n", at);
    say("[    0.500000] CRIT: [libkvmplat] <traps.c @  %u> Crashing\n", vector == 14 ? 113 : 90);
    crashed();
}

void kind_exit(uint32_t code)
{
    say("[    0.500000] Info: [libukboot] <boot.c @  524> " RETURNED "\n", code);
    power_off();
}

void kind_abort(void)
{
    say("[    0.500000] CRIT: [libmusl] <abort.c @    7> abort called\n");
    crashed();
}
