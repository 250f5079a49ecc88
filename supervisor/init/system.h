/*
 * System calls of x86-64 and arm64, without a libc. Numbers are those of asm/unistd.h; a failed call returns -errno.
 */
#ifndef SYSTEM_H
#define SYSTEM_H

/* Signal numbers are the same on both architectures (man 7 signal). SIGRTMIN+3 is what systemd is stopped by. */
enum { SIG_INT = 2, SIG_QUIT = 3, SIG_KILL = 9, SIG_TERM = 15, SIG_CHLD = 17, SIG_RTMIN_3 = 37 };
enum { AT_CWD = -100, NO_HANG = 1, BLOCK = 0, SET_MASK = 2, NO_PROCESS = -3 /* -ESRCH */ };
enum { O_READ = 0, O_WRITE = 1, O_READ_WRITE = 2, O_CREATE = 0100, O_TRUNCATE = 01000, O_APPEND_TO = 02000, O_NO_WAIT = 04000 };

#if defined(__x86_64__)
enum { NR_READ = 0, NR_WRITE = 1, NR_CLOSE = 3, NR_SIGPROCMASK = 14, NR_IOCTL = 16, NR_NANOSLEEP = 35, NR_GETPID = 39,
       NR_SOCKET = 41, NR_CLONE = 56, NR_EXECVE = 59, NR_WAIT4 = 61, NR_KILL = 62, NR_CHDIR = 80, NR_FCHOWN = 93,
       NR_SETUID = 105, NR_SETGID = 106, NR_SETSID = 112, NR_SETGROUPS = 116, NR_SIGTIMEDWAIT = 128, NR_CHROOT = 161,
       NR_SYNC = 162, NR_MOUNT = 165, NR_REBOOT = 169, NR_SETHOSTNAME = 170, NR_EXIT_GROUP = 231, NR_OPENAT = 257,
       NR_MKDIRAT = 258, NR_UNLINKAT = 263, NR_SYMLINKAT = 266, NR_PPOLL = 271, NR_SIGNALFD4 = 289, NR_DUP3 = 292,
       NR_FINIT_MODULE = 313 };

static inline long call5(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)
enum { NR_DUP3 = 24, NR_IOCTL = 29, NR_MKDIRAT = 34, NR_UNLINKAT = 35, NR_SYMLINKAT = 36, NR_MOUNT = 40, NR_CHDIR = 49,
       NR_CHROOT = 51, NR_FCHOWN = 55, NR_OPENAT = 56, NR_CLOSE = 57, NR_READ = 63, NR_WRITE = 64, NR_PPOLL = 73,
       NR_SIGNALFD4 = 74, NR_SYNC = 81, NR_EXIT_GROUP = 94, NR_NANOSLEEP = 101, NR_KILL = 129, NR_SIGPROCMASK = 135,
       NR_SIGTIMEDWAIT = 137, NR_REBOOT = 142, NR_SETGID = 144, NR_SETUID = 146, NR_SETSID = 157, NR_SETGROUPS = 159,
       NR_SETHOSTNAME = 161, NR_GETPID = 172, NR_SOCKET = 198, NR_CLONE = 220, NR_EXECVE = 221, NR_WAIT4 = 260,
       NR_FINIT_MODULE = 273 };

static inline long call5(long number, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

#else
#error "vtapd-init knows the system calls of x86-64 and arm64 only"
#endif

static inline long call(long number, long a, long b, long c, long d)
{
    return call5(number, a, b, c, d, 0);
}

struct interval {
    long seconds, nanoseconds;
};

static inline _Noreturn void leave(int status)
{
    for (;;)
        call(NR_EXIT_GROUP, status, 0, 0, 0);
}

/* Return the descriptor, or a negative number. */
static inline long open_file(const char *path, int flags)
{
    return call(NR_OPENAT, AT_CWD, (long)path, flags, 0644);
}

static inline void close_file(long file)
{
    call(NR_CLOSE, file, 0, 0, 0);
}

static inline void reap(void)
{
    while (call(NR_WAIT4, -1, 0, NO_HANG, 0) > 0)
        ;
}

/* Signals are blocked, not handled: the kernel drops what the first process of a namespace neither handles nor blocks. */
static inline void block_signals(void)
{
    static const unsigned long all = ~0UL;
    call(NR_SIGPROCMASK, BLOCK, (long)&all, 0, sizeof all);
}

#endif
