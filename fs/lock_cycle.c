/* Owners that wait in a circle.
 *
 * Each waiter for a POSIX lock has a key in group 0, lock-wait/ session owner ticket, which holds the
 * inode that it waits at; it comes and goes with the waiter, in one transaction. A search starts with
 * who is in the way of the wait at hand, looks up where those owners wait, and so on. The records of
 * all inodes met so far are read in one transaction: a circle among them was there at that moment.
 *
 * Only waits that are older than the one at hand are followed. So of all waits in a circle just one, the
 * youngest, sees it, whoever looks first; the others wait on.
 */
#include "base/bytes.h"
#include "fs/lock_internal.h"

#define KEY_LOCK_WAIT "lock-wait/"
#define ASK_MAX	      32u /* owners of one request */
#define WAITS_MAX     64u /* of an owner: threads of a process */

/* ---- the index of waiters ---- */

static void index_prefix(struct fs_key *k, const struct fs_lock *l)
{
	fs__meta_key(k, KEY_LOCK_WAIT);
	fs__key_u64(k, l->session);
	fs__key_u64(k, l->owner);
}

void lock__index_key(struct fs_key *k, const struct fs_lock *l)
{
	index_prefix(k, l);
	fs__key_u64(k, l->ticket);
}

void lock__index_range(struct fs_key *from, struct fs_key *to)
{
	fs__meta_key(from, KEY_LOCK_WAIT);
	fs__key_after(to, from);
}

bool lock__index_parse(const struct txn_item *it, struct fs_lock *who, fs_ino *ino)
{
	struct fs_key head;
	const uint8_t *p;

	fs__meta_key(&head, KEY_LOCK_WAIT);
	if (it->key.len != head.len + 24u || it->value.len != 8)
		return false;
	p = it->key.p + head.len;
	*who = (struct fs_lock){.kind = FS_LOCK_POSIX,
				.session = be64_get(p),
				.owner = be64_get(p + 8),
				.ticket = be64_get(p + 16)};
	*ino = le64_get(it->value.p);
	return true;
}

static bool indexed(const struct fs_lock *l)
{
	return l->kind == FS_LOCK_POSIX && !l->no_cycle;
}

void lock__add_index(struct fs_op *op, const struct lock_node *n, const struct lock_table *to)
{
	struct fs_key k;
	uint8_t ino[8];

	le64_put(ino, n->ino);
	for (uint32_t i = 0; i < n->table.waiters.count; i++) {
		const struct fs_lock *l = &n->table.waiters.v[i];

		if (indexed(l) && !lock_table_waits(to, l)) {
			lock__index_key(&k, l);
			txn_delete(&op->m, fs__key_slice(&k));
		}
	}
	for (uint32_t i = 0; i < to->waiters.count; i++) {
		const struct fs_lock *l = &to->waiters.v[i];

		if (indexed(l) && !lock_table_waits(&n->table, l)) {
			lock__index_key(&k, l);
			txn_put(&op->m, fs__key_slice(&k), slice_of(ino, sizeof(ino)));
		}
	}
}

void lock__index_drop(struct fs *fs, const struct fs_lock *l)
{
	struct fs_key k;
	struct fs_op op;

	if (!indexed(l))
		return;
	fs__op_begin(&op, fs);
	lock__index_key(&k, l);
	txn_delete(&op.m, fs__key_slice(&k));
	(void)fs__op_exec(&op);
	fs__op_end(&op);
}

/* ---- what a search knows ---- */

struct search {
	struct lock_call *c;
	fs_ino inos[FS_LOCK_CYCLE_MAX]; /* the call's own first */
	uint32_t ino_count;
	struct lock_table tables[FS_LOCK_CYCLE_MAX];
	/* owners: those that the call waits for in the end, by these tables; those looked up already */
	struct fs_lock reached[FS_LOCK_OWNERS_MAX], asked[FS_LOCK_OWNERS_MAX];
	uint32_t reached_count, asked_count;
};

static bool is_among(const struct fs_lock *v, uint32_t count, const struct fs_lock *l)
{
	for (uint32_t i = 0; i < count; i++)
		if (fs__lock_same_owner(&v[i], l))
			return true;
	return false;
}

static void reach(struct search *s, const struct fs_lock *l)
{
	if (l->kind != FS_LOCK_DELEGATION && s->reached_count < FS_LOCK_OWNERS_MAX &&
	    !is_among(s->reached, s->reached_count, l))
		s->reached[s->reached_count++] = *l;
}

static void reach_blockers(struct search *s, const struct lock_table *t, const struct fs_lock *want)
{
	const struct fs_lock *l;
	uint32_t at = 0;

	while ((l = lock_table_blocker(t, want, &at)) != NULL)
		reach(s, l);
}

static bool is_older(const struct fs_lock *a, const struct fs_lock *b)
{
	if (a->since_ns != b->since_ns)
		return a->since_ns < b->since_ns;
	return a->session != b->session ? a->session < b->session : a->ticket < b->ticket;
}

/* Everybody who holds what one of @who's older waits waits for. */
static void reach_from(struct search *s, const struct fs_lock *who)
{
	for (uint32_t i = 0; i < s->ino_count; i++) {
		const struct lock_list *w = &s->tables[i].waiters;

		for (uint32_t k = 0; k < w->count; k++)
			if (indexed(&w->v[k]) && fs__lock_same_owner(&w->v[k], who) &&
			    is_older(&w->v[k], &s->c->want))
				reach_blockers(s, &s->tables[i], &w->v[k]);
	}
}

/* Other waits of the call's owner (of threads of its process) are none of this one's business. */
static bool circle(struct search *s)
{
	s->reached_count = 0;
	reach_blockers(s, &s->tables[0], &s->c->want);
	for (uint32_t i = 0; i < s->reached_count; i++) {
		struct fs_lock who = s->reached[i];

		if (fs__lock_same_owner(&who, &s->c->want))
			return true;
		if (!lock__session_dead(s->c->fs, who.session))
			reach_from(s, &who);
	}
	return false;
}

/* ---- its requests ---- */

static void drop_tables(struct search *s)
{
	for (uint32_t i = 0; i < s->ino_count; i++)
		lock_table_release(&s->tables[i]);
}

/* All of one moment. A record that is damaged tells nothing; the others may. */
static int read_tables(struct search *s)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	drop_tables(s);
	fs__op_begin(&op, s->c->fs);
	for (uint32_t i = 0; i < s->ino_count; i++) {
		fs__key_head(&k, fs__place(s->inos[i]), s->inos[i], FS_KIND_LOCK);
		txn_get(&op.m, fs__key_slice(&k));
	}
	err = fs__op_read(&op);
	for (uint32_t i = 0; !err && i < s->ino_count; i++) {
		const struct txn_value *v = fs__op_value(&op, i);

		if (v->status == 0 && lock_table_decode(v->value, &s->tables[i]))
			lock_table_release(&s->tables[i]);
	}
	fs__op_end(&op);
	return err;
}

static void add_inode(struct search *s, fs_ino ino)
{
	for (uint32_t i = 0; i < s->ino_count; i++)
		if (s->inos[i] == ino)
			return;
	if (s->ino_count < FS_LOCK_CYCLE_MAX)
		s->inos[s->ino_count++] = ino;
}

/* Where up to ASK_MAX owners wait, from number *@at of those reached on. */
static int ask_page(struct search *s, struct fs_op *op, uint32_t *at)
{
	uint32_t n = 0;
	struct fs_lock who;
	fs_ino ino;
	int err;

	fs__op_reset(op);
	for (; *at < s->reached_count && n < ASK_MAX; (*at)++) {
		const struct fs_lock *l = &s->reached[*at];
		struct fs_key from, to;

		if (s->asked_count == FS_LOCK_OWNERS_MAX || is_among(s->asked, s->asked_count, l) ||
		    lock__session_dead(s->c->fs, l->session))
			continue;
		s->asked[s->asked_count++] = *l;
		index_prefix(&from, l);
		fs__key_after(&to, &from);
		txn_scan(&op->m, fs__key_slice(&from), fs__key_slice(&to), WAITS_MAX);
		n++;
	}
	err = n > 0 ? fs__op_read(op) : 0;
	for (uint32_t r = 0; !err && r < n; r++)
		for (uint32_t i = 0; i < op->r.reads[r].item_count; i++)
			if (lock__index_parse(&op->r.reads[r].items[i], &who, &ino))
				add_inode(s, ino);
	return err;
}

/* Inodes at which those reached wait; *more: some are new. */
static int add_inodes(struct search *s, bool *more)
{
	uint32_t before = s->ino_count, at = 0;
	struct fs_op op;
	int err = 0;

	fs__op_begin(&op, s->c->fs);
	while (!err && at < s->reached_count)
		err = ask_page(s, &op, &at);
	fs__op_end(&op);
	*more = s->ino_count > before;
	return err;
}

/* What was seen last of the record at hand tells whom to look for; what is found is read anew. */
static int search(struct search *s, bool *found)
{
	bool fresh = false, more;
	int err = lock_table_copy(&s->tables[0], &s->c->n->table);

	for (*found = false; !err; fresh = true) {
		bool closed = circle(s);

		if (closed && fresh) {
			*found = true;
			return 0;
		}
		more = closed;
		if (!closed)
			err = add_inodes(s, &more);
		if (!err && !more)
			return 0;
		if (!err)
			err = read_tables(s);
	}
	return err;
}

int lock__cycle(struct lock_call *c, bool *found)
{
	struct search *s;
	int err;

	*found = false;
	if (!indexed(&c->want))
		return 0;
	s = mem_must_alloc(sizeof(*s));
	s->c = c;
	s->inos[s->ino_count++] = c->n->ino;
	err = search(s, found);
	drop_tables(s);
	mem_free(s);
	return err;
}
