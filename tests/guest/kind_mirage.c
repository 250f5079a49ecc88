/* MirageOS on Solo5's virtio binding: keys with `--` (mirage: lib_runtime; parse-argv; Solo5: bindings). It halts after
   exit and abort as before Solo5 0.12, and powers off after a trap as since then. */
#include "guest.h"

enum { LINE_ROOM = 8192, DEBUG_EXIT = 0x501, ENDED = 41, BAD_ARGUMENT = 64, UNCAUGHT = 255 };

const struct kind kind = { "MirageOS", ON_SERIAL, false, 0 };

/* The note by which solo5-elftool, too, recognises an image: its target is virtio (elf_abi.h). */
__attribute__((section(".note.solo5, \"a\", @note #"), used, aligned(4)))
static const struct { uint32_t name_size, size, type; char name[8]; uint32_t target, version, zero[2]; } abi =
    { 6, 16, 0x31494241, "Solo5", 3, 1, { 0, 0 } };

static bool quiet;

/* log(INFO, …) */
static void info(const char *pattern, ...)
{
    va_list args;
    va_start(args, pattern);
    if (!quiet)
        vsay(pattern, args);
    va_end(args);
}

static void __attribute__((noreturn)) halted(void)
{
    outw(DEBUG_EXIT, ENDED);
    say("Solo5: Halted\n");
    stop_cpu();
}

/* The options of Solo5's own, in front of the unikernel's (bindings/cmdline.c). */
static void read_log_level(struct words *w)
{
    struct words ahead = *w;
    struct text word;
    while (word_next(&ahead, &word) && word_takes(&word, "--solo5:")) {
        bool less = text_is(word, "quiet") || text_is(word, "error") || text_is(word, "warn");
        if (!less && !text_is(word, "info") && !text_is(word, "debug"))
            return;
        quiet = less;
        *w = ahead;
    }
}

static void __attribute__((noreturn)) refused(const char *option, struct text value)
{
    say("mirage: option '%s': invalid value '%T'\nUsage: mirage [OPTION]…\n", option, &value);
    kind_exit(BAD_ARGUMENT);
}

/* Its one network card is in its manifest; what is no key of these is the unikernel's. */
void kind_configure(const uint32_t *multiboot)
{
    unsigned path_bytes;
    struct text line = config_command_line(multiboot, &path_bytes), word, addr = { "10.0.0.2/24", 11 }, gw = { 0 };
    if (line.len >= LINE_ROOM) {
        say("Solo5: warning: command line too long, truncated\n");
        line.len = LINE_ROOM - 1;
    }
    struct words w = { line, " ", "\"", "", false };
    read_log_level(&w);
    config.cmdline = w.rest;
    if (pci_find(VIRTIO, VIRTIO_NET, 0) == PCI_NONE) {
        say("Solo5: All declared devices must be attached. Aborting.\n");
        kind_abort();
    }
    while (word_next(&w, &word)) {
        if (word_takes(&word, "--ipv4=")) addr = word;
        else if (word_takes(&word, "--ipv4-gateway=")) gw = word;
        else if (word_takes(&word, "--ipv6=")) config.ip6 = word;
        else if (word_takes(&word, "--ipv6-gateway=")) config.gw6 = word;
        else continue;
        config.cmdline = w.rest.len ? (struct text){ w.rest.at + 1, w.rest.len - 1 } : w.rest;
    }
    if (w.unclosed) {
        say("Fatal error: exception Failure(\"bad input line - either escaped or quoted or both\")\n");
        kind_exit(UNCAUGHT);
    }
    struct text prefix = addr, ip = cut(&prefix, '/');
    if (!config_address(ip, prefix))
        refused("--ipv4", addr);
    if (gw.at && !config_gateway(gw))
        refused("--ipv4-gateway", gw);
}

void kind_failed(const char *why)
{
    say("%s\n", why);
    kind_abort();
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    static const char *const names[] = { "#DE", "#DB", "#NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "#9", "#TS",
                                         "#NP", "#SS", "#GP", "#PF", "#15", "#MF", "#AC", "#MC", "#XM" };
    const char *name = vector < sizeof names / sizeof *names ? names[vector] : "#31";
    info("Solo5: trap: type=%s ec=0x%x rip=0x%x rsp=0x0 rflags=0x0\n", name, error, at);
    say("Solo5: ABORT: cpu_x86_64.c:181: Fatal trap\n");
    outw(DEBUG_EXIT, ENDED);
    power_off();
}

void kind_exit(uint32_t code)
{
    info("Solo5: solo5_exit(%u) called\n", code);
    halted();
}

void kind_abort(void)
{
    info("Solo5: solo5_abort() called\n");
    halted();
}
