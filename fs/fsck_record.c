/* Records that are wrong in themselves. They need no second look, and are told of once a pass; what is
 * done about them is done under the condition that they are still what was read. */
#include <stdio.h>

#include "base/bytes.h"
#include "fs/fsck.h"

#define HEX_MAX 48u

static void tell(struct ck *c, enum ck_kind kind, const struct txn_item *it, const char *what)
{
	char hex[2 * HEX_MAX + 1] = "";

	for (size_t i = 0; i < it->key.len && i < HEX_MAX; i++)
		snprintf(hex + 2 * i, 3, "%02x", it->key.p[i]);
	ck__about(c, kind, 0);
	c->at.group = c->fs->b.group_of(c->fs->b.ctx, it->key);
	ck__line(c, "%s, key %s%s", what, hex, it->key.len > HEX_MAX ? "..." : "");
}

void ck__bad_record(struct ck *c, enum ck_kind kind, const struct txn_item *it, const char *what,
		    bool drop)
{
	bool tried = drop && ck__repairs(c);

	if (c->round > 0)
		return;
	tell(c, kind, it, what);
	ck__problem(c, tried, tried ? ck__delete_key(c, it->key, it->version) : 0);
}

/* ---- keys under which nobody looks ---- */

static bool has_kind(uint8_t kind)
{
	return kind && strchr("BDFGHILMQSX", kind);
}

/* The key under which it would be found. False: there is none. */
static bool right_key(const struct fs_key_parts *p, struct fs_key *k)
{
	bool numbered = p->kind == FS_KIND_BLOCK || p->kind == FS_KIND_STRIPES;
	uint64_t n = p->rest.len == 8 ? be64_get(p->rest.p) : UINT64_MAX;

	fs__key_head(k, fs__place(p->number), p->number, p->kind);
	if (p->kind == FS_KIND_INODE || p->kind == FS_KIND_LOCK)
		return true; /* nothing follows */
	if (p->kind == FS_KIND_SYSTEM)
		return p->number == FS_ROOT_INO && p->rest.len == 0;
	if (strchr("HMQ", p->kind) && p->number != FS_ROOT_INO)
		return false;
	if (p->kind == FS_KIND_REAP && (p->rest.len != 1 || p->rest.p[0] < FS_REAP_INODE ||
					p->rest.p[0] > FS_REAP_STAGED))
		return false;
	if (p->kind == FS_KIND_STRIPES &&
	    n > FS_FILE_SIZE_MAX / STRIPE_SIZE / FS_STRIPES_PER_CHUNK)
		return false;
	if (p->kind == FS_KIND_BLOCK && n >= FS_FILE_SIZE_MAX / BLOCK_SIZE)
		return false;
	if (p->kind == FS_KIND_BLOCK)
		be16_put(k->b, fs__stripe_place(p->number, fs__stripe_of_block(n)));
	if (!numbered && FS_KEY_HEAD + p->rest.len > sizeof(k->b))
		return false;
	fs__key_bytes(k, p->rest);
	return true;
}

/* To where it is looked for, if nothing is there; else nobody misses it. */
static int move_record(struct ck *c, const struct fs_key *k, const struct txn_item *it)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, it->key, it->version);
	txn_if_absent(&op.m, fs__key_slice(k));
	txn_put(&op.m, fs__key_slice(k), it->value);
	txn_delete(&op.m, it->key);
	err = ck__exec(&op);
	if (fs__failed_at(&op, err, 1))
		err = ck__delete_key(c, it->key, it->version);
	fs__op_end(&op);
	return err;
}

int ck__bad_key(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	bool tried = ck__repairs(c), number = p->number >> 63 == 0;
	struct fs_key k;

	if (!has_kind(p->kind)) { /* whose it is, and what for, is not known */
		ck__bad_record(c, CK_UNKNOWN, it, "a key of no kind", false);
		return 1;
	}
	if (!number || !right_key(p, &k)) {
		ck__bad_record(c, CK_PLACE, it, "a key under which nobody looks", true);
		return 1;
	}
	if (slice_eq(fs__key_slice(&k), it->key))
		return 0;
	if (c->round > 0)
		return 1;
	tell(c, CK_PLACE, it, "record in a place where nobody looks");
	ck__problem(c, tried, tried ? move_record(c, &k, it) : 0);
	return 1;
}

/* ---- values ---- */

static int cut_value(struct ck *c, const struct txn_item *it, uint64_t size)
{
	struct fs_op op;

	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, it->key, it->version);
	txn_cut(&op.m, it->key, size);
	return ck__finish(&op);
}

static void too_long(struct ck *c, const struct txn_item *it, const char *what, uint64_t size)
{
	bool tried = ck__repairs(c);

	if (c->round > 0)
		return;
	tell(c, CK_RECORD, it, what);
	ck__problem(c, tried, tried ? cut_value(c, it, size) : 0);
}

void ck__bad_block(struct ck *c, const struct txn_item *it)
{
	too_long(c, it, "damaged block", BLOCK_SIZE);
}

void ck__bad_stripes(struct ck *c, const struct txn_item *it)
{
	too_long(c, it, "damaged record of stripes", FS_STRIPES_CHUNK_BYTES);
}

/* The key says what is to be removed. Without a session it is a leftover: the next pass looks whether
 * it is true. */
static int renew_reap(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct fs_reap g = {.what = p->rest.p[0]};
	uint8_t b[FS_REAP_SIZE];
	struct fs_op op;

	fs__reap_encode(b, &g);
	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, it->key, it->version);
	txn_put(&op.m, it->key, slice_of(b, sizeof(b)));
	txn_set_now(&op.m, it->key, FS_F_SINCE);
	return ck__finish(&op);
}

void ck__bad_value(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it,
		   const char *what, ck_mend_fn *mend)
{
	bool tried = ck__repairs(c);

	if (c->round > 0)
		return;
	tell(c, CK_RECORD, it, what);
	ck__problem(c, tried, tried ? mend(c, p, it) : 0);
}

void ck__bad_reap(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	ck__bad_value(c, p, it, "damaged reaping record", renew_reap);
}

/* ---- names ---- */

static void about_name(struct ck *c, enum ck_kind kind, const struct txn_item *it,
		       const struct fs_dentry *d)
{
	ck__about_name(c, kind, be64_get(it->key.p + 2), be64_get(it->key.p + FS_KEY_HEAD), d->ino);
}

/* By its letters, or by where it is filed. */
void ck__bad_name(struct ck *c, const struct txn_item *it, const struct fs_dentry *d)
{
	struct slice name = slice_of(it->key.p + FS_DENTRY_HEAD, it->key.len - FS_DENTRY_HEAD);
	uint64_t dir = be64_get(it->key.p + 2);
	bool tried = ck__repairs(c);
	struct fs_name n;
	bool usable = !fs__name_is_dot(name) && !fs__name_init(c->fs, dir, name, &n);

	if (c->round > 0)
		return;
	about_name(c, usable ? CK_NAME_HASH : CK_NAME, it, d);
	ck__line(c, usable ? "name \"%.*s\" in directory %llu is filed under a wrong hash"
			   : "name \"%.*s\" in directory %llu is none that a file can have",
		 (int)name.len, (const char *)name.p, (unsigned long long)dir);
	ck__problem(c, tried, tried ? ck__rename_entry(c, it->key, it->version, d) : 0);
}

void ck__bad_cookie(struct ck *c, const struct txn_item *it, const struct fs_dentry *d)
{
	bool tried = ck__repairs(c);

	if (c->round > 0)
		return;
	about_name(c, CK_COOKIE, it, d);
	ck__line(c, "name \"%.*s\" in directory %llu has the cookie of another one",
		 (int)(it->key.len - FS_DENTRY_HEAD), (const char *)it->key.p + FS_DENTRY_HEAD,
		 (unsigned long long)be64_get(it->key.p + 2));
	ck__problem(c, tried, tried ? ck__fix_cookie(c, it->key, d) : 0);
}
