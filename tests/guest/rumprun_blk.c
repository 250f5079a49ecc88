/* Rumprun's "blk": handle_blk() of lib/librumprun_base/config.c. */
#include "rumprun.h"

/* Mounting works when the disk is there: this guest reads none. */
static void use_mount(struct text path, struct text type, struct text where)
{
    uint32_t number;
    struct text rest = path;
    if (!type.at)
        rumprun_failed("no fstype for mountpoint \"%T\"", &where);
    if (!text_is(type, "blk") && !text_is(type, "kernfs"))
        rumprun_failed("unknown fstype \"%T\"", &type);
    if (!word_takes(&rest, "/dev/ld"))
        return;
    struct text digits = { rest.at, rest.len - (rest.len > 1) };
    if (!text_number(digits, 31, &number) || pci_find(VIRTIO, VIRTIO_BLK, number) == PCI_NONE)
        rumprun_failed("failed to mount fs type \"%T\" from \"%T\" to \"%T\"", &type, &path, &where);
}

const struct token *rumprun_read_blk(const struct token *t)
{
    struct text source = { 0 }, path = { 0 }, type = { 0 }, where = { 0 };
    const struct field fields[] = {
        { "source", &source }, { "path", &path }, { "fstype", &type }, { "mountpoint", &where }, { 0 },
    };
    list_add(&config.mounts, t->text);
    t = rumprun_read_fields(t, fields, "handle_blk");
    if (!source.at || !path.at)
        rumprun_failed("blk cfg missing vital data");
    if (!text_is(source, "dev") && !text_is(source, "vnd") && !text_is(source, "etfs"))
        rumprun_failed("unsupported blk source \"%T\"", &source);
    if (where.at)
        use_mount(path, type, where);
    return t;
}
