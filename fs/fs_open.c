/* Making, opening and closing a file system; statistics. */
#include "base/bytes.h"
#include "fs/fs_internal.h"
#include "fs/lock_internal.h"
#include "kv/layout.h"

#define COUNTER_FIRST 1024u

/* ---- format ---- */

static void add_counter(struct fs_op *op, const char *name, uint64_t value)
{
	struct fs_key k;
	uint8_t b[8];

	fs__meta_key(&k, name);
	le64_put(b, value);
	txn_if_absent(&op->m, fs__key_slice(&k));
	txn_put(&op->m, fs__key_slice(&k), slice_of(b, sizeof(b)));
}

/* A store that has no counters yet gets them; in a cluster they are there from the start. */
static int make_counters(struct fs *fs)
{
	static const struct {
		const char *name;
		uint64_t first;
	} counters[] = {{KV_KEY_INODES, COUNTER_FIRST}, {KV_KEY_RENAME, 0}};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		struct fs_op op;
		int err;

		fs__op_begin(&op, fs);
		do {
			fs__op_reset(&op);
			add_counter(&op, counters[i].name, counters[i].first);
			err = fs__op_exec(&op);
		} while (fs__op_again(&op, &err));
		fs__op_end(&op);
		if (err && err != ERR_CONDITION)
			return err;
	}
	return 0;
}

static void add_system(struct fs_op *op)
{
	struct fs_system sys = {.version = FS_FORMAT_VERSION};
	uint8_t b[FS_SYSTEM_SIZE];
	struct fs_key k;

	le64_put(sys.hash_key, env_random(op->fs->b.env));
	le64_put(sys.hash_key + 8, env_random(op->fs->b.env));
	fs__system_encode(b, &sys);
	fs__key_system(&k);
	txn_if_absent(&op->m, fs__key_slice(&k));
	txn_put(&op->m, fs__key_slice(&k), slice_of(b, sizeof(b)));
}

static void add_root(struct fs_op *op)
{
	struct fs_inode root = {.perm = 0755,
				.type = FS_T_DIR,
				.nlink = 2,
				.data_id = FS_ROOT_INO,
				.data_version = 1,
				.perm_version = 1,
				.parent = FS_ROOT_INO};
	struct fs_key k;

	fs__key_inode(&k, FS_ROOT_INO);
	txn_if_absent(&op->m, fs__key_slice(&k));
	fs__put_inode(op, FS_ROOT_INO, &root, (struct slice){0});
}

int fs_format(const struct fs_backend *b)
{
	struct fs fs = {.b = *b};
	struct fs_op op;
	int err = make_counters(&fs);

	if (err)
		return err;
	fs__op_begin(&op, &fs);
	do {
		fs__op_reset(&op);
		add_system(&op);
		add_root(&op);
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err == ERR_CONDITION ? ERR_EXISTS : err;
}

/* ---- open and close ---- */

/* From then on older programs do not open it. ERR_CONDITION: another program has raised it. */
static int raise_format(struct fs *fs, uint32_t from, struct msg *m)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	do {
		fs__op_reset(&op);
		fs__key_system(&k);
		txn_if_field_u64(&op.m, fs__key_slice(&k), FS_F_FORMAT, from);
		txn_set_u64(&op.m, fs__key_slice(&k), FS_F_FORMAT, FS_FORMAT_VERSION);
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	if (!err || err == ERR_CONDITION)
		return err;
	return msg_set(m, err, "raising the file system's format version from %u to %u: %s", from,
		       FS_FORMAT_VERSION, err_text(err));
}

static int read_system(struct fs *fs, uint32_t *version, struct msg *m)
{
	struct fs_system sys;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_system(&k);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	if (!err)
		err = fs__system_decode(fs__op_value(&op, 0)->value, &sys);
	fs__op_end(&op);
	if (err == ERR_NOT_FOUND)
		return msg_set(m, ERR_NOT_READY, "the store holds no file system yet");
	if (err)
		return msg_set(m, err, "reading the file system's record: %s", err_text(err));
	if (sys.version < FS_FORMAT_OLDEST || sys.version > FS_FORMAT_VERSION)
		return msg_set(m, ERR_UNSUPPORTED,
			       "the file system has format version %u, this program knows %u",
			       sys.version, FS_FORMAT_VERSION);
	memcpy(fs->hash_key, sys.hash_key, sizeof(fs->hash_key));
	*version = sys.version;
	return 0;
}

/* Who was faster may have raised it further than this program knows: it is looked at again. */
static int settle_format(struct fs *fs, struct msg *m)
{
	uint32_t version;
	int err;

	do {
		err = read_system(fs, &version, m);
		if (err || version == FS_FORMAT_VERSION || fs->o.read_only)
			return err;
		err = raise_format(fs, version, m);
	} while (err == ERR_CONDITION);
	return err;
}

static struct fs *fs_new(const struct fs_backend *b, const struct fs_options *o)
{
	struct fs *fs = mem_must_alloc(sizeof(*fs));

	fs->b = *b;
	if (o)
		fs->o = *o;
	fs->hash_mask = UINT64_MAX;
	fs__hints_init(&fs->hints);
	fs__holds_init(fs);
	TAILQ_INIT(&fs->pool.waiters);
	TAILQ_INIT(&fs->reap.jobs);
	TAILQ_INIT(&fs->closers);
	LIST_INIT(&fs->tasks);
	LIST_INIT(&fs->files);
	return fs;
}

static void fs_free(struct fs *fs)
{
	CHECK(fs->nodes == NULL && LIST_EMPTY(&fs->tasks) && TAILQ_EMPTY(&fs->reap.jobs));
	CHECK(fs->atime.count == 0);
	lock__free(fs);
	fs__holds_free(fs);
	fs__hints_release(&fs->hints);
	mem_free(fs->counts);
	mem_free(fs);
}

int fs_open(const struct fs_backend *b, const struct fs_options *o, struct fs **out, struct msg *m)
{
	struct fs *fs = fs_new(b, o);
	int err = settle_format(fs, m);

	if (!err) {
		err = fs__holds_join(fs);
		if (err)
			msg_set(m, err, "joining the other mounts: %s", err_text(err));
	}
	if (err) {
		fs_free(fs);
		return err;
	}
	if (b->on_session)
		b->on_session(b->ctx, fs);
	*out = fs;
	return 0;
}

static void wake_sleepers(struct fs *fs, bool all)
{
	struct fs_task *t;

	LIST_FOREACH(t, &fs->tasks, link) {
		t->stop = true;
		if (t->fiber && (all || t->sleeping))
			fiber_interrupt(t->fiber);
	}
}

void fs_close(struct fs *fs)
{
	struct fs_file *f;

	if (!fs)
		return;
	while ((f = LIST_FIRST(&fs->files)) != NULL) { /* not closed by the kernel: a lazy umount */
		fs_file_close(f);
		fs->abandoned = fs->abandoned || fiber_interrupted();
	}
	lock__drop_all(fs);
	fs->closing = true;
	wake_sleepers(fs, false);
	while (!LIST_EMPTY(&fs->tasks)) {
		if (fs__wait(&fs->closers)) { /* an interrupt: the rest is left */
			fs->abandoned = true;
			wake_sleepers(fs, true);
			fiber_interrupt_clear();
		}
	}
	fs__holds_leave(fs);
	if (fs->b.on_session)
		fs->b.on_session(fs->b.ctx, NULL);
	fs_free(fs);
}

/* ---- numbers ---- */

void fs_stats_get(const struct fs *fs, struct fs_stats *out)
{
	*out = fs->stats;
}
