/* One TCP connection, and what flows through it. A response is never buffered as segments: it can be generated again
   from any offset, so a retransmission just sends from an earlier one. */
#ifndef TCP_H
#define TCP_H

#include "net.h"

enum { HTTP_PORT = 80, CONNECTIONS = 64, WINDOW = 0x8000, REQUEST_MAX = 4096, OUT_MAX = 8192 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

enum state { FREE, SYN_RECEIVED, OPEN, TIME_WAIT };

/* What is to be sent: `out` (heads and small bodies), then a body that is constant or computed. */
struct stream {
    char out[OUT_MAX];
    uint32_t out_len;
    const char *body;                   /* NULL: the pattern of /bytes */
    uint32_t body_len;
    bool complete;                      /* nothing will be added: FIN after it */
};

struct http {
    char head[REQUEST_MAX];
    unsigned head_len;
    bool in_body, done;
    uint32_t body_left, body_bytes, body_hash;
    struct ending ending;               /* run when the client has the whole answer, or is gone */
};

struct conn {
    enum state state;
    uint32_t peer;
    uint16_t peer_port;
    uint8_t peer_mac[6];
    uint32_t first_sent, unacked, next, sent_max;           /* iss, SND.UNA, SND.NXT, highest SND.NXT */
    uint32_t first_received, expected;                      /* irs, RCV.NXT */
    uint32_t window, congestion, threshold, recover;         /* recover: sent_max when a loss was noticed */
    uint16_t mss;
    uint8_t duplicates, retries;
    uint16_t wait_ticks, ticks_left;
    bool ack_due, peer_done, recovering;
    uint64_t last_heard;                                    /* TSC */
    struct http http;
    struct stream stream;
};

static inline bool before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

/* conn.c */
extern struct conn *conns;
void conns_start(void);
struct conn *conn_find(uint32_t peer, uint16_t port);
struct conn *conn_new(void);
void conn_free(struct conn *c);
uint32_t stream_bytes(const struct stream *s);
void stream_read(const struct stream *s, uint32_t offset, uint8_t *to, unsigned n);

/* tcp_in.c, tcp_out.c */
void tcp_input(const struct datagram *d);
bool tcp_emit(struct conn *c, uint8_t flags, uint32_t seq, unsigned len);
void tcp_refuse(const struct datagram *d, const uint8_t *tcp, unsigned header);
void tcp_retransmit_first(struct conn *c);
void tcp_start_recovery(struct conn *c);
bool tcp_all_acked(const struct conn *c);
void tcp_flush(void);
void tcp_tick(void);
bool tcp_wants_tick(void);

/* http.c, pages.c, info.c, device.c */
extern uint32_t http_requests;
void http_input(struct conn *c, const uint8_t *data, unsigned len);
void http_eof(struct conn *c);
void http_reply(struct conn *c, const char *status, const char *type, uint32_t body_len);
void http_reply_text(struct conn *c, const char *status, const char *pattern, ...);
struct text query_value(struct text query, const char *name);
void show_info(struct conn *c, struct text query);
unsigned hex_digit(char ch);                            /* 16 for what is none */
void speak_to_device(struct conn *c, struct text query);
void pages_answer(struct conn *c, struct text method, struct text path, struct text query);

#endif
