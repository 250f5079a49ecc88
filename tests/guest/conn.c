/* The connection slots, and the byte stream that each of them sends. A slot costs nothing while it is idle, so none
   is reclaimed by a clock: a new connection takes the slot of one that is over, or has been silent for seconds. */
#include "tcp.h"

enum { SILENT_TSC_BITS = 33 };          /* 2^33 TSC ticks: two to nine seconds on any machine of today */

struct conn *conns;

void conns_start(void)
{
    conns = memory_take(CONNECTIONS * sizeof *conns, 16);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        conns[i].state = FREE;
}

struct conn *conn_find(uint32_t peer, uint16_t port)
{
    for (struct conn *c = conns; c < conns + CONNECTIONS; c++)
        if (c->state != FREE && c->peer == peer && c->peer_port == port)
            return c;
    return NULL;
}

/* Over for the client too: nothing is lost with the slot. */
static bool is_over(const struct conn *c)
{
    return c->state == TIME_WAIT || (c->state == OPEN && tcp_all_acked(c));
}

struct conn *conn_new(void)
{
    struct conn *oldest_over = NULL, *oldest = NULL, *c;
    for (c = conns; c < conns + CONNECTIONS; c++) {
        if (c->state == FREE)
            break;
        if (is_over(c) && (!oldest_over || c->last_heard < oldest_over->last_heard))
            oldest_over = c;
        if (!oldest || c->last_heard < oldest->last_heard)
            oldest = c;
    }
    if (c == conns + CONNECTIONS) {
        if (!oldest_over && (rdtsc() - oldest->last_heard) >> SILENT_TSC_BITS == 0)
            return NULL;
        c = oldest_over ? oldest_over : oldest;
        conn_free(c);
    }
    memset(c, 0, offsetof(struct conn, http));
    c->http.head_len = 0;
    c->http.in_body = c->http.done = false;
    c->http.ending.run = NULL;
    c->stream.out_len = c->stream.body_len = 0;
    c->stream.body = NULL;
    c->stream.complete = false;
    return c;
}

/* A promised ending is kept even if the client did not wait for it. */
void conn_free(struct conn *c)
{
    c->state = FREE;
    if (c->http.ending.run)
        c->http.ending.run(c->http.ending.code);
}

uint32_t stream_bytes(const struct stream *s)
{
    return s->out_len + s->body_len;
}

/* Byte i of /bytes is (7 i + (i >> 8)) mod 256. */
static void pattern_read(uint32_t offset, uint8_t *to, unsigned n)
{
    for (; n; n--, offset++)
        *to++ = offset * 7 + (offset >> 8);
}

void stream_read(const struct stream *s, uint32_t offset, uint8_t *to, unsigned n)
{
    if (offset < s->out_len) {
        unsigned part = n < s->out_len - offset ? n : s->out_len - offset;
        memcpy(to, s->out + offset, part);
        offset += part;
        to += part;
        n -= part;
    }
    offset -= s->out_len;
    if (s->body)
        memcpy(to, s->body + offset, n);
    else
        pattern_read(offset, to, n);
}
