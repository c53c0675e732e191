/* What this mount has open and others have removed; how it joins the others, and leaves. */
#include "fs/hold.h"

#include "base/bytes.h"

/* ---- lists ---- */

void hold__add(struct hold_list *l, fs_ino ino)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->v = mem_must_realloc(l->v, sizeof(*l->v) * l->cap);
	}
	l->v[l->count++] = ino;
}

void hold__add_all(struct hold_list *l, const struct hold_list *from)
{
	for (uint32_t i = 0; i < from->count; i++)
		hold__add(l, from->v[i]);
}

void hold__take(struct hold_list *to, struct hold_list *from, uint32_t max)
{
	uint32_t n = from->count < max ? from->count : max;

	for (uint32_t i = 0; i < n; i++)
		hold__add(to, from->v[i]);
	from->count -= n;
	if (from->count > 0)
		memmove(from->v, from->v + n, sizeof(*from->v) * from->count);
}

void hold__release(struct hold_list *l)
{
	mem_free(l->v);
	*l = (struct hold_list){0};
}

/* ---- nodes ---- */

int hold__turn_take(struct fs *fs)
{
	while (fs->holds->busy) {
		int err = fs__wait(&fs->holds->turn);

		if (err)
			return err;
	}
	fs->holds->busy = true;
	return 0;
}

void hold__turn_give(struct fs *fs)
{
	fs->holds->busy = false;
	fs__wake_all(&fs->holds->turn);
}

static fs_ino *gone_slot(const struct fs *fs, fs_ino ino)
{
	return &fs->holds->gone[(ino ^ ino >> FS_NUMBER_BITS) % HOLD_GONE];
}

void hold__gone(struct fs *fs, fs_ino ino)
{
	*gone_slot(fs, ino) = ino;
	fs__hint_inode_drop(fs, ino);
}

bool hold__is_kept(const struct fs_node *n)
{
	return n->opens > 0 || n->held || n->orphan;
}

/* Should it be an orphan. This mount is not known to have said that it has it not open. */
bool hold__may_be_kept(const struct fs *fs, fs_ino ino)
{
	return fs->holds->session && !fs->holds->lost && *gone_slot(fs, ino) != ino;
}

bool fs__is_held(struct fs *fs, fs_ino ino)
{
	const struct fs_node *n = fs__node_find(fs, ino);

	return n && (hold__is_kept(n) || (n->finding > 0 && hold__may_be_kept(fs, ino)));
}

bool fs__may_open(struct fs *fs, const struct fs_node *n, const struct fs_inode *rec)
{
	if (hold__is_kept(n))
		return true;
	if (rec->nlink == 0)
		return n->finding > 0 && hold__may_be_kept(fs, n->ino);
	return *gone_slot(fs, n->ino) != n->ino;
}

void fs__hold_unused(struct fs *fs, struct fs_node *n)
{
	struct fs_holds *h = fs->holds;

	if (n->opens > 0 || n->opening > 0 || (!n->held && !n->orphan))
		return;
	if (n->held) {
		hold__gone(fs, n->ino);
		hold__add(&h->released, n->ino);
	}
	n->held = false;
	if (n->orphan) {
		n->orphan = false;
		fs->stats.orphans_held--;
		fs__orphan_later(fs, n->ino);
	}
	hold__kick(fs);
}

void fs__orphan_later(struct fs *fs, fs_ino ino)
{
	struct fs_holds *h = fs->holds;

	fs__hint_inode_drop(fs, ino);
	hold__add(&h->fresh, ino);
	hold__kick(fs);
	while (h->fresh.count >= HOLD_LIST_MAX && h->listing && !fs->closing)
		if (fs__wait(&h->room))
			break;
}

bool fs__orphan_is_open(struct fs *fs, fs_ino ino)
{
	struct fs_node *n = fs__node_find(fs, ino);

	if (!n || (n->opens == 0 && n->opening == 0))
		return false;
	fs->stats.orphans_held += !n->orphan;
	n->orphan = true;
	return true;
}

int fs__orphan_now(struct fs *fs, fs_ino ino)
{
	struct hold_list one = {.v = &ino, .count = 1};
	struct fs_holds *h = fs->holds;
	uint64_t other;
	int err;

	if (fs__orphan_is_open(fs, ino))
		return 0;
	hold__gone(fs, ino);
	do {
		err = hold__heir(fs, &other);
		if (!err && other == 0)
			err = hold__reap(fs, &one);
		else if (!err)
			err = hold__enqueue(fs, &one, h->lost || !h->session ? other : h->session);
	} while (err == ERR_CONDITION);
	return err;
}

/* ---- joining ---- */

static void add_new_queue(struct fs_op *op, const struct fs_key *k)
{
	struct fs_queue q = {.changes = 1};
	uint8_t b[FS_QUEUE_SIZE];

	fs__queue_encode(b, &q);
	txn_if_absent(&op->m, fs__key_slice(k));
	txn_put(&op->m, fs__key_slice(k), slice_of(b, sizeof(b)));
}

/* Batches up to the head are older than this session: it has nothing open that they ask for. */
static int join_once(struct fs_op *op, uint64_t session, struct fs_queue *q)
{
	struct fs_mount_rec rec;
	uint8_t b[FS_MOUNT_SIZE];
	struct fs_key queue, mount;
	int err;

	fs__op_reset(op);
	fs__key_queue(&queue);
	txn_get(&op->m, fs__key_slice(&queue));
	err = fs__op_read(op);
	*q = (struct fs_queue){0};
	if (!err)
		err = fs__op_value(op, 0)->status;
	if (!err)
		err = fs__queue_decode(fs__op_value(op, 0)->value, q);
	if (err && err != ERR_NOT_FOUND)
		return err;
	fs__op_reset(op);
	if (err)
		add_new_queue(op, &queue);
	else
		txn_add(&op->m, fs__key_slice(&queue), FS_F_CHANGES, 1, false);
	rec = (struct fs_mount_rec){.cursor = q->head};
	fs__mount_encode(b, &rec);
	fs__key_mount(&mount, session);
	txn_put(&op->m, fs__key_slice(&mount), slice_of(b, sizeof(b)));
	return fs__op_exec(op);
}

int hold__join(struct fs *fs)
{
	struct fs_holds *h = fs->holds;
	uint64_t session;
	struct fs_queue q;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	for (;;) {
		session = fs->b.session;
		err = join_once(&op, session, &q);
		if (err != ERR_CONDITION && err != ERR_ABSENT_RECORD && !fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	if (!err && session != fs->b.session)
		err = ERR_SESSION; /* over by now */
	if (err)
		return err;
	h->session = session;
	h->lost = false;
	h->cursor = q.head;
	h->queue = (struct fs_queue){.head = q.head};
	h->version = HOLD_VERSION_ANY;
	h->others = true; /* till it is known better */
	fs__wake_all(&h->renewed);
	return 0;
}

void fs__holds_init(struct fs *fs)
{
	fs->holds = mem_must_alloc(sizeof(*fs->holds));
	TAILQ_INIT(&fs->holds->turn);
	TAILQ_INIT(&fs->holds->room);
	TAILQ_INIT(&fs->holds->renewed);
	TAILQ_INIT(&fs->holds->batches);
}

void fs__holds_free(struct fs *fs)
{
	struct hold_batch *b;

	while ((b = TAILQ_FIRST(&fs->holds->batches)) != NULL)
		hold__batch_drop(fs, b);
	hold__release(&fs->holds->pending);
	hold__release(&fs->holds->fresh);
	hold__release(&fs->holds->released);
	mem_free(fs->holds);
}

int fs__holds_join(struct fs *fs)
{
	int err;

	if (fs->b.session == 0)
		return 0;
	err = hold__join(fs);
	if (!err)
		err = fs__background(fs, hold__keeper, 0);
	if (err && fs->holds->session)
		fs__holds_leave(fs);
	return err;
}

/* ---- leaving ---- */

static int drop_own(void *ctx, const struct txn_item *it)
{
	struct fs *fs = ctx;
	struct hold_list one = {0};
	int err = 0;

	if (it->key.len == FS_KEY_HEAD + 16u &&
	    be64_get(it->key.p + FS_KEY_HEAD + 8) == fs->holds->session) {
		hold__add(&one, be64_get(it->key.p + FS_KEY_HEAD));
		err = hold__let_go(fs, &one, fs->holds->session);
		hold__release(&one);
	}
	return err;
}

static bool drop_own_fn(void *ctx, const struct txn_item *it)
{
	return drop_own(ctx, it) == 0;
}

/* The list, and what others have to be told. */
static int drain(struct fs *fs)
{
	struct fs_holds *h = fs->holds;
	struct hold_list l = {0};
	int err = 0;

	while (!err && h->released.count > 0) {
		l.count = 0;
		hold__take(&l, &h->released, HOLD_WRITE_MAX);
		err = hold__let_go(fs, &l, h->session);
	}
	while (!err && h->fresh.count > 0) {
		l.count = 0;
		hold__take(&l, &h->fresh, FS_BATCH_MAX);
		err = hold__settle(fs, &l);
	}
	hold__release(&l);
	if (!err && h->unsure)
		err = hold__scan(fs, FS_KIND_HOLD, NULL, true, drop_own_fn, fs);
	return err;
}

static int finish_all(struct fs *fs)
{
	struct hold_batch *b;
	int err = hold__adopt(fs, 0);

	while (!err && (b = TAILQ_FIRST(&fs->holds->batches)) != NULL) {
		err = hold__finish(fs, b);
		if (!err)
			hold__batch_drop(fs, b);
	}
	return err;
}

/* 1: once more, something has changed meanwhile. */
static int leave_once(struct fs *fs, struct fs_op *op)
{
	struct fs_holds *h = fs->holds;
	struct fs_queue q;
	struct fs_key k;
	uint64_t to;
	int err = hold__queue_read(fs, &q);

	if (!err)
		err = hold__heir(fs, &to);
	if (!err)
		err = to ? hold__hand_over(fs, to) : finish_all(fs);
	if (err)
		return err == ERR_CONDITION ? 1 : err;
	fs__op_reset(op);
	fs__key_queue(&k);
	txn_if_field_u64(&op->m, fs__key_slice(&k), FS_F_CHANGES, q.changes);
	txn_add(&op->m, fs__key_slice(&k), FS_F_CHANGES, 1, false);
	fs__key_mount(&k, h->session);
	txn_delete(&op->m, fs__key_slice(&k));
	err = fs__op_exec(op);
	return err == ERR_CONDITION ? 1 : err;
}

void fs__holds_leave(struct fs *fs)
{
	struct fs_holds *h = fs->holds;
	unsigned tries = 0;
	struct fs_op op;
	int err = h->lost ? ERR_SESSION : drain(fs);

	if (err || !h->session)
		return; /* what is left waits for the end of the session */
	fs__op_begin(&op, fs);
	do {
		err = leave_once(fs, &op);
		if (err > 0 || fs__err_transient(err))
			err = ++tries < HOLD_LEAVE_TRIES ? 1 : ERR_BUSY;
	} while (err == 1 && !(err = fs__op_conflict(&op)) && (err = 1));
	fs__op_end(&op);
	h->session = 0;
}
