/* HTTP/1.x, one request a connection: collects the head, sums the body as it passes, and frames the answer. */
#include "tcp.h"

uint32_t http_requests;

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

void http_reply(struct conn *c, const char *status, const char *type, uint32_t body_len)
{
    struct stream *s = &c->stream;
    s->out_len += format(s->out + s->out_len, OUT_MAX - s->out_len,
                         "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %u\r\nConnection: close\r\n\r\n",
                         status, type, body_len);
    s->complete = true;
}

void http_reply_text(struct conn *c, const char *status, const char *pattern, ...)
{
    static char body[OUT_MAX - 512];
    va_list args;
    va_start(args, pattern);
    unsigned len = vformat(body, sizeof body, pattern, args);
    va_end(args);
    http_reply(c, status, body[0] == '{' ? "application/json" : "text/plain", len);
    memcpy(c->stream.out + c->stream.out_len, body, len);
    c->stream.out_len += len;
}

/* The value of a query's parameter as it stands, or no text at all. */
struct text query_value(struct text query, const char *name)
{
    while (query.len) {
        struct text value = cut(&query, '&'), key = cut(&value, '=');
        if (text_is(key, name))
            return value;
    }
    return (struct text){ NULL, 0 };
}

static void answer(struct conn *c)
{
    struct text line = { c->http.head, c->http.head_len };
    line = cut(&line, '\r');
    struct text method = cut(&line, ' '), query = cut(&line, ' '), path = cut(&query, '?');
    c->http.done = true;
    http_requests++;
    if (!path.len || path.at[0] != '/')
        http_reply_text(c, "400 Bad Request", "not an HTTP request\n");
    else
        pages_answer(c, method, path, query);
}

/* Finds a header whatever its case; its value ends with the line and has no blanks before it. */
static struct text header_value(const struct conn *c, const char *lower)
{
    struct text rest = { c->http.head, c->http.head_len };
    unsigned n = strlen(lower);
    cut(&rest, '\n');
    while (rest.len) {
        struct text line = cut(&rest, '\n'), name = cut(&line, ':');
        bool same = name.len == n;
        for (unsigned i = 0; same && i < n; i++)
            same = (name.at[i] >= 'A' && name.at[i] <= 'Z' ? name.at[i] | 32 : name.at[i]) == lower[i];
        if (!same)
            continue;
        line = cut(&line, '\r');
        while (line.len && *line.at == ' ')
            line = (struct text){ line.at + 1, line.len - 1 };
        return line;
    }
    return (struct text){ NULL, 0 };
}

static void head_arrived(struct conn *c)
{
    struct text length = header_value(c, "content-length");
    c->http.in_body = true;
    c->http.body_left = c->http.body_bytes = 0;
    c->http.body_hash = 2166136261u;                        /* FNV-1a */
    if (length.at && !text_number(length, 0x7fffffff, &c->http.body_left)) {
        c->http.done = true;
        http_reply_text(c, "400 Bad Request", "bad Content-Length\n");
    } else if (c->http.body_left && text_is(header_value(c, "expect"), "100-continue")) {
        memcpy(c->stream.out, continue_line, sizeof continue_line - 1);
        c->stream.out_len = sizeof continue_line - 1;
    }
}

/* Takes bytes up to and including the blank line; returns how many. */
static unsigned take_head(struct conn *c, const uint8_t *data, unsigned len)
{
    struct http *h = &c->http;
    for (unsigned used = 0; used < len; ) {
        h->head[h->head_len++] = data[used++];
        if (h->head_len >= 4 && !memcmp(h->head + h->head_len - 4, "\r\n\r\n", 4)) {
            head_arrived(c);
            return used;
        }
        if (h->head_len == REQUEST_MAX) {
            h->done = true;
            http_reply_text(c, "431 Request Header Fields Too Large", "head too long\n");
            return len;
        }
    }
    return len;
}

void http_input(struct conn *c, const uint8_t *data, unsigned len)
{
    struct http *h = &c->http;
    if (h->done)
        return;
    if (!h->in_body) {
        unsigned used = take_head(c, data, len);
        data += used;
        len -= used;
    }
    if (h->done || !h->in_body)
        return;
    unsigned n = len < h->body_left ? len : h->body_left;
    uint32_t hash = h->body_hash;
    for (unsigned i = 0; i < n; i++)
        hash = (hash ^ data[i]) * 16777619u;
    h->body_hash = hash;
    h->body_bytes += n;
    h->body_left -= n;
    if (!h->body_left)
        answer(c);
}

/* The client sends no more: a request that is not complete never will be. */
void http_eof(struct conn *c)
{
    c->http.done = true;
    c->stream.complete = true;
}
