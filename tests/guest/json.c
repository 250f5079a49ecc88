/* JSON in tokens, by the rules of jsmn without JSMN_STRICT, which is rumprun's reader (lib/libbmk_core/jsmn.c). It wants
   brackets that match and strings that end; whether keys have values is its caller's business. Nothing is unescaped. */
#include "guest.h"

enum { OPEN = 0xffffffff };                     /* the length of what is not closed yet */
#define NO_TOKEN 0xffffffffu

struct reader {
    struct text rest;
    struct token *tokens;
    unsigned count, parent;                     /* parent: whose size the next token adds to */
};

static void take(struct reader *r, unsigned n)
{
    r->rest = (struct text){ r->rest.at + n, r->rest.len - n };
}

static unsigned innermost_open(const struct reader *r)
{
    unsigned i = r->count;
    while (i && r->tokens[i - 1].text.len != OPEN)
        i--;
    return i ? i - 1 : NO_TOKEN;
}

static void add(struct reader *r, enum json_type type, struct text text)
{
    if (r->parent != NO_TOKEN)
        r->tokens[r->parent].size++;
    r->tokens[r->count++] = (struct token){ type, 0, text };
}

static void open(struct reader *r)
{
    add(r, *r->rest.at == '{' ? JSON_OBJECT : JSON_ARRAY, (struct text){ r->rest.at, OPEN });
    r->parent = r->count - 1;
    take(r, 1);
}

static bool close(struct reader *r)
{
    unsigned last = innermost_open(r);
    if (last == NO_TOKEN || r->tokens[last].type != (*r->rest.at == '}' ? JSON_OBJECT : JSON_ARRAY))
        return false;
    take(r, 1);
    r->tokens[last].text.len = r->rest.at - r->tokens[last].text.at;
    r->parent = innermost_open(r);
    return true;
}

/* How many bytes the escape at the front has, or 0. */
static unsigned escape_bytes(struct text t)
{
    if (t.len < 2 || !is_in(t.at[1], "\"\\/bfnrtu"))
        return 0;
    unsigned n = t.at[1] == 'u' ? 6 : 2;
    for (unsigned i = 2; i < n; i++)
        if (i >= t.len || !is_in(t.at[i], "0123456789abcdefABCDEF"))
            return 0;
    return n;
}

static bool string(struct reader *r)
{
    take(r, 1);
    struct text s = { r->rest.at, 0 };
    while (r->rest.len && *r->rest.at != '"') {
        unsigned n = *r->rest.at == '\\' ? escape_bytes(r->rest) : 1;
        if (!n)
            return false;
        take(r, n);
    }
    if (!r->rest.len)
        return false;
    s.len = r->rest.at - s.at;
    take(r, 1);
    add(r, JSON_STRING, s);
    return true;
}

/* Whatever else it is, up to where something can follow. */
static bool primitive(struct reader *r)
{
    struct text p = { r->rest.at, 0 };
    for (; r->rest.len && !is_in(*r->rest.at, "\t\r\n :,]}"); take(r, 1))
        if ((uint8_t)*r->rest.at < 32 || (uint8_t)*r->rest.at >= 127)
            return false;
    p.len = r->rest.at - p.at;
    add(r, JSON_PRIMITIVE, p);
    return true;
}

static bool step(struct reader *r)
{
    char c = *r->rest.at;
    if (c == '"')
        return string(r);
    if (is_in(c, "}]"))
        return close(r);
    if (!is_in(c, "{[\t\r\n :,"))
        return primitive(r);
    if (is_in(c, "{["))
        return open(r), true;
    if (c == ':')
        r->parent = r->count - 1;
    else if (c == ',' && (r->parent == NO_TOKEN || r->tokens[r->parent].text.len != OPEN))
        r->parent = innermost_open(r);
    take(r, 1);
    return true;
}

/* How many tokens there are, 0 where the text is no JSON. `tokens` has room for as many as the text has bytes. */
unsigned json_read(struct text t, struct token *tokens)
{
    struct reader r = { t, tokens, 0, NO_TOKEN };
    while (r.rest.len)
        if (!step(&r))
            return 0;
    return innermost_open(&r) == NO_TOKEN ? r.count : 0;
}
