/* Holds that no batch asked for: of a new session, and of what was opened after its name had gone. */
#include "base/bytes.h"
#include "fs/hold.h"

/* Forgets what the session that is over held. */
static void begin_anew(struct fs *fs)
{
	struct fs_holds *h = fs->holds;
	struct fs_node *n, *next;
	struct hold_batch *b;

	h->pending.count = h->released.count = 0;
	while ((b = TAILQ_FIRST(&h->batches)) != NULL && !h->finishing)
		hold__batch_drop(fs, b); /* who clears up after the old session has them */
	HASH_ITER(hh, fs->nodes, n, next)
		n->held = false;
	fs__hints_forget(&fs->hints);
}

static void in_use(struct fs *fs, struct hold_list *out)
{
	struct fs_node *n, *next;

	HASH_ITER(hh, fs->nodes, n, next)
		if (!n->held && (n->opens > 0 || n->opening > 0))
			hold__add(out, n->ino);
}

static int put_hold(struct fs *fs, fs_ino ino)
{
	uint8_t since[FS_HOLD_SIZE];
	struct fs_key k, mount;
	struct fs_op op;
	int err;

	le64_put(since, env_wall_ns(fs->b.env));
	fs__op_begin(&op, fs);
	fs__key_mount(&mount, fs->holds->session);
	fs__key_hold(&k, ino, fs->holds->session);
	do {
		fs__op_reset(&op);
		txn_if_exists(&op.m, fs__key_slice(&mount)); /* else nobody would delete H */
		txn_put(&op.m, fs__key_slice(&k), slice_of(since, sizeof(since)));
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err == ERR_CONDITION ? ERR_SESSION : err;
}

/* ERR_STALE: it has been deleted, or is about to be. */
static int count_renewal(struct fs *fs, fs_ino ino)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	do {
		fs__op_reset(&op);
		fs__if_inode_exists(&op, ino);
		fs__key_reap(&k, ino, FS_REAP_INODE);
		txn_add(&op.m, fs__key_slice(&k), FS_F_RENEWALS, 1, false);
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err == ERR_CONDITION || err == ERR_ABSENT_RECORD ? ERR_STALE : err;
}

/* In its turn. ERR_STALE: it is too late. What an error leaves of H goes with the list. */
static int hold_anew(struct fs *fs, struct fs_node *n)
{
	int err;

	n->held = true;
	err = put_hold(fs, n->ino);
	if (!err)
		err = count_renewal(fs, n->ino);
	if (err && n->held) { /* else it was closed meanwhile */
		n->held = false;
		hold__add(&fs->holds->released, n->ino);
		hold__kick(fs);
	}
	return err;
}

static bool on_list(const struct hold_list *l, fs_ino ino)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->v[i] == ino)
			return true;
	return false;
}

/* What this mount has been asked for is remembered for a while only: so H is written, and counted. */
int fs__hold_found(struct fs *fs, struct fs_node *n)
{
	int err;

	if (hold__is_kept(n) || (on_list(&fs->holds->fresh, n->ino) && fs__orphan_is_open(fs, n->ino)))
		return 0;
	err = hold__turn_take(fs);
	if (err)
		return err;
	if (!hold__is_kept(n)) /* else it was asked for meanwhile */
		err = hold__may_be_kept(fs, n->ino) ? hold_anew(fs, n) : ERR_STALE;
	hold__turn_give(fs);
	return err;
}

/* It is open here. With a name it needs no H: whoever takes that asks this session. */
static int renew_one(struct fs *fs, fs_ino ino)
{
	struct fs_node *n;
	struct fs_inode rec;
	int err = fs__inode_get(fs, ino, &rec);

	fs->holds->vanished += err == ERR_STALE;
	if (err || rec.nlink > 0)
		return err == ERR_STALE ? 0 : err;
	n = fs__node_get(fs, ino);
	if (n->opens > 0 || n->opening > 0)
		err = hold_anew(fs, n);
	fs__node_put(fs, n);
	fs->holds->vanished += err == ERR_STALE;
	return err == ERR_STALE ? 0 : err;
}

int fs__holds_renew(struct fs *fs)
{
	struct fs_holds *h = fs->holds;
	struct hold_list open = {0};
	int err = fs->b.session == 0 ? ERR_SESSION : hold__turn_take(fs);

	if (err)
		return err;
	if (fs->b.session != h->session || h->lost) {
		err = hold__join(fs);
		if (!err)
			begin_anew(fs);
	}
	if (!err) {
		h->vanished = 0;
		in_use(fs, &open);
	}
	for (uint32_t i = 0; !err && i < open.count; i++)
		err = renew_one(fs, open.v[i]);
	h->unsure = h->unsure || err;
	hold__turn_give(fs);
	hold__release(&open);
	return err;
}
