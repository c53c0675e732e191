/* Inodes: fields that cannot be, records that contradict what is there, the root. */
#include "base/bytes.h"
#include "fs/fsck.h"

typedef unsigned long long ull;

#define TIME_MAX ((int64_t)(INT64_MAX / (int64_t)NS_PER_S) * (int64_t)NS_PER_S)

/* ---- fields ---- */

bool ck__known_type(uint16_t type)
{
	return type == FS_T_DIR || type == FS_T_FILE || type == FS_T_SYMLINK ||
	       type == FS_TYPE(S_IFCHR) || type == FS_TYPE(S_IFBLK) ||
	       type == FS_TYPE(S_IFIFO) || type == FS_TYPE(S_IFSOCK);
}

static int64_t clamp(int64_t ns)
{
	return ns > TIME_MAX ? TIME_MAX : ns < -TIME_MAX ? -TIME_MAX : ns;
}

static struct slice target_of(struct slice value)
{
	return slice_of(value.p + FS_INODE_SIZE, value.len - FS_INODE_SIZE);
}

/* As much of it as can be a target. */
static size_t target_len(struct slice target)
{
	return target.len < FS_SYMLINK_MAX ? target.len : FS_SYMLINK_MAX;
}

static bool bad_target(struct slice value, const struct fs_inode *rec)
{
	struct slice t = target_of(value);

	if (rec->type != FS_T_SYMLINK)
		return t.len > 0 && ck__known_type(rec->type);
	return t.len == 0 || target_len(t) != t.len || rec->size != t.len;
}

static bool bad_time(const struct fs_inode *rec)
{
	return clamp(rec->atime_ns) != rec->atime_ns || clamp(rec->mtime_ns) != rec->mtime_ns ||
	       clamp(rec->ctime_ns) != rec->ctime_ns || clamp(rec->btime_ns) != rec->btime_ns;
}

static bool bad_bytes(struct slice value, const struct fs_inode *rec)
{
	uint8_t b[FS_INODE_SIZE];

	fs__inode_encode(b, rec);
	return memcmp(b, value.p, sizeof(b)) != 0;
}

static bool bad_size(const struct fs_inode *rec)
{
	return rec->type == FS_T_FILE && rec->size > FS_FILE_SIZE_MAX;
}

bool ck__odd(struct slice value, const struct fs_inode *rec)
{
	return bad_bytes(value, rec) || bad_target(value, rec) || bad_time(rec) || bad_size(rec);
}

static const char *oddity(struct slice value, const struct fs_inode *rec)
{
	if (rec->type == FS_T_SYMLINK && target_len(target_of(value)) == 0)
		return "is a symlink without a target";
	if (bad_target(value, rec))
		return rec->type == FS_T_SYMLINK ? "is a symlink whose target does not have its size"
						 : "has a tail that only a symlink has";
	if (bad_size(rec))
		return "has a size that no file can have";
	if (bad_time(rec))
		return "has a time that cannot be";
	if (rec->orphan != (rec->nlink == 0))
		return rec->orphan ? "has links, but is marked as an orphan"
				   : "has no links, but is not marked as an orphan";
	return bad_bytes(value, rec) ? "has bits that mean nothing" : NULL;
}

/* As it should be. ERR_NOT_FOUND: a symlink that leads nowhere, which is nothing any more. */
static int set_right(struct ck *c, struct slice value, struct fs_inode *rec, struct slice *tail)
{
	int err = 0;

	*tail = (struct slice){0};
	if (rec->type == FS_T_SYMLINK) {
		*tail = target_of(value);
		tail->len = target_len(*tail);
		rec->size = tail->len;
		if (tail->len == 0)
			return ERR_NOT_FOUND;
	}
	if (bad_size(rec)) {
		err = ck__data_end(c, rec->data_id, &rec->size);
		rec->holes = true;
	}
	rec->atime_ns = clamp(rec->atime_ns);
	rec->mtime_ns = clamp(rec->mtime_ns);
	rec->ctime_ns = clamp(rec->ctime_ns);
	rec->btime_ns = clamp(rec->btime_ns);
	rec->orphan = rec->nlink == 0;
	return err;
}

static int fix_fields(struct ck *c, fs_ino ino, const struct txn_value *v, struct fs_inode *rec)
{
	uint8_t b[FS_INODE_SIZE + FS_SYMLINK_MAX];
	struct slice tail;
	struct fs_key k;
	struct fs_op op;
	int err = set_right(c, v->value, rec, &tail);

	fs__key_inode(&k, ino);
	if (err == ERR_NOT_FOUND) /* then its names lead nowhere, and go in the next pass */
		return ck__delete_key(c, fs__key_slice(&k), v->version);
	if (err)
		return err;
	fs__inode_encode(b, rec);
	if (tail.len > 0)
		memcpy(b + FS_INODE_SIZE, tail.p, tail.len);
	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, fs__key_slice(&k), v->version);
	txn_put(&op.m, fs__key_slice(&k), slice_of(b, FS_INODE_SIZE + tail.len));
	fs__set_inode_now(&op, ino, FS_F_PERM_VERSION);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, ino);
	return err;
}

static void read_inode(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_get(&op->m, fs__key_slice(&k));
}

int ck__verify_fields(struct ck *c, const struct ck_suspect *s)
{
	const struct txn_value *v;
	const char *what = NULL;
	struct fs_inode rec;
	struct fs_op op;
	bool tried = ck__repairs(c), there;
	int err;

	fs__op_begin(&op, c->fs);
	read_inode(&op, s->ino);
	err = fs__op_read(&op);
	v = err ? NULL : fs__op_value(&op, 0);
	if (!err)
		err = ck__decode(v, &rec, &there);
	if (!err && there)
		what = oddity(v->value, &rec);
	if (what) {
		ck__line(c, "inode %llu %s", (ull)s->ino, what);
		ck__problem(c, tried, tried ? fix_fields(c, s->ino, v, &rec) : 0);
	}
	fs__op_end(&op);
	return err == ERR_CORRUPT ? 0 : err;
}

/* ---- the type ---- */

static const char *type_name(uint16_t type)
{
	return type == FS_T_DIR ? "directory" : type == FS_T_FILE ? "file" : "special file";
}

static int fix_wrong_type(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__if_inode_u64(&op, s->ino, FS_F_TYPE, rec->type);
	fs__set_inode(&op, s->ino, FS_F_TYPE, s->count);
	if (s->count == FS_T_DIR && s->ino != FS_ROOT_INO) {
		fs__set_inode(&op, s->ino, FS_F_PARENT, s->dir);
		fs__set_inode(&op, s->ino, FS_F_NAME_HASH, s->hash);
	}
	fs__set_inode_now(&op, s->ino, FS_F_PERM_VERSION);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, s->ino);
	return err;
}

/* An inode's type never changes, nor does what can be below it: what the scan found is still so. */
int ck__verify_wrong_type(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);
	struct fs_inode rec;
	int err = fs__inode_get(c->fs, s->ino, &rec);

	if (err || rec.type == s->count || rec.nlink == 0)
		return err == ERR_STALE || err == ERR_CORRUPT ? 0 : err;
	ck__line(c, "inode %llu is a %s by its names and contents, but its record does not say so",
		 (ull)s->ino, type_name((uint16_t)s->count));
	ck__problem(c, tried, tried ? fix_wrong_type(c, s, &rec) : 0);
	return 0;
}

/* ---- links ---- */

/* Nobody can add a name to it or take one away while it counts none. */
static int fix_no_links(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec)
{
	uint64_t least = rec->type == FS_T_DIR ? 2 : 1;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__if_inode_u64(&op, s->ino, FS_F_NLINK, 0);
	fs__set_inode(&op, s->ino, FS_F_NLINK, s->count > least ? s->count : least);
	fs__set_inode(&op, s->ino, FS_F_ORPHAN, 0);
	fs__key_reap(&k, s->ino, FS_REAP_INODE);
	txn_delete(&op.m, fs__key_slice(&k));
	fs__set_inode_now(&op, s->ino, FS_F_PERM_VERSION);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, s->ino);
	return err;
}

struct hold { /* what speaks against its having been removed */
	bool inode, name, entry;
	struct fs_inode rec;
};

static bool leads_to(const struct txn_read_result *r, fs_ino ino)
{
	struct fs_dentry d;

	for (uint32_t i = 0; i < r->item_count; i++)
		if (!fs__dentry_decode(r->items[i].value, &d) && d.ino == ino)
			return true;
	return false;
}

static int look(struct ck *c, const struct ck_suspect *s, struct hold *h)
{
	struct fs_key from, to;
	struct fs_op op;
	int err;

	*h = (struct hold){.inode = false};
	fs__op_begin(&op, c->fs);
	read_inode(&op, s->ino);
	fs__range_hash(&from, &to, s->dir, s->hash);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), FS_TIES_MAX);
	fs__range_kind(&from, &to, s->ino, FS_KIND_DENTRY);
	fs__range_piece(c->fs, &from, &to, &to);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), 1);
	err = fs__op_read(&op);
	if (!err)
		err = ck__decode(fs__op_value(&op, 0), &h->rec, &h->inode);
	if (!err) {
		h->name = leads_to(&op.r.reads[1], s->ino);
		h->entry = op.r.reads[2].item_count > 0;
	}
	fs__op_end(&op);
	return err;
}

int ck__verify_no_links(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);
	struct hold h;
	int err = look(c, s, &h);

	if (err || !h.inode || h.rec.nlink > 0 || (!h.name && !h.entry))
		return err == ERR_CORRUPT ? 0 : err;
	ck__line(c, "inode %llu counts no links, but has %s", (ull)s->ino,
		 h.name ? "a name" : "names in it");
	ck__problem(c, tried, tried ? fix_no_links(c, s, &h.rec) : 0);
	return 0;
}

int ck__verify_no_reap(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), there;
	struct fs_inode rec;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	read_inode(&op, s->ino);
	fs__key_reap(&k, s->ino, FS_REAP_INODE);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = ck__decode(fs__op_value(&op, 0), &rec, &there);
	if (!err && there && rec.nlink == 0 && fs__op_value(&op, 1)->status == ERR_NOT_FOUND) {
		ck__line(c, "inode %llu has no names, and nobody will remove it", (ull)s->ino);
		ck__problem(c, tried, tried ? ck__fix_no_reap(c, s->ino) : 0);
	}
	fs__op_end(&op);
	return err == ERR_CORRUPT ? 0 : err;
}

/* ---- the root ---- */

static int fix_root(struct ck *c, const struct ck_suspect *s, uint64_t version,
		    const struct fs_inode *now)
{
	struct fs_inode root = {.perm = 0755, .data_id = FS_ROOT_INO, .data_version = 1};
	uint64_t count = s->count;
	struct fs_key k;
	struct fs_op op;
	int err;

	if (now)
		root = *now;
	root.type = FS_T_DIR;
	root.orphan = false;
	root.parent = FS_ROOT_INO;
	if (root.nlink < 2)
		root.nlink = (uint32_t)count;
	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, FS_ROOT_INO);
	txn_if_version(&op.m, fs__key_slice(&k), version);
	fs__put_inode(&op, FS_ROOT_INO, &root, (struct slice){0});
	fs__set_inode_now(&op, FS_ROOT_INO, FS_F_PERM_VERSION);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, FS_ROOT_INO);
	return err;
}

int ck__verify_root(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), there, whole;
	struct fs_inode rec;
	struct fs_op op;
	uint64_t version;
	int err;

	fs__op_begin(&op, c->fs);
	read_inode(&op, FS_ROOT_INO);
	err = fs__op_read(&op);
	if (err)
		goto out_op;
	version = fs__op_value(&op, 0)->status ? 0 : fs__op_value(&op, 0)->version;
	err = ck__decode(fs__op_value(&op, 0), &rec, &there);
	whole = !err && there;
	if (err && err != ERR_CORRUPT)
		goto out_op;
	err = 0;
	if (whole && rec.nlink > 0 && rec.parent == FS_ROOT_INO)
		goto out_op;
	ck__line(c, "the root directory is %s",
		 whole ? "not what it should be" : there ? "damaged" : "not there");
	ck__problem(c, tried, tried ? fix_root(c, s, version, whole ? &rec : NULL) : 0);
out_op:
	fs__op_end(&op);
	return err;
}
