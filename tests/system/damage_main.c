/* Damages the file system of a running store, past every call: for the test of fsck.
 *
 *   damage ENDPOINTS KIND [PATH [ARG]]
 *
 * KIND: links PATH N, no-links PATH, parent PATH OTHER, no-inode PATH, short-inode PATH, version PATH,
 * no-name PATH, type PATH, beyond PATH, in-use PATH, marks PATH, misplaced PATH, shared PATH OTHER,
 * slash PATH, data N, counter, rename-order, unknown; known: takes back what unknown did.
 * Prints the inode's number.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "fs/fs_internal.h"
#include "kv/layout.h"
#include "tools/cli.h"

struct damage {
	struct cli_client_options o;
	const char *kind, *path, *arg;
	struct fs *fs;
	fs_ino ino, dir, other; /* of the path, of the directory that it is in, of the argument */
	struct slice name;
	struct fs_inode rec;
};

/* ---- one raw change ---- */

static int put(struct damage *d, const struct fs_key *k, struct slice value)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, d->fs);
	txn_put(&op.m, fs__key_slice(k), value);
	err = fs__op_exec(&op);
	fs__op_end(&op);
	return err;
}

static int delete(struct damage *d, const struct fs_key *k)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, d->fs);
	txn_delete(&op.m, fs__key_slice(k));
	err = fs__op_exec(&op);
	fs__op_end(&op);
	return err;
}

static int set(struct damage *d, fs_ino ino, struct txn_field f, uint64_t v)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, d->fs);
	fs__set_inode(&op, ino, f, v);
	err = fs__op_exec(&op);
	fs__op_end(&op);
	return err;
}

static int get(struct damage *d, const struct fs_key *k, struct buf *value)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, d->fs);
	txn_get(&op.m, fs__key_slice(k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	if (!err)
		err = buf_set(value, fs__op_value(&op, 0)->value);
	fs__op_end(&op);
	return err;
}

/* The same value under another key; or, with @to NULL, only as much of it. */
static int rewrite(struct damage *d, const struct fs_key *from, const struct fs_key *to, size_t len)
{
	struct buf v = BUF_INIT;
	int err = get(d, from, &v);

	if (!err && to)
		err = delete(d, from);
	if (!err)
		err = put(d, to ? to : from, slice_of(v.data, v.len < len ? v.len : len));
	buf_release(&v);
	return err;
}

/* ---- kinds ---- */

static int name_key(struct damage *d, struct fs_key *k)
{
	struct fs_name n;
	int err = fs__name_init(d->fs, d->dir, d->name, &n);

	*k = n.key;
	return err;
}

static int put_dentry(struct damage *d, const struct fs_key *k, uint8_t type)
{
	struct fs_dentry e = {.ino = d->ino, .type = type};
	uint8_t b[FS_DENTRY_SIZE];

	fs__dentry_encode(b, &e);
	return put(d, k, slice_of(b, sizeof(b)));
}

static int put_beyond(struct damage *d)
{
	struct fs_key k;

	fs__key_block(&k, d->rec.data_id, fs__blocks_end(d->rec.size) / BLOCK_SIZE + 1);
	return put(d, &k, slice_str("beyond"));
}

static int put_data(struct damage *d)
{
	struct fs_key k;

	fs__key_block(&k, fs__number(77, strtoull(d->path, NULL, 10)), 0);
	return put(d, &k, slice_str("precious"));
}

static int put_reap(struct damage *d)
{
	struct fs_reap g = {.what = FS_REAP_INODE, .session = 1ull << 40};
	uint8_t b[FS_REAP_SIZE];
	struct fs_key k;

	fs__key_reap(&k, d->ino, FS_REAP_INODE);
	fs__reap_encode(b, &g);
	return put(d, &k, slice_of(b, sizeof(b)));
}

static int rename_raw(struct damage *d, const struct fs_key *name)
{
	struct slice to = slice_str("with/slash");
	struct fs_key k;

	fs__key_dentry(&k, d->dir, fs__name_hash(fs__name_digest(d->fs->hash_key, d->dir, to)), to);
	return rewrite(d, name, &k, SIZE_MAX);
}

static int of_name(struct damage *d, const char *kind)
{
	struct fs_key k;
	int err = name_key(d, &k);

	if (err)
		return err;
	if (strcmp(kind, "no-name") == 0)
		return delete(d, &k);
	if (strcmp(kind, "slash") == 0)
		return rename_raw(d, &k);
	if (strcmp(kind, "type") == 0)
		return put_dentry(d, &k, FS_TYPE(S_IFIFO));
	return ERR_USAGE;
}

static int of_record(struct damage *d, const char *kind)
{
	struct buf v = BUF_INIT;
	struct fs_key k, to;
	int err;

	fs__key_inode(&k, d->ino);
	to = k;
	be16_put(to.b, (uint16_t)(be16_get(to.b) ^ 1));
	if (strcmp(kind, "no-inode") == 0)
		return delete(d, &k);
	if (strcmp(kind, "short-inode") == 0)
		return rewrite(d, &k, NULL, 20);
	if (strcmp(kind, "misplaced") == 0)
		return rewrite(d, &k, &to, SIZE_MAX);
	if (strcmp(kind, "version") != 0)
		return of_name(d, kind);
	err = get(d, &k, &v);
	if (!err) {
		v.data[0] = 9;
		err = put(d, &k, buf_slice(&v));
	}
	buf_release(&v);
	return err;
}

static int of_path(struct damage *d, const char *kind)
{
	if (strcmp(kind, "links") == 0)
		return set(d, d->ino, FS_F_NLINK, strtoull(d->arg, NULL, 10));
	if (strcmp(kind, "no-links") == 0)
		return set(d, d->ino, FS_F_NLINK, 0);
	if (strcmp(kind, "parent") == 0)
		return set(d, d->ino, FS_F_PARENT, d->other);
	if (strcmp(kind, "shared") == 0)
		return set(d, d->ino, FS_F_DATA_ID, d->other);
	if (strcmp(kind, "marks") == 0)
		return set(d, d->ino, FS_F_XATTRS, FS_HAS_CAPABILITY);
	if (strcmp(kind, "beyond") == 0)
		return put_beyond(d);
	if (strcmp(kind, "in-use") == 0)
		return put_reap(d);
	return of_record(d, kind);
}

static int of_store(struct damage *d, const char *kind)
{
	struct fs_key k;

	if (strcmp(kind, "counter") == 0) {
		fs__meta_key(&k, KV_KEY_INODES);
		return put(d, &k, slice_of("\2\0\0\0\0\0\0\0", 8));
	}
	if (strcmp(kind, "rename-order") == 0) {
		fs__meta_key(&k, KV_KEY_RENAME);
		return put(d, &k, slice_str("abc"));
	}
	if (strcmp(kind, "unknown") == 0 || strcmp(kind, "known") == 0) {
		fs__key_head(&k, 5, fs__number(5, 7), 'Z');
		return strcmp(kind, "known") == 0 ? delete(d, &k) : put(d, &k, slice_str("whose?"));
	}
	return strcmp(kind, "data") == 0 && d->path ? put_data(d) : ERR_USAGE;
}

/* ---- the command ---- */

static int find(struct damage *d)
{
	const char *slash = strrchr(d->path, '/');
	struct fs_attr a;
	int err = fs_path_lookup(d->fs, slice_str(d->path), false, &a);

	d->ino = err ? 0 : a.ino;
	d->name = slice_str(slash ? slash + 1 : d->path);
	d->dir = FS_ROOT_INO;
	if (!err && slash && slash != d->path) {
		err = fs_path_lookup(d->fs, slice_of(d->path, (size_t)(slash - d->path)), true, &a);
		d->dir = err ? 0 : a.ino;
	}
	if (!err)
		err = fs__inode_get(d->fs, d->ino, &d->rec);
	if (!err && d->arg && d->arg[0] == '/') {
		err = fs_path_lookup(d->fs, slice_str(d->arg), true, &a);
		d->other = err ? 0 : a.ino;
	}
	return err;
}

static int run(struct cli_session *s, void *ctx)
{
	struct damage *d = ctx;
	int err;

	d->fs = s->fs;
	err = of_store(d, d->kind);
	if (err == ERR_USAGE && d->path) {
		err = find(d);
		if (!err)
			err = of_path(d, d->kind);
	}
	if (err)
		return cli_error(cli_exit_code(err), "damage %s: %s", d->kind, err_text(err));
	printf("%llu\n", (unsigned long long)d->ino);
	return CLI_OK;
}

int main(int argc, char **argv)
{
	struct damage d = {.kind = NULL};
	int rc;

	if (argc < 3 || argc > 5) {
		fputs("usage: damage ENDPOINTS KIND [PATH [ARG]]\n", stderr);
		return CLI_USAGE;
	}
	d.kind = argv[2];
	d.path = argc > 3 ? argv[3] : NULL;
	d.arg = argc > 4 ? argv[4] : "";
	cli_client_options_init(&d.o);
	d.o.endpoints = mem_must_strdup(argv[1]);
	d.o.timeout_ns = 30 * NS_PER_S;
	rc = cli_run(&d.o, CLI_FS, run, &d);
	cli_client_options_release(&d.o);
	return rc;
}
