/* Deleting orphans that nobody holds: small ones many in one transaction, the others one by one. */
#include <stdlib.h>

#include "fs/hold.h"

#define MANY	   64u   /* of a group, in a transaction */
#define BLOCKS_MAX 1024u /* of them together */

struct doomed {
	fs_ino ino;
	uint32_t group;
};

static int by_group(const void *a, const void *b)
{
	const struct doomed *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* What one transaction can delete of them; the others are marked with 0. */
struct many {
	const struct doomed *v;
	uint32_t count;
	bool alone[MANY]; /* not in the transaction */
	uint64_t blocks;
};

static void add_keys(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_get(&op->m, fs__key_slice(&k));
	fs__key_reap(&k, ino, FS_REAP_INODE);
	txn_get(&op->m, fs__key_slice(&k));
}

static bool is_small(const struct fs_inode *rec)
{
	return rec->nlink == 0 && !rec->xattrs &&
	       (rec->type != FS_T_FILE || rec->size <= FS_DELETE_NOW_MAX);
}

static void add_deletion(struct fs_op *op, struct many *s, uint32_t i, const struct txn_value *inode,
			 const struct txn_value *reap)
{
	struct fs_inode rec;
	struct fs_reap g;
	static const uint8_t none[4];
	struct fs_key k;

	s->alone[i] = true;
	if (inode->status || reap->status || fs__inode_decode(inode->value, &rec) ||
	    fs__reap_decode(reap->value, &g) || g.renewals > 0 || !is_small(&rec))
		return;
	s->blocks += rec.type == FS_T_FILE ? fs__blocks_end(rec.size) / BLOCK_SIZE : 0;
	if (s->blocks > BLOCKS_MAX)
		return;
	s->alone[i] = false;
	fs__key_inode(&k, s->v[i].ino);
	txn_if_version(&op->m, fs__key_slice(&k), inode->version);
	fs__key_reap(&k, s->v[i].ino, FS_REAP_INODE);
	txn_if_field(&op->m, fs__key_slice(&k), FS_F_RENEWALS,
		     slice_of(none, sizeof(none)));
	fs__delete_inode(op, s->v[i].ino, &rec);
	txn_delete(&op->m, fs__key_slice(&k));
}

/* What two reads say of them, in one transaction. Nothing of both is there: nothing to do. */
static int delete_small(struct fs *fs, struct many *s)
{
	struct fs_op reads, op;
	int err;

	fs__op_begin(&reads, fs);
	fs__op_begin(&op, fs);
	for (uint32_t i = 0; i < s->count; i++)
		add_keys(&reads, s->v[i].ino);
	err = fs__op_read(&reads);
	for (uint32_t i = 0; !err && i < s->count; i++)
		add_deletion(&op, s, i, fs__op_value(&reads, 2 * i),
			     fs__op_value(&reads, 2 * i + 1));
	if (!err && op.m.mut_count > 0)
		err = fs__op_exec(&op);
	if (err == ERR_CONDITION || err == ERR_ELSEWHERE || fs__err_transient(err)) {
		memset(s->alone, true, sizeof(s->alone));
		err = 0;
	}
	fs__op_end(&op);
	fs__op_end(&reads);
	return err;
}

static int reap_run(struct fs *fs, const struct doomed *v, uint32_t count)
{
	struct many s = {.v = v, .count = count};
	int err = delete_small(fs, &s), one;

	for (uint32_t i = 0; i < count; i++) {
		fs__hint_inode_drop(fs, v[i].ino);
		if (err || !s.alone[i])
			continue;
		one = fs__reap_now(fs, v[i].ino, FS_REAP_INODE);
		if (hold__may_work_later(one))
			err = one;
	}
	return err;
}

int hold__reap(struct fs *fs, const struct hold_list *inos)
{
	struct doomed *v = mem_must_alloc(sizeof(*v) * (inos->count + 1));
	uint32_t n;
	struct fs_key k;
	int err = 0;

	for (uint32_t i = 0; i < inos->count; i++) {
		fs__key_inode(&k, inos->v[i]);
		v[i] = (struct doomed){inos->v[i],
				       fs->b.group_of(fs->b.ctx, fs__key_slice(&k))};
	}
	qsort(v, inos->count, sizeof(*v), by_group);
	for (uint32_t i = 0; !err && i < inos->count; i += n) {
		for (n = 1; n < MANY && i + n < inos->count; n++)
			if (v[i + n].group != v[i].group)
				break;
		err = reap_run(fs, v + i, n);
	}
	mem_free(v);
	return err;
}
