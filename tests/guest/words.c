/* Command lines in words. */
#include "guest.h"

struct text cut(struct text *rest, char at)
{
    struct text part = { rest->at, 0 };
    while (part.len < rest->len && part.at[part.len] != at)
        part.len++;
    unsigned step = part.len + (part.len < rest->len);
    *rest = (struct text){ rest->at + step, rest->len - step };
    return part;
}

bool word_next(struct text *rest, struct text *word)
{
    char quote = 0, *to;
    while (rest->len && *rest->at == ' ')
        *rest = (struct text){ rest->at + 1, rest->len - 1 };
    if (!rest->len)
        return false;
    *word = (struct text){ rest->at, 0 };
    to = (char *)rest->at;
    for (; rest->len && (quote || *rest->at != ' '); rest->at++, rest->len--) {
        char c = *rest->at;
        if (quote ? c == quote : c == '"' || c == '\'')
            quote = quote ? 0 : c;
        else
            *to++ = c;
    }
    word->len = to - word->at;
    return true;
}

bool word_takes(struct text *word, const char *front)
{
    unsigned n = strlen(front);
    if (word->len < n || memcmp(word->at, front, n))
        return false;
    *word = (struct text){ word->at + n, word->len - n };
    return true;
}
