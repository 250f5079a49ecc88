/* Text without a libc. */
#ifndef TEXT_H
#define TEXT_H

enum { PATH_BYTES = 4096 };

unsigned long length_of(const char *text);
int is_same(const char *left, const char *right);

/* Return what follows the prefix, or NULL if the text does not begin with it. */
const char *after(const char *text, const char *prefix);

/* Return the last part of a path. */
const char *last_part(const char *path);

unsigned long number_in(const char *digits);

/* Write the parts one after the other; NULL ends the list. The result is cut off at `most` bytes. Returns `target`. */
char *join(char *target, unsigned long most, ...);

/* Write a number in decimal digits. Returns `target`, which has room for 21 bytes. */
char *decimal(char *target, unsigned long value);

/* Return in words why a call failed that returned this number. */
const char *reason_of(long error);

/* Read a whole file, up to most - 1 bytes, and end it with a zero. Return its length, or a negative number. */
long read_file(const char *path, char *target, unsigned long most);

/* Write or append text to a file, which is created if need be. */
void write_file(const char *path, int flags, const char *text);

/* Print a line on the console, after `vtapd-init: `. Arguments are parts as those of join(). */
#define say(...) say_line(join((char[PATH_BYTES]){0}, PATH_BYTES, __VA_ARGS__, (char *)0))
void say_line(const char *text);

void *memset(void *target, int byte, unsigned long count);
void *memcpy(void *target, const void *source, unsigned long count);

#endif
