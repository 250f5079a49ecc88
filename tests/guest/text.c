/* The little of a C library that the guest needs: memory, text, formatting into a bounded buffer. */
#include "guest.h"

void *memcpy(void *to, const void *from, size_t n)
{
    void *d = to;
    size_t words = n / 4;
    __asm__ volatile("rep movsl" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
    n &= 3;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    void *d = to;
    size_t words = n / 4;
    __asm__ volatile("rep stosl" : "+D"(d), "+c"(words) : "a"((uint8_t)byte * 0x01010101u) : "memory");
    n &= 3;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (; n; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

bool text_is(struct text t, const char *word)
{
    return t.len == strlen(word) && !memcmp(t.at, word, t.len);
}

bool is_in(char c, const char *set)
{
    while (*set && *set != c)
        set++;
    return *set;
}

/* The whole text is a decimal number of at most `max`. */
bool text_number(struct text t, uint32_t max, uint32_t *out)
{
    uint64_t n = 0;
    if (!t.len || t.len > 10)
        return false;
    for (unsigned i = 0; i < t.len; i++) {
        if (t.at[i] < '0' || t.at[i] > '9')
            return false;
        n = n * 10 + (t.at[i] - '0');
    }
    *out = n;
    return n <= max;
}

struct sink { char *out; unsigned size, len; };

static void put(struct sink *s, const char *from, unsigned n)
{
    for (; n && s->len < s->size; n--)
        s->out[s->len++] = *from++;
}

static void put_number(struct sink *s, uint32_t n, unsigned base, unsigned width)
{
    char digits[12];
    unsigned at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n || sizeof digits - at < width);
    put(s, digits + at, sizeof digits - at);
}

static void put_ip(struct sink *s, uint32_t ip)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        put_number(s, ip >> shift & 0xff, 10, 1);
        put(s, ".", shift != 0);
    }
}

static void put_mac(struct sink *s, const uint8_t *mac)
{
    for (int i = 0; i < 6; i++) {
        put_number(s, mac[i], 16, 2);
        put(s, ":", i != 5);
    }
}

/* In quotes, with what JSON has to have escaped. */
static void put_json(struct sink *s, const struct text *t)
{
    put(s, "\"", 1);
    for (unsigned i = 0; i < t->len; i++) {
        uint8_t c = t->at[i];
        if (c < 0x20) {
            put(s, "\\u00", 4);
            put_number(s, c, 16, 2);
            continue;
        }
        put(s, "\\", c == '"' || c == '\\');
        put(s, t->at + i, 1);
    }
    put(s, "\"", 1);
}

unsigned vformat(char *out, unsigned size, const char *p, va_list args)
{
    struct sink s = { out, size, 0 };
    for (; *p; p++) {
        if (*p != '%') {
            put(&s, p, 1);
            continue;
        }
        switch (*++p) {
        case 's': { const char *v = va_arg(args, const char *); put(&s, v, strlen(v)); break; }
        case 'T': { const struct text *v = va_arg(args, const struct text *); put(&s, v->at, v->len); break; }
        case 'J': put_json(&s, va_arg(args, const struct text *)); break;
        case 'c': { char v = va_arg(args, int); put(&s, &v, 1); break; }
        case 'u': put_number(&s, va_arg(args, uint32_t), 10, 1); break;
        case 'x': put_number(&s, va_arg(args, uint32_t), 16, 1); break;
        case 'X': put_number(&s, va_arg(args, uint32_t), 16, 8); break;
        case 'I': put_ip(&s, va_arg(args, uint32_t)); break;
        case 'M': put_mac(&s, va_arg(args, const uint8_t *)); break;
        default: put(&s, "%", 1); p--; break;
        }
    }
    return s.len;
}

unsigned format(char *out, unsigned size, const char *pattern, ...)
{
    va_list args;
    va_start(args, pattern);
    unsigned n = vformat(out, size, pattern, args);
    va_end(args);
    return n;
}
