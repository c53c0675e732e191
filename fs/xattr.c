/* Extended attributes: X keys beside the inode. */
#include "fs/fs_internal.h"

#define LIST_SIZE_MAX (64u * 1024u) /* XATTR_LIST_MAX of Linux */
#define LIST_PAGE     256u

static int check_name(struct slice name)
{
	if (name.len == 0 || memchr(name.p, 0, name.len))
		return ERR_INVAL;
	return name.len > FS_XATTR_NAME_MAX ? ERR_RANGE : 0;
}

/* Attributes that decide about access. */
static bool is_acl(struct slice name)
{
	return slice_has_prefix(name, slice_str("system.posix_acl_"));
}

static void touch(struct fs_op *op, fs_ino ino, struct slice name)
{
	fs__touch_ctime(op, ino);
	if (is_acl(name))
		fs__set_inode_now(op, ino, FS_F_PERM_VERSION);
}

/* Runs the transaction that @build makes until it is through; a failed condition 0 means that there
 * is no such inode, condition 1 is @second. */
typedef void build_fn(struct fs_op *op, void *ctx);

static int run(struct fs *fs, build_fn *build, void *ctx, int second)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	for (;;) {
		fs__op_reset(&op);
		build(&op, ctx);
		err = fs__op_exec(&op);
		if (err == ERR_CONDITION)
			err = op.r.failed == 0 ? ERR_STALE : second;
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	return err;
}

struct change {
	fs_ino ino;
	struct slice name, value;
	unsigned flags;
};

static void build_set(struct fs_op *op, void *ctx)
{
	const struct change *c = ctx;
	struct fs_key k;

	fs__if_inode_exists(op, c->ino);
	fs__key_xattr(&k, c->ino, c->name);
	if (c->flags & FS_XATTR_CREATE)
		txn_if_absent(&op->m, fs__key_slice(&k));
	if (c->flags & FS_XATTR_REPLACE)
		txn_if_exists(&op->m, fs__key_slice(&k));
	txn_put_ref(&op->m, fs__key_slice(&k), c->value);
	fs__set_inode(op, c->ino, FS_F_XATTRS, 1);
	touch(op, c->ino, c->name);
}

static void drop_hint(struct fs *fs, fs_ino ino)
{
	fs__hint_inode_drop(fs, ino); /* ctime, and the mark that it has attributes */
}

int fs_setxattr(struct fs *fs, fs_ino ino, struct slice name, struct slice value, unsigned flags)
{
	struct change c = {.ino = ino, .name = name, .value = value, .flags = flags};
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err)
		err = check_name(name);
	if (!err && value.len > FS_XATTR_SIZE_MAX)
		err = ERR_TOO_BIG;
	if (!err && (flags & ~(FS_XATTR_CREATE | FS_XATTR_REPLACE) ||
		     flags == (FS_XATTR_CREATE | FS_XATTR_REPLACE)))
		err = ERR_INVAL;
	if (err)
		return err;
	err = run(fs, build_set, &c, flags & FS_XATTR_CREATE ? ERR_EXISTS : ERR_NO_DATA);
	drop_hint(fs, ino);
	return err;
}

static void build_remove(struct fs_op *op, void *ctx)
{
	const struct change *c = ctx;
	struct fs_key k;

	fs__if_inode_exists(op, c->ino);
	fs__key_xattr(&k, c->ino, c->name);
	txn_if_exists(&op->m, fs__key_slice(&k));
	txn_delete(&op->m, fs__key_slice(&k));
	touch(op, c->ino, c->name);
}

int fs_removexattr(struct fs *fs, fs_ino ino, struct slice name)
{
	struct change c = {.ino = ino, .name = name};
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err)
		err = check_name(name);
	if (err)
		return err;
	err = run(fs, build_remove, &c, ERR_NO_DATA);
	drop_hint(fs, ino);
	return err;
}

int fs_getxattr(struct fs *fs, fs_ino ino, struct slice name, struct buf *value)
{
	const struct txn_value *v;
	struct fs_inode rec;
	struct fs_op op;
	struct fs_key k;
	int err = check_name(name);

	if (err)
		return err;
	fs__op_begin(&op, fs);
	fs__key_inode(&k, ino);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_xattr(&k, ino, name);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__inode_take(fs, ino, fs__op_value(&op, 0), &rec);
	if (err)
		goto out_op;
	v = fs__op_value(&op, 1);
	err = v->status == ERR_NOT_FOUND ? ERR_NO_DATA : v->status;
	if (!err)
		err = buf_set(value, v->value);
out_op:
	fs__op_end(&op);
	return err == ERR_NOT_FOUND ? ERR_STALE : err;
}

/* ---- listing ---- */

static int take_page(const struct txn_read_result *r, struct buf *names)
{
	for (uint32_t i = 0; i < r->item_count; i++) {
		struct slice key = r->items[i].key;

		if (key.len <= FS_KEY_HEAD)
			return ERR_CORRUPT;
		buf_add(names, key.p + FS_KEY_HEAD, key.len - FS_KEY_HEAD);
		buf_add_u8(names, 0);
		if (names->len > LIST_SIZE_MAX)
			return ERR_TOO_BIG;
	}
	return buf_ok(names) ? 0 : ERR_NOMEM;
}

/* With the inode, so that what is removed together is missing together. */
static int list_from(struct fs_op *op, fs_ino ino, struct fs_key *at, const struct fs_key *to,
		     struct buf *names)
{
	const struct txn_read_result *r;
	struct fs_key end, k;
	struct fs_inode rec;
	int err;

	fs__range_piece(op->fs, at, to, &end);
	fs__op_reset(op);
	fs__key_inode(&k, ino);
	txn_get(&op->m, fs__key_slice(&k));
	txn_scan(&op->m, fs__key_slice(at), fs__key_slice(&end), LIST_PAGE);
	err = fs__op_read(op);
	if (err == ERR_ELSEWHERE)
		return fs__op_conflict(op);
	if (!err)
		err = fs__inode_take(op->fs, ino, fs__op_value(op, 0), &rec);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_STALE : err;
	r = &op->r.reads[1];
	err = take_page(r, names);
	*at = end;
	if (!err && r->more) {
		at->len = 0;
		fs__key_bytes(at, r->items[r->item_count - 1].key);
		fs__key_bytes(at, slice_of("", 1));
	}
	return err;
}

int fs_listxattr(struct fs *fs, fs_ino ino, struct buf *names)
{
	struct fs_inode rec;
	struct fs_key at, to;
	struct fs_op op;
	int err = fs__inode_get(fs, ino, &rec);

	if (err)
		return err;
	buf_reset(names);
	if (!rec.xattrs)
		return 0;
	fs__range_kind(&at, &to, ino, FS_KIND_XATTR);
	fs__op_begin(&op, fs);
	while (!err && slice_cmp(fs__key_slice(&at), fs__key_slice(&to)) < 0)
		err = list_from(&op, ino, &at, &to, names);
	fs__op_end(&op);
	return err;
}
