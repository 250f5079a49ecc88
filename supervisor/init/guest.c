/*
 * The first process of a Linux guest that runs a container image: /init of the initial RAM disk that
 * `vtapd build --rootfs` makes. It loads the kernel's modules, mounts the disk with the image's files, sets up the
 * network that vtapd passes on the kernel's command line, runs the image's program, and powers the machine off when that
 * ends. Its last line has the exit code; vtapd reads it from the console.
 *
 * /vtapd-config in the RAM disk says what to do. It has fields, each with a zero at its end:
 *   module=FILE    a kernel module to load, in this order
 *   user=N group=N other=N (any number of times): who the program runs as
 *   folder=PATH    its working directory
 *   stop=N         the signal that ends it
 *   variable=K=V   its environment
 *   entry=WORD     its command line; the words of the kernel's command line after ` -- ` follow
 *   word=WORD      what follows if there are no such words
 */
#include "guest.h"

#include "system.h"
#include "text.h"

enum { MOST_INPUTS = 8, POLL_IN = 1, KEY_EVENT = 1, POWER_KEY = 116, PRESSED = 1 };  /* linux/input-event-codes.h */
enum { FAILED = 125 };  /* as `docker run`, if it is Docker itself that fails */
enum { GET_TERMINAL = 0x540E /* TIOCSCTTY */, DRAIN = 0x5409 /* TCSBRK */ };
#define CONSOLE "/dev/ttyS0"

struct watched {
    int file;
    short events, happened;
};
struct input_event {  /* linux/input.h */
    long seconds, microseconds;
    unsigned short type, code;
    int value;
};

static struct program program;
static char config[CONFIG_BYTES];

_Noreturn void power_off(int exit_code)
{
    char digits[21];

    call(NR_KILL, -1, SIG_KILL, 0, 0);
    reap();
    call(NR_SYNC, 0, 0, 0, 0);
    call5(NR_MOUNT, 0, (long)"/", 0, 1 | 32 /* MS_RDONLY | MS_REMOUNT */, 0);
    call(NR_WRITE, 2, (long)"\n", 1, 0);  /* the program may have left a line without an end */
    say("exit ", decimal(digits, (unsigned long)exit_code));
    call(NR_IOCTL, 2, DRAIN, 1, 0);
    for (;;)  /* linux/reboot.h: LINUX_REBOOT_MAGIC1, MAGIC2, CMD_POWER_OFF */
        call(NR_REBOOT, (long)0xfee1dead, 672274793, 0x4321fedc, 0);
}

_Noreturn void give_up(const char *what, const char *which, long error)
{
    say("cannot ", what, " ", which, ": ", reason_of(error));
    power_off(FAILED);
}

/* Make the serial console standard input, output and error. A session leader gets it as its terminal. */
static void open_console(void)
{
    long file = open_file(CONSOLE, O_READ_WRITE);

    if (file < 0)
        return;
    for (int standard = 0; standard < 3; standard++)
        if (file != standard)
            call(NR_DUP3, file, standard, 0, 0);
    if (file > 2)
        close_file(file);
    call(NR_IOCTL, 0, GET_TERMINAL, 0, 0);
}

/* Start the program in a session of its own, with the console as its terminal, and return its pid. */
static long start_program(void)
{
    static const unsigned long none = 0;
    long pid = call5(NR_CLONE, SIG_CHLD, 0, 0, 0, 0);

    if (pid)
        return pid;
    call(NR_SETSID, 0, 0, 0, 0);
    open_console();
    call(NR_SIGPROCMASK, SET_MASK, (long)&none, 0, sizeof none);
    become(&program);
}

/* Open what may have the power button. */
static int open_inputs(struct watched *inputs)
{
    char path[64], digits[21];
    int count = 0;

    for (unsigned long number = 0; number < MOST_INPUTS; number++) {
        long file = open_file(join(path, sizeof path, "/dev/input/event", decimal(digits, number), (char *)0),
                              O_READ | O_NO_WAIT);
        if (file >= 0)
            inputs[count++] = (struct watched){(int)file, POLL_IN, 0};
    }
    return count;
}

static int is_button_pressed(int file)
{
    struct input_event event;
    int pressed = 0;

    while (call(NR_READ, file, (long)&event, sizeof event, 0) == sizeof event)
        pressed |= event.type == KEY_EVENT && event.code == POWER_KEY && event.value == PRESSED;
    return pressed;
}

/* Reap what has ended. Return the program's status (man 2 wait), or -1 while it runs. */
static int status_of(long pid)
{
    int status;
    long ended;

    while ((ended = call(NR_WAIT4, -1, (long)&status, NO_HANG, 0)) > 0)
        if (ended == pid)
            return status;
    return -1;
}

/* Wait until the program ends, and return its status. The power button sends it its stop signal. */
static int follow(long pid)
{
    static const unsigned long all = ~0UL;
    struct watched watched[MOST_INPUTS + 1];
    char ignored[128];  /* linux/signalfd.h: struct signalfd_siginfo */
    int count, status;

    watched[0] = (struct watched){(int)call(NR_SIGNALFD4, -1, (long)&all, sizeof all, O_NO_WAIT), POLL_IN, 0};
    count = open_inputs(watched + 1);
    while ((status = status_of(pid)) < 0) {
        call5(NR_PPOLL, (long)watched, count + 1, 0, 0, 0);
        while (call(NR_READ, watched[0].file, (long)ignored, sizeof ignored, 0) > 0)
            ;
        for (int i = 1; i <= count; i++)
            if (is_button_pressed(watched[i].file))
                call(NR_KILL, pid, program.stop_signal, 0, 0);
    }
    return status;
}

static void load_modules(long length)
{
    const char *file;

    for (const char *field = config; field < config + length; field += length_of(field) + 1)
        if ((file = after(field, "module=")))
            load_module(file);
}

_Noreturn void run_guest(char **words, char **variables)
{
    long length = read_file(GUEST_CONFIG, config, sizeof config), pid;
    int status;

    block_signals();
    if (length < 0)
        give_up("read", GUEST_CONFIG, length);
    load_modules(length);
    enter_root();
    read_program(&program, config, length, words, variables);
    set_up_network();
    if (is_init(&program))
        become(&program);
    if ((pid = start_program()) < 0)
        give_up("start", program.words[0], pid);
    status = follow(pid);
    power_off(status & 127 ? 128 + (status & 127) : status >> 8 & 255);
}
