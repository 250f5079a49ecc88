/* What each path answers. README.md lists them for their users. */
#include "tcp.h"

enum { BYTES_MAX = 1 << 30, LINES_MAX = 100000 };

static const char page[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Hiya, Gump!</title>\n"
    "<style>html{height:100%}body{margin:0;min-height:100%;display:flex;align-items:center;justify-content:center;"
    "background:#F444FF;font:bold 12vw sans-serif}</style></head>\n"
    "<body><h1 style=\"font-size:1em\">Hiya, Gump!</h1></body></html>\n";

static void show_page(struct conn *c, struct text query)
{
    (void)query;
    http_reply(c, "200 OK", "text/html; charset=utf-8", sizeof page - 1);
    c->stream.body = page;
    c->stream.body_len = sizeof page - 1;
}

static void send_bytes(struct conn *c, struct text query)
{
    uint32_t n;
    if (!text_number(query_value(query, "n"), BYTES_MAX, &n)) {
        http_reply_text(c, "400 Bad Request", "n=0...1073741824\n");
        return;
    }
    http_reply(c, "200 OK", "application/octet-stream", n);
    c->stream.body_len = n;
}

static void sum_body(struct conn *c, struct text query)
{
    (void)query;
    http_reply_text(c, "200 OK", "%u %X\n", c->http.body_bytes, c->http.body_hash);
}

unsigned hex_digit(char ch)
{
    return ch >= '0' && ch <= '9' ? ch - '0' : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10 : 16;
}

static void echo_on_console(struct conn *c, struct text query)
{
    struct text t = query_value(query, "text");
    for (unsigned i = 0; i < t.len; i++) {
        bool escaped = t.at[i] == '%' && t.len - i > 2 && hex_digit(t.at[i + 1]) < 16 && hex_digit(t.at[i + 2]) < 16;
        console_byte(escaped ? hex_digit(t.at[i + 1]) << 4 | hex_digit(t.at[i + 2]) : (uint8_t)t.at[i]);
        i += escaped ? 2 : 0;
    }
    http_reply_text(c, "200 OK", "written\n");
}

/* As fast as the port takes them, and no faster; nothing else happens meanwhile. */
static void lines_on_console(struct conn *c, struct text query)
{
    uint32_t n;
    if (!text_number(query_value(query, "n"), LINES_MAX, &n)) {
        http_reply_text(c, "400 Bad Request", "n=0...100000\n");
        return;
    }
    uint32_t patience = console_patience;
    console_patience = UINT32_MAX;
    for (uint32_t i = 1; i <= n; i++)
        say("line %u of %u\n", i, n);
    console_patience = patience;
    http_reply_text(c, "200 OK", "written\n");
}

/* By QEMU's registers for VESA modes, at their ports (docs/specs/standard-vga): 640x480, 32 bits, with the first lines
   in many colours. */
static void graphics(struct conn *c, struct text query)
{
    enum { INDEX = 0x1ce, DATA = 0x1cf, WINDOW_PIXELS = 0x4000 };
    volatile uint32_t *const window = (volatile uint32_t *)0xa0000;
    static const uint16_t values[][2] = { { 4, 0 }, { 1, 640 }, { 2, 480 }, { 3, 32 }, { 4, 0x41 } };
    (void)query;
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
        outw(INDEX, values[i][0]);
        outw(DATA, values[i][1]);
    }
    for (uint32_t i = 0; i < WINDOW_PIXELS; i++)
        window[i] = i * 0x010305;
    http_reply_text(c, "200 OK", "drawn\n");
}

static void end_after_reply(struct conn *c, const char *word, void (*run)(uint32_t), uint32_t code)
{
    http_reply_text(c, "200 OK", "%s\n", word);
    c->http.ending = (struct ending){ run, code };
}

static void crash(struct conn *c, struct text query) { (void)query; end_after_reply(c, "crashing", end_crash, 0); }
static void panic(struct conn *c, struct text query) { (void)query; end_after_reply(c, "panicking", end_panic, 0); }
static void hang(struct conn *c, struct text query) { (void)query; end_after_reply(c, "hanging", end_hang, 0); }
static void abort_(struct conn *c, struct text query) { (void)query; end_after_reply(c, "aborting", end_abort, 0); }
static void trap(struct conn *c, struct text query) { (void)query; end_after_reply(c, "trapping", end_trap, 0); }
static void poweroff(struct conn *c, struct text query) { (void)query; end_after_reply(c, "off", end_poweroff, 0); }

static void exit_(struct conn *c, struct text query)
{
    uint32_t code = 0;
    struct text value = query_value(query, "code");
    if (value.at && !text_number(value, 255, &code))
        http_reply_text(c, "400 Bad Request", "code=0...255\n");
    else
        end_after_reply(c, "exiting", end_exit, code);
}

static const struct { const char *method, *path; void (*answer)(struct conn *, struct text); } routes[] = {
    { "GET", "/", show_page }, { "GET", "/info", show_info }, { "GET", "/bytes", send_bytes },
    { "GET", "/device", speak_to_device }, { "POST", "/sum", sum_body }, { "GET", "/echo-console", echo_on_console },
    { "GET", "/lines", lines_on_console }, { "GET", "/graphics", graphics }, { "GET", "/crash", crash },
    { "GET", "/panic", panic }, { "GET", "/hang", hang }, { "GET", "/exit", exit_ }, { "GET", "/abort", abort_ },
    { "GET", "/trap", trap }, { "GET", "/poweroff", poweroff },
};

void pages_answer(struct conn *c, struct text method, struct text path, struct text query)
{
    for (unsigned i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!text_is(path, routes[i].path))
            continue;
        if (!text_is(method, routes[i].method))
            http_reply_text(c, "405 Method Not Allowed", "%s only\n", routes[i].method);
        else
            routes[i].answer(c, query);
        return;
    }
    http_reply_text(c, "404 Not Found", "not here\n");
}
