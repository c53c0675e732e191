/* Lock queues and edge-chasing probes by way of coordinators (txn/tsm_locks.c, tsm_queue.c,
 * tsm_deadlock.c).
 *
 * Transactions 0 .. T-1, the larger the younger. Keys 0 and 1 are of group 0, keys 2 and 3 of group 1.
 * Each transaction wants some keys, all of them X, picked in init; its part in a group takes all of
 * its keys there at once, or stands in line. Messages are late, reordered or lost (LOSSES); a round of
 * probes of one initiator begins when nothing of its last one is under way.
 *
 * Every run ends (-l: no cycle), and then no transaction is left: so every deadlock is broken.
 *
 * What is left out, and why that is sound: README.md, "deadlock".
 */
#ifndef EARLY
#define EARLY 0		/* rounds that begin while other things are going on */
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#define T 3
#define GROUPS 2
#define AT(t, g) ((t) * GROUPS + (g))
#define W(t, g) ((g) == 0 -> (want[t] & 3) : (want[t] & 12))
#define P_(b) (1 << (b))

mtype = { TOCOME, WAITS, HOLDS, OVER };		/* a part */
mtype = { PREPARING, COMMIT, ABORT };		/* its coordinator */

byte want[T];
mtype part[6] = TOCOME;
byte place[6], places[GROUPS];
mtype cst[T] = PREPARING;

/* Messages of the round of one initiator: to the coordinator of h, or to a part; a bit per victim so
 * far. */
byte probe[9];			/* PROBE: initiator, holder */
byte probe_on[18];		/* PROBE_ON: initiator, part */
byte passed[T];			/* probes_seen: a bit per transaction that this round has passed */
bool cancel[T];			/* CANCEL */
byte early, losses, cancels, k;
#define TO(i, h) ((i) * T + (h))
#define ON(i, t, g) ((i) * T * GROUPS + AT(t, g))

/* tsm_locks.c: bars: a holder, or who stands before in line */
#ifdef MUTANT_ANY_WAITER
#define before(o, t, g) true
#else
#define before(o, t, g) (place[AT(o, g)] < place[AT(t, g)])
#endif
#define meets(o, t, g) ((o) != (t) && (W(o, g) & W(t, g)))
#define barred_by_holder(t, o, g) (meets(o, t, g) && part[AT(o, g)] == HOLDS)
#define real_waiter(t, o, g) (meets(o, t, g) && part[AT(o, g)] == WAITS && \
	place[AT(o, g)] < place[AT(t, g)])
#define bars(t, o, g) (barred_by_holder(t, o, g) || real_waiter(t, o, g))
#define barred(t, g) (bars(t, 0, g) || bars(t, 1, g) || bars(t, 2, g))

/* a waits for b, truly */
#define edge(a, b) ((part[AT(a, 0)] == WAITS && bars(a, b, 0)) || \
	(part[AT(a, 1)] == WAITS && bars(a, b, 1)))
#define n1(v) (((v) + 1) % T)
#define n2(v) (((v) + 2) % T)
#define in_cycle(v) ((edge(v, n1(v)) && edge(n1(v), v)) || (edge(v, n2(v)) && edge(n2(v), v)) || \
	(edge(v, n1(v)) && edge(n1(v), n2(v)) && edge(n2(v), v)) || \
	(edge(v, n2(v)) && edge(n2(v), n1(v)) && edge(n1(v), v)))

/* tsm_deadlock.c: deadlock_found. Until something has been cancelled what a probe has found is still
 * there: who waits, and what it waits for, stays. */
inline found(x) {
	assert(cancels > 0 || cst[x] != PREPARING || in_cycle(x));
	cancel[x] = true
}

/* tsm_deadlock.c: chase_holder */
inline chase_holder(hold, who, young) {
	if
	:: hold == who -> found(young)
	:: hold != who && young > hold -> probe[TO(who, hold)] = probe[TO(who, hold)] | P_(young)
	:: else -> probe[TO(who, hold)] = probe[TO(who, hold)] | P_(hold)
	fi
}

/* tsm_deadlock.c: end_of_notes: from waiter to the nearest before it that bars it, to a holder */
#define nearer(c, o, g) (meets(o, c, g) && part[AT(o, g)] == WAITS && o != c && before(o, c, g))
inline end_of_notes(from, grp) {
	c = from; k = 0;
	do
	:: k < T && nearer(c, n1(c), grp) && !(nearer(c, n2(c), grp) &&
		place[AT(n2(c), grp)] > place[AT(n1(c), grp)]) -> c = n1(c); k++
	:: k < T && nearer(c, n2(c), grp) && !(nearer(c, n1(c), grp) &&
		place[AT(n1(c), grp)] > place[AT(n2(c), grp)]) -> c = n2(c); k++
	:: else -> break
	od;
	k = 0;
	if
	:: barred_by_holder(c, n1(c), grp) -> c = n1(c)
	:: else ->
		if
		:: barred_by_holder(c, n2(c), grp) -> c = n2(c)
#ifdef MUTANT_ANY_WAITER
		:: else
#else
		:: else -> c = T
#endif
		fi
	fi
}

/* tsm_deadlock.c: chase_from */
inline chase_from(wt, wg, ini, vic) {
#ifndef MUTANT_HOLDERS_ONLY
	end_of_notes(wt, wg);
#endif
	o = 0;
	do
	:: o < T ->
		if
		:: (o == c && o != wt) || barred_by_holder(wt, o, wg) -> chase_holder(o, ini, vic)
		:: else
		fi;
		o++
	:: else -> break
	od;
	o = 0; c = T
}

#define nothing_of(i) (!probe[TO(i, 0)] && !probe[TO(i, 1)] && !probe[TO(i, 2)] && \
	!probe_on[ON(i, 0, 0)] && !probe_on[ON(i, 0, 1)] && !probe_on[ON(i, 1, 0)] && \
	!probe_on[ON(i, 1, 1)] && !probe_on[ON(i, 2, 0)] && !probe_on[ON(i, 2, 1)])
#define can_go(t) (part[AT(t, 0)] != TOCOME && part[AT(t, 1)] != TOCOME && \
	(part[AT(t, 0)] != WAITS || !barred(t, 0)) && (part[AT(t, 1)] != WAITS || !barred(t, 1)))
#define ended(t) (part[AT(t, 0)] == OVER && part[AT(t, 1)] == OVER)
#define granted(t) ((part[AT(t, 0)] == HOLDS || !W(t, 0)) && (part[AT(t, 1)] == HOLDS || !W(t, 1)))
#define idle(t) (ended(t) || (cst[t] == PREPARING && !granted(t) && \
	part[AT(t, 0)] != TOCOME && part[AT(t, 1)] != TOCOME && !cancel[t] && \
	(part[AT(t, 0)] != WAITS || barred(t, 0)) && (part[AT(t, 1)] != WAITS || barred(t, 1))))
#define QUIET (idle(0) && idle(1) && idle(2) && nothing_of(0) && nothing_of(1) && nothing_of(2))
#define STUCK (!ended(0) || !ended(1) || !ended(2))

/* The lowest bit of a set of victims. */
inline take(set, y) {
	if
	:: set & 1 -> y = 0
	:: !(set & 1) && (set & 2) -> y = 1
	:: else -> y = 2
	fi;
	set = set & ~P_(y)
}

inline start(t0, g0) {		/* txn__probe_start */
	if
	:: part[AT(t0, g0)] == WAITS -> passed[t0] = 0; chase_from(t0, g0, t0, t0)
	:: else
	fi
}

proctype transaction(byte t) {
	byte g, o, c = T;

	do
	/* tsm_participant.c: prepare_begin; tsm_coordinator.c: own_begin */
	:: atomic { part[AT(t, 0)] == TOCOME -> g = 0; comes: places[g] = places[g] + 1;
		place[AT(t, g)] = places[g];
		if
		:: !W(t, g) -> part[AT(t, g)] = OVER; place[AT(t, g)] = 0; places[g] = places[g] - 1
		:: W(t, g) && cst[t] != PREPARING -> part[AT(t, g)] = OVER
		:: else ->
			part[AT(t, g)] = WAITS;
			if :: !barred(t, g) -> part[AT(t, g)] = HOLDS; place[AT(t, g)] = 0 :: else fi
		fi;
		g = 0 }
	:: atomic { part[AT(t, 1)] == TOCOME -> g = 1; goto comes }
	/* tsm_queue.c: txn__examine */
	:: atomic { part[AT(t, 0)] == WAITS && !barred(t, 0) -> part[AT(t, 0)] = HOLDS; place[AT(t, 0)] = 0 }
	:: atomic { part[AT(t, 1)] == WAITS && !barred(t, 1) -> part[AT(t, 1)] = HOLDS; place[AT(t, 1)] = 0 }
	/* tsm_coordinator.c: txn__on_decide; tsm_request.c: cancel_known */
	:: atomic { cst[t] == PREPARING && granted(t) -> cst[t] = COMMIT }
	:: atomic { cancel[t] -> cancel[t] = false;
		if :: cst[t] == PREPARING -> cst[t] = ABORT; cancels++ :: else fi }
	/* tsm_participant.c: txn__on_outcome */
	:: atomic { cst[t] != PREPARING && (part[AT(t, 0)] == HOLDS || part[AT(t, 0)] == WAITS) ->
		part[AT(t, 0)] = OVER; place[AT(t, 0)] = 0 }
	:: atomic { cst[t] != PREPARING && (part[AT(t, 1)] == HOLDS || part[AT(t, 1)] == WAITS) ->
		part[AT(t, 1)] = OVER; place[AT(t, 1)] = 0 }

	/* tsm_participant.c: waiting_tick */
	:: atomic { early < EARLY && nothing_of(t) && part[AT(t, 0)] == WAITS && barred(t, 0) ->
		early++; g = 0; begin: start(t, g); g = 0 }
	:: atomic { early < EARLY && nothing_of(t) && part[AT(t, 1)] == WAITS && barred(t, 1) ->
		early++; g = 1; goto begin }
	:: ended(t) -> break
	od
}

/* Probes of different initiators meet only in what they cancel. Without FREE those of the smaller
 * initiator go first, with it they mix at will. */
#ifdef FREE
#define turn(i) true
#else
#define turn(i) ((i) == 0 || (nothing_of(0) && ((i) == 1 || nothing_of(1))))
#endif

/* The messages of one initiator's probes. */
proctype probes(byte i) {
	byte g, h, v, o, c = T;

	do
	:: atomic { turn(i) && (probe[TO(i, 0)] || probe[TO(i, 1)] || probe[TO(i, 2)]) ->
		if :: probe[TO(i, 0)] -> h = 0 :: probe[TO(i, 1)] -> h = 1 :: probe[TO(i, 2)] -> h = 2 fi;
		take(probe[TO(i, h)], v);
		if
		/* tsm_deadlock.c: at_waiting_coordinator, passed_before */
		:: cst[h] == PREPARING && !(passed[i] & P_(h)) ->
			passed[i] = passed[i] | P_(h);
			if :: h > v -> v = h :: else fi;
#ifndef MUTANT_NO_FORWARD
			if :: part[AT(h, 1)] != HOLDS && W(h, 1) ->
				probe_on[ON(i, h, 1)] = probe_on[ON(i, h, 1)] | P_(v) :: else fi;
			if :: part[AT(h, 0)] != HOLDS && W(h, 0) ->
				probe_on[ON(i, h, 0)] = probe_on[ON(i, h, 0)] | P_(v) :: else fi
#endif
		:: else
		fi;
		h = 0; v = 0 }
	:: atomic { turn(i) && (probe_on[ON(i, 0, 0)] || probe_on[ON(i, 0, 1)] || probe_on[ON(i, 1, 0)] ||
		probe_on[ON(i, 1, 1)] || probe_on[ON(i, 2, 0)] || probe_on[ON(i, 2, 1)]) ->
		if
		:: probe_on[ON(i, 0, 0)] -> h = 0; g = 0
		:: probe_on[ON(i, 0, 1)] -> h = 0; g = 1
		:: probe_on[ON(i, 1, 0)] -> h = 1; g = 0
		:: probe_on[ON(i, 1, 1)] -> h = 1; g = 1
		:: probe_on[ON(i, 2, 0)] -> h = 2; g = 0
		:: probe_on[ON(i, 2, 1)] -> h = 2; g = 1
		fi;
		take(probe_on[ON(i, h, g)], v);
		if
		:: part[AT(h, g)] == WAITS -> chase_from(h, g, i, v)	/* at_participant */
		:: else
		fi;
		g = 0; h = 0; v = 0 }
	:: atomic { losses < LOSSES && !nothing_of(i) -> losses++;
		probe[TO(i, 0)] = 0; probe[TO(i, 1)] = 0; probe[TO(i, 2)] = 0;
		probe_on[ON(i, 0, 0)] = 0; probe_on[ON(i, 0, 1)] = 0; probe_on[ON(i, 1, 0)] = 0;
		probe_on[ON(i, 1, 1)] = 0; probe_on[ON(i, 2, 0)] = 0; probe_on[ON(i, 2, 1)] = 0 }
	:: atomic { losses < LOSSES && cancel[i] -> losses++; cancel[i] = false }
	:: ended(0) && ended(1) && ended(2) -> break
	od
}

/* Nothing else can happen, but some wait: their timers run. */
proctype timers() {
	byte t, g, o, c = T;

	do
	:: atomic { QUIET && STUCK ->
#ifndef MUTANT_NO_PROBES
		do
		:: t < T -> start(t, g); g++; if :: g == GROUPS -> g = 0; t++ :: else fi
		:: else -> break
		od;
		t = 0
#else
		skip
#endif
		}
	:: ended(0) && ended(1) && ended(2) -> break
	od
}

inline pick(t) {
	if
	:: want[t] = 5	/* keys 0 and 2 */
	:: want[t] = 6	/* keys 1 and 2 */
	:: want[t] = 3	/* keys 0 and 1, of one group */
#ifdef WIDE
	:: want[t] = 7	/* keys 0, 1 and 2 */
	:: want[t] = 9	/* keys 0 and 3 */
	:: want[t] = 13	/* keys 0, 2 and 3 */
#endif
	fi
}

init {
	atomic {
#ifdef WIDE
		pick(0);
#else
		/* keys 0 and 1 are alike: "1 and 2" is "0 and 2" by another name */
		if :: want[0] = 5 :: want[0] = 3 fi;
#endif
		pick(1); pick(2);
		run transaction(0); run transaction(1); run transaction(2);
		run probes(0); run probes(1); run probes(2); run timers()
	}
}
