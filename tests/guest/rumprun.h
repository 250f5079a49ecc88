/* What the parts of the guest as rumprun share. */
#ifndef RUMPRUN_H
#define RUMPRUN_H

#include "guest.h"

enum { CONFIG_SIZE = 4096 };

/* kind_rumprun.c: errx(3) before the program runs */
void rumprun_failed(const char *pattern, ...) __attribute__((noreturn));

/* rumprun_config.c */
struct field { const char *name; struct text *value; };
void rumprun_read_config(struct text t);
const struct token *rumprun_read_fields(const struct token *t, const struct field *fields, const char *where);

/* rumprun_net.c, rumprun_blk.c: each returns the token behind what it has read */
const struct token *rumprun_read_net(const struct token *t);
const struct token *rumprun_read_blk(const struct token *t);

#endif
