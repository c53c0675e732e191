/* Inodes that are not there, or cannot be read, although something hangs on them: names in a directory,
 * or contents. They are made anew, for root alone, so that what hangs on them can be reached again; the
 * next pass gives them links, a name and marks. */
#include "base/bytes.h"
#include "fs/fsck.h"

typedef unsigned long long ull;

struct remains {
	uint64_t version; /* of the record; 0: absent */
	bool readable, entries, data;
	bool reap_inode, reap_data;
	bool salvage; /* only its first byte is wrong */
	struct buf value; /* owned: the record as it is */
};

static const uint8_t reap_kinds[] = {FS_REAP_INODE, FS_REAP_DATA, FS_REAP_STAGED};

static int copy_value(struct remains *r, const struct txn_value *v)
{
	struct fs_inode rec;
	uint8_t b[FS_INODE_SIZE];

	if (v->status)
		return v->status == ERR_NOT_FOUND ? 0 : v->status;
	r->version = v->version;
	r->readable = !fs__inode_decode(v->value, &rec);
	if (v->value.len < FS_INODE_SIZE)
		return 0;
	if (buf_set(&r->value, v->value))
		return ERR_NOMEM;
	r->value.data[0] = FS_INODE_VERSION;
	if (fs__inode_decode(buf_slice(&r->value), &rec))
		return 0;
	fs__inode_encode(b, &rec);
	r->salvage = ck__known_type(rec.type) && memcmp(b, r->value.data, sizeof(b)) == 0;
	return 0;
}

static int look(struct ck *c, fs_ino ino, struct remains *r)
{
	struct fs_key from, to;
	struct fs_op op;
	int err;

	*r = (struct remains){.version = 0};
	fs__op_begin(&op, c->fs);
	fs__key_inode(&from, ino);
	txn_get(&op.m, fs__key_slice(&from));
	for (unsigned i = 0; i < sizeof(reap_kinds); i++) {
		fs__key_reap(&from, ino, reap_kinds[i]);
		txn_get(&op.m, fs__key_slice(&from));
	}
	fs__range_kind(&from, &to, ino, FS_KIND_DENTRY);
	fs__range_piece(c->fs, &from, &to, &to);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), 1);
	err = fs__op_read(&op);
	if (!err)
		err = copy_value(r, fs__op_value(&op, 0));
	if (!err) {
		r->reap_inode = fs__op_value(&op, 1)->status == 0;
		r->reap_data = fs__op_value(&op, 2)->status == 0 ||
			       fs__op_value(&op, 3)->status == 0;
		r->entries = op.r.reads[4].item_count > 0;
	}
	fs__op_end(&op);
	if (!err && !r->reap_data)
		err = ck__block_seen(c, ino, &r->data);
	return err;
}

/* ---- making it anew ---- */

static int put_anew(struct ck *c, fs_ino ino, const struct remains *r, const struct fs_inode *rec)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, ino);
	txn_if_version(&op.m, fs__key_slice(&k), r->version);
	for (unsigned i = 0; i < sizeof(reap_kinds) && !r->reap_data; i++) {
		fs__key_reap(&k, ino, reap_kinds[i]);
		if (reap_kinds[i] == FS_REAP_INODE)
			txn_delete(&op.m, fs__key_slice(&k));
		else
			txn_if_absent(&op.m, fs__key_slice(&k));
	}
	fs__put_inode(&op, ino, rec, (struct slice){0});
	fs__set_inode_now(&op, ino, FS_F_PERM_VERSION);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, ino);
	return err;
}

static void add_marks(struct ck *c, fs_ino ino, struct fs_inode *rec)
{
	const struct ck_inode *e = ck__inode(c, ino);

	if (e && e->has_xattr)
		rec->xattrs = FS_HAS_XATTRS | e->marks;
}

/* The rest of a directory; a name in it tells each child again where it is. */
static int rebuild_dir(struct ck *c, const struct ck_suspect *s, const struct remains *r)
{
	struct fs_inode rec = {.perm = 0700,
			       .type = FS_T_DIR,
			       .nlink = s->count < 2 ? 2 : (uint32_t)s->count,
			       .data_id = s->ino,
			       .data_version = 1,
			       .parent = s->dir,
			       .name_hash = s->hash};

	if (s->ino == FS_ROOT_INO) {
		rec.perm = 0755;
		rec.parent = FS_ROOT_INO;
	}
	add_marks(c, s->ino, &rec);
	return put_anew(c, s->ino, r, &rec);
}

/* What is there of its contents; where blocks are absent it has holes now. */
static int rebuild_file(struct ck *c, const struct ck_suspect *s, const struct remains *r)
{
	struct fs_inode rec = {.perm = 0600,
			       .type = FS_T_FILE,
			       .nlink = s->count < 1 ? 1 : (uint32_t)s->count,
			       .holes = true,
			       .data_id = s->ino,
			       .data_version = 1};
	uint64_t counter;
	int err = 0;

	if (r->data)
		err = ck__data_end(c, s->ino, &rec.size);
	else if (r->reap_data) { /* what it had first is being removed */
		err = fs__ino_next(c->fs, &counter);
		rec.data_id = fs__number(fs__place(s->ino), counter);
	}
	add_marks(c, s->ino, &rec);
	return err ? err : put_anew(c, s->ino, r, &rec);
}

/* ---- a record that is absent, or cannot be read ---- */

static int salvage(struct ck *c, fs_ino ino, const struct remains *r)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, ino);
	txn_if_version(&op.m, fs__key_slice(&k), r->version);
	txn_put(&op.m, fs__key_slice(&k), buf_slice(&r->value));
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, ino);
	return err;
}

static int mend_lost(struct ck *c, const struct ck_suspect *s, const struct remains *r)
{
	const struct ck_inode *e = ck__inode(c, s->ino);
	uint8_t named = e && e->names > 0 ? e->name_type : 0;
	struct fs_key k;

	if (r->salvage)
		return salvage(c, s->ino, r);
	if (r->entries || named == FS_T_DIR || s->ino == FS_ROOT_INO)
		return rebuild_dir(c, s, r);
	if (r->data || named == FS_T_FILE)
		return rebuild_file(c, s, r);
	fs__key_inode(&k, s->ino); /* nothing is left of it: its names go in the next pass */
	return ck__delete_key(c, fs__key_slice(&k), r->version);
}

int ck__verify_lost(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), lost;
	struct remains r;
	int err = look(c, s->ino, &r);

	lost = !r.readable && (r.version || (r.entries && !r.reap_inode));
	if (!err && lost) {
		if (r.version)
			ck__line(c, "damaged inode %llu", (ull)s->ino);
		else
			ck__line(c, "directory %llu is not there, but what was in it",
				 (ull)s->ino);
		ck__problem(c, tried, tried ? mend_lost(c, s, &r) : 0);
	}
	buf_release(&r.value);
	return err;
}

/* ---- data without a file ---- */

/* The number is an inode's, which has other data: a file of its own for what is left over. */
static int new_file(struct ck *c, uint64_t data_id, uint64_t size)
{
	struct fs_inode rec = {.perm = 0600,
			       .type = FS_T_FILE,
			       .nlink = 1,
			       .size = size,
			       .holes = true,
			       .data_id = data_id,
			       .data_version = 1};
	struct remains none = {.version = 0};
	uint64_t counter;
	fs_ino ino;
	struct fs_key k;
	struct fs_op op;
	int err = fs__ino_next(c->fs, &counter);

	if (err)
		return err;
	ino = fs__number(fs__place(data_id), counter); /* an inode is where its first blocks are */
	err = put_anew(c, ino, &none, &rec);
	if (err)
		return err;
	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, ino);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	if (!err)
		err = ck__adopt(c, ino, fs__op_value(&op, 0)->version);
	fs__op_end(&op);
	return err;
}

int ck__rebuild_file(struct ck *c, const struct ck_suspect *s)
{
	struct ck_suspect own = *s;
	struct remains r;
	uint64_t size = 0;
	int err = look(c, s->data_id, &r);

	own.ino = s->data_id;
	if (!err && !r.readable && !r.version && r.data && !r.reap_inode)
		err = rebuild_file(c, &own, &r);
	else if (!err && (r.readable || r.version))
		err = ck__data_end(c, s->data_id, &size);
	else if (!err)
		err = ERR_CONDITION; /* something has happened to it: another look */
	if (!err && (r.readable || r.version))
		err = new_file(c, s->data_id, size);
	buf_release(&r.value);
	return err;
}
