/* Several changes by path as one transaction: all or none. */
#include "fs/kv_items.h"

/* ---- may it be done? ---- */

static int judge_put(const struct kv_one *one)
{
	if (one->missing)
		return one->expect == KV_EXPECT_VALUE ? ERR_CONDITION : ERR_NOT_FOUND;
	if (one->w.name.len == 0)
		return ERR_IS_DIR;
	if (!one->n.present) {
		if (one->expect == KV_EXPECT_VALUE)
			return ERR_CONDITION;
		return one->w.want_dir ? ERR_IS_DIR : 0;
	}
	if (one->rec.type == FS_T_DIR)
		return ERR_IS_DIR;
	if (one->w.want_dir)
		return ERR_NOT_DIR;
	if (one->rec.type != FS_T_FILE)
		return ERR_INVAL;
	if (one->expect == KV_EXPECT_ABSENT)
		return ERR_CONDITION;
	if (one->expect == KV_EXPECT_VALUE &&
	    (one->big || !slice_eq(buf_slice(&one->value), one->expected)))
		return ERR_CONDITION;
	return 0;
}

static int judge_delete(const struct kv_one *one)
{
	if (one->missing)
		return 0;
	if (one->w.name.len == 0)
		return ERR_IS_DIR;
	if (!one->n.present)
		return 0;
	if (one->rec.type == FS_T_DIR)
		return ERR_IS_DIR;
	return one->w.want_dir ? ERR_NOT_DIR : 0;
}

/* Two items about one name or one file have no meaning together. */
static bool same_thing(const struct kv_one *a, const struct kv_one *b)
{
	if (a->missing || b->missing)
		return false;
	if (slice_eq(fs__key_slice(&a->n.key), fs__key_slice(&b->n.key)))
		return true;
	return a->n.present && b->n.present && a->ino == b->ino;
}

static int judge(struct kv_set *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		const struct kv_one *one = &s->ones[i];
		int err = one->act == KV_DELETE ? judge_delete(one) : judge_put(one);

		for (uint32_t j = 0; !err && j < i; j++)
			if (same_thing(one, &s->ones[j]))
				err = ERR_INVAL;
		if (err) {
			s->failed = i;
			return err;
		}
	}
	return 0;
}

/* ---- files that lose a name ---- */

static bool loses_name(const struct kv_one *one)
{
	return one->act == KV_DELETE && !one->missing && one->n.present;
}

static void end_victims(struct kv_set *s, int err)
{
	for (uint32_t i = 0; i < s->count; i++)
		fs__victim_end(s->fs, &s->ones[i].victim, err);
}

/* In the order of their numbers, so that two calls never wait for each other. */
static int begin_victims(struct kv_set *s)
{
	fs_ino last = 0;

	for (;;) {
		struct kv_one *next = NULL;
		int err;

		for (uint32_t i = 0; i < s->count; i++) {
			struct kv_one *one = &s->ones[i];

			if (loses_name(one) && one->ino > last && (!next || one->ino < next->ino))
				next = one;
		}
		if (!next)
			return 0;
		last = next->ino;
		err = fs__victim_begin(s->fs, &next->victim, next->ino);
		if (err)
			return err;
		next->victim.rec = next->rec;
		next->victim.not_now = next->not_now;
	}
}

/* ---- the transaction ---- */

static void add_delete(struct fs_op *op, struct kv_one *one)
{
	if (one->missing)
		return;
	txn_if_version(&op->m, fs__key_slice(&one->n.key), one->n.present ? one->n.version : 0);
	if (!one->n.present)
		return;
	txn_delete(&op->m, fs__key_slice(&one->n.key));
	fs__victim_add(op, &one->victim);
}

static bool changes_dir(const struct kv_one *one)
{
	return one->act == KV_DELETE ? loses_name(one) : !one->n.present;
}

static void touch_dirs(struct fs_op *op, struct kv_set *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		bool first = changes_dir(&s->ones[i]);

		for (uint32_t j = 0; first && j < i; j++)
			first = !changes_dir(&s->ones[j]) || s->ones[j].n.dir != s->ones[i].n.dir;
		if (first)
			fs__touch_dir(op, s->ones[i].n.dir, 0);
	}
}

static int build(struct fs_op *op, struct kv_set *s)
{
	int err = 0;

	fs__op_reset(op);
	for (uint32_t i = 0; !err && i < s->count; i++) {
		s->ones[i].parent_cond = s->ones[i].free_cond = KV_NO_COND;
		if (s->ones[i].act == KV_DELETE)
			add_delete(op, &s->ones[i]);
		else
			err = fs__kv_add_put(op, s, i);
	}
	touch_dirs(op, s);
	return err;
}

/* What a failed condition means: again after another look, or an error. */
static int why_not(struct fs_op *op, struct kv_set *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct kv_one *one = &s->ones[i];
		int err = 0;

		if (one->free_cond == op->r.failed) {
			err = fs__name_taken(s->fs, &one->n);
			err = err == ERR_EXISTS ? 0 : err;
		} else if (one->parent_cond == op->r.failed) {
			err = fs__parent_changed(op, &one->parent);
			err = err == ERR_NOT_FOUND ? ERR_STALE : err;
		} else {
			continue;
		}
		s->failed = err ? i : s->count;
		return err ? err : ERR_ABORTED;
	}
	if (s->count == 1 && s->ones[0].staged && s->ones[0].act == KV_PUT) {
		struct fs_key g; /* may be the staged data's: then no other try helps */

		fs__key_reap(&g, s->ones[0].staged, FS_REAP_STAGED);
		if (slice_eq(op->m.conds[op->r.failed].key, fs__key_slice(&g)))
			return ERR_CANCELED;
	}
	return ERR_ABORTED;
}

static int exec(struct fs_op *op, struct kv_set *s)
{
	int err = fs__op_exec(op);

	if (err == ERR_CONDITION)
		return why_not(op, s);
	if (err == ERR_ELSEWHERE) { /* the map has changed, or a victim's keys are not in one group */
		for (uint32_t i = 0; i < s->count; i++)
			s->ones[i].not_now = true;
		return ERR_ABORTED;
	}
	if (err == ERR_ABSENT_RECORD) /* an inode went, and its name, in another group, with it */
		return ERR_ABORTED;
	return err;
}

static int attempt(struct fs_op *op, struct kv_set *s)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < s->count; i++) {
		if (s->ones[i].act != KV_PUT)
			continue;
		err = fs__kv_prepare_put(s, i);
		if (err)
			s->failed = i;
		if (err == ERR_NOT_FOUND) /* the directory is gone; perhaps there is another */
			err = ERR_STALE;
	}
	if (!err)
		err = begin_victims(s);
	if (!err)
		err = build(op, s);
	if (!err)
		err = exec(op, s);
	end_victims(s, err);
	return err;
}

static void finish(struct kv_set *s, int err)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct kv_one *one = &s->ones[i];

		if (!err && one->act == KV_PUT)
			fs__kv_put_done(s, one);
		if (!err && loses_name(one))
			fs__name_drop(s->fs, &one->n);
		if (err && one->staged) /* the reaper takes care that it has not become a file's */
			fs__reap_later(s->fs, one->staged, FS_REAP_STAGED);
	}
}

/* The value goes ahead when it does not fit into the transaction. */
static int stage(struct kv_set *s)
{
	if (s->count != 1 || s->ones[0].act != KV_PUT || s->ones[0].staged ||
	    s->ones[0].data.len <= KV_TOGETHER_MAX)
		return 0;
	return fs__kv_stage(s, &s->ones[0]);
}

int fs__kv_change(struct kv_set *s)
{
	bool placed = false;
	struct fs_op op;
	int err;

	fs__op_begin(&op, s->fs);
	for (;;) {
		err = placed ? 0 : fs__kv_place(s);
		placed = err == 0;
		if (!err)
			err = fs__kv_look(s);
		if (!err)
			err = judge(s);
		if (!err)
			err = stage(s);
		if (!err)
			err = attempt(&op, s);
		if (err == ERR_STALE)
			placed = false;
		else if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	finish(s, err);
	return err;
}
