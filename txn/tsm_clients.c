/* What a group knows of its clients: which requests are acknowledged (the mark), the replies of those
 * that are not, and who is closed. In the store: R | client | sequence -> home key, reply;
 * M | client -> mark; X | client -> closed. */
#include "txn/tsm_internal.h"

static int kept_cmp(const struct kept_reply *a, const struct kept_reply *b)
{
	return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

RB_GENERATE_INTERNAL(kept_replies, kept_reply, node, kept_cmp, static __attribute__((unused)))

struct client *txn__client_find(struct tsm *t, uint64_t id)
{
	struct client *c = NULL;

	HASH_FIND(hh, t->clients, &id, sizeof(id), c);
	return c;
}

struct client *txn__client(struct tsm *t, uint64_t id)
{
	struct client *c = txn__client_find(t, id);

	CHECK(id != 0);
	if (c)
		return c;
	c = mem_must_alloc(sizeof(*c));
	c->id = id;
	RB_INIT(&c->replies);
	HASH_ADD(hh, t->clients, id, sizeof(c->id), c);
	return c;
}

bool txn__client_closed(struct tsm *t, uint64_t id)
{
	const struct client *c = txn__client_find(t, id);

	return id < t->floor || (c && c->closed);
}

static void reply_drop(struct tsm *t, struct client *c, struct kept_reply *r)
{
	txn__store_del(t, TXN_TABLE_REPLY, txn__key_id(t, 'R', txn_id_of(c->id, r->sequence)));
	RB_REMOVE(kept_replies, &c->replies, r);
	mem_free(r);
	CHECK(c->reply_count > 0 && t->reply_count > 0);
	c->reply_count--;
	t->reply_count--;
}

static void replies_drop_to(struct tsm *t, struct client *c, uint64_t mark)
{
	struct kept_reply *r;

	while ((r = RB_MIN(kept_replies, &c->replies)) != NULL && r->sequence <= mark)
		reply_drop(t, c, r);
}

static void put_u64(struct tsm *t, char kind, uint64_t id, uint64_t v)
{
	buf_reset(&t->enc);
	enc_u64(&t->enc, v);
	txn__store_put(t, TXN_TABLE_REPLY, txn__key_u64(t, kind, id), buf_slice(&t->enc));
}

/* Replies up to the mark are forgotten; what is at or below it is refused from now on. */
void txn__client_mark(struct tsm *t, struct client *c, uint64_t mark)
{
	if (mark <= c->mark)
		return;
	replies_drop_to(t, c, mark);
	c->mark = mark;
	put_u64(t, 'M', c->id, mark);
}

void txn__client_close(struct tsm *t, struct client *c)
{
	if (c->closed)
		return;
	c->closed = true;
	replies_drop_to(t, c, UINT64_MAX);
	txn__store_del(t, TXN_TABLE_REPLY, txn__key_u64(t, 'M', c->id));
	put_u64(t, 'X', c->id, 1);
}

void txn__client_drop(struct tsm *t, struct client *c)
{
	replies_drop_to(t, c, UINT64_MAX);
	txn__store_del(t, TXN_TABLE_REPLY, txn__key_u64(t, 'M', c->id));
	txn__store_del(t, TXN_TABLE_REPLY, txn__key_u64(t, 'X', c->id));
	HASH_DELETE(hh, t->clients, c);
	mem_free(c);
}

/* ---- replies ---- */

static bool kept(struct client *c, uint64_t sequence)
{
	struct kept_reply probe = {.sequence = sequence};

	return c && RB_FIND(kept_replies, &c->replies, &probe) != NULL;
}

bool txn__reply_kept(struct tsm *t, struct txn_id id)
{
	return kept(txn__client_find(t, id.client), id.sequence);
}

int txn__reply_get(struct tsm *t, struct txn_id id, struct slice *reply)
{
	struct dec d;
	int err;

	buf_reset(&t->value);
	err = t->cfg.store->get(t->cfg.store, TXN_TABLE_REPLY, txn__key_id(t, 'R', id), &t->value);
	if (!err && !buf_ok(&t->value))
		err = ERR_NOMEM;
	dec_init(&d, buf_slice(&t->value));
	(void)dec_bytes(&d, KEY_SIZE_MAX);
	*reply = dec_bytes(&d, FRAME_SIZE_MAX);
	if (!err)
		err = dec_end(&d) == 0 ? 0 : ERR_CORRUPT;
	if (err)
		txn__fail(t, err == ERR_NOT_FOUND ? ERR_CORRUPT : err);
	return err;
}

void txn__clients_load_reply(struct tsm *t, struct txn_id id)
{
	struct client *c = txn__client(t, id.client);
	struct kept_reply *r = mem_must_alloc(sizeof(*r));

	r->sequence = id.sequence;
	if (RB_INSERT(kept_replies, &c->replies, r)) {
		mem_free(r);
		return;
	}
	c->reply_count++;
	t->reply_count++;
}

void txn__finish(struct tsm *t, struct txn_id id, struct slice home, struct slice reply)
{
	CHECK(t->in_entry);
	if (id.client != 0) {
		buf_reset(&t->enc);
		enc_bytes(&t->enc, home);
		enc_bytes(&t->enc, reply);
		txn__store_put(t, TXN_TABLE_REPLY, txn__key_id(t, 'R', id), buf_slice(&t->enc));
		if (t->err)
			return;
		txn__clients_load_reply(t, id);
	}
	txn__reply(t, id, reply);
}

void txn__status_reply(struct buf *b, int status)
{
	struct reply_head h = {.status = status};

	h.failed = UINT32_MAX;
	h.current.status = ERR_NOT_FOUND;
	txn__reply_head(b, &h);
	buf_must(b); /* part of a reply is none, and it is small */
}

void txn__finish_status(struct tsm *t, struct txn_id id, struct slice home, int status)
{
	struct buf reply = BUF_INIT;

	txn__status_reply(&reply, status);
	txn__finish(t, id, home, buf_slice(&reply));
	buf_release(&reply);
}
