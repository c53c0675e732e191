/* The table of locks that follows from the answers; what contradicts it is a violation. */
#include "tests/sim/sim_fs_holds.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_fs_locks.h"

#define MOUNTS_MAX (1u << 16)
#define CIRCLE_MAX 8u /* owners */

struct fsim_hold {
	struct fsim_hold *next;
	const struct fsim_owner *by;
	uint8_t mode;
	uint64_t from_ns, sure_ns; /* FSIM_NEVER: perhaps it never was */
	uint64_t unsure_ns, to_ns; /* FSIM_NEVER: not yet */
};

struct fsim_wait {
	struct fsim_wait *next;
	const struct fsim_owner *by;
	struct fsim_lock_want want;
	uint64_t from_ns, to_ns;
};

static struct fsim_hold *table[FSIM_LOCK_FILES][FSIM_LOCK_SLOTS][FS_LOCK_POSIX + 1];
static struct fsim_wait *waits; /* for POSIX locks, but those of descriptions */
static uint64_t sessions[MOUNTS_MAX], closed_ns[MOUNTS_MAX], fenced_ns[MOUNTS_MAX];
static uint32_t last_mount;
static uint64_t judged;

/* ---- sessions ---- */

void fsim__locks_session(uint32_t mount, uint64_t session)
{
	CHECK(mount < MOUNTS_MAX);
	sessions[mount] = session;
	if (mount > last_mount)
		last_mount = mount;
}

void fsim__locks_closed(uint64_t session)
{
	for (uint32_t i = 1; i <= last_mount; i++)
		if (sessions[i] == session && session && !closed_ns[i])
			closed_ns[i] = sim_now();
}

uint64_t fsim__locks_closed_at(uint32_t mount)
{
	return closed_ns[mount] ? closed_ns[mount] : FSIM_NEVER;
}

/* A mount whose locks another one has got. */
static void fence(uint32_t mount)
{
	if (fenced_ns[mount])
		return;
	fenced_ns[mount] = sim_now();
	sim_trace("the mount that was the %u. has lost a lock: its session is over", mount);
}

/* Under the mount's next session it may be: what was begun under the one that ended, without locks. */
void fsim__locks_committed(const struct fsim_call *c, uint64_t session)
{
	if (fenced_ns[c->mount] && session == sessions[c->mount])
		sim_violation("a change was carried out, though another mount got a lock of this one "
			      "at %.6f: %s",
			      (double)fenced_ns[c->mount] / NS_PER_S, fsim__text(c));
}

/* ---- holds ---- */

static struct fsim_hold *hold_add(const struct fsim_owner *o, unsigned file, unsigned slot, uint8_t mode,
				  uint64_t sure_ns)
{
	struct fsim_hold *h = mem_must_alloc(sizeof(*h));

	*h = (struct fsim_hold){.next = table[file][slot][o->kind],
				.by = o,
				.mode = mode,
				.from_ns = sim_now(),
				.sure_ns = sure_ns,
				.unsure_ns = FSIM_NEVER,
				.to_ns = FSIM_NEVER};
	table[file][slot][o->kind] = h;
	return h;
}

bool fsim__hold_sure(const struct fsim_hold *h, uint8_t mode)
{
	return h && h->mode == mode && h->sure_ns != FSIM_NEVER && h->unsure_ns == FSIM_NEVER;
}

static bool conflict(const struct fsim_hold *h, const struct fsim_owner *o, uint8_t mode)
{
	return h->by != o && (h->mode == FS_LOCK_EXCLUSIVE || mode == FS_LOCK_EXCLUSIVE);
}

static bool sure_at(const struct fsim_hold *h, uint64_t from_ns, uint64_t to_ns)
{
	return h->sure_ns <= from_ns && h->unsure_ns > to_ns;
}

static bool perhaps_at(const struct fsim_hold *h, uint64_t from_ns, uint64_t to_ns)
{
	return h->from_ns <= to_ns && h->to_ns >= from_ns;
}

/* It is @o's from now on. */
static void judge_granted(const struct fsim_owner *o, unsigned file, unsigned slot, uint8_t mode)
{
	const struct fsim_hold *h;

	judged++;
	if (closed_ns[o->mount])
		return;
	for (h = table[file][slot][o->kind]; h; h = h->next) {
		if (!conflict(h, o, mode) || !sure_at(h, sim_now(), sim_now()))
			continue;
		if (h->by->mount != o->mount && closed_ns[h->by->mount]) {
			fence(h->by->mount);
			continue;
		}
		sim_violation("two hold a lock (kind %u, file %u, slot %u): mount %u, owner %llu, "
			      "mode %u, since %.6f; now mount %u, owner %llu, mode %u",
			      o->kind, file, slot, h->by->mount, (unsigned long long)h->by->number,
			      h->mode, (double)h->sure_ns / NS_PER_S, o->mount,
			      (unsigned long long)o->number, mode);
	}
}

static struct fsim_hold *surely(const struct fsim_owner *o, unsigned file, unsigned slot, uint8_t mode)
{
	if (mode == FS_LOCK_NONE)
		return NULL;
	judge_granted(o, file, slot, mode);
	return hold_add(o, file, slot, mode, sim_now());
}

/* ---- a change begins ---- */

static struct fsim_wait *wait_add(const struct fsim_owner *o, const struct fsim_lock_want *q)
{
	struct fsim_wait *w = mem_must_alloc(sizeof(*w));

	*w = (struct fsim_wait){
		.next = waits, .by = o, .want = *q, .from_ns = sim_now(), .to_ns = FSIM_NEVER};
	waits = w;
	return w;
}

static uint8_t weaker(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

/* What is held of a POSIX lock before and after is held all the while; of flock nothing is. */
static void begin_slot(struct fsim_lock_change *ch, unsigned slot)
{
	const struct fsim_lock_want *q = &ch->want;
	struct fsim_owner *o = ch->owner;
	struct fsim_hold *old = o->now[q->file][slot];
	uint8_t low;

	ch->old[slot] = old;
	if (old && fsim__hold_sure(old, q->mode))
		return;
	if (old) {
		low = o->kind == FS_LOCK_POSIX ? weaker(old->mode, q->mode) : FS_LOCK_NONE;
		if (low && fsim__hold_sure(old, old->mode))
			ch->during[slot] = hold_add(o, q->file, slot, low, sim_now());
		if (old->unsure_ns == FSIM_NEVER)
			old->unsure_ns = sim_now();
	}
	if (q->mode)
		ch->fresh[slot] = hold_add(o, q->file, slot, q->mode, FSIM_NEVER);
}

void fsim__hold_begin(struct fsim_lock_change *ch, struct fsim_owner *o, const struct fsim_lock_want *q)
{
	*ch = (struct fsim_lock_change){.owner = o, .want = *q, .begin_ns = sim_now()};
	for (unsigned s = q->first; s <= q->last; s++)
		begin_slot(ch, s);
	if (q->wait && o->kind == FS_LOCK_POSIX && !o->no_cycle)
		ch->wait = wait_add(o, q);
}

/* ---- it ends ---- */

static void end_well(struct fsim_lock_change *ch, unsigned slot)
{
	struct fsim_hold *fresh = ch->fresh[slot], *old = ch->old[slot];
	const struct fsim_lock_want *q = &ch->want;

	if (!fresh && q->mode) {
		judge_granted(ch->owner, q->file, slot, q->mode); /* it had it before */
		return;
	}
	if (old)
		old->to_ns = sim_now();
	if (fresh) {
		judge_granted(ch->owner, q->file, slot, q->mode);
		fresh->sure_ns = sim_now();
	}
	ch->owner->now[q->file][slot] = fresh;
}

/* Refused: it holds what it held. Without an answer: what both would have left it. Of flock nothing is
 * sure, and what was given up is gone for its owner, in any case. */
static void end_badly(struct fsim_lock_change *ch, unsigned slot, int err)
{
	struct fsim_hold *old = ch->old[slot], **now = &ch->owner->now[ch->want.file][slot];
	bool refused = err == ERR_WOULD_BLOCK || err == ERR_DEADLOCK;
	bool was = old && old->sure_ns != FSIM_NEVER;
	uint8_t left;

	if (old && old->unsure_ns == FSIM_NEVER)
		return; /* there was nothing to be done */
	if (ch->fresh[slot] && refused)
		ch->fresh[slot]->to_ns = sim_now();
	if (ch->want.mode == FS_LOCK_NONE || !old) {
		*now = NULL;
		return;
	}
	left = refused ? old->mode : weaker(old->mode, ch->want.mode);
	*now = was && ch->owner->kind == FS_LOCK_POSIX && err != ERR_SESSION
		       ? surely(ch->owner, ch->want.file, slot, left)
		       : hold_add(ch->owner, ch->want.file, slot, old->mode, FSIM_NEVER);
}

/* Somebody was in the way. */
static void judge_refused(const struct fsim_lock_change *ch)
{
	const struct fsim_lock_want *q = &ch->want;

	for (unsigned s = q->first; s <= q->last; s++)
		for (const struct fsim_hold *h = table[q->file][s][ch->owner->kind]; h; h = h->next)
			if (conflict(h, ch->owner, q->mode) && perhaps_at(h, ch->begin_ns, sim_now()))
				return;
	sim_violation("a lock was refused that nobody was in the way of: mount %u, owner %llu, file %u, "
		      "slots %u-%u, mode %u",
		      ch->owner->mount, (unsigned long long)ch->owner->number, q->file, q->first,
		      q->last, q->mode);
}

/* From @w on, is there a way to @target, all of which was there at one moment of [lo, hi]? */
static bool circle(const struct fsim_owner *target, const struct fsim_wait *w, uint64_t lo, uint64_t hi,
		   unsigned depth)
{
	for (unsigned s = w->want.first; s <= w->want.last; s++)
		for (const struct fsim_hold *h = table[w->want.file][s][FS_LOCK_POSIX]; h; h = h->next) {
			uint64_t a = h->from_ns > lo ? h->from_ns : lo;
			uint64_t b = h->to_ns < hi ? h->to_ns : hi;

			if (a > b || !conflict(h, w->by, w->want.mode))
				continue;
			if (h->by == target)
				return true;
			for (const struct fsim_wait *v = waits; v && depth < CIRCLE_MAX; v = v->next) {
				uint64_t c = v->from_ns > a ? v->from_ns : a;
				uint64_t d = v->to_ns < b ? v->to_ns : b;

				if (v->by == h->by && c <= d && circle(target, v, c, d, depth + 1))
					return true;
			}
		}
	return false;
}

static void judge_deadlock(const struct fsim_lock_change *ch)
{
	if (!ch->wait || !circle(ch->owner, ch->wait, ch->begin_ns, sim_now(), 1))
		sim_violation("a deadlock that was none: mount %u, owner %llu, file %u, slots %u-%u",
			      ch->owner->mount, (unsigned long long)ch->owner->number, ch->want.file,
			      ch->want.first, ch->want.last);
}

void fsim__hold_end(struct fsim_lock_change *ch, int err)
{
	const struct fsim_owner *o = ch->owner;
	const struct fsim_lock_want *q = &ch->want;

	sim_note("lock: mount %u owner %llu kind %u%s file %u slots %u-%u mode %u%s since %.6f: %s",
		 o->mount, (unsigned long long)o->number, o->kind,
		 o->no_cycle ? " of a description" : "", q->file, q->first, q->last, q->mode,
		 q->wait ? " waits" : "", (double)ch->begin_ns / NS_PER_S, err_name(err));
	judged++;
	if (err == ERR_WOULD_BLOCK && q->mode && !q->wait)
		judge_refused(ch);
	else if (err == ERR_DEADLOCK && q->mode)
		judge_deadlock(ch);
	else if (err && !fsim__is_outage(err))
		sim_violation("a lock call: %s: owner %llu of mount %u, file %u, mode %u", err_text(err),
			      (unsigned long long)o->number, o->mount, q->file, q->mode);
	if (ch->wait)
		ch->wait->to_ns = sim_now();
	for (unsigned s = q->first; s <= q->last; s++) {
		if (ch->during[s])
			ch->during[s]->unsure_ns = ch->during[s]->to_ns = sim_now();
		if (err)
			end_badly(ch, s, err);
		else
			end_well(ch, s);
	}
}

/* ---- F_GETLK ---- */

static bool names_it(const struct fsim_hold *h, const struct fs_lock *found, uint64_t begin_ns)
{
	return h->by->session == found->session && h->by->number == found->owner &&
	       h->mode == found->mode && perhaps_at(h, begin_ns, sim_now());
}

void fsim__hold_told(const struct fsim_owner *o, const struct fsim_lock_want *q, uint64_t begin_ns,
		     const struct fs_lock *found)
{
	judged++;
	if (closed_ns[o->mount])
		return;
	for (const struct fsim_hold *h = table[q->file][q->first][o->kind]; h; h = h->next) {
		if (!conflict(h, o, q->mode) || closed_ns[h->by->mount])
			continue;
		if (found->mode == FS_LOCK_NONE && sure_at(h, begin_ns, sim_now()))
			sim_violation("mount %u does not see the lock that owner %llu of mount %u has "
				      "held since %.6f (file %u, slot %u)",
				      o->mount, (unsigned long long)h->by->number, h->by->mount,
				      (double)h->sure_ns / NS_PER_S, q->file, q->first);
	}
	if (found->mode == FS_LOCK_NONE)
		return;
	for (const struct fsim_hold *h = table[q->file][q->first][o->kind]; h; h = h->next)
		if (conflict(h, o, q->mode) && names_it(h, found, begin_ns))
			return;
	sim_violation("mount %u is told of a lock that is none: kind %u, mode %u, session %llu, "
		      "owner %llu",
		      o->mount, found->kind, found->mode, (unsigned long long)found->session,
		      (unsigned long long)found->owner);
}

uint64_t fsim__holds_judged(void)
{
	return judged;
}
