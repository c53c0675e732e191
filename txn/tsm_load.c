/* Rebuilding the machine's memory from the store. What is wrong with a record is damage: the replica
 * must not go on. */
#include "base/bytes.h"
#include "txn/tsm_internal.h"

struct saved { /* records are copied first: loading one reads others */
	TAILQ_ENTRY(saved) link;
	struct buf key, value;
};

TAILQ_HEAD(saved_list, saved);

struct saver {
	struct saved_list list;
	bool keys_only, failed;
};

static bool save(void *ctx, struct slice key, struct slice value)
{
	struct saver *s = ctx;
	struct saved *r = mem_must_alloc(sizeof(*r));

	if (s->keys_only)
		value = (struct slice){0};
	s->failed = buf_set(&r->key, key) != 0 || buf_set(&r->value, value) != 0;
	TAILQ_INSERT_TAIL(&s->list, r, link);
	return !s->failed;
}

typedef void load_fn(struct tsm *t, struct slice key, struct slice value);

static load_fn load_reply;

static void for_each(struct tsm *t, enum txn_table table, struct slice from, struct slice to,
		     load_fn *fn)
{
	struct saver s = {.list = TAILQ_HEAD_INITIALIZER(s.list)};
	struct saved *r;
	int err;

	s.keys_only = fn == load_reply; /* they are many, and may be large */
	err = t->cfg.store->scan(t->cfg.store, table, from, to, save, &s);
	if (!err && s.failed)
		err = ERR_NOMEM;
	if (err)
		txn__fail(t, err);
	while ((r = TAILQ_FIRST(&s.list)) != NULL) {
		TAILQ_REMOVE(&s.list, r, link);
		if (!t->err)
			fn(t, buf_slice(&r->key), buf_slice(&r->value));
		buf_release(&r->key);
		buf_release(&r->value);
		mem_free(r);
	}
}

static bool key_id(struct slice key, struct txn_id *id)
{
	if (key.len != 17)
		return false;
	*id = txn_id_of(be64_get(key.p + 1), be64_get(key.p + 9));
	return id->client != 0;
}

/* ---- tables ---- */

static void load_u64(struct tsm *t, const char *key, uint64_t *out)
{
	struct dec d;
	int err;

	buf_reset(&t->value);
	err = t->cfg.store->get(t->cfg.store, TXN_TABLE_STATE, slice_str(key), &t->value);
	if (err == ERR_NOT_FOUND)
		return;
	dec_init(&d, buf_slice(&t->value));
	*out = dec_u64(&d);
	if (!err && dec_end(&d) != 0)
		err = ERR_CORRUPT;
	if (err)
		txn__fail(t, err);
}

static void load_reply(struct tsm *t, struct slice key, struct slice value)
{
	struct txn_id id;

	(void)value;
	if (key_id(key, &id))
		txn__clients_load_reply(t, id);
	else
		txn__fail(t, ERR_CORRUPT);
}

static bool client_record(struct tsm *t, struct slice key, struct slice value, uint64_t *v,
			  struct client **c)
{
	struct dec d;

	dec_init(&d, value);
	*v = dec_u64(&d);
	if (key.len != 9 || be64_get(key.p + 1) == 0 || dec_end(&d) != 0) {
		txn__fail(t, ERR_CORRUPT);
		return false;
	}
	*c = txn__client(t, be64_get(key.p + 1));
	return true;
}

static void load_mark(struct tsm *t, struct slice key, struct slice value)
{
	struct client *c;
	uint64_t mark;

	if (client_record(t, key, value, &mark, &c))
		c->mark = mark;
}

static void load_closed(struct tsm *t, struct slice key, struct slice value)
{
	struct client *c;
	uint64_t one;

	if (client_record(t, key, value, &one, &c))
		c->closed = true;
}

static void load_coordinated(struct tsm *t, struct slice key, struct slice value)
{
	struct txn_id id;

	if (key_id(key, &id))
		txn__coord_load(t, value, id);
	else
		txn__fail(t, ERR_CORRUPT);
}

static void load_participant(struct tsm *t, struct slice key, struct slice value)
{
	struct txn_id id;

	if (key_id(key, &id))
		txn__participant_load(t, value, id);
	else
		txn__fail(t, ERR_CORRUPT);
}

static void load_waiting(struct tsm *t, struct slice key, struct slice value)
{
	struct command c;
	struct coord *co;

	/* Whoever waits, waits once, and has not been granted its locks before. */
	if (key.len != 12 || txn__command_decode(value, &c) != 0 ||
	    (c.kind != CMD_OWN && txn__tx_find(t, c.id))) {
		txn__fail(t, ERR_CORRUPT);
		return;
	}
	t->slot = be64_get(key.p);
	t->index = be32_get(key.p + 8);
	switch (c.kind) {
	case CMD_REQUEST:
		txn__single_waits(t, value);
		break;
	case CMD_PREPARE:
		txn__participant_waits(t, value);
		break;
	case CMD_OWN:
		co = txn__coord_find(t, c.id);
		if (co && co->own && !co->own->waiting && !co->own->vote.len)
			txn__requeue(t, co->own);
		else
			txn__fail(t, ERR_CORRUPT);
		break;
	default:
		txn__fail(t, ERR_CORRUPT);
	}
}

static bool all_settled(struct tsm *t)
{
	struct coord *c, *next;

	HASH_ITER(hh, t->coords, c, next)
		if (c->own && !c->own->waiting && c->own->lock_count == 0 && !c->own->vote.len)
			return false;
	return true;
}

static void load_prefix(struct tsm *t, enum txn_table table, char kind, load_fn *fn)
{
	uint8_t from = (uint8_t)kind, to = (uint8_t)(kind + 1);

	if (!t->err)
		for_each(t, table, slice_of(&from, 1), slice_of(&to, 1), fn);
}

int txn__load(struct tsm *t)
{
	load_u64(t, "tc", &t->last);
	load_u64(t, "tf", &t->floor);
	txn__deleted_load(t);
	load_prefix(t, TXN_TABLE_REPLY, 'R', load_reply);
	load_prefix(t, TXN_TABLE_REPLY, 'M', load_mark);
	load_prefix(t, TXN_TABLE_REPLY, 'X', load_closed);
	load_prefix(t, TXN_TABLE_TXN, 'C', load_coordinated);
	load_prefix(t, TXN_TABLE_TXN, 'P', load_participant);
	if (!t->err)
		for_each(t, TXN_TABLE_QUEUE, (struct slice){0}, (struct slice){0}, load_waiting);
	if (!t->err && !all_settled(t))
		txn__fail(t, ERR_CORRUPT);
	t->slot = 0;
	t->index = 0;
	return t->err;
}
