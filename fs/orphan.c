/* Reaping: deleting what nobody can reach any more. Every step can be repeated, by anybody: the G
 * record goes with the last one. */
#include "base/bytes.h"
#include "fs/hold.h"

#define RETRY_NS     (1 * NS_PER_S)
#define UNSURE_LOOKS 5u /* after 2, 4, 8 .. seconds */

static void delete_locks(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_head(&k, fs__place(ino), ino, FS_KIND_LOCK);
	txn_delete(&op->m, fs__key_slice(&k));
}

void fs__delete_inode(struct fs_op *op, fs_ino ino, const struct fs_inode *rec)
{
	struct fs_key from, to;

	if (rec->type != FS_T_FILE || rec->data_id == ino) {
		fs__range_number(&from, &to, ino);
		txn_delete_range(&op->m, fs__key_slice(&from), fs__key_slice(&to));
		return;
	}
	fs__key_inode(&from, ino); /* blocks under ino, if any, are another reaping's */
	txn_delete(&op->m, fs__key_slice(&from));
	delete_locks(op, ino);
	fs__range_number(&from, &to, rec->data_id);
	txn_delete_range(&op->m, fs__key_slice(&from), fs__key_slice(&to));
}

/* ---- ranges ---- */

/* Empties [from, to), TXN_SCAN_ITEMS_MAX keys an entry. */
static int empty_range(struct fs *fs, const struct fs_key *from, const struct fs_key *to)
{
	struct fs_key at = *from, end;
	struct fs_op op;
	int err = 0;

	fs__op_begin(&op, fs);
	while (!err && slice_cmp(fs__key_slice(&at), fs__key_slice(to)) < 0) {
		fs__range_piece(fs, &at, to, &end);
		fs__op_reset(&op);
		txn_delete_range(&op.m, fs__key_slice(&at), fs__key_slice(&end));
		err = fs__op_exec(&op);
		if (!err && op.r.numbers[0] < TXN_SCAN_ITEMS_MAX)
			at = end;
		else if (fs__err_transient(err) || err == ERR_ELSEWHERE)
			err = fs__op_conflict(&op);
	}
	fs__op_end(&op);
	return err;
}

static int empty_kind(struct fs *fs, uint64_t number, uint8_t kind)
{
	struct fs_key from, to;

	fs__range_kind(&from, &to, number, kind);
	return empty_range(fs, &from, &to);
}

int fs__reap_blocks(struct fs *fs, uint64_t data_id)
{
	struct fs_stripe_set set;
	struct fs_key from, to;
	int err = fs__stripes_get(fs, data_id, &set);

	for (uint32_t i = set.count; !err && i > 0; i--) {
		fs__range_blocks(&from, &to, data_id, set.stripes[i - 1] * FS_BLOCKS_PER_STRIPE,
				 UINT64_MAX);
		err = empty_range(fs, &from, &to);
	}
	fs__stripes_release(&set);
	if (!err)
		err = empty_kind(fs, data_id, FS_KIND_BLOCK);
	return err ? err : empty_kind(fs, data_id, FS_KIND_STRIPES);
}

static int delete_record(struct fs *fs, uint64_t object, enum fs_reap_what what)
{
	struct fs_key k;

	fs__key_reap(&k, object, (uint8_t)what);
	return fs__delete_record(fs, &k);
}

static int reap_data(struct fs *fs, uint64_t data_id)
{
	int err = fs__reap_blocks(fs, data_id);

	return err ? err : delete_record(fs, data_id, FS_REAP_DATA);
}

/* ---- inodes ---- */

static bool all_at_own_place(const struct fs_inode *rec)
{
	return !rec->xattrs && (rec->type != FS_T_FILE || rec->size <= STRIPE_SIZE);
}

/* Takes the inode away, so that nothing can be added to what it had. Small ones go altogether.
 * ERR_CONDITION: it has changed. */
static int delete_orphan(struct fs_op *op, fs_ino ino, const struct fs_inode *rec, uint32_t renewals)
{
	struct fs_key k, to;
	uint8_t b[4];

	fs__op_reset(op);
	le32_put(b, renewals);
	fs__key_reap(&k, ino, FS_REAP_INODE);
	txn_if_field(&op->m, fs__key_slice(&k), FS_F_RENEWALS, slice_of(b, sizeof(b)));
	fs__if_inode_u64(op, ino, FS_F_NLINK, 0);
	fs__if_inode_u64(op, ino, FS_F_DATA_ID, rec->data_id);
	if (all_at_own_place(rec)) {
		fs__if_inode_u64(op, ino, FS_F_SIZE, rec->size);
		fs__if_inode_u64(op, ino, FS_F_XATTRS, 0);
		fs__delete_inode(op, ino, rec);
		fs__key_reap(&k, ino, FS_REAP_INODE);
		txn_delete(&op->m, fs__key_slice(&k));
		return fs__op_exec(op);
	}
	fs__key_inode(&k, ino);
	txn_delete(&op->m, fs__key_slice(&k));
	delete_locks(op, ino);
	fs__range_kind(&k, &to, ino, FS_KIND_XATTR);
	txn_delete_range(&op->m, fs__key_slice(&k), fs__key_slice(&to));
	if (rec->type == FS_T_FILE && rec->data_id != ino)
		fs__put_reap(op, rec->data_id, FS_REAP_DATA);
	return fs__op_exec(op);
}

/* The inode is gone; what it had under its own number is not, or not all. */
static int reap_remains(struct fs *fs, fs_ino ino)
{
	int err = empty_kind(fs, ino, FS_KIND_XATTR);

	if (!err)
		err = fs__reap_blocks(fs, ino);
	return err ? err : delete_record(fs, ino, FS_REAP_INODE);
}

/* 1: there is no G record, or no reason for it any more. */
static int look_at_orphan(struct fs *fs, fs_ino ino, struct fs_inode *rec, bool *present,
			  uint32_t *renewals)
{
	struct fs_reap g;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_reap(&k, ino, FS_REAP_INODE);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_inode(&k, ino);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err && fs__op_value(&op, 0)->status == ERR_NOT_FOUND)
		err = 1;
	if (!err)
		err = fs__reap_decode(fs__op_value(&op, 0)->value, &g);
	if (!err) {
		*renewals = g.renewals;
		err = fs__op_value(&op, 1)->status;
		if (!err)
			err = fs__inode_decode(fs__op_value(&op, 1)->value, rec);
		*present = err == 0;
		if (err == ERR_NOT_FOUND)
			err = 0;
	}
	fs__op_end(&op);
	return err;
}

/* A renewal may have come after the H were looked at. 1: it is held, and reaped by who closes it. */
static int look_at_renewed(struct fs *fs, fs_ino ino)
{
	struct hold_list one = {.v = &ino, .count = 1}, held = {0};
	int err = hold__mark_asked(fs, ino);

	if (!err)
		err = hold__find_held(fs, &one, &held);
	if (!err && held.count > 0)
		err = 1;
	hold__release(&held);
	return err;
}

static int reap_inode(struct fs *fs, fs_ino ino)
{
	struct fs_inode rec = {.data_id = ino};
	struct fs_op op;
	uint32_t renewals = 0;
	bool present = false;
	int err;

	fs__op_begin(&op, fs);
	for (;;) {
		err = look_at_orphan(fs, ino, &rec, &present, &renewals);
		if (!err && present && rec.nlink == 0 && renewals > 0)
			err = look_at_renewed(fs, ino);
		if (err || !present)
			break;
		if (rec.nlink > 0) { /* it has a name: the record is wrong */
			err = delete_record(fs, ino, FS_REAP_INODE);
			err = err ? err : 1;
			break;
		}
		err = delete_orphan(&op, ino, &rec, renewals);
		if (err == ERR_ELSEWHERE) { /* not all in one group after all */
			rec.xattrs = true;
			err = delete_orphan(&op, ino, &rec, renewals);
		}
		if (!err) {
			fs__hint_inode_drop(fs, ino);
			err = all_at_own_place(&rec) ? 1 : 0;
			break;
		}
		if (err != ERR_CONDITION && !fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	/* By itself, since another try will not see any more which data it had. Also when there was
	 * no answer: then the deletion may have been done. */
	if (err <= 0 && present && rec.nlink == 0 && rec.type == FS_T_FILE &&
	    rec.data_id != ino)
		fs__reap_later(fs, rec.data_id, FS_REAP_DATA);
	if (err)
		return err > 0 ? 0 : err;
	return reap_remains(fs, ino);
}

static int record_present(struct fs *fs, uint64_t object, enum fs_reap_what what, bool *present)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_reap(&k, object, (uint8_t)what);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	*present = !err && fs__op_value(&op, 0)->status == 0;
	fs__op_end(&op);
	return err;
}

/* Staged data may be about to become a file's, by a transaction that wants its G record: who takes
 * the record away first has it. */
static int unstage(struct fs *fs, uint64_t data_id)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_reap(&k, data_id, FS_REAP_STAGED);
	do {
		fs__op_reset(&op);
		txn_if_exists(&op.m, fs__key_slice(&k));
		txn_delete(&op.m, fs__key_slice(&k));
		fs__put_reap(&op, data_id, FS_REAP_DATA);
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err;
}

static int reap_staged(struct fs *fs, uint64_t data_id)
{
	int err = unstage(fs, data_id);
	bool ours = !err;

	if (err == ERR_CONDITION) /* a file's by now; or an earlier try had no answer */
		err = record_present(fs, data_id, FS_REAP_DATA, &ours);
	return err || !ours ? err : reap_data(fs, data_id);
}

int fs__reap_now(struct fs *fs, uint64_t object, enum fs_reap_what what)
{
	if (what == FS_REAP_INODE)
		return reap_inode(fs, object);
	return what == FS_REAP_STAGED ? reap_staged(fs, object) : reap_data(fs, object);
}

/* ---- in the background ---- */

/* Worth another try? Else the G record stays, for fsck. */
static bool may_work_later(int err)
{
	return err && err != ERR_CORRUPT && err != ERR_SESSION;
}

static void reaper(struct fs *fs, struct fs_task *t)
{
	struct fs_reap_job *j;

	while ((j = TAILQ_FIRST(&fs->reap.jobs)) != NULL) {
		TAILQ_REMOVE(&fs->reap.jobs, j, link);
		fs->reap.waiting--;
		if (!may_work_later(fs__reap_now(fs, j->object, j->what)) || t->stop) {
			mem_free(j);
			continue;
		}
		fiber_interrupt_clear();
		TAILQ_INSERT_TAIL(&fs->reap.jobs, j, link);
		fs->reap.waiting++;
		(void)fs__task_sleep(t, RETRY_NS);
	}
	fs->reap.running--;
}

void fs__reap_later(struct fs *fs, uint64_t object, enum fs_reap_what what)
{
	struct fs_reap_job *j;

	if (what == FS_REAP_INODE) {
		fs__orphan_later(fs, object);
		return;
	}
	if (fs->reap.waiting >= FS_REAP_WAITING_MAX || fs->closing) {
		(void)fs__reap_now(fs, object, what); /* a failure leaves the G record, for fsck */
		return;
	}
	if (fs->reap.running < FS_REAPERS_MAX && fs__background(fs, reaper, 0) == 0)
		fs->reap.running++;
	if (fs->reap.running == 0) {
		(void)fs__reap_now(fs, object, what);
		return;
	}
	j = mem_must_alloc(sizeof(*j));
	*j = (struct fs_reap_job){.object = object, .what = (uint8_t)what};
	TAILQ_INSERT_TAIL(&fs->reap.jobs, j, link);
	fs->reap.waiting++;
}

/* ---- there was no answer ---- */

/* 1: it is one. */
static int look_whether_orphan(struct fs *fs, fs_ino ino)
{
	struct fs_inode rec;
	uint32_t renewals;
	bool present = false;
	int err = look_at_orphan(fs, ino, &rec, &present, &renewals);

	return err < 0 ? err : err == 0 && present && rec.nlink == 0;
}

/* The request may still be on its way: so it looks more than once. What comes later still waits for the
 * end of this session. */
static void unsure(struct fs *fs, struct fs_task *t)
{
	uint64_t wait = RETRY_NS;
	fs_ino ino = t->arg;
	unsigned looks = 0;
	int found = 0;

	do {
		found = look_whether_orphan(fs, ino);
		if (found == 0) {
			looks++;
			wait *= 2;
		}
		fiber_interrupt_clear();
	} while ((found == 0 || (found < 0 && may_work_later(found))) && looks < UNSURE_LOOKS &&
		 fs__task_sleep(t, wait));
	if (found > 0 && !fs__orphan_is_open(fs, ino))
		fs__orphan_later(fs, ino);
	fiber_interrupt_clear();
}

void fs__orphan_unsure(struct fs *fs, fs_ino ino)
{
	fs__hint_inode_drop(fs, ino);
	(void)fs__background(fs, unsure, ino);
}
