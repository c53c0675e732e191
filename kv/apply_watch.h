/* The keys of one group that somebody watches, on the apply side: which of them did this job write?
 * Belongs to the apply thread. Costs one test per written key while nobody watches. */
#ifndef PAXFS_KV_APPLY_WATCH_H
#define PAXFS_KV_APPLY_WATCH_H

#include "base/list.h"
#include "kv/store_engine.h"

struct watched_key;

struct apply_watch {
	struct watched_key *keys;
	STAILQ_HEAD(, watched_key) written; /* in this job, each once */
};

void apply_watch_init(struct apply_watch *w);
void apply_watch_release(struct apply_watch *w, struct store_engine *s);

/* From now on (not any more) writes of @key to @s are noted. Saying it twice is saying it once. */
void apply_watch_set(struct apply_watch *w, struct store_engine *s, struct slice key, bool on);

/* The next key that was written since it was last taken; false: there is none. @key is borrowed until
 * apply_watch_set. */
bool apply_watch_take(struct apply_watch *w, struct slice *key);

#endif
