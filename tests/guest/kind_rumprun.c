/* Rumprun: JSON from multiboot module 0, or else from the first `{` of the command line (lib/librumprun_base/config.c).
   Whatever ends it, it halts, and QEMU lives on. */
#include "rumprun.h"

const struct kind kind = { "rumprun", ON_SCREEN_ELSE_SERIAL, false, 10 };

/* bmk_platform_halt() */
static void __attribute__((noreturn)) halted(const char *why)
{
    if (why)
        say("PANIC: %s\n", why);
    say("halted\n");
    stop_cpu();
}

static void __attribute__((noreturn)) rebooted(void)
{
    say("rump kernel halting...\n");
    halted(NULL);
}

/* errx(3), and _exit() before the program runs */
void rumprun_failed(const char *pattern, ...)
{
    va_list args;
    va_start(args, pattern);
    say("rumprun: ");
    vsay(pattern, args);
    say("\n\n=== bootstrap failed\n");
    rebooted();
}

/* multiboot(): the module is wanted a byte shorter than the line, to which the kernel's path belongs. */
static struct text read_source(const uint32_t *multiboot)
{
    unsigned path_bytes = 0;
    bool module = config_has_module(multiboot);
    struct text t = module ? config_module(multiboot) : config_command_line(multiboot, &path_bytes);
    if (path_bytes + t.len + module >= CONFIG_SIZE)
        halted("command line too long, increase BMK_MULTIBOOT_CMDLINE_SIZE");
    return cut(&t, 0);
}

void kind_configure(const uint32_t *multiboot)
{
    say("rump kernel bare metal bootstrap\n\n");
    struct text t = read_source(multiboot);
    while (t.len && *t.at != '{')
        t = (struct text){ t.at + 1, t.len - 1 };
    if (t.len) {
        rumprun_read_config(t);
        return;
    }
    say("rumprun: could not find start of json.  no config?\n");
    config.source = "none";
}

void kind_failed(const char *why)
{
    rumprun_failed("%s", why);
}

/* cpu_fattrap() */
void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    const char *name = vector == 0 ? "divide-by-zero" : vector == 6 ? "invalid opcode" : vector == 13 ? "general protection"
                     : vector == 14 ? "page fault" : "trap";
    uint32_t address;
    __asm__ volatile("mov %%cr2, %0" : "=r"(address));
    (void)error;
    say("FATAL TRAP: %s at 0x%x (0x%x)\n", name, at, address);
    stop_cpu();
}

/* Code 0 is a main() that returns, others are a program that calls exit(). */
void kind_exit(uint32_t code)
{
    struct text rest = config.cmdline, name = cut(&rest, ' ');
    if (code)
        say("\n=== ERROR: _exit(%u) called ===\n", code);
    else
        say("\n=== main() of \"%T\" returned 0 ===\n\n=== _exit(0) called ===\n", &name);
    rebooted();
}

void kind_abort(void)
{
    say("_lwpabort() called\n\n=== ERROR: _exit(1) called ===\n");
    rebooted();
}
