/* Attributes: that their inode knows of them, and that access lists are lists and fit the mode. */
#include "fs/acl.h"
#include "fs/fsck.h"

typedef unsigned long long ull;

/* The attributes that the record marks one by one. */
static const struct {
	const char *name;
	uint8_t mark;
} marked[] = {
	{FS_X_ACL_ACCESS, FS_HAS_ACCESS_ACL},
	{FS_X_ACL_DEFAULT, FS_HAS_DEFAULT_ACL},
	{FS_X_CAPABILITY, FS_HAS_CAPABILITY},
};
enum { ACCESS, DEFAULT, MARKED = 3 };

/* Is it what it should be, and what permission bits does it stand for? */
static bool good_list(struct slice value, uint16_t *perm)
{
	struct fs_acl acl;

	if (fs__acl_decode(value, &acl) || acl.count == 0)
		return false;
	(void)fs__acl_mode(&acl, perm);
	return true;
}

/* ---- scan ---- */

/* A name that no call can give: of no name space that is kept, or none at all. */
static bool usable(struct slice name)
{
	static const char *const spaces[] = {"user.", "trusted.", "security."};

	if (name.len == 0 || name.len > FS_XATTR_NAME_MAX || memchr(name.p, 0, name.len))
		return false;
	for (unsigned i = 0; i < MARKED; i++)
		if (slice_eq(name, slice_str(marked[i].name)))
			return true;
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (slice_has_prefix(name, slice_str(spaces[i])))
			return name.len > strlen(spaces[i]);
	return false;
}

void ck__take_xattr(struct ck *c, struct ck_inode *e, const struct fs_key_parts *p,
		    const struct txn_item *it)
{
	uint16_t perm = 0;

	if (!usable(p->rest) || it->value.len > FS_XATTR_SIZE_MAX) {
		ck__bad_record(c, CK_RECORD, it, "attribute that no file can have", true);
		return;
	}
	e->has_xattr = true;
	for (unsigned i = 0; i < MARKED; i++) {
		if (!slice_eq(p->rest, slice_str(marked[i].name)))
			continue;
		e->marks |= marked[i].mark;
		if (i <= DEFAULT && !good_list(it->value, &perm))
			e->bad_list = true;
		if (i == ACCESS)
			e->list_perm = perm;
	}
}

bool ck__suspect_xattr(const struct ck_inode *e)
{
	uint8_t had = e->xattrs & FS_HAS_XATTRS;

	if (e->has_xattr && !had)
		return true;
	if ((e->marks | had) != e->xattrs || e->bad_list)
		return true;
	if (e->marks & FS_HAS_DEFAULT_ACL && e->type != FS_T_DIR)
		return true;
	return e->marks & FS_HAS_ACCESS_ACL && e->list_perm != (e->perm & 0777);
}

/* ---- a second look ---- */

struct look {
	fs_ino ino;
	bool inode, any, waits; /* the inode is there; it has an attribute; somebody reaps it */
	struct fs_inode rec;
	struct {
		uint64_t version; /* 0: not there */
		bool bad, misfit; /* a list that is none; one that says another mode */
	} x[MARKED];
	struct buf access; /* owned */
};

static int take_marked(struct look *l, unsigned i, const struct txn_value *v)
{
	uint16_t perm = 0;

	if (v->status == ERR_NOT_FOUND)
		return 0;
	if (v->status)
		return v->status;
	l->x[i].version = v->version;
	l->any = true;
	if (i > DEFAULT)
		return 0;
	l->x[i].bad = !good_list(v->value, &perm) || (i == DEFAULT && l->rec.type != FS_T_DIR);
	if (i != ACCESS || l->x[i].bad)
		return 0;
	l->x[i].misfit = perm != (l->rec.perm & 0777);
	return buf_set(&l->access, v->value);
}

static void add_reads(struct fs_op *op, fs_ino ino)
{
	struct fs_key from, to;

	fs__key_inode(&from, ino);
	txn_get(&op->m, fs__key_slice(&from));
	fs__range_kind(&from, &to, ino, FS_KIND_XATTR);
	fs__range_piece(op->fs, &from, &to, &to);
	txn_scan(&op->m, fs__key_slice(&from), fs__key_slice(&to), 1);
	fs__key_reap(&from, ino, FS_REAP_INODE);
	txn_get(&op->m, fs__key_slice(&from));
	for (unsigned i = 0; i < MARKED; i++) {
		fs__key_xattr(&from, ino, slice_str(marked[i].name));
		txn_get(&op->m, fs__key_slice(&from));
	}
}

static int look(struct ck *c, fs_ino ino, struct look *l)
{
	const struct txn_value *v;
	struct fs_op op;
	int err;

	*l = (struct look){.ino = ino};
	fs__op_begin(&op, c->fs);
	add_reads(&op, ino);
	err = fs__op_read(&op);
	if (err)
		goto out_op;
	v = fs__op_value(&op, 0);
	l->inode = v->status == 0;
	if (l->inode)
		err = fs__inode_decode(v->value, &l->rec);
	else if (v->status != ERR_NOT_FOUND)
		err = v->status;
	l->any = op.r.reads[1].item_count > 0;
	l->waits = fs__op_value(&op, 2)->status == 0;
	for (unsigned i = 0; i < MARKED && !err; i++)
		err = take_marked(l, i, fs__op_value(&op, 3 + i));
out_op:
	fs__op_end(&op);
	return err;
}

/* What byte 2 of the record has to be, once damaged lists are gone. */
static uint8_t marks_of(const struct look *l)
{
	uint8_t marks = (uint8_t)(l->any || l->rec.xattrs & FS_HAS_XATTRS ? FS_HAS_XATTRS : 0);

	for (unsigned i = 0; i < MARKED; i++)
		marks |= l->x[i].version && !l->x[i].bad ? marked[i].mark : 0;
	return marks;
}

/* ---- repair ---- */

static int remove_all(struct ck *c, fs_ino ino)
{
	struct fs_key from, to;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_inode(&from, ino);
	txn_if_absent(&op.m, fs__key_slice(&from));
	fs__range_kind(&from, &to, ino, FS_KIND_XATTR);
	fs__delete_range(&op, &from, &to);
	err = ck__exec(&op);
	fs__op_end(&op);
	return err;
}

/* Lists that are none go; one that does not fit follows the mode, as with chmod. */
static int mend(struct ck *c, const struct look *l)
{
	struct fs_key k;
	struct fs_op op;
	int err = 0;

	fs__op_begin(&op, c->fs);
	fs__if_inode_u64(&op, l->ino, FS_F_XATTRS, l->rec.xattrs);
	fs__if_inode_u64(&op, l->ino, FS_F_PERM, l->rec.perm);
	for (unsigned i = 0; i < MARKED; i++) {
		fs__key_xattr(&k, l->ino, slice_str(marked[i].name));
		if (l->x[i].version)
			txn_if_version(&op.m, fs__key_slice(&k), l->x[i].version);
		else
			txn_if_absent(&op.m, fs__key_slice(&k));
		if (l->x[i].bad)
			txn_delete(&op.m, fs__key_slice(&k));
	}
	if (l->x[ACCESS].misfit)
		err = fs__acl_add_chmod(&op, l->ino, buf_slice(&l->access), l->rec.perm & 0777);
	fs__set_inode(&op, l->ino, FS_F_XATTRS, marks_of(l));
	fs__set_inode_now(&op, l->ino, FS_F_PERM_VERSION);
	if (!err)
		err = ck__exec(&op);
	fs__op_end(&op);
	fs__hint_inode_drop(c->fs, l->ino);
	return err;
}

/* ---- report ---- */

static bool tell(struct ck *c, const struct look *l)
{
	bool told = false;

	for (unsigned i = 0; i <= DEFAULT; i++) {
		if (l->x[i].bad)
			ck__line(c, "inode %llu has a damaged %s", (ull)l->ino, marked[i].name);
		told |= l->x[i].bad;
	}
	if (l->x[ACCESS].misfit) {
		ck__line(c, "the access list of inode %llu does not fit its mode", (ull)l->ino);
		told = true;
	}
	if (!told && marks_of(l) != l->rec.xattrs) {
		ck__line(c, "inode %llu does not know that it has attributes, or which",
			 (ull)l->ino);
		told = true;
	}
	return told;
}

int ck__verify_xattr(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);
	struct look l;
	int err = look(c, s->ino, &l);

	if (err || l.waits) {
		err = err == ERR_CORRUPT ? 0 : err; /* a damaged inode has been reported as such */
	} else if (l.inode && tell(c, &l)) {
		ck__problem(c, tried, tried ? mend(c, &l) : 0);
	} else if (!l.inode && l.any) {
		ck__line(c, "inode %llu is not there, but has attributes", (ull)s->ino);
		ck__problem(c, tried, tried ? remove_all(c, s->ino) : 0);
	}
	buf_release(&l.access);
	return err;
}
