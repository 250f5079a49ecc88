/*
 * vtapd-init: the first process of a container whose work is done by a guest.
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

#define READY_FILE "/dev/vtapd-ready"
#define EXIT_FILE "/dev/vtapd-exit"

enum { TICK_MS = 50, ALONE_TICKS = 20 };  /* how long it is alone before it believes that no guest comes back */

/* Signal numbers are the same on all architectures below (man 7 signal). SIGRTMIN+3 is what systemd is stopped by. */
enum { SIG_INT = 2, SIG_QUIT = 3, SIG_TERM = 15, SIG_CHLD = 17, SIG_RTMIN_3 = 37 };
enum { AT_CWD = -100, O_READ = 0, NO_HANG = 1, BLOCK = 0, NO_PROCESS = -3 /* -ESRCH */ };

#if defined(__x86_64__)
enum { NR_READ = 0, NR_CLOSE = 3, NR_SIGPROCMASK = 14, NR_GETPID = 39, NR_WAIT4 = 61, NR_KILL = 62, NR_SIGTIMEDWAIT = 128,
       NR_EXIT_GROUP = 231, NR_OPENAT = 257 };

static long call(long number, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");

#elif defined(__aarch64__)
enum { NR_OPENAT = 56, NR_CLOSE = 57, NR_READ = 63, NR_EXIT_GROUP = 94, NR_KILL = 129, NR_SIGPROCMASK = 135,
       NR_SIGTIMEDWAIT = 137, NR_GETPID = 172, NR_WAIT4 = 260 };

static long call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x0, sp\n\tbl start\n");

#else
#error "vtapd-init knows the system calls of x86-64 and arm64 only"
#endif

struct interval {
    long seconds, nanoseconds;
};

static _Noreturn void leave(int status)
{
    for (;;)
        call(NR_EXIT_GROUP, status, 0, 0, 0);
}

static int is_same(const char *left, const char *right)
{
    while (*left && *left == *right)
        left++, right++;
    return *left == *right;
}

/* Return the descriptor, or a negative number. */
static long open_file(const char *path)
{
    return call(NR_OPENAT, AT_CWD, (long)path, O_READ, 0);
}

/* Return the guest's exit code, or -1 if the guest is not done for good. */
static int read_exit_code(void)
{
    char digits[4];
    long file = open_file(EXIT_FILE);
    long length = file < 0 ? file : call(NR_READ, file, (long)digits, sizeof digits, 0);
    int code = 0;

    if (file >= 0)
        call(NR_CLOSE, file, 0, 0, 0);
    if (length <= 0)
        return -1;
    for (long i = 0; i < length && digits[i] >= '0' && digits[i] <= '9'; i++)
        code = code * 10 + digits[i] - '0';
    return code & 255;
}

static void reap(void)
{
    while (call(NR_WAIT4, -1, 0, NO_HANG, 0) > 0)
        ;
}

/* Signals are blocked, not handled: the kernel drops what the first process of a namespace neither handles nor blocks. */
static void block_signals(void)
{
    static const unsigned long all = ~0UL;
    call(NR_SIGPROCMASK, BLOCK, (long)&all, 0, sizeof all);
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

    /* A guest may have the one argument "ready", too; the health check is never the first process. */
    if (call(NR_GETPID, 0, 0, 0, 0) != 1 && stack[0] == 2 && is_same(arguments[1], "ready"))
        leave(open_file(READY_FILE) < 0);
    wait_for_stop();
}
