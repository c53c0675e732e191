#include "tools/sessions.h"

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"

#define PAGE	    1024u
/* renewed, opened, patience; then the name: kv/client_session.c. Older ones have no patience, but their
 * name there, which no number of so few seconds looks like. */
#define RECORD_HEAD	24u
#define RECORD_HEAD_OLD 16u

static void session_key(struct buf *out, uint64_t id)
{
	kv_meta_key(out, KV_KEY_SESSION);
	buf_add_be64(out, id);
	buf_must(out);
}

static void add(struct session_list *l, const struct txn_item *it)
{
	struct session_entry *e;
	bool old = it->value.len < RECORD_HEAD ||
		   le64_get(it->value.p + RECORD_HEAD_OLD) > KV_SESSION_NS_MAX;
	size_t head = old ? RECORD_HEAD_OLD : RECORD_HEAD, n = it->value.len - head;

	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->v = mem_must_realloc(l->v, sizeof(*l->v) * l->cap);
	}
	e = &l->v[l->count++];
	e->id = be64_get(it->key.p + it->key.len - 8);
	e->renewed_ns = le64_get(it->value.p);
	e->opened_ns = le64_get(it->value.p + 8);
	n = n < sizeof(e->name) ? n : sizeof(e->name) - 1;
	if (n > 0)
		memcpy(e->name, it->value.p + head, n);
	e->name[n] = '\0';
}

static int read_page(struct cli_session *s, struct session_list *l, uint64_t *after, bool *more)
{
	struct buf from = BUF_INIT, to = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	session_key(&from, *after + 1);
	session_key(&to, UINT64_MAX);
	txn_scan(&m, buf_slice(&from), buf_slice(&to), PAGE);
	err = txn_exec(kv_client_executor(s->client), &m, &r);
	*more = !err && r.reads[0].more && r.reads[0].item_count > 0;
	for (uint32_t i = 0; !err && i < r.reads[0].item_count; i++) {
		const struct txn_item *it = &r.reads[0].items[i];

		if (it->key.len != from.len) {
			err = ERR_PROTO;
			break;
		}
		*after = be64_get(it->key.p + it->key.len - 8);
		if (it->value.len >= RECORD_HEAD_OLD)
			add(l, it);
	}
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&from);
	buf_release(&to);
	return err;
}

int sessions_read(struct cli_session *s, struct session_list *out)
{
	uint64_t after = 0;
	bool more = true;
	int err = 0;

	*out = (struct session_list){0};
	while (!err && more)
		err = read_page(s, out, &after, &more);
	if (err)
		sessions_release(out);
	return err;
}

void sessions_release(struct session_list *l)
{
	mem_free(l->v);
	*l = (struct session_list){0};
}

const struct session_entry *sessions_find(const struct session_list *l, uint64_t id)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->v[i].id == id)
			return &l->v[i];
	return NULL;
}
