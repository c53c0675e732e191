#include "kv/apply_watch.h"

#include <uthash.h>

#include "base/mem.h"

struct watched_key {
	UT_hash_handle hh;
	STAILQ_ENTRY(watched_key) link; /* among the written */
	bool written;
	size_t len;
	uint8_t bytes[];
};

static struct watched_key *find(struct apply_watch *w, struct slice key)
{
	struct watched_key *k = NULL;

	HASH_FIND(hh, w->keys, key.p, key.len, k);
	return k;
}

static void wrote(void *ctx, struct slice key)
{
	struct apply_watch *w = ctx;
	struct watched_key *k = find(w, key);

	if (!k || k->written)
		return;
	k->written = true;
	STAILQ_INSERT_TAIL(&w->written, k, link);
}

static void key_free(struct apply_watch *w, struct watched_key *k)
{
	if (k->written)
		STAILQ_REMOVE(&w->written, k, watched_key, link);
	HASH_DEL(w->keys, k);
	mem_free(k);
}

void apply_watch_init(struct apply_watch *w)
{
	w->keys = NULL;
	STAILQ_INIT(&w->written);
}

void apply_watch_release(struct apply_watch *w, struct store_engine *s)
{
	struct watched_key *k, *next;

	HASH_ITER(hh, w->keys, k, next)
		key_free(w, k);
	store_engine_on_write(s, NULL, NULL);
}

void apply_watch_set(struct apply_watch *w, struct store_engine *s, struct slice key, bool on)
{
	struct watched_key *k = find(w, key);

	if (!on && k) {
		key_free(w, k);
	} else if (on && !k) {
		k = mem_must_alloc(sizeof(*k) + key.len);
		k->len = key.len;
		memcpy(k->bytes, key.p, key.len);
		HASH_ADD_KEYPTR(hh, w->keys, k->bytes, k->len, k);
	}
	store_engine_on_write(s, w->keys ? wrote : NULL, w);
}

bool apply_watch_take(struct apply_watch *w, struct slice *key)
{
	struct watched_key *k = STAILQ_FIRST(&w->written);

	if (!k)
		return false;
	STAILQ_REMOVE_HEAD(&w->written, link);
	k->written = false;
	*key = slice_of(k->bytes, k->len);
	return true;
}
