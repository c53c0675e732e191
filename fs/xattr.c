/* Extended attributes: X keys beside the inode. Those that Linux gives a meaning (access lists,
 * file capabilities) are marked in the inode's record, and change together with it. */
#include "fs/acl.h"

#define LIST_SIZE_MAX (64u * 1024u) /* XATTR_LIST_MAX of Linux */
#define LIST_PAGE     256u

enum kind { KIND_PLAIN, KIND_CAPABILITY, KIND_ACCESS_ACL, KIND_DEFAULT_ACL };

static const uint8_t kind_mark[] = {
	[KIND_CAPABILITY] = FS_HAS_CAPABILITY,
	[KIND_ACCESS_ACL] = FS_HAS_ACCESS_ACL,
	[KIND_DEFAULT_ACL] = FS_HAS_DEFAULT_ACL,
};

/* ERR_UNSUPPORTED: a name space that is not kept here. */
static int check_name(struct slice name, enum kind *kind)
{
	static const char *const spaces[] = {"user.", "trusted.", "security."};

	if (name.len == 0 || memchr(name.p, 0, name.len))
		return ERR_INVAL;
	if (name.len > FS_XATTR_NAME_MAX)
		return ERR_RANGE;
	*kind = KIND_PLAIN;
	if (slice_eq(name, slice_str(FS_X_CAPABILITY)))
		*kind = KIND_CAPABILITY;
	else if (slice_eq(name, slice_str(FS_X_ACL_ACCESS)))
		*kind = KIND_ACCESS_ACL;
	else if (slice_eq(name, slice_str(FS_X_ACL_DEFAULT)))
		*kind = KIND_DEFAULT_ACL;
	if (*kind != KIND_PLAIN)
		return 0;
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (slice_has_prefix(name, slice_str(spaces[i])))
			return name.len > strlen(spaces[i]) ? 0 : ERR_INVAL;
	return ERR_UNSUPPORTED;
}

static bool is_acl(enum kind kind)
{
	return kind == KIND_ACCESS_ACL || kind == KIND_DEFAULT_ACL;
}

/* ---- changing one ---- */

struct change {
	fs_ino ino;
	struct slice name, value;
	unsigned flags;
	enum kind kind;
	const struct fs_writer *writer; /* who may have to give up set-group-id; NULL: nobody */
	bool store;	     /* else the attribute goes */
	bool chmods;	     /* an access list sets the permission bits... */
	uint16_t mode;	     /* ... to these, of 0777 */
	uint16_t perm;	     /* all of them, after the change */
	struct fs_inode rec; /* as known */
};

static uint16_t perm_after(const struct change *c)
{
	uint16_t perm = (uint16_t)((c->rec.perm & 07000) | c->mode);

	if (!c->chmods)
		return c->rec.perm;
	if (perm & S_ISGID && c->writer && !c->writer->in_group(c->writer->ctx, c->rec.gid))
		perm &= (uint16_t)~S_ISGID;
	return perm;
}

static uint8_t marks_after(const struct change *c)
{
	uint8_t mark = kind_mark[c->kind];

	return c->store ? c->rec.xattrs | FS_HAS_XATTRS | mark : c->rec.xattrs & (uint8_t)~mark;
}

/* What the record must still be like. */
static void add_state(struct fs_op *op, const struct change *c)
{
	if (c->kind == KIND_PLAIN && marks_after(c) == c->rec.xattrs)
		fs__if_inode_exists(op, c->ino); /* that mark is never taken back */
	else
		fs__if_inode_u64(op, c->ino, FS_F_XATTRS, c->rec.xattrs);
	if (c->chmods)
		fs__if_inode_u64(op, c->ino, FS_F_PERM, c->rec.perm);
	if (c->chmods && c->writer)
		fs__if_inode_u64(op, c->ino, FS_F_GID, c->rec.gid);
}

static void add_attribute(struct fs_op *op, const struct change *c)
{
	struct fs_key k;

	fs__key_xattr(&k, c->ino, c->name);
	if (c->flags & FS_XATTR_CREATE)
		txn_if_absent(&op->m, fs__key_slice(&k));
	if (c->flags & FS_XATTR_REPLACE)
		txn_if_exists(&op->m, fs__key_slice(&k));
	if (c->store)
		txn_put_ref(&op->m, fs__key_slice(&k), c->value);
	else
		txn_delete(&op->m, fs__key_slice(&k));
}

static void add_record(struct fs_op *op, struct change *c)
{
	c->perm = perm_after(c);
	if (marks_after(c) != c->rec.xattrs)
		fs__set_inode(op, c->ino, FS_F_XATTRS, marks_after(c));
	if (c->perm != c->rec.perm)
		fs__set_inode(op, c->ino, FS_F_PERM, c->perm);
	if (is_acl(c->kind))
		fs__set_inode_now(op, c->ino, FS_F_PERM_VERSION);
	fs__touch_ctime(op, c->ino);
}

/* The record before the change came with it: what it is now. */
static int changed(struct fs_op *op, struct change *c)
{
	int err = fs__inode_changed(op->fs, c->ino, fs__op_value(op, 0), &c->rec);

	if (err)
		return err;
	if (c->chmods)
		c->rec.perm = c->perm;
	c->rec.xattrs = marks_after(c);
	if (is_acl(c->kind))
		c->rec.perm_version = op->r.stamp;
	(void)fs__touched(&c->rec.ctime_ns, op->r.stamp);
	fs__hint_inode_set(op->fs, c->ino, &c->rec);
	return 0;
}

static int try_change(struct fs_op *op, struct change *c)
{
	uint32_t state_conds;
	struct fs_key k;
	int err;

	fs__op_reset(op);
	add_state(op, c);
	state_conds = op->m.cond_count;
	fs__key_inode(&k, c->ino);
	txn_get(&op->m, fs__key_slice(&k));
	add_attribute(op, c);
	add_record(op, c);
	err = fs__op_exec(op);
	if (!err)
		return changed(op, c);
	if (err != ERR_CONDITION)
		return err;
	if (op->r.failed >= state_conds)
		return c->flags & FS_XATTR_CREATE ? ERR_EXISTS : ERR_NO_DATA;
	err = fs__op_current_inode(op, c->ino, &c->rec);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_STALE : err;
	return ERR_ABORTED;
}

static int run(struct fs *fs, struct change *c)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	for (;;) {
		err = try_change(&op, c);
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	return err;
}

/* ---- access lists ---- */

/* Who can have one. */
static int check_holder(const struct change *c)
{
	if (!is_acl(c->kind))
		return 0;
	if (c->rec.type == FS_T_SYMLINK)
		return ERR_UNSUPPORTED;
	return c->store && c->kind == KIND_DEFAULT_ACL && c->rec.type != FS_T_DIR ? ERR_ACCESS : 0;
}

/* A list without entries is none; an access list that the mode says as well is not kept. */
static int take_acl(struct change *c)
{
	struct fs_acl acl;
	bool plain;
	int err = fs__acl_decode(c->value, &acl);

	c->flags = 0;
	if (err || acl.count == 0) {
		c->store = false;
		return err;
	}
	plain = fs__acl_mode(&acl, &c->mode);
	c->chmods = c->kind == KIND_ACCESS_ACL;
	c->store = !(plain && c->chmods);
	return 0;
}

static int check_value(struct change *c)
{
	unsigned both = FS_XATTR_CREATE | FS_XATTR_REPLACE;

	if (c->value.len > FS_XATTR_SIZE_MAX)
		return ERR_TOO_BIG;
	if (c->flags & ~both || (c->flags & both) == both)
		return ERR_INVAL;
	return is_acl(c->kind) ? take_acl(c) : 0;
}

int fs_setxattr_by(struct fs *fs, fs_ino ino, struct slice name, struct slice value, unsigned flags,
		   const struct fs_writer *w)
{
	struct change c = {.ino = ino,
			   .name = name,
			   .value = value,
			   .flags = flags,
			   .writer = w,
			   .store = true};
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err)
		err = check_name(name, &c.kind);
	if (!err)
		err = check_value(&c);
	if (!err)
		err = fs__inode_known(fs, ino, &c.rec);
	if (!err)
		err = check_holder(&c);
	return err ? err : run(fs, &c);
}

int fs_setxattr(struct fs *fs, fs_ino ino, struct slice name, struct slice value, unsigned flags)
{
	return fs_setxattr_by(fs, ino, name, value, flags, NULL);
}

/* What has no list has nothing to lose: that is no error. */
int fs_removexattr(struct fs *fs, fs_ino ino, struct slice name)
{
	struct change c = {.ino = ino, .name = name};
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err)
		err = check_name(name, &c.kind);
	if (!err)
		err = fs__inode_known(fs, ino, &c.rec);
	if (!err)
		err = check_holder(&c);
	if (err)
		return err;
	c.flags = is_acl(c.kind) ? 0 : FS_XATTR_REPLACE;
	return run(fs, &c);
}

/* ---- file capabilities ---- */

void fs__add_capability_kill(struct fs_op *op, fs_ino ino, const struct fs_inode *rec)
{
	struct fs_key k;

	fs__if_inode_u64(op, ino, FS_F_XATTRS, rec->xattrs);
	if (!(rec->xattrs & FS_HAS_CAPABILITY))
		return;
	fs__key_xattr(&k, ino, slice_str(FS_X_CAPABILITY));
	txn_delete(&op->m, fs__key_slice(&k));
	fs__set_inode(op, ino, FS_F_XATTRS, rec->xattrs & (uint8_t)~FS_HAS_CAPABILITY);
}

bool fs_written_here(struct fs *fs, fs_ino ino)
{
	const struct fs_node *n = fs__node_find(fs, ino);

	return n && n->writers > 0;
}

bool fs_capability_known_absent(struct fs *fs, fs_ino ino)
{
	const struct fs_node *n = fs__node_find(fs, ino);

	return n && n->writers > 0 && !(n->seen.xattrs & FS_HAS_CAPABILITY);
}

/* ---- reading one ---- */

int fs__xattr_read(struct fs *fs, fs_ino ino, struct slice name, struct fs_inode *rec,
		   struct buf *value)
{
	const struct txn_value *v;
	struct fs_op op;
	struct fs_key k;
	int err;

	fs__op_begin(&op, fs);
	fs__key_inode(&k, ino);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_xattr(&k, ino, name);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__inode_take(fs, ino, fs__op_value(&op, 0), rec);
	if (err)
		goto out_op;
	v = fs__op_value(&op, 1);
	if (v->status == ERR_NOT_FOUND)
		buf_reset(value);
	else
		err = v->status ? v->status : buf_set(value, v->value);
out_op:
	fs__op_end(&op);
	return err;
}

int fs_getxattr(struct fs *fs, fs_ino ino, struct slice name, struct buf *value)
{
	const struct txn_value *v;
	struct fs_inode rec;
	struct fs_op op;
	struct fs_key k;
	enum kind kind;
	int err = check_name(name, &kind);

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
