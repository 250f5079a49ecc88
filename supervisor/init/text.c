/* Text without a libc. */
#include "text.h"

#include "system.h"

#define arguments_begin __builtin_va_start
#define next_argument __builtin_va_arg

unsigned long length_of(const char *text)
{
    unsigned long length = 0;

    while (text[length])
        length++;
    return length;
}

int is_same(const char *left, const char *right)
{
    while (*left && *left == *right)
        left++, right++;
    return *left == *right;
}

const char *after(const char *text, const char *prefix)
{
    while (*prefix)
        if (*text++ != *prefix++)
            return 0;
    return text;
}

const char *last_part(const char *path)
{
    const char *part = path;

    for (; *path; path++)
        if (*path == '/')
            part = path + 1;
    return part;
}

unsigned long number_in(const char *digits)
{
    unsigned long value = 0;

    for (; *digits >= '0' && *digits <= '9'; digits++)
        value = value * 10 + (unsigned long)(*digits - '0');
    return value;
}

char *join(char *target, unsigned long most, ...)
{
    __builtin_va_list parts;
    unsigned long at = 0;

    arguments_begin(parts, most);
    for (const char *part = next_argument(parts, const char *); part; part = next_argument(parts, const char *))
        while (*part && at + 1 < most)
            target[at++] = *part++;
    __builtin_va_end(parts);
    target[at] = 0;
    return target;
}

char *decimal(char *target, unsigned long value)
{
    char reversed[20];
    int count = 0;

    do
        reversed[count++] = (char)('0' + value % 10);
    while (value /= 10);
    for (int i = 0; i < count; i++)
        target[i] = reversed[count - 1 - i];
    target[count] = 0;
    return target;
}

const char *reason_of(long error)
{
    static char number[] = "error                     ";

    switch (-error) {  /* asm-generic/errno-base.h */
    case 2:
        return "it does not exist";
    case 8:
        return "it is no program for this processor";
    case 12:
        return "the guest has too little memory";
    case 13:
        return "permission denied";
    case 20:
        return "a part of its path is no folder";
    }
    decimal(number + length_of("error "), (unsigned long)-error);
    return number;
}

long read_file(const char *path, char *target, unsigned long most)
{
    long file = open_file(path, O_READ), length = 0, got = 0;

    if (file < 0)
        return file;
    while ((unsigned long)length + 1 < most &&
           (got = call(NR_READ, file, (long)(target + length), (long)most - 1 - length, 0)) > 0)
        length += got;
    close_file(file);
    target[length] = 0;
    return got < 0 ? got : length;
}

void write_file(const char *path, int flags, const char *text)
{
    long file = open_file(path, O_WRITE | flags);

    if (file < 0)
        return;
    call(NR_WRITE, file, (long)text, (long)length_of(text), 0);
    close_file(file);
}

void say_line(const char *text)
{
    char line[PATH_BYTES + 32];

    join(line, sizeof line, "vtapd-init: ", text, "\n", (char *)0);
    call(NR_WRITE, 2, (long)line, (long)length_of(line), 0);
}

/* gcc calls these two for what it fills and copies, also without a libc. */
void *memset(void *target, int byte, unsigned long count)
{
    for (volatile char *at = target; count--;)
        *at++ = (char)byte;
    return target;
}

void *memcpy(void *target, const void *source, unsigned long count)
{
    const char *from = source;

    for (volatile char *at = target; count--;)
        *at++ = *from++;
    return target;
}
