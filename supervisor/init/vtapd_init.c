/*
 * vtapd-init: the first process of a container whose work is done by a guest. In a guest that `vtapd build --rootfs`
 * made it is the first process of Linux, too: guest.c.
 *
 *   ENTRYPOINT ["/vtapd-init"]
 *       Reap orphans and wait. On SIGTERM, SIGINT, SIGQUIT or SIGRTMIN+3 wait until the guest has ended, then exit with
 *       its exit code. Words after the name are the guest's; the daemon reads them from Docker. Standard input is never
 *       read here: the daemon types it into the guest's console.
 *   HEALTHCHECK CMD ["/vtapd-init", "ready"]
 *       Exit with 0 if the guest is ready, with 1 if it is not.
 *
 * The daemon writes two files: /dev/vtapd-ready is there while the guest is ready, and /dev/vtapd-exit
 * has the guest's exit code in digits once the guest is done for good. The daemon then sends SIGTERM.
 *
 * It needs no libc, so that it is small and runs in an image FROM scratch. Docker's own stop timeout bounds the wait.
 */

#include "guest.h"
#include "system.h"
#include "text.h"

#define READY_FILE "/dev/vtapd-ready"
#define EXIT_FILE "/dev/vtapd-exit"

enum { TICK_MS = 50, ALONE_TICKS = 20 };  /* how long it is alone before it believes that no guest comes back */

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x0, sp\n\tbl start\n");
#endif

/* Return the guest's exit code, or -1 if the guest is not done for good. */
static int read_exit_code(void)
{
    char digits[5];

    return read_file(EXIT_FILE, digits, sizeof digits) <= 0 ? -1 : (int)(number_in(digits) & 255);
}

/* Return the next signal, or a negative number after the interval; NULL waits without end. */
static long next_signal(const struct interval *most)
{
    static const unsigned long all = ~0UL;
    return call(NR_SIGTIMEDWAIT, (long)&all, 0, (long)most, sizeof all);
}

/* Exit with the guest's code. If nothing else runs here and no code comes, exit as a process does that a signal ended. */
static _Noreturn void wait_for_guest(int signal)
{
    static const struct interval tick = {0, TICK_MS * 1000000L};
    int alone = 0, code;

    while ((code = read_exit_code()) < 0 && alone < ALONE_TICKS) {
        reap();
        alone = call(NR_KILL, -1, 0, 0, 0) == NO_PROCESS ? alone + 1 : 0;
        next_signal(&tick);
    }
    leave(code < 0 ? 128 + signal : code);
}

static _Noreturn void wait_for_stop(void)
{
    block_signals();
    for (;;) {
        long signal = next_signal(0);

        if (signal == SIG_CHLD)
            reap();
        if (signal == SIG_TERM || signal == SIG_INT || signal == SIG_QUIT || signal == SIG_RTMIN_3)
            wait_for_guest(signal);
    }
}

/* `stack`: the number of arguments, then the arguments (System V ABI, "Process Initialization"). */
__attribute__((used)) _Noreturn void start(long *stack)
{
    char **arguments = (char **)(stack + 1);

    if (call(NR_GETPID, 0, 0, 0, 0) == 1 && is_same(arguments[0], "/init") && open_file(GUEST_CONFIG, O_READ) >= 0)
        run_guest(arguments, arguments + stack[0] + 1);

    /* A guest may have the one argument "ready", too; the health check is never the first process. */
    if (call(NR_GETPID, 0, 0, 0, 0) != 1 && stack[0] == 2 && is_same(arguments[1], "ready"))
        leave(open_file(READY_FILE, O_READ) < 0);
    wait_for_stop();
}
