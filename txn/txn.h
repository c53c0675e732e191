/* Transactions as clients see them: mini-transactions, their results, their wire form.
 *
 * A mini-transaction (Aguilera et al., "Sinfonia", SOSP 2007, section 2) is a list of conditions,
 * reads and mutations over any keys of any groups, checked and applied atomically: if every
 * condition holds, all reads are done, then all mutations; else nothing, and the result names the
 * first condition that failed with the current value. Mutations of one key apply in list order,
 * each seeing the one before. Reads see the state before the mutations. See README.md.
 */
#ifndef PAXFS_TXN_TXN_H
#define PAXFS_TXN_TXN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/limits.h"

/* Stored keys have the shape place(2) | number(8) | kind(1) | rest; transactions need to know only
 * that, for references. place = bits 62-48 of the number for most kinds. */
#define TXN_KEY_HEAD	   11u /* bytes before the rest */
#define TXN_KEY_KIND_BLOCK 'B' /* lives in the engine's block table */

/* A fixed-width little-endian field of a record. */
struct txn_field {
	uint16_t offset; /* bytes into the value */
	uint16_t width;	 /* 1, 2, 4 or 8 for ADD and MAX; 8 for TOUCH; any for SET and FIELD */
	bool commutes;	 /* FIELD only: ADD, MAX or TOUCH may change this field: the lock is S, not E */
};

enum txn_cond_kind {
	TXN_EXISTS = 1,
	TXN_ABSENT,
	TXN_VERSION,	 /* version == number (0 means absent) */
	TXN_FIELD,	 /* the field's bytes == value */
	TXN_FIELD_MIN,	 /* the field, unsigned, >= number (nlink > 0) */
	TXN_RANGE_EMPTY, /* [key, to) */
	TXN_RANGE_SAME,	 /* [key, to): count keys whose txn_range_hash is number */
};

struct txn_cond {
	enum txn_cond_kind kind;
	struct slice key, to;
	struct txn_field field;
	uint64_t number;
	uint32_t count;
	struct slice value;
};

enum txn_read_kind {
	TXN_GET = 1,
	TXN_GET_REF, /* the key is made from an 8-byte little-endian number at `offset` in the value
		      * that read `from` returned: place(number) | number | ref_kind | suffix.
		      * `from` must be an earlier read of the same mini-transaction. Absent when
		      * that one is absent; status ERR_ELSEWHERE when another group owns the key. */
	TXN_SCAN,    /* [key, to), at most `limit` items and about REPLY_SIZE_MAX / 2 bytes */
	TXN_SCAN_REF, /* as SCAN, and for each item the record that the number at `offset` in its
		       * value refers to (ref_kind, suffix), if this group owns it */
	TXN_SCAN_KEYS, /* as SCAN, but the items have no values: for ranges of large ones. The store
			* reads them all the same: ends after about TXN_SCAN_PASSED_MAX bytes of them */
};

struct txn_read {
	enum txn_read_kind kind;
	struct slice key, to;
	uint32_t limit;
	uint32_t from;
	uint16_t offset;
	uint8_t ref_kind;
	struct slice suffix;
};

enum txn_mut_kind {
	TXN_PUT = 1,
	TXN_DELETE, /* absent is fine */
	TXN_DELETE_RANGE, /* [key, to), at most TXN_SCAN_ITEMS_MAX keys in one go: the rest stays, the
			   * result's number (see txn_result.numbers) is how many were deleted */
	TXN_PATCH,  /* write value at `number` bytes in; absent starts from zeros; extends */
	TXN_CUT,    /* shorten the value to `number` bytes if it is longer; absent is fine */
	TXN_OR,	    /* bitwise OR value into the record at offset 0, extending (stripe bitmaps) */
	TXN_ADD,    /* field += number (two's complement); result returned only if want_result */
	TXN_MAX,    /* field = max(field, number), unsigned */
	TXN_SET,    /* field = value */
	TXN_TOUCH,  /* an automatic time, in an 8-byte field: max(field, min(stamp, number)); but a
		     * field beyond the group's clock has been set by hand, and gives way (README.md,
		     * "Time") */
};

struct txn_mut {
	enum txn_mut_kind kind;
	struct slice key, to;
	struct txn_field field;
	uint64_t number;
	bool now;	  /* SET (8-byte field): the operand is the execution stamp, ns; MAX too, but
			   * only in entries that older versions have logged */
	bool want_result; /* ADD: return the new value (takes X instead of I) */
	struct slice value;
};

/* Lists of a mini-transaction. All slices passed to the add functions are copied into the arena,
 * except by txn_put_ref / txn_patch_ref, whose value must live until the execution returns. Adding
 * beyond TXN_*_MAX or without memory sets `err`, which the executor returns. */
struct txn_arena_chunk;
struct txn_mini {
	struct txn_cond *conds;
	struct txn_read *reads;
	struct txn_mut *muts;
	uint32_t cond_count, cond_cap, read_count, read_cap, mut_count, mut_cap;
	struct txn_arena_chunk *arena;
	int err;
};

void txn_mini_init(struct txn_mini *m); /* allocates nothing */
void txn_mini_reset(struct txn_mini *m); /* empties, keeps some memory */
void txn_mini_release(struct txn_mini *m);

/* Conditions: each returns its index. */
uint32_t txn_if_exists(struct txn_mini *m, struct slice key);
uint32_t txn_if_absent(struct txn_mini *m, struct slice key);
uint32_t txn_if_version(struct txn_mini *m, struct slice key, uint64_t version);
uint32_t txn_if_field(struct txn_mini *m, struct slice key, struct txn_field f, struct slice value);
uint32_t txn_if_field_u64(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t value);
uint32_t txn_if_field_min(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t min);
uint32_t txn_if_range_empty(struct txn_mini *m, struct slice from, struct slice to);
uint32_t txn_if_range_same(struct txn_mini *m, struct slice from, struct slice to, uint32_t count,
			   uint64_t hash);
/* Reads: each returns its index. */
uint32_t txn_get(struct txn_mini *m, struct slice key);
uint32_t txn_get_ref(struct txn_mini *m, uint32_t from, uint16_t offset, uint8_t kind,
		     struct slice suffix);
uint32_t txn_scan(struct txn_mini *m, struct slice from, struct slice to, uint32_t limit);
uint32_t txn_scan_keys(struct txn_mini *m, struct slice from, struct slice to, uint32_t limit);
uint32_t txn_scan_ref(struct txn_mini *m, struct slice from, struct slice to, uint32_t limit,
		      uint16_t offset, uint8_t kind, struct slice suffix);
/* Mutations: each returns its index. */
uint32_t txn_put(struct txn_mini *m, struct slice key, struct slice value);
uint32_t txn_put_ref(struct txn_mini *m, struct slice key, struct slice value);
uint32_t txn_delete(struct txn_mini *m, struct slice key);
uint32_t txn_delete_range(struct txn_mini *m, struct slice from, struct slice to);
uint32_t txn_patch(struct txn_mini *m, struct slice key, uint64_t offset, struct slice value);
uint32_t txn_patch_ref(struct txn_mini *m, struct slice key, uint64_t offset, struct slice value);
uint32_t txn_cut(struct txn_mini *m, struct slice key, uint64_t size);
uint32_t txn_or(struct txn_mini *m, struct slice key, struct slice bits);
uint32_t txn_add(struct txn_mini *m, struct slice key, struct txn_field f, int64_t n,
		 bool want_result);
uint32_t txn_max(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t n);
uint32_t txn_touch(struct txn_mini *m, struct slice key, struct txn_field f); /* now: the stamp */
uint32_t txn_touch_at(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t ns);
uint32_t txn_set(struct txn_mini *m, struct slice key, struct txn_field f, struct slice value);
uint32_t txn_set_u64(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t value);
uint32_t txn_set_now(struct txn_mini *m, struct slice key, struct txn_field f);

/* ---- results ---- */

struct txn_value {
	int status; /* 0, ERR_NOT_FOUND, ERR_ELSEWHERE (references), ERR_CORRUPT */
	uint64_t version;
	struct slice value; /* borrowed from the result */
};

struct txn_item { /* of a scan */
	struct slice key;
	uint64_t version;
	struct slice value;
	struct txn_value ref; /* SCAN_REF; else status ERR_NOT_FOUND */
};

struct txn_read_result {
	struct txn_value value; /* GET, GET_REF */
	struct txn_item *items; /* SCAN */
	uint32_t item_count;
	bool more; /* the range has further keys: go on behind the last item */
};

struct txn_result {
	int status;	       /* 0, ERR_CONDITION, ERR_ABSENT_RECORD, ERR_BAD_FIELD, ERR_NOSPACE,
				* ERR_ABORTED, ERR_DEADLOCK, ERR_BUSY, ERR_WRONG_SHARD, ... */
	uint32_t failed;       /* index of the condition (ERR_CONDITION) or mutation that failed */
	struct txn_value current; /* of the failed condition's key */
	uint64_t stamp;	       /* commit timestamp, ns; 0 if nothing was written */
	struct txn_read_result *reads; /* read_count of the mini-transaction, in its order */
	uint32_t read_count;
	uint64_t *numbers;     /* per mutation: ADD with want_result, DELETE_RANGE; else 0 */
	uint32_t mut_count;
	struct buf bytes;      /* what the slices point into; owned */
};

void txn_result_init(struct txn_result *r);
void txn_result_release(struct txn_result *r);

/* Order-dependent hash over (key, version) pairs for RANGE_SAME; start with 0. */
uint64_t txn_range_hash(uint64_t h, struct slice key, uint64_t version);

/* ---- splitting and wire form ---- */

/* The part of a mini-transaction that concerns one group; items keep their index in the whole. */
typedef int txn_route_fn(void *ctx, struct slice key, struct slice to, uint32_t *group);

struct txn_part {
	uint32_t group;
	struct buf body; /* encoded; owned */
	bool writes;
};

/* Cuts @m by group (ranges must not cross groups: the router answers ERR_ELSEWHERE for that and the
 * caller splits the scan). GET_REF and SCAN_REF go with the read they refer to. @parts: room for
 * TXN_GROUPS_MAX; ERR_TOO_BIG when more groups or a part above COMMAND_SIZE_MAX. */
int txn_split(const struct txn_mini *m, txn_route_fn *route, void *ctx, struct txn_part *parts,
	      uint32_t *part_count);
void txn_parts_release(struct txn_part *parts, uint32_t count);

/* Results of parts, as encoded by the state machine, are merged back into one. */
void txn_result_prepare(struct txn_result *r, const struct txn_mini *m);
int txn_result_merge(struct txn_result *r, struct slice part_reply); /* ERR_PROTO, ERR_NOMEM */

/* ---- who executes ---- */

/* Anything that executes mini-transactions for fiber code: the routing client of kv/, or a test's
 * in-memory one. exec blocks the fiber and retries what can be retried (leader changes, stale maps,
 * deadlock aborts) with exactly-once effect. Returns r->status, or ERR_TIMEOUT, ERR_INTERRUPTED (then
 * the effect is unknown only if it wrote), ERR_SESSION (the session had ended: no effect, and the next
 * call goes under a new one), ERR_OUTCOME (it ended meanwhile: the effect is unknown), ERR_UNREACHABLE,
 * ERR_TOO_BIG. */
struct txn_lock { /* a lock transaction, named by its executor */
	uint64_t session; /* whose it is, where there are sessions */
	uint64_t sequence;
	uint32_t home_len;
	uint8_t home[KEY_SIZE_MAX]; /* its home key */
};

struct txn_executor {
	int (*exec)(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r);

	/* The rest is for interactive transactions that fall back to locks; NULL: never. */

	/* Takes the locks that @m would need, checking and changing nothing (tsm_request.lock_only;
	 * home key: the first mutation's, else the first read's). Blocks; retries as exec does. */
	int (*lock)(struct txn_executor *x, const struct txn_mini *m, struct txn_lock *lock);
	/* As exec, under these locks (tsm_request.lock), with the lock's home key as home key (@m
	 * reads it, so that its group has a part). Always as a request, never as a local read. The
	 * locks end with it, unless it returns before it was decided. */
	int (*exec_locked)(struct txn_executor *x, const struct txn_mini *m,
			   const struct txn_lock *lock, struct txn_result *r);
	/* Gives them up (CANCEL of the lock transaction); does not wait. */
	void (*unlock)(struct txn_executor *x, const struct txn_lock *lock);
};

static inline int txn_exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r)
{
	return x->exec(x, m, r);
}

/* ---- interactive transactions (client half) ----
 *
 * begin, then get / scan / put / delete in any order, then commit. Optimistic: reads remember
 * versions (absence too, scans as RANGE_SAME), own writes are seen, commit is one mini-transaction
 * with them as conditions. ERR_CONDITION from commit: a conflict; the caller runs it again, giving
 * the old object to txn_retry, which after TXN_OPTIMISTIC_TRIES conflicts locks the keys that the
 * last try used up front. */
#define TXN_OPTIMISTIC_TRIES 3u

struct txn_interactive;
struct txn_interactive *txn_begin(struct txn_executor *x);
int txn_i_get(struct txn_interactive *t, struct slice key, struct buf *value, uint64_t *version);
typedef bool txn_scan_fn(void *ctx, struct slice key, struct slice value); /* false: stop */
int txn_i_scan(struct txn_interactive *t, struct slice from, struct slice to, uint32_t limit,
	       txn_scan_fn *fn, void *ctx);
int txn_i_put(struct txn_interactive *t, struct slice key, struct slice value);
int txn_i_delete(struct txn_interactive *t, struct slice key);
int txn_commit(struct txn_interactive *t, uint64_t *stamp);
int txn_retry(struct txn_interactive *t);      /* after a conflict: forget reads and writes */
void txn_rollback(struct txn_interactive *t); /* and free; takes NULL; also after commit */

#endif
