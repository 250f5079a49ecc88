/* OSv: options in front of the program (loader.cc, core/commands.cc, core/options.cc). It powers off when the program is
   done, and halts after a crash. */
#include "guest.h"

const struct kind kind = { "OSv (power-off-on-abort)", ON_BOTH, true, 0 };

static const char *const flags[] = {
    "help", "leak", "disable_rofs_cache", "preload-zfs-library", "extra-zfs-pools", "noshutdown", "power-off-on-abort",
    "trace-backtrace", "trace-list", "verbose", "bootchart", "nomount", "nopivot", "norandom", "noinit", "nopci", NULL,
};
static const char *const valued[] = {
    "maxnic", "sampler", "trace", "console", "rootfs", "mount-fs", "env", "cwd", "ip", "defaultgw", "nameserver",
    "redirect", "delay", NULL,
};

static struct text addr, mask, gw, nameserver;
static bool verbose, power_off_on_abort;

static void __attribute__((noreturn)) aborted(const char *why)
{
    say("%s\n\n[backtrace]\n0x0000000040477678 <abort(char const*, ...)+40>\n0x00000000403a1b2c <osv::halt()+12>\n", why);
    if (power_off_on_abort)
        power_off();
    stop_cpu();
}

/* handle_parse_error() */
static void __attribute__((noreturn)) usage(const char *what, struct text option, const char *behind)
{
    say("%s%T%s\nOSv options:\n  --help                show help text\n", what, &option, behind);
    power_off();
}

static bool is_one(struct text t, const char *const *names)
{
    while (*names && !text_is(t, *names))
        names++;
    return *names;
}

/* Parts between commas; several commas part like one. */
static unsigned parts_of(struct text value, struct text *parts, unsigned room)
{
    unsigned n = 0;
    while (value.len) {
        struct text part = cut(&value, ',');
        if (part.len && n++ < room)
            parts[n - 1] = part;
    }
    return n;
}

/* CARD,ADDRESS,MASK; this guest drives one card. */
static void read_ip(struct text value)
{
    struct text parts[3];
    if (parts_of(value, parts, 3) != 3)
        aborted("incorrect parameter on --ip");
    say("%T: %T\n", &parts[0], &parts[1]);
    if (!text_is(parts[0], "eth0"))
        return;
    addr = parts[1];
    mask = parts[2];
}

static void read_mount(struct text value)
{
    struct text parts[3];
    if (parts_of(value, parts, 3) == 3)
        list_add(&config.mounts, value);
    else
        say("Ignoring value: '%T' for option mount-fs, expected in format: <fs_type,url,path>\n", &value);
}

static void read_flag(struct text option, struct text key)
{
    if (!is_one(key, flags))
        usage("unrecognized option: ", key, "");
    verbose |= text_is(key, "verbose");
    power_off_on_abort |= text_is(key, "power-off-on-abort");
    list_add(&config.words, option);
}

static void read_option(struct text option)
{
    struct text value = option;
    if (!word_takes(&value, "--"))
        usage("not an option: ", option, "");
    struct text key = cut(&value, '=');
    if (key.at + key.len == option.at + option.len)
        read_flag(option, key);
    else if (!value.len)
        usage("the required argument for option '--", key, "' is missing");
    else if (!is_one(key, valued))
        usage("unrecognized option: ", key, "");
    else if (text_is(key, "ip")) read_ip(value);
    else if (text_is(key, "defaultgw")) gw = gw.at ? gw : value;
    else if (text_is(key, "nameserver")) nameserver = nameserver.at ? nameserver : value;
    else if (text_is(key, "env")) list_add(&config.env, value);
    else if (text_is(key, "mount-fs")) read_mount(value);
    else list_add(&config.words, option);
}

/* The real one starts the program that the line names; here it is the guest itself, whatever the name. */
void kind_configure(const uint32_t *multiboot)
{
    unsigned path_bytes;
    struct words w = { config_command_line(multiboot, &path_bytes), " \t\n", "", "", false };
    struct text option;
    while (word_begins(&w) == '-' && word_next(&w, &option))
        read_option(option);
    config.cmdline = w.rest;
    config.dns[0] = nameserver;
    if (addr.at)
        config_address_masked(addr, mask);
    struct ip4 without_gateway = config.ip4;
    if (gw.at && config_gateway(gw) && !config_gateway_is_on_link())
        config.ip4 = without_gateway;
    config.dhcp = !addr.at;
}

void kind_failed(const char *why)
{
    aborted(why);
}

/* dump_registers() and DUMMY_HANDLER of arch/x64/exceptions.cc, vm_sigsegv() of core/mmu.cc */
void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    (void)error;
    if (vector == 14)
        say("page fault outside application, addr: 0x0000000000000000\n");
    say("[registers]\nRIP: 0x00000000%X <main+42>\n", at);
    aborted(vector == 14 ? "Aborted" : vector == 6 ? "DUMMY_HANDLER for invalid_opcode aborting." : "general protection fault");
}

/* What it returned is a debug message. */
void kind_exit(uint32_t code)
{
    struct text rest = config.cmdline, name = cut(&rest, ' ');
    if (code && verbose)
        say("program %T returned %u\n", &name, code);
    power_off();
}

void kind_abort(void)
{
    aborted("Aborted");
}
