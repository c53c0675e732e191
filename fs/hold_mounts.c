/* The mounts: how far they are, and what those that died have left. */
#include <stdlib.h>

#include "base/bytes.h"
#include "fs/hold.h"
#include "kv/layout.h"

#define SWEEP_NS   (10 * NS_PER_MS) /* between pages: it takes its time */
#define SWEEP_MANY 128u

/* ---- the records ---- */

static bool take_mount(void *ctx, const struct txn_item *it)
{
	struct hold_mounts *m = ctx;
	struct hold_mount *o;

	if (m->count == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 16;
		m->v = mem_must_realloc(m->v, sizeof(*m->v) * m->cap);
	}
	o = &m->v[m->count];
	*o = (struct hold_mount){.version = it->version, .alive = true};
	if (it->key.len != FS_KEY_HEAD + 8u || fs__mount_decode(it->value, &o->rec))
		return true; /* damaged: fsck's */
	o->session = be64_get(it->key.p + FS_KEY_HEAD);
	m->count++;
	return true;
}

int hold__queue_read(struct fs *fs, struct fs_queue *q)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_queue(&k);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	*q = (struct fs_queue){0};
	if (!err)
		err = fs__queue_decode(fs__op_value(&op, 0)->value, q);
	fs__op_end(&op);
	return err == ERR_NOT_FOUND ? 0 : err;
}

static void forget_self(struct hold_mounts *m, uint64_t self)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->count; i++)
		if (m->v[i].session != self)
			m->v[n++] = m->v[i];
	m->count = n;
}

int hold__mounts_read(struct fs *fs, struct hold_mounts *m)
{
	int err;

	m->count = 0;
	err = hold__scan(fs, FS_KIND_MOUNT, NULL, false, take_mount, m);
	if (!err)
		forget_self(m, fs->holds->session);
	return err;
}

void hold__mounts_release(struct hold_mounts *m)
{
	mem_free(m->v);
	*m = (struct hold_mounts){0};
}

/* ---- sessions that are alive: in order ---- */

static int sessions_read(struct fs *fs, struct hold_list *out)
{
	struct fs_key prefix, at, to;
	struct fs_op op;
	bool more = true;
	int err = 0;

	fs__meta_key(&prefix, KV_KEY_SESSION);
	fs__key_after(&to, &prefix);
	at = prefix;
	fs__op_begin(&op, fs);
	while (!err && more) {
		const struct txn_read_result *r;

		fs__op_reset(&op);
		txn_scan_keys(&op.m, fs__key_slice(&at), fs__key_slice(&to), TXN_SCAN_ITEMS_MAX);
		err = fs__op_read(&op);
		if (err)
			break;
		r = &op.r.reads[0];
		more = r->more && r->item_count > 0;
		for (uint32_t i = 0; i < r->item_count; i++)
			if (r->items[i].key.len == prefix.len + 8u)
				hold__add(out, be64_get(r->items[i].key.p + prefix.len));
		if (more) {
			at.len = 0;
			fs__key_bytes(&at, r->items[r->item_count - 1].key);
			fs__key_bytes(&at, slice_of("", 1));
		}
	}
	fs__op_end(&op);
	return err;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool has(const struct hold_list *l, uint64_t id)
{
	return l->count > 0 && bsearch(&id, l->v, l->count, sizeof(id), by_number);
}

/* Read after M: whose session is not there then has ended, for it was there when M was written. */
int hold__mounts_alive(struct fs *fs, struct hold_mounts *m)
{
	struct hold_list sessions = {0};
	int err = sessions_read(fs, &sessions);

	for (uint32_t i = 0; !err && i < m->count; i++)
		m->v[i].alive = has(&sessions, m->v[i].session);
	hold__release(&sessions);
	return err;
}

/* Who may be given work. NULL: nobody. */
static const struct hold_mount *choose(struct fs *fs, const struct hold_mounts *m)
{
	uint32_t start = m->count ? (uint32_t)(env_random(fs->b.env) % m->count) : 0;

	for (uint32_t i = 0; i < m->count; i++) {
		const struct hold_mount *o = &m->v[(start + i) % m->count];

		if (o->alive && o->rec.cleaner == 0)
			return o;
	}
	return NULL;
}

int hold__heir(struct fs *fs, uint64_t *session)
{
	struct hold_mounts m = {0};
	const struct hold_mount *o;
	int err = hold__mounts_read(fs, &m);

	if (!err && m.count > 0)
		err = hold__mounts_alive(fs, &m);
	o = err ? NULL : choose(fs, &m);
	*session = o ? o->session : 0;
	hold__mounts_release(&m);
	return err;
}

/* ---- what a dead mount held ---- */

struct gathering {
	uint64_t session;
	struct hold_list inos;
};

static bool gather(void *ctx, const struct txn_item *it)
{
	struct gathering *g = ctx;

	if (it->key.len == FS_KEY_HEAD + 16u &&
	    be64_get(it->key.p + FS_KEY_HEAD + 8) == g->session)
		hold__add(&g->inos, be64_get(it->key.p + FS_KEY_HEAD));
	return true;
}

static int drop_holds_of(struct fs *fs, uint64_t session)
{
	struct gathering g = {.session = session};
	int err = hold__scan(fs, FS_KIND_HOLD, NULL, true, gather, &g);

	if (!err && g.inos.count > 0)
		err = hold__let_go(fs, &g.inos, session);
	hold__release(&g.inos);
	return err;
}

/* ---- what it had to reap: looked for in the whole store ---- */

struct sweep {
	struct fs *fs;
	struct fs_task *t;
	struct fs_key found[SWEEP_MANY]; /* of G records */
	uint32_t count;
};

/* What is open here is put on the list when it is closed. */
static void adopt_orphan(struct fs *fs, fs_ino ino)
{
	if (!fs__orphan_is_open(fs, ino))
		fs__orphan_later(fs, ino);
}

/* Whose session has ended. Without one were commands: what they staged may be in use. */
static void take_found(struct fs *fs, const struct fs_key *key, const struct txn_value *v,
		       const struct hold_list *sessions)
{
	struct fs_key_parts p;
	struct fs_reap g;

	if (v->status || fs__reap_decode(v->value, &g) || !fs__key_parse(fs__key_slice(key), &p) ||
	    has(sessions, g.session) || (g.session == 0 && g.what == FS_REAP_STAGED))
		return;
	if (g.what == FS_REAP_INODE)
		adopt_orphan(fs, p.number);
	else
		fs__reap_later(fs, p.number, (enum fs_reap_what)g.what);
}

static int look_at_found(struct sweep *s)
{
	struct hold_list sessions = {0};
	struct fs_op op;
	int err;

	if (s->count == 0)
		return 0;
	fs__op_begin(&op, s->fs);
	for (uint32_t i = 0; i < s->count; i++)
		txn_get(&op.m, fs__key_slice(&s->found[i]));
	err = fs__op_read(&op);
	if (!err) /* read after the records */
		err = sessions_read(s->fs, &sessions);
	for (uint32_t i = 0; !err && i < s->count; i++)
		take_found(s->fs, &s->found[i], fs__op_value(&op, i), &sessions);
	fs__op_end(&op);
	hold__release(&sessions);
	s->count = 0;
	return err;
}

static int sweep_items(struct sweep *s, const struct txn_read_result *r)
{
	struct fs_key_parts p;
	int err = 0;

	for (uint32_t i = 0; !err && i < r->item_count; i++) {
		if (!fs__key_parse(r->items[i].key, &p) || p.kind != FS_KIND_REAP ||
		    r->items[i].key.len > KEY_SIZE_MAX)
			continue;
		s->found[s->count].len = 0;
		fs__key_bytes(&s->found[s->count++], r->items[i].key);
		if (s->count == SWEEP_MANY)
			err = look_at_found(s);
	}
	return err;
}

static int sweep_page(struct sweep *s, struct fs_key *at, const struct fs_key *to)
{
	const struct txn_read_result *r;
	struct fs_key end;
	struct fs_op op;
	int err;

	fs__op_begin(&op, s->fs);
	fs__range_piece(s->fs, at, to, &end);
	txn_scan_keys(&op.m, fs__key_slice(at), fs__key_slice(&end), TXN_SCAN_ITEMS_MAX);
	err = fs__op_read(&op);
	r = err ? NULL : &op.r.reads[0];
	if (!err)
		err = sweep_items(s, r);
	if (!err && r->more && r->item_count > 0)
		fs__key_behind(at, r->items[r->item_count - 1].key, true);
	else if (!err)
		*at = end;
	fs__op_end(&op);
	return err == ERR_ELSEWHERE ? 0 : err; /* the map has changed: once more */
}

static int sweep(struct fs *fs, struct fs_task *t)
{
	struct fs_key at = {.len = 2}, to = {.len = 2};
	struct sweep *s = mem_must_alloc(sizeof(*s));
	int err = 0;

	s->fs = fs;
	s->t = t;
	be16_put(at.b, 0);
	be16_put(to.b, FS_PLACE_COUNT);
	while (!err && slice_cmp(fs__key_slice(&at), fs__key_slice(&to)) < 0) {
		err = sweep_page(s, &at, &to);
		if (!err && !fs__task_sleep(t, SWEEP_NS))
			err = ERR_INTERRUPTED;
	}
	if (!err)
		err = look_at_found(s);
	mem_free(s);
	return err;
}

/* ---- clearing up ---- */

static int set_cleaner(struct fs *fs, uint64_t session, uint64_t from, bool done)
{
	struct fs_key k, queue;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	do {
		fs__op_reset(&op);
		fs__key_mount(&k, session);
		fs__key_queue(&queue);
		txn_if_field_u64(&op.m, fs__key_slice(&k), FS_F_CLEANER, from);
		if (done) {
			txn_delete(&op.m, fs__key_slice(&k));
			txn_add(&op.m, fs__key_slice(&queue), FS_F_CHANGES, 1, false);
		} else {
			txn_set_u64(&op.m, fs__key_slice(&k), FS_F_CLEANER, fs->holds->session);
		}
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err;
}

/* Its M record goes last: whoever comes after this one begins anew. */
static void clean(struct fs *fs, struct fs_task *t)
{
	uint64_t session = t->arg;
	int err = hold__adopt(fs, session);

	if (!err)
		err = drop_holds_of(fs, session);
	if (!err)
		err = sweep(fs, t);
	if (!err)
		(void)set_cleaner(fs, session, fs->holds->session, true);
	fiber_interrupt_clear();
	fs->holds->cleaning = false;
}

static bool in_good_hands(const struct fs *fs, const struct hold_mounts *m, uint64_t cleaner)
{
	if (cleaner == fs->holds->session)
		return fs->holds->cleaning;
	for (uint32_t i = 0; i < m->count; i++)
		if (m->v[i].session == cleaner)
			return m->v[i].alive;
	return false;
}

/* One at a time: the others come with the next looks. */
void hold__look_for_dead(struct fs *fs)
{
	struct fs_holds *h = fs->holds;
	struct hold_mounts m = {0};
	int err = h->cleaning ? ERR_BUSY : hold__mounts_read(fs, &m);

	if (!err && m.count > 0)
		err = hold__mounts_alive(fs, &m);
	for (uint32_t i = 0; !err && i < m.count && !h->cleaning; i++) {
		const struct hold_mount *o = &m.v[i];

		if (o->alive || in_good_hands(fs, &m, o->rec.cleaner))
			continue;
		if (set_cleaner(fs, o->session, o->rec.cleaner, false) == 0)
			h->cleaning = fs__background(fs, clean, o->session) == 0;
	}
	hold__mounts_release(&m);
}
