/* Sessions whose holder is gone: found, and closed for it. Every client with a session looks, each time
 * that it renews its own.
 *
 * Dead is who has not renewed for the time that its record says *by the clock of the client that
 * watches*: it has seen the record unchanged all that time, from the return of one look to the beginning
 * of another (it may itself be frozen, with an answer in its hands). And it has kept looking: when the
 * cluster or the whole machine was away, nobody could renew, so after half that time without a look
 * the watch begins anew. The stamps in the records are not compared with a present time: they are wall
 * clocks of leaders, and one that is an hour ahead would bury everybody.
 *
 * What groups remember of closed ids goes when the floor, told to all by whoever looks, passes them: ids
 * rise, so those below the lowest record, and below one's own, are over.
 */
#include <uthash.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"
#include "txn/tsm.h"

#define FLOOR_STEP 64u	 /* ids: the floor is told when it has moved so far */
#define PAGE	   1024u /* records of a scan */
#define GRAVES_MAX 16u	 /* at a time */
#define BURY_NS	   (10 * NS_PER_S)

struct kv_watched { /* somebody's session */
	uint64_t id;
	uint64_t renewed;  /* as seen last, */
	uint64_t since_ns; /* and for the first time then: mono */
	uint64_t look;	   /* the last one that met it */
	UT_hash_handle hh;
};

struct grave {
	uint64_t id, renewed;
};

struct look { /* one walk over all records */
	struct kv_client *c;
	uint64_t gap_ns;	   /* since the last one: who watches may have been away */
	uint64_t asked_ns, now_ns; /* when the page was asked for, and was there: mono */
	uint64_t lowest; /* id; 0: there is none */
	uint64_t shortest_ns; /* patience */
	struct grave graves[GRAVES_MAX];
	uint32_t count;
};

/* After so long a silence it is closed; a record from before that was said has its name there. */
static uint64_t patience(struct slice record)
{
	uint64_t ns = record.len < SESSION_HEAD ? 0 : le64_get(record.p + SESSION_HEAD_OLD);

	return ns < KV_SESSION_NS_MIN || ns > KV_SESSION_NS_MAX ? KV_SESSION_NS_DEFAULT : ns;
}

static struct kv_watched *watched(struct kv_client *c, uint64_t id)
{
	struct kv_watched *w = NULL;

	HASH_FIND(hh, c->watched, &id, sizeof(id), w);
	if (!w) {
		w = mem_must_alloc(sizeof(*w));
		w->id = id;
		HASH_ADD(hh, c->watched, id, sizeof(w->id), w);
	}
	return w;
}

static void meet(struct look *k, uint64_t id, struct slice record)
{
	uint64_t renewed = le64_get(record.p), ns = patience(record);
	struct kv_client *c = k->c;
	struct kv_watched *w = watched(c, id);

	if (!k->lowest)
		k->lowest = id;
	if (ns < k->shortest_ns)
		k->shortest_ns = ns;
	if (w->look == 0 || w->renewed != renewed || k->gap_ns > ns / 2) {
		w->renewed = renewed;
		w->since_ns = k->now_ns;
	}
	w->look = c->looks;
	if (k->asked_ns >= w->since_ns + ns && id != c->id && k->count < GRAVES_MAX)
		k->graves[k->count++] = (struct grave){id, renewed};
}

/* A page of records behind @after. *last: the id of the last one; more: there are further ones. */
static int look_page(struct look *k, uint64_t after, uint64_t *last, bool *more)
{
	struct buf from = BUF_INIT, to = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	kv__session_key(&from, after + 1);
	kv__session_key(&to, UINT64_MAX);
	txn_scan(&m, buf_slice(&from), buf_slice(&to), PAGE);
	k->asked_ns = env_mono_ns(k->c->cfg.env);
	err = kv__exec_as(k->c, &m, k->c->id, kv__deadline(k->c), &r);
	k->now_ns = env_mono_ns(k->c->cfg.env);
	for (uint32_t i = 0; !err && i < r.reads[0].item_count; i++) {
		const struct txn_item *it = &r.reads[0].items[i];

		if (it->key.len != from.len) { /* no key of this range */
			err = ERR_PROTO;
			break;
		}
		*last = be64_get(it->key.p + it->key.len - 8);
		if (it->value.len >= SESSION_HEAD_OLD)
			meet(k, *last, it->value);
	}
	*more = !err && r.reads[0].more && r.reads[0].item_count > 0;
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&from);
	buf_release(&to);
	return err;
}

static void forget(struct kv_client *c, bool all)
{
	struct kv_watched *w, *next;

	HASH_ITER(hh, c->watched, w, next) {
		if (!all && w->look == c->looks)
			continue;
		HASH_DEL(c->watched, w);
		mem_free(w);
	}
}

void kv__bury_release(struct kv_client *c)
{
	forget(c, true);
}

static int look_at_all(struct look *k)
{
	uint64_t last = 0, begin_ns = env_mono_ns(k->c->cfg.env);
	bool more = true;
	int err = 0;

	k->gap_ns = begin_ns - k->c->looked_ns;
	k->shortest_ns = UINT64_MAX;
	k->c->looks++;
	while (!err && more && !k->c->closing)
		err = look_page(k, last, &last, &more);
	if (!err && !more) {
		forget(k->c, false); /* those who are not there any more */
		k->c->looked_ns = begin_ns;
		k->c->shortest_ns = k->shortest_ns;
	}
	return err;
}

/* An id that was issued and has no record yet may fall below: its opener is refused, and takes
 * another. */
static void raise_floor(struct kv_client *c, uint64_t lowest, const uint32_t *groups, uint32_t n)
{
	struct buf command = BUF_INIT;

	if (lowest > c->id)
		lowest = c->id;
	if (lowest < c->floor_told + FLOOR_STEP)
		return;
	tsm_command_floor(&command, lowest);
	if (buf_ok(&command) && kv__tell_all(c, buf_slice(&command), groups, n,
					     env_mono_ns(c->cfg.env) + BURY_NS) == 0)
		c->floor_told = lowest;
	buf_release(&command);
}

void kv__bury_dead(struct kv_client *c)
{
	struct look k = {.c = c};
	uint32_t *groups = mem_must_alloc(sizeof(uint32_t) * GROUPS_MAX);
	uint32_t n = kv__list_groups(c, NULL, groups);

	if (look_at_all(&k) == 0)
		raise_floor(c, k.lowest, groups, n);
	for (uint32_t i = 0; i < k.count && !c->closing; i++) {
		uint64_t deadline = env_mono_ns(c->cfg.env) + BURY_NS;

		if (kv__session_end(c, k.graves[i].id, groups, n, deadline) == 0)
			(void)kv__session_delete(c, k.graves[i].id, k.graves[i].renewed);
		/* else next time */
	}
	mem_free(groups);
}
