/* The queue: what others have removed, and who of them holds it. Every mount reads it. */
#include "base/bytes.h"
#include "fs/hold.h"

/* ---- scanning the root's records ---- */

static int scan_page(struct fs *fs, struct fs_op *op, struct fs_key *at, const struct fs_key *to,
		     bool keys_only)
{
	struct fs_key end;
	int err;

	fs__range_piece(fs, at, to, &end);
	fs__op_reset(op);
	if (keys_only)
		txn_scan_keys(&op->m, fs__key_slice(at), fs__key_slice(&end), TXN_SCAN_ITEMS_MAX);
	else
		txn_scan(&op->m, fs__key_slice(at), fs__key_slice(&end), TXN_SCAN_ITEMS_MAX);
	err = fs__op_read(op);
	if (err == ERR_ELSEWHERE) {
		err = fs__op_conflict(op);
		return err ? err : 1;
	}
	*at = end;
	if (!err && op->r.reads[0].more && op->r.reads[0].item_count > 0) {
		at->len = 0;
		fs__key_bytes(at, op->r.reads[0].items[op->r.reads[0].item_count - 1].key);
		fs__key_bytes(at, slice_of("", 1));
	}
	return err;
}

int hold__scan(struct fs *fs, uint8_t kind, const struct fs_key *after, bool keys_only,
	       hold_scan_fn *fn, void *ctx)
{
	struct fs_key at, to;
	struct fs_op op;
	bool more = true;
	int err = 0;

	fs__range_kind(&at, &to, FS_ROOT_INO, kind);
	if (after) {
		at = *after;
		fs__key_bytes(&at, slice_of("", 1));
	}
	fs__op_begin(&op, fs);
	while (more && err >= 0 && slice_cmp(fs__key_slice(&at), fs__key_slice(&to)) < 0) {
		err = scan_page(fs, &op, &at, &to, keys_only);
		for (uint32_t i = 0; err == 0 && more && i < op.r.reads[0].item_count; i++)
			more = fn(ctx, &op.r.reads[0].items[i]);
	}
	fs__op_end(&op);
	return err < 0 ? err : 0;
}

/* ---- batches that are this mount's ---- */

static struct hold_batch *batch_find(const struct fs_holds *h, uint64_t number)
{
	struct hold_batch *b;

	TAILQ_FOREACH(b, &h->batches, link)
		if (b->number == number)
			return b;
	return NULL;
}

static void batch_add(struct fs *fs, uint64_t number, const struct hold_list *inos)
{
	struct hold_batch *b;

	if (batch_find(fs->holds, number))
		return;
	b = mem_must_alloc(sizeof(*b));
	b->number = number;
	hold__add_all(&b->inos, inos);
	TAILQ_INSERT_TAIL(&fs->holds->batches, b, link);
}

void hold__batch_drop(struct fs *fs, struct hold_batch *b)
{
	TAILQ_REMOVE(&fs->holds->batches, b, link);
	hold__release(&b->inos);
	mem_free(b);
}

struct batch_item { /* of a scan */
	uint64_t number, owner;
	struct hold_list inos;
};

static bool batch_take(const struct txn_item *it, struct batch_item *out)
{
	uint32_t count;

	*out = (struct batch_item){0};
	if (it->key.len != FS_KEY_HEAD + 8u || fs__batch_decode(it->value, &out->owner, &count))
		return false; /* Q itself; or damaged: fsck's */
	out->number = be64_get(it->key.p + FS_KEY_HEAD);
	for (uint32_t i = 0; i < count; i++)
		hold__add(&out->inos, le64_get(it->value.p + FS_BATCH_HEAD + 8 * i));
	return true;
}

/* ---- making one ---- */

static void add_batch(struct fs_op *op, const struct hold_list *inos, uint64_t number, uint64_t owner)
{
	struct buf value = BUF_INIT;
	struct fs_key k;
	uint8_t b[8];

	le64_put(b, owner);
	buf_add(&value, b, sizeof(b));
	for (uint32_t i = 0; i < inos->count; i++) {
		le64_put(b, inos->v[i]);
		buf_add(&value, b, sizeof(b));
	}
	buf_must(&value);
	fs__key_batch(&k, number);
	txn_put(&op->m, fs__key_slice(&k), buf_slice(&value));
	buf_release(&value);
}

/* Nobody here has them open: if there is nothing else to look at, the cursor goes with the batch. */
static bool add_enqueue(struct fs_op *op, const struct hold_list *inos, uint64_t head, uint64_t owner)
{
	struct fs_holds *h = op->fs->holds;
	bool pass = h->session && !h->lost && h->cursor == head;
	struct fs_key k;

	fs__op_reset(op);
	fs__key_queue(&k);
	txn_if_field_u64(&op->m, fs__key_slice(&k), FS_F_HEAD, head);
	txn_set_u64(&op->m, fs__key_slice(&k), FS_F_HEAD, head + 1);
	add_batch(op, inos, head + 1, owner);
	if (owner != h->session) {
		txn_add(&op->m, fs__key_slice(&k), FS_F_CHANGES, 1, false);
		fs__key_mount(&k, owner);
		txn_if_field_u64(&op->m, fs__key_slice(&k), FS_F_CLEANER, 0);
	}
	if (pass) {
		fs__key_mount(&k, h->session);
		txn_max(&op->m, fs__key_slice(&k), FS_F_CURSOR, head + 1);
	}
	return pass;
}

int hold__enqueue(struct fs *fs, const struct hold_list *inos, uint64_t owner)
{
	struct fs_holds *h = fs->holds;
	struct fs_queue q = h->queue;
	struct fs_op op;
	bool pass;
	int err;

	CHECK(inos->count <= FS_BATCH_MAX);
	fs__op_begin(&op, fs);
	for (;;) {
		pass = add_enqueue(&op, inos, q.head, owner);
		err = fs__op_exec(&op);
		if (fs__failed_at(&op, err, 0)) {
			err = op.r.current.status;
			if (!err)
				err = fs__queue_decode(op.r.current.value, &q);
			if (err)
				break;
		} else if (!fs__err_transient(err)) {
			break;
		}
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	if (!err && pass && q.head + 1 > h->cursor)
		h->cursor = q.head + 1;
	if (!err && q.head + 1 > h->queue.head)
		h->queue.head = q.head + 1;
	if (!err && owner == h->session) {
		batch_add(fs, q.head + 1, inos);
		hold__kick_batches(fs);
	}
	return err;
}

/* ---- owners ---- */

struct owners {
	struct fs *fs;
	uint64_t from, to;
	bool adopt;
	int err;
};

static int set_owner(struct fs *fs, uint64_t number, uint64_t from, uint64_t to, bool check)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	do {
		fs__op_reset(&op);
		fs__key_batch(&k, number);
		txn_if_field_u64(&op.m, fs__key_slice(&k), FS_F_OWNER, from);
		txn_set_u64(&op.m, fs__key_slice(&k), FS_F_OWNER, to);
		fs__key_queue(&k);
		txn_add(&op.m, fs__key_slice(&k), FS_F_CHANGES, 1, false);
		if (check) {
			fs__key_mount(&k, to);
			txn_if_field_u64(&op.m, fs__key_slice(&k), FS_F_CLEANER, 0);
		}
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	if (fs__failed_at(&op, err, 0))
		err = 0; /* somebody else's by now, or done */
	fs__op_end(&op);
	return err;
}

static bool change_owner(void *ctx, const struct txn_item *it)
{
	struct owners *o = ctx;
	struct batch_item b;

	if (!batch_take(it, &b))
		return true;
	if (b.owner == o->from && o->from != o->to) {
		o->err = set_owner(o->fs, b.number, o->from, o->to, !o->adopt);
		if (!o->err)
			b.owner = o->to;
	}
	if (!o->err && o->adopt && b.owner == o->fs->holds->session)
		batch_add(o->fs, b.number, &b.inos);
	hold__release(&b.inos);
	return o->err == 0;
}

int hold__adopt(struct fs *fs, uint64_t of)
{
	uint64_t self = fs->holds->session;
	struct owners o = {.fs = fs, .from = of ? of : self, .to = self, .adopt = true};
	int err = hold__scan(fs, FS_KIND_QUEUE, NULL, false, change_owner, &o);

	if (!err)
		err = o.err;
	if (!err)
		hold__kick_batches(fs);
	return err;
}

int hold__hand_over(struct fs *fs, uint64_t to)
{
	struct owners o = {.fs = fs, .from = fs->holds->session, .to = to};
	struct hold_batch *b;
	int err = hold__scan(fs, FS_KIND_QUEUE, NULL, false, change_owner, &o);

	if (!err)
		err = o.err;
	while (!err && (b = TAILQ_FIRST(&fs->holds->batches)) != NULL)
		hold__batch_drop(fs, b);
	return err;
}

/* ---- reading it ---- */

struct reading {
	uint64_t last; /* batch */
	bool more, owner;
};

/* An open counts before it reads the inode: what is not in use now finds an orphan, or `gone`. */
static void ask_for(struct fs *fs, fs_ino ino)
{
	struct fs_node *n = fs__node_find(fs, ino);

	if (!n || (n->opens == 0 && n->opening == 0)) {
		if (!n || (!n->held && !n->orphan))
			hold__gone(fs, ino);
		return;
	}
	if (!n->held)
		hold__add(&fs->holds->pending, ino);
	n->held = true;
}

static void read_batches(struct fs *fs, const struct txn_read_result *res, struct reading *r)
{
	struct batch_item b;

	r->more = res->more;
	for (uint32_t i = 0; i < res->item_count; i++) {
		if (!batch_take(&res->items[i], &b)) {
			if (res->items[i].key.len == FS_KEY_HEAD + 8u)
				r->last = be64_get(res->items[i].key.p + FS_KEY_HEAD);
			continue;
		}
		r->last = b.number;
		for (uint32_t k = 0; k < b.inos.count; k++)
			ask_for(fs, b.inos.v[k]);
		if (b.owner == fs->holds->session)
			batch_add(fs, b.number, &b.inos);
		hold__release(&b.inos);
	}
}

/* One page. The batches behind the cursor, and Q as it was with them. */
static int read_page(struct fs *fs, struct reading *r)
{
	struct fs_holds *h = fs->holds;
	struct fs_key k, from, to;
	struct fs_queue q = {0};
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_queue(&k);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_batch(&from, h->cursor + 1);
	fs__key_after(&to, &k);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), HOLD_PAGE);
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	if (!err)
		err = fs__queue_decode(fs__op_value(&op, 0)->value, &q);
	if (!err) {
		r->last = h->cursor;
		read_batches(fs, &op.r.reads[1], r);
		if (!r->more)
			r->last = q.head; /* what is not there any more has been finished */
		r->owner = q.changes != h->queue.changes;
		h->queue = q;
		h->version = fs__op_value(&op, 0)->version;
	}
	fs__op_end(&op);
	return err;
}

/* What was closed before it could be written is let go. */
static void drop_closed(struct fs *fs)
{
	struct hold_list *l = &fs->holds->pending;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct fs_node *n = fs__node_find(fs, l->v[i]);

		if (n && n->held)
			l->v[kept++] = l->v[i];
	}
	l->count = kept;
}

static void add_holds(struct fs_op *op, uint32_t first, uint64_t cursor)
{
	struct fs_holds *h = op->fs->holds;
	uint32_t end = first + HOLD_WRITE_MAX;
	uint8_t since[FS_HOLD_SIZE];
	struct fs_key k;

	fs__op_reset(op);
	le64_put(since, env_wall_ns(op->fs->b.env));
	fs__key_mount(&k, h->session);
	txn_if_exists(&op->m, fs__key_slice(&k));
	for (uint32_t i = first; i < end && i < h->pending.count; i++) {
		fs__key_hold(&k, h->pending.v[i], h->session);
		txn_put(&op->m, fs__key_slice(&k), slice_of(since, sizeof(since)));
	}
	fs__key_mount(&k, h->session);
	if (end >= h->pending.count)
		txn_max(&op->m, fs__key_slice(&k), FS_F_CURSOR, cursor);
}

/* H first, then (or with the last ones) the cursor: it says that they are there. */
static int write_holds(struct fs *fs, uint64_t cursor)
{
	struct fs_holds *h = fs->holds;
	struct fs_op op;
	uint32_t i = 0;
	int err;

	drop_closed(fs);
	fs__op_begin(&op, fs);
	do {
		add_holds(&op, i, cursor);
		err = fs__op_exec(&op);
		if (fs__err_transient(err))
			err = fs__op_conflict(&op);
		else
			i += HOLD_WRITE_MAX;
	} while (!err && i < h->pending.count);
	fs__op_end(&op);
	if (err == ERR_CONDITION)
		return ERR_SESSION;
	h->unsure = h->unsure || (err && h->pending.count > 0);
	if (!err) {
		h->pending.count = 0;
		h->cursor = cursor > h->cursor ? cursor : h->cursor;
	}
	return err;
}

static int read_queue(struct fs *fs)
{
	struct fs_holds *h = fs->holds;
	struct reading r;
	int err;

	do {
		memset(&r, 0, sizeof(r));
		err = hold__turn_take(fs);
		if (err)
			return err;
		err = read_page(fs, &r);
		if (!err && r.last > h->cursor)
			err = write_holds(fs, r.last);
		hold__turn_give(fs);
		if (!err && r.owner)
			err = hold__adopt(fs, 0);
		if (!TAILQ_EMPTY(&h->batches))
			hold__kick_batches(fs);
	} while (!err && r.more);
	if (err)
		h->version = HOLD_VERSION_ANY;
	return err;
}

/* ---- all the time ---- */

static int count_others(struct fs *fs)
{
	struct hold_mounts m = {0};
	int err = hold__mounts_read(fs, &m);

	if (!err)
		fs->holds->others = m.count > 0;
	hold__mounts_release(&m);
	return err;
}

static int watch(struct fs *fs, struct fs_task *t)
{
	struct fs_holds *h = fs->holds;
	uint64_t now = env_mono_ns(fs->b.env), wait = UINT64_MAX, version;
	struct fs_key k;
	int err;

	if (h->others && h->look_ns <= now)
		return ERR_TIMEOUT;
	if (h->others)
		wait = h->look_ns - now;
	if (h->version == HOLD_VERSION_ANY)
		return 0;
	fs__key_queue(&k);
	t->sleeping = true;
	if (fs->b.watch)
		err = fs->b.watch(fs->b.ctx, fs__key_slice(&k), h->version, wait, &version);
	else
		err = fiber_sleep(HOLD_POLL_NS);
	t->sleeping = false;
	return err;
}

static void tick(struct fs *fs)
{
	struct fs_holds *h = fs->holds;

	if (h->look_ns)
		hold__look_for_dead(fs);
	h->look_ns = env_mono_ns(fs->b.env) + HOLD_LOOK_NS +
		     env_random(fs->b.env) % HOLD_LOOK_NS;
}

static void wait_for_session(struct fs *fs, struct fs_task *t)
{
	t->sleeping = true;
	while (fs->holds->lost && !t->stop)
		if (fs__wait(&fs->holds->renewed))
			fiber_interrupt_clear();
	t->sleeping = false;
}

void hold__keeper(struct fs *fs, struct fs_task *t)
{
	struct fs_holds *h = fs->holds;
	uint64_t changes = 0; /* there are none at 0 */
	int err = 0;

	while (!t->stop) {
		if (h->lost)
			wait_for_session(fs, t);
		else if (err && !fs__task_sleep(t, HOLD_RETRY_NS))
			break;
		if (t->stop)
			break;
		err = watch(fs, t);
		if (t->stop)
			break;
		if (err == ERR_TIMEOUT) {
			tick(fs);
			err = 0;
		}
		if (!err)
			err = read_queue(fs);
		if (!err && changes != h->queue.changes) {
			uint64_t seen = h->queue.changes;

			err = count_others(fs);
			if (!err)
				changes = seen;
		}
		if (err == ERR_SESSION)
			h->lost = true;
		if (err == ERR_INTERRUPTED)
			fiber_interrupt_clear();
	}
	fiber_interrupt_clear();
}
