/* See sim_fs_locks.h. */
#include "tests/sim/sim_fs_locks.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_fs_holds.h"

#define INTERRUPT_MAX_NS (2 * NS_PER_S)
#define HOLD_MAX_NS	 (20 * NS_PER_MS) /* between reading and writing */

static uint64_t inos[FSIM_LOCK_FILES];

enum { AS_FLOCK, AS_POSIX, AS_DESCRIPTION, OWNERS };

struct fsim_locker { /* a worker, as owner of locks */
	struct fsim_owner owners[OWNERS];
	struct fs_lock_wait wait;
	bool interruptible;
};

static struct fsim_locker *locker_of(struct fsim_worker *w)
{
	if (w->locker)
		return w->locker;
	w->locker = mem_must_alloc(sizeof(*w->locker));
	for (unsigned i = 0; i < OWNERS; i++)
		w->locker->owners[i] = (struct fsim_owner){
			.mount = w->m->incarnation,
			.session = fs_session(w->m->fs),
			.number = (uint64_t)w->id * OWNERS + i + 1,
			.kind = i == AS_FLOCK ? FS_LOCK_FLOCK : FS_LOCK_POSIX,
			.no_cycle = i == AS_DESCRIPTION,
		};
	return w->locker;
}

static bool holds_any(const struct fsim_owner *o)
{
	for (unsigned f = 0; f < FSIM_LOCK_FILES; f++)
		for (unsigned s = 0; s < FSIM_LOCK_SLOTS; s++)
			if (o->now[f][s])
				return true;
	return false;
}

/* Only circles of POSIX locks are found: nobody makes others. */
static bool may_wait(struct fsim_locker *l, const struct fsim_owner *o)
{
	for (unsigned i = 0; i < OWNERS; i++)
		if (holds_any(&l->owners[i]) && (i != AS_POSIX || o != &l->owners[AS_POSIX]))
			return false;
	return true;
}

/* ---- taking and giving up ---- */

static struct fs_lock lock_for(const struct fsim_owner *o, const struct fsim_lock_want *q)
{
	bool flock = o->kind == FS_LOCK_FLOCK;

	return (struct fs_lock){
		.kind = o->kind,
		.mode = q->mode,
		.no_cycle = o->no_cycle,
		.pid = (uint32_t)o->number,
		.owner = o->number,
		.start = flock ? 0 : q->first * FSIM_LOCK_SLOT_BYTES,
		.end = flock || q->last == FSIM_LOCK_SLOTS - 1
			       ? UINT64_MAX
			       : (q->last + 1) * FSIM_LOCK_SLOT_BYTES - 1,
	};
}

static int set_lock(struct fsim_worker *w, struct fsim_owner *o, const struct fsim_lock_want *q)
{
	struct fsim_locker *l = locker_of(w);
	struct fs_lock lock = lock_for(o, q);
	struct fsim_lock_change ch;
	int err;

	l->wait = (struct fs_lock_wait){.waiting = false};
	l->interruptible = sim_chance(500000);
	fsim__hold_begin(&ch, o, q);
	fsim__other_begin(w);
	err = fs_lock_set(w->m->fs, inos[q->file], &lock, q->wait ? &l->wait : NULL);
	fiber_interrupt_clear();
	fsim__other_end(w, err);
	if (w->m->lost && !err)
		err = ERR_SESSION; /* what it had before, others may believe alive for a while */
	fsim__hold_end(&ch, err);
	return err;
}

static int acquire(struct fsim_worker *w, struct fsim_owner *o, struct fsim_lock_want *q)
{
	q->file = (unsigned)sim_below(FSIM_LOCK_FILES);
	q->first = o->kind == FS_LOCK_FLOCK ? 0 : (unsigned)sim_below(FSIM_LOCK_SLOTS);
	q->last = q->first;
	if (o->kind == FS_LOCK_POSIX && sim_chance(300000))
		q->last = (unsigned)sim_between(q->first, FSIM_LOCK_SLOTS - 1);
	q->mode = sim_chance(650000) ? FS_LOCK_EXCLUSIVE : FS_LOCK_SHARED;
	q->wait = sim_chance(500000) && may_wait(locker_of(w), o);
	return set_lock(w, o, q);
}

/* Part of what it holds of a file, or all; of a range that it may not hold at all, too. */
static void give_up(struct fsim_worker *w, struct fsim_owner *o, unsigned file)
{
	struct fsim_lock_want q = {.file = file, .last = FSIM_LOCK_SLOTS - 1, .mode = FS_LOCK_NONE};

	if (o->kind == FS_LOCK_FLOCK)
		q.last = 0;
	else if (sim_chance(500000)) {
		q.first = (unsigned)sim_below(FSIM_LOCK_SLOTS);
		q.last = (unsigned)sim_between(q.first, FSIM_LOCK_SLOTS - 1);
	}
	(void)set_lock(w, o, &q);
}

/* At close(2). */
static void release(struct fsim_worker *w, struct fsim_owner *o, unsigned file)
{
	struct fsim_lock_want q = {.file = file, .last = FSIM_LOCK_SLOTS - 1, .mode = FS_LOCK_NONE};
	struct fsim_lock_change ch;
	int err;

	fsim__hold_begin(&ch, o, &q);
	fsim__other_begin(w);
	err = fs_lock_release(w->m->fs, inos[file], o->kind, o->number);
	fiber_interrupt_clear();
	fsim__other_end(w, err);
	if (w->m->lost && !err)
		err = ERR_SESSION; /* what it had before, others may believe alive for a while */
	fsim__hold_end(&ch, err);
}

static void ask(struct fsim_worker *w, struct fsim_owner *o)
{
	struct fsim_lock_want q = {.file = (unsigned)sim_below(FSIM_LOCK_FILES),
				   .mode = sim_chance(500000) ? FS_LOCK_EXCLUSIVE : FS_LOCK_SHARED};
	uint64_t begin = sim_now();
	struct fs_lock lock, found;
	int err;

	if (o->kind == FS_LOCK_POSIX)
		q.last = q.first = (unsigned)sim_below(FSIM_LOCK_SLOTS);
	lock = lock_for(o, &q);
	fsim__other_begin(w);
	err = fs_lock_get(w->m->fs, inos[q.file], &lock, &found);
	fiber_interrupt_clear();
	fsim__other_end(w, err);
	if (err && !fsim__is_outage(err))
		sim_violation("asking for a lock: %s", err_text(err));
	if (!err)
		fsim__hold_told(o, &q, begin, &found);
}

/* ---- counters ---- */

static int read_counter(struct fsim_worker *w, struct fs_file *f, unsigned file, unsigned counter,
			uint64_t *value)
{
	struct fsim_call *c = fsim__call_of(w, CALL_READ);
	struct buf b = BUF_INIT;
	int err;

	c->ino = inos[file];
	fsim__run(w, c);
	err = fs_read(f, 0, FSIM_READ_MAX, &b);
	*value = 0;
	if (!err && b.len >= 8 * (counter + 1))
		*value = le64_get(b.data + 8 * counter);
	if (!err)
		c->out = slice_of(mem_must_dup(b.data, b.len), b.len);
	buf_release(&b);
	fsim__end(w, c, err);
	return err;
}

static void write_counter(struct fsim_worker *w, struct fs_file *f, unsigned file, unsigned counter,
			  uint64_t value)
{
	struct fsim_call *c = fsim__call_of(w, CALL_WRITE);
	uint8_t *p = mem_must_alloc(8);

	le64_put(p, value);
	c->ino = inos[file];
	c->offset = 8 * counter;
	c->data = slice_of(p, 8);
	c->counter = 1 + file * FSIM_COUNTERS + counter;
	fsim__run(w, c);
	fsim__end(w, c, fs_write(f, c->offset, c->data, &c->end));
}

static void raise_counter(struct fsim_worker *w, const struct fsim_owner *o, unsigned file,
			  unsigned slot)
{
	unsigned counter = o->kind == FS_LOCK_FLOCK ? FSIM_LOCK_SLOTS : slot;
	struct fs_file *f;
	uint64_t value;

	if (!fsim__hold_sure(o->now[file][slot], FS_LOCK_EXCLUSIVE) ||
	    fs_file_open(w->m->fs, inos[file], FS_O_READ | FS_O_WRITE, &f) != 0)
		return;
	if (read_counter(w, f, file, counter, &value) == 0) {
		(void)fiber_sleep(sim_between(0, HOLD_MAX_NS));
		write_counter(w, f, file, counter, value + 1);
	}
	fs_file_close(f);
}

/* ---- what workers do ---- */

static void raise_some(struct fsim_worker *w, const struct fsim_owner *o)
{
	for (unsigned f = 0; f < FSIM_LOCK_FILES; f++)
		for (unsigned s = 0; s < FSIM_LOCK_SLOTS; s++)
			if (o->now[f][s] && sim_chance(600000))
				raise_counter(w, o, f, s);
}

static void take_and_raise(struct fsim_worker *w, struct fsim_owner *o)
{
	struct fsim_lock_want q = {.file = 0};

	if (acquire(w, o, &q) != 0)
		return;
	if (sim_chance(800000))
		raise_counter(w, o, q.file, q.first);
	if (sim_chance(600000))
		release(w, o, q.file);
}

void fsim__locks_call(struct fsim_worker *w)
{
	struct fsim_locker *l = locker_of(w);
	struct fsim_owner *o = &l->owners[sim_below(OWNERS)];
	struct fsim_lock_want q;

	switch (sim_below(10)) {
	case 0:
		ask(w, o);
		break;
	case 1:
	case 2:
		(void)acquire(w, o, &q);
		break;
	case 3:
		give_up(w, o, (unsigned)sim_below(FSIM_LOCK_FILES));
		break;
	case 4:
		release(w, o, (unsigned)sim_below(FSIM_LOCK_FILES));
		break;
	case 5:
		raise_some(w, o);
		break;
	default:
		take_and_raise(w, o);
	}
}

void fsim__locks_end(struct fsim_worker *w)
{
	struct fsim_locker *l = w->locker;

	for (unsigned i = 0; l && i < OWNERS; i++)
		for (unsigned f = 0; f < FSIM_LOCK_FILES; f++)
			release(w, &l->owners[i], f);
}

void fsim__locks_interrupt(struct fsim_mount *m)
{
	while (m->fibers_left > 1) {
		struct fsim_worker *w = &m->workers[sim_below(fsim_cfg.fibers)];
		struct fsim_locker *l = w->locker;

		if (l && l->wait.waiting && l->interruptible)
			fs_lock_interrupt(&l->wait);
		(void)fiber_sleep(sim_between(NS_PER_MS, INTERRUPT_MAX_NS));
	}
}

int fsim__locks_make(struct fsim_worker *w)
{
	for (unsigned i = 0; i < FSIM_LOCK_FILES; i++) {
		inos[i] = fsim__make_file(w, NAME_L0 + i);
		if (!inos[i])
			return ERR_NOT_FOUND;
	}
	return 0;
}

/* ---- judging counters ---- */

static int by_stamp(const void *a, const void *b)
{
	const struct fsim_call *x = *(struct fsim_call *const *)a, *y = *(struct fsim_call *const *)b;

	return x->stamp < y->stamp ? -1 : x->stamp > y->stamp;
}

/* Nobody raises it from a value that another one has raised meanwhile. Only a write that was given up
 * may come later, when its lock is another's. */
static void judge_counters(struct fsim_call *const *list, size_t n)
{
	uint64_t values[1 + FSIM_LOCK_FILES * FSIM_COUNTERS] = {0};

	for (size_t i = 0; i < n; i++) {
		const struct fsim_call *c = list[i];
		uint64_t value = le64_get(c->data.p);
		bool given_up = c->return_ns != FSIM_NEVER && fsim__is_outage(c->err);

		if (!given_up && value != values[c->counter] + 1)
			sim_violation("counter %u was raised to %llu, from %llu, under a lock: %s",
				      c->counter, (unsigned long long)value,
				      (unsigned long long)values[c->counter], fsim__text(c));
		values[c->counter] = value;
	}
}

uint64_t fsim__locks_judge(void)
{
	struct fsim_call **list = mem_must_alloc((fsim_call_count + 1) * sizeof(*list));
	size_t n = 0;

	for (uint32_t i = 0; i < fsim_call_count; i++)
		if (fsim_calls[i]->counter && fsim_calls[i]->stamp)
			list[n++] = fsim_calls[i];
	qsort(list, n, sizeof(*list), by_stamp);
	judge_counters(list, n);
	mem_free(list);
	sim_trace("locks: %zu times a counter was raised; %llu answers judged", n,
		  (unsigned long long)fsim__holds_judged());
	return n + fsim__holds_judged();
}
