/* What programs do with files, for a guest to run on a share. It works in the current folder.

   check        print what does not work, a line each
   load         create files one after another, each synced before it gets its last name, and print the name of each one
                whose folder is synced too; file N holds the bytes (7 N + 3 i) mod 256, of which there are
                500 + 97 N mod 3000
   lock F S     lock F for S seconds, and print whether it was free
   measure N F  print the seconds to write and read N MiB at once, and those to create and read F files of 4 KiB */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 10000, MANY = 200, BLOCK = 1 << 16, SMALL = 1 << 12 };

static void complain(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
}

static int fresh(const char *name)
{
    unlink(name);
    return open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
}

static bool holds(int file, off_t at, const char *expected)
{
    char found[64] = "";
    errno = 0;
    return pread(file, found, strlen(expected), at) == (ssize_t)strlen(expected) && !strcmp(found, expected);
}

static void check_contents(void)
{
    int file = fresh("contents");
    if (pwrite(file, "first", 5, 0) != 5 || pwrite(file, "second", 6, SIZE) != 6)
        complain("write");
    if (!holds(file, 0, "first") || !holds(file, SIZE, "second"))
        complain("read");
    if (ftruncate(file, 3) || lseek(file, 0, SEEK_END) != 3)
        complain("truncate");
    int end = open("contents", O_WRONLY | O_APPEND);
    if (write(end, "ly", 2) != 2 || !holds(file, 0, "firly"))
        complain("append");
    if (fsync(file) || fdatasync(end))
        complain("sync");
    if (open("contents", O_RDWR | O_CREAT | O_EXCL, 0644) >= 0 || errno != EEXIST)
        complain("exclusive");
    close(end);
    close(file);
}

static void check_names(void)
{
    int old = fresh("old"), new = fresh("new");
    if (write(old, "old", 3) != 3 || write(new, "new", 3) != 3 || rename("new", "old") || !access("new", F_OK))
        complain("rename");
    int now = open("old", O_RDONLY);
    if (!holds(now, 0, "new"))
        complain("rename onto a file");
    if (mkdir("folder", 0755) || rename("folder", "renamed") || rmdir("renamed"))
        complain("folders");
    close(old);
    close(new);
    close(now);
}

static void check_listing(void)
{
    char name[16];
    unsigned seen = 0;
    mkdir("many", 0755);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many/%u", i);
        close(fresh(name));
    }
    DIR *folder = opendir("many");
    for (struct dirent *entry; folder && (entry = readdir(folder)); )
        seen += entry->d_name[0] != '.';
    if (seen != MANY)
        complain("list");
}

static bool by_fcntl(int file)
{
    return !fcntl(file, F_SETLK, &(struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET });
}

static bool by_flock(int file)
{
    return !flock(file, LOCK_EX | LOCK_NB);
}

/* Another process must not get a lock that this one has. */
static void check_lock(const char *what, bool (*lock)(int))
{
    int status, file = fresh("lock");
    if (!lock(file))
        complain(what);
    pid_t child = fork();
    if (!child)
        _exit(lock(open("lock", O_RDWR)));
    if (waitpid(child, &status, 0) != child || status)
        printf("%s: two have it\n", what);
    close(file);
}

static void check_mappings(void)
{
    int file = fresh("mapped");
    if (ftruncate(file, SIZE) || pwrite(file, "mapped", 6, 5000) != 6)
        complain("prepare a mapping");
    char *at = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, file, 0);
    if (at == MAP_FAILED || memcmp(at + 5000, "mapped", 6))
        complain("private mapping");
    at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) {
        complain("shared mapping");
        return;
    }
    memcpy(at + 7000, "through", 7);
    if (msync(at, SIZE, MS_SYNC) || !holds(file, 7000, "through"))
        complain("write through a mapping");
    close(file);
}

static void load(void)
{
    static char bytes[3500];
    char name[16];
    int folder = open(".", O_RDONLY | O_DIRECTORY);
    for (unsigned number = 1; ; number++) {
        unsigned size = 500 + number * 97 % 3000;
        for (unsigned i = 0; i < size; i++)
            bytes[i] = 7 * number + 3 * i;
        int file = fresh("unfinished");
        snprintf(name, sizeof name, "%u", number);
        if (write(file, bytes, size) != (ssize_t)size || fsync(file) || close(file) || rename("unfinished", name) ||
            fsync(folder)) {
            complain(name);
            return;
        }
        printf("synced %s\n", name);
    }
}

static void hold(const char *name, unsigned seconds)
{
    puts(by_fcntl(open(name, O_RDWR)) ? "free" : "taken");
    sleep(seconds);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* Of the machine that it runs on, if it may: a container may not. */
static void drop_caches(void)
{
    int file = open("/proc/sys/vm/drop_caches", O_WRONLY);
    if (file >= 0) {
        if (write(file, "3", 1) != 1)
            complain("drop_caches");
        close(file);
    }
}

static void write_file(const char *name, unsigned blocks, unsigned size)
{
    static char block[BLOCK];
    int file = fresh(name);
    while (blocks--)
        if (write(file, block, size) != (ssize_t)size)
            complain(name);
    fsync(file);
    close(file);
}

static void read_file(const char *name, unsigned blocks, unsigned size)
{
    static char block[BLOCK];
    int file = open(name, O_RDONLY);
    while (blocks--)
        if (read(file, block, size) != (ssize_t)size)
            complain(name);
    close(file);
}

static void measure(unsigned mib, unsigned files)
{
    char name[16];
    double began_s = now_s(), took_s;
    write_file("large", mib << 4, BLOCK);
    drop_caches();
    read_file("large", mib << 4, BLOCK);
    took_s = now_s() - began_s;
    unlink("large");
    began_s = now_s();
    for (unsigned i = 0; i < files; i++) {
        snprintf(name, sizeof name, "small%u", i);
        write_file(name, 1, SMALL);
    }
    drop_caches();
    for (unsigned i = 0; i < files; i++) {
        snprintf(name, sizeof name, "small%u", i);
        read_file(name, 1, SMALL);
    }
    printf("%.6f %.6f\n", took_s, now_s() - began_s);
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count > 1 && !strcmp(words[1], "load"))
        load();
    else if (count > 3 && !strcmp(words[1], "lock"))
        hold(words[2], atoi(words[3]));
    else if (count > 3 && !strcmp(words[1], "measure"))
        measure(atoi(words[2]), atoi(words[3]));
    else {
        check_contents();
        check_names();
        check_listing();
        check_lock("fcntl", by_fcntl);
        check_lock("flock", by_flock);
        check_mappings();
    }
    return 0;
}
