/* A strict JSON reader over text in place. Like rumprun it never unescapes: a string is its raw bytes. The first
   error sets `bad`, and from then on every call fails. Nesting is bounded, because so is the stack. */
#include "guest.h"

enum { DEPTH_MAX = 16 };

static bool fail(struct json *j)
{
    j->bad = true;
    return false;
}

static char peek(struct json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
        j->at++;
    return j->at < j->end && !j->bad ? *j->at : 0;
}

static bool take(struct json *j, char c)
{
    if (!c || peek(j) != c)
        return false;
    j->at++;
    return true;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

static bool take_escape(struct json *j)
{
    if (++j->at >= j->end)
        return false;
    if (*j->at == 'u') {
        for (int i = 0; i < 4; i++)
            if (++j->at >= j->end || !is_hex(*j->at))
                return false;
        return true;
    }
    for (const char *ok = "\"\\/bfnrt"; *ok; ok++)
        if (*j->at == *ok)
            return true;
    return false;
}

bool json_string(struct json *j, struct text *out)
{
    if (!take(j, '"'))
        return fail(j);
    const char *start = j->at;
    for (; j->at < j->end && *j->at != '"'; j->at++)
        if ((uint8_t)*j->at < 0x20 || (*j->at == '\\' && !take_escape(j)))
            return fail(j);
    if (j->at >= j->end)
        return fail(j);
    *out = (struct text){ start, j->at++ - start };
    return true;
}

static bool take_digits(struct json *j)
{
    const char *start = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
        j->at++;
    return j->at > start;
}

static bool take_char(struct json *j, char a, char b)
{
    if (j->at >= j->end || (*j->at != a && *j->at != b))
        return false;
    j->at++;
    return true;
}

static bool take_number(struct json *j)
{
    take_char(j, '-', '-');
    if (!take_char(j, '0', '0') && !take_digits(j))
        return false;
    if (take_char(j, '.', '.') && !take_digits(j))
        return false;
    if (take_char(j, 'e', 'E')) {
        take_char(j, '+', '-');
        return take_digits(j);
    }
    return true;
}

static bool take_word(struct json *j, const char *word)
{
    unsigned n = strlen(word);
    if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n))
        return false;
    j->at += n;
    return true;
}

bool json_open_object(struct json *j)
{
    return take(j, '{') || fail(j);
}

/* Moves to the next key of the object; false at its end, or on an error (then `bad`). */
bool json_next_key(struct json *j, bool first, struct text *key)
{
    if (take(j, '}'))
        return false;
    if (!first && !take(j, ','))
        return fail(j);
    return json_string(j, key) && (take(j, ':') || fail(j));
}

static bool skip(struct json *j, unsigned depth)
{
    struct text unused;
    bool first = true;
    char c = peek(j);
    if (!depth)
        return fail(j);
    if (c == '"')
        return json_string(j, &unused);
    if (c == '{') {
        for (j->at++; json_next_key(j, first, &unused); first = false)
            skip(j, depth - 1);
        return !j->bad;
    }
    if (c == '[') {
        for (j->at++; !take(j, ']'); first = false)
            if ((!first && !take(j, ',')) || !skip(j, depth - 1))
                return fail(j);
        return true;
    }
    if (c == 't' || c == 'f' || c == 'n')
        return take_word(j, "true") || take_word(j, "false") || take_word(j, "null") || fail(j);
    return (c && take_number(j)) || fail(j);
}

/* Steps over one value of any kind. */
void json_skip(struct json *j)
{
    skip(j, DEPTH_MAX);
}

bool json_at_end(struct json *j)
{
    return !peek(j) && j->at == j->end && !j->bad;
}
