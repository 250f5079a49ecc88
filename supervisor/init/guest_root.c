/* From the initial RAM disk to the image's files. */
#include "guest.h"

#include "system.h"
#include "text.h"

#define DISK "/dev/vda"
#define ROOT "/root"

enum { READ_ONLY = 1, NO_SUID = 2, NO_DEVICES = 4, NO_EXECUTION = 8, MOVE = 8192 };  /* linux/mount.h: MS_* */
enum { EXISTS = -17, TICK_MS = 20, TICKS = 500 };

static long mount_at(const char *source, const char *target, const char *type, long flags, const char *options)
{
    call(NR_MKDIRAT, AT_CWD, (long)target, 0755, 0);
    return call5(NR_MOUNT, (long)source, (long)target, (long)type, flags, (long)options);
}

void load_module(const char *file)
{
    char path[PATH_BYTES];
    long descriptor = open_file(join(path, sizeof path, "/modules/", file, (char *)0), O_READ);
    long result = descriptor < 0 ? descriptor : call(NR_FINIT_MODULE, descriptor, (long)"", 0, 0);

    if (result < 0 && result != EXISTS)
        say("cannot load the kernel module ", file, ": ", reason_of(result));
    close_file(descriptor);
    call(NR_UNLINKAT, AT_CWD, (long)path, 0, 0);  /* its memory is the guest's again */
}

static void await_disk(void)
{
    static const struct interval tick = {0, TICK_MS * 1000000L};
    long file = -1;

    for (int ticks = 0; ticks < TICKS && (file = open_file(DISK, O_READ)) < 0; ticks++)
        call(NR_NANOSLEEP, (long)&tick, 0, 0, 0);
    if (file < 0)
        give_up("find the disk", DISK, file);
    close_file(file);
}

/* Mount the disk. On one that is read-only, what the guest writes stays in its memory. */
static void mount_disk(void)
{
    char read_only[2];
    long result;

    if (read_file("/sys/block/vda/ro", read_only, sizeof read_only) < 1 || *read_only == '0') {
        result = mount_at(DISK, ROOT, "ext4", 0, 0);
    } else {
        result = mount_at(DISK, "/lower", "ext4", READ_ONLY, 0);
        if (result >= 0)
            result = mount_at("memory", "/upper", "tmpfs", 0, 0);
        call(NR_MKDIRAT, AT_CWD, (long)"/upper/files", 0755, 0);
        call(NR_MKDIRAT, AT_CWD, (long)"/upper/work", 0755, 0);
        if (result >= 0)
            result = mount_at("overlay", ROOT, "overlay", 0, "lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work");
    }
    if (result < 0)
        give_up("mount the disk", DISK, result);
}

static void move_to_root(const char *name)
{
    char target[64];

    join(target, sizeof target, ROOT, name, (char *)0);
    call(NR_MKDIRAT, AT_CWD, (long)target, 0755, 0);
    call5(NR_MOUNT, (long)name, (long)target, 0, MOVE, 0);
}

/* Make what Docker has in each container's /dev. */
static void fill_dev(void)
{
    static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
                                           {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"}};

    for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
        call(NR_SYMLINKAT, (long)links[i][0], AT_CWD, (long)links[i][1], 0);
    mount_at("devpts", "/dev/pts", "devpts", NO_SUID | NO_EXECUTION, "mode=620,gid=5,ptmxmode=666");
    mount_at("shm", "/dev/shm", "tmpfs", NO_SUID | NO_DEVICES | NO_EXECUTION, "mode=1777,size=64m");
}

void enter_root(void)
{
    mount_at("dev", "/dev", "devtmpfs", NO_SUID, 0);
    mount_at("proc", "/proc", "proc", NO_SUID | NO_DEVICES | NO_EXECUTION, 0);
    mount_at("sys", "/sys", "sysfs", NO_SUID | NO_DEVICES | NO_EXECUTION, 0);
    await_disk();
    mount_disk();
    move_to_root("/dev");
    move_to_root("/proc");
    move_to_root("/sys");
    call(NR_CHDIR, (long)ROOT, 0, 0, 0);
    call5(NR_MOUNT, (long)".", (long)"/", 0, MOVE, 0);
    call(NR_CHROOT, (long)".", 0, 0, 0);
    call(NR_CHDIR, (long)"/", 0, 0, 0);
    fill_dev();
}
