/* Command lines in words. A word is copied here without its quotes and escapes, and stays. */
#include "guest.h"

static char copies[2 * TEXT_MAX];
static unsigned copies_len;

static void copy(const char *from, unsigned n)
{
    if (n > sizeof copies - copies_len)
        kind_failed("hello: this test guest has no room for so many words");
    memcpy(copies + copies_len, from, n);
    copies_len += n;
}

struct text joined(struct text a, const char *between, struct text b)
{
    unsigned from = copies_len;
    copy(a.at, a.len);
    copy(between, strlen(between));
    copy(b.at, b.len);
    return (struct text){ copies + from, copies_len - from };
}

struct text cut(struct text *rest, char at)
{
    struct text part = { rest->at, 0 };
    while (part.len < rest->len && part.at[part.len] != at)
        part.len++;
    unsigned step = part.len + (part.len < rest->len);
    *rest = (struct text){ rest->at + step, rest->len - step };
    return part;
}

bool word_takes(struct text *word, const char *front)
{
    unsigned n = strlen(front);
    if (word->len < n || memcmp(word->at, front, n))
        return false;
    *word = (struct text){ word->at + n, word->len - n };
    return true;
}

static char take(struct words *w)
{
    char c = *w->rest.at;
    w->rest = (struct text){ w->rest.at + 1, w->rest.len - 1 };
    return c;
}

/* The character behind a backslash; between double quotes some kinds keep the backslash before most characters. */
static void copy_escaped(struct words *w, char quote)
{
    char c = take(w);
    if (quote && *w->escaped && !is_in(c, w->escaped))
        copy("\\", 1);
    copy(&c, 1);
}

char word_begins(struct words *w)
{
    while (w->rest.len && is_in(*w->rest.at, w->blanks))
        take(w);
    return w->rest.len ? *w->rest.at : 0;
}

bool word_next(struct words *w, struct text *word)
{
    unsigned from = copies_len;
    char quote = 0;
    if (!word_begins(w))
        return false;
    while (w->rest.len && (quote || !is_in(*w->rest.at, w->blanks))) {
        char c = take(w);
        w->unclosed = false;
        if (c == '\\' && w->escaped && quote != '\'') {
            if (w->rest.len)
                copy_escaped(w, quote);
            else
                w->unclosed = true;
        } else if (quote ? c == quote : is_in(c, w->quotes)) {
            quote = quote ? 0 : c;
        } else {
            copy(&c, 1);
        }
    }
    w->unclosed |= quote != 0;
    *word = (struct text){ copies + from, copies_len - from };
    return true;
}
