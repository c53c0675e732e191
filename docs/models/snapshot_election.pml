/* Election over logs that are truncated, snapshots and restarts; the stop sign (consensus/).
 *
 * Three replicas, SLOTS slots, BALLOTS ballots. The search begins with a reign of replica 0 at ballot
 * 1, of which replica 2 may not have heard. Proposals of a ballot are a set that only grows and may be
 * delivered at any later moment (ACCEPT); PROMISE and ACCEPTED are counted or lost; LEARN carries what
 * the sender has when it arrives: chosen values do not change.
 * An ACCEPTED that is late is as good as one in time: the leader may choose later, too.
 *
 * The value of ballot b's own proposals is b: a slot at which two ballots propose for themselves is told
 * apart by that. STOP is a stop sign.
 *
 * What is left out, and why that is sound: README.md, "snapshot_election".
 */
#ifndef BALLOTS
#define BALLOTS 3
#endif
#define SLOTS 2
#ifndef RESTARTS
#define RESTARTS 1
#endif
#define N 3
#define STOP 9
#define AT(n, s) ((n) * (SLOTS + 1) + (s))

mtype = { FOLLOWER, COLLECTING, LEADING };	/* COLLECTING: and catching up */

/* ---- on disk: log, promise, engine ---- */
byte promised[N];
byte eb[9], ev[9];		/* entry of (replica, slot): its ballot, 0: none; its value */
byte start[N] = 1;		/* log_start */
byte durable[N];		/* applied and flushed: what a restart begins with */

/* ---- in memory ---- */
mtype st[N] = FOLLOWER;
byte ballot[N];
byte commit[N];			/* known to be chosen, and applied */
byte match[N];
byte unvouched[N];
byte got[N], catch_up[N];	/* candidate: who promised; the highest chosen index of theirs */
byte ab[9], av[9];		/* candidate: adopted */

/* ---- proposals of a ballot: value, and the leader's chosen index then (paxos_entry.chosen) ---- */
byte owner[BALLOTS + 1] = 8;
byte pv[12], pc[12], lc[BALLOTS + 1];
byte minted;

/* ---- history ---- */
byte chosen[SLOTS + 1];		/* the value that somebody knows to be chosen */
byte restarts;

/* Every way to know that a slot is chosen comes by here: one value per slot. */
inline know(s, v) {
	assert(v);
	assert(!chosen[s] || chosen[s] == v);
	assert(s == 1 || chosen[s - 1] != STOP);	/* entries above a stop sign are void */
	chosen[s] = v
}

/* paxos_window.c: paxos__set_commit */
inline commit_next(n) {
	commit[n] = commit[n] + 1; know(commit[n], ev[AT(n, commit[n])])
}

/* paxos_acceptor.c: paxos__advance_match; all is on disk when it is answered */
inline advance_match(n) {
	if :: match[n] < commit[n] -> match[n] = commit[n] :: else fi;
	do
	:: match[n] < SLOTS && promised[n] && eb[AT(n, match[n] + 1)] == promised[n] ->
		match[n] = match[n] + 1
	:: else -> break
	od
}

inline forget_candidacy(n) {
	got[n] = 0; catch_up[n] = 0;
	ab[AT(n, 1)] = 0; ab[AT(n, 2)] = 0; av[AT(n, 1)] = 0; av[AT(n, 2)] = 0
}

/* paxos_election.c: paxos__follow */
inline follow(n) {
	st[n] = FOLLOWER; ballot[n] = 0;
	forget_candidacy(n)
}

/* paxos_acceptor.c: paxos__raise_promise */
inline raise_promise(n, b) {
	if
	:: b > promised[n] ->
		if :: st[n] != FOLLOWER -> follow(n) :: else fi;
		promised[n] = b;
		match[n] = commit[n]; advance_match(n)
	:: else
	fi
}

/* paxos_election.c: paxos__candidate_begin; the own log takes part in adoption (paxos_adopt.c:
 * highest) */
inline candidate(n) {
	follow(n);
	minted++;
	raise_promise(n, minted);
	owner[minted] = n; ballot[n] = minted; st[n] = COLLECTING; got[n] = 1 << n
}

/* recv_promise.c, paxos_adopt.c: paxos__adopt; the entries above the acceptor's chosen index */
inline adopt(c, n, s) {
	if
#ifdef MUTANT_ADOPT_ANY
	:: s > commit[n] && eb[AT(n, s)] && !ab[AT(c, s)] ->
#else
	:: s > commit[n] && eb[AT(n, s)] > ab[AT(c, s)] ->
#endif
		ab[AT(c, s)] = eb[AT(n, s)]; av[AT(c, s)] = ev[AT(n, s)]
	:: else
	fi
}

/* recv_prepare.c; paxos_acceptor.c: send_promise. Counted, or lost. */
inline promise(n, c) {
	raise_promise(n, ballot[c]);
	if
	:: !(got[c] & (1 << n)) ->
		got[c] = got[c] | (1 << n);
		adopt(c, n, 1); adopt(c, n, 2);
#ifndef MUTANT_OVER_CHOSEN
		if :: commit[n] > catch_up[c] -> catch_up[c] = commit[n] :: else fi
#endif
	:: true
	fi
}
#define majority(s) ((s) == 3 || (s) >= 5)

/* An own proposal: paxos_leader.c: paxos__append_own */
inline append(n, s, v) {
	pv[AT(ballot[n], s)] = v; pc[AT(ballot[n], s)] = commit[n];
	eb[AT(n, s)] = ballot[n]; ev[AT(n, s)] = v; match[n] = s
}

#ifdef MUTANT_BEHIND_STOP
#define stopped(n) false
#else
#define stopped(n) (match[n] && ((match[n] <= commit[n] && chosen[match[n]] == STOP) || \
	ev[AT(n, match[n])] == STOP))
#endif

/* paxos_adopt.c: make_proposal, for one slot */
inline repropose(n, s) {
	if
	:: s <= commit[n] || stopped(n)		/* (stop sign: design) */
	:: else ->
		if
#ifdef MUTANT_ADOPT_ANY
		:: eb[AT(n, s)] -> append(n, s, ev[AT(n, s)])
#else
		:: eb[AT(n, s)] > ab[AT(n, s)] -> append(n, s, ev[AT(n, s)])
#endif
		:: ab[AT(n, s)] && ab[AT(n, s)] >= eb[AT(n, s)] -> append(n, s, av[AT(n, s)])
		:: !ab[AT(n, s)] && !eb[AT(n, s)] ->
			/* a gap, or the no-op behind; more only if something lies behind */
			if
			:: s == 1 || match[n] == s - 1 -> append(n, s, ballot[n])
			:: else
			fi
		:: else
		fi
	fi
}

/* paxos_leader.c: paxos__reign_begin */
inline reign(n) {
	st[n] = LEADING;
	match[n] = commit[n];
	repropose(n, 1);
	if	/* the no-op ends it, unless something was found behind */
	:: commit[n] == 0 && !ab[AT(n, 2)] && !(eb[AT(n, 2)] && eb[AT(n, 2)] < ballot[n]) &&
		pv[AT(ballot[n], 1)] == ballot[n]
	:: else -> repropose(n, 2)
	fi;
	forget_candidacy(n)
}

/* recv_accept.c: paxos__accept_entries: no hole, nothing at or below commit */
inline accept(n, b) {
	raise_promise(n, b);
	eb[AT(n, match[n] + 1)] = b; ev[AT(n, match[n] + 1)] = pv[AT(b, match[n] + 1)];
	match[n] = match[n] + 1; advance_match(n)
}

/* paxos_acceptor.c: paxos__advance_commit: what the leader of `promised` has told, as far as it is
 * held at that ballot */
#ifdef MUTANT_ACCEPTED_IS_CHOSEN
#define held(n) eb[AT(n, commit[n] + 1)]
#else
#define held(n) (commit[n] < match[n])
#endif

/* recv_learn.c: learn_entry */
inline learn(n, m) {
	raise_promise(n, eb[AT(m, commit[n] + 1)]);
	if
	:: eb[AT(n, commit[n] + 1)] < eb[AT(m, commit[n] + 1)] ->
		eb[AT(n, commit[n] + 1)] = eb[AT(m, commit[n] + 1)];
		ev[AT(n, commit[n] + 1)] = ev[AT(m, commit[n] + 1)]
	:: else
	fi;
	commit_next(n);
	advance_match(n)
}

inline drop_below(n) {
	if :: start[n] > 1 -> eb[AT(n, 1)] = 0; ev[AT(n, 1)] = 0 :: else fi;
	if :: start[n] > 2 -> eb[AT(n, 2)] = 0; ev[AT(n, 2)] = 0 :: else fi
}

/* paxos_truncate.c: paxos__on_snapshot_installed */
inline snapshot(n, m) {
	if :: st[n] != FOLLOWER -> follow(n) :: else fi;
	unvouched[n] = durable[m];
	commit[n] = durable[m]; durable[n] = durable[m];
	start[n] = durable[m] + 1; drop_below(n);
	advance_match(n)
}

/* paxos_acceptor.c: reportable, send_accepted */
#define reports(n, s) (match[n] >= (s) && (lc[promised[n]] >= unvouched[n] || lc[promised[n]] >= (s)))

/* paxos_leader.c: choose */
inline choose(n) {
	commit_next(n); lc[ballot[n]] = commit[n]
}

/* paxos_restore.c: known_chosen, with chosen_by */
inline known_chosen(n) {
	do
	:: commit[n] == 0 && eb[AT(n, 1)] ->
		to = 0;
		if :: eb[AT(n, 2)] && eb[AT(n, 2)] <= eb[AT(n, 1)] -> to = pc[AT(eb[AT(n, 2)], 2)] :: else fi;
#ifdef MUTANT_LOG_IS_CHOSEN
		to = 1;
#endif
		if :: to >= 1 -> commit_next(n) :: else -> break fi
	:: else -> break
	od;
	to = 0
}

inline restart(n) {
	restarts++;
	follow(n);
#ifdef MUTANT_FORGETS
	promised[n] = 0;
#endif
	commit[n] = durable[n]; match[n] = 0;
	unvouched[n] = start[n] - 1;
	known_chosen(n);
	match[n] = commit[n];
	advance_match(n)
}

#define o1 ((n + 1) % N)
#define o2 ((n + 2) % N)
#define CAN_PROMISE(c) (st[c] == COLLECTING && promised[n] <= ballot[c])
#define CAN_ACCEPT(b) (owner[b] != 8 && owner[b] != n && promised[n] <= b && \
	((promised[n] == b && match[n] < SLOTS && pv[AT(b, match[n] + 1)]) || \
	 (promised[n] < b && commit[n] < SLOTS && pv[AT(b, commit[n] + 1)])))
#define CAN_LEARN(m) (st[n] != LEADING && commit[n] < commit[m] && start[m] <= commit[n] + 1)
#define CAN_TAKE(m) (st[n] != LEADING && commit[n] < durable[m] && start[m] > commit[n] + 1)
#define CAN_CHOOSE(m) (st[n] == LEADING && promised[m] == ballot[n] && commit[n] < match[n] && \
	reports(m, commit[n] + 1))

proctype replica(byte n) {
	byte to;

end:	do
	:: atomic { st[n] != LEADING && minted < BALLOTS -> candidate(n) }
	:: atomic { CAN_PROMISE(o1) -> promise(n, o1) }
	:: atomic { CAN_PROMISE(o2) -> promise(n, o2) }
	:: atomic { st[n] == COLLECTING && majority(got[n]) && commit[n] >= catch_up[n] -> reign(n) }

	:: atomic { CAN_ACCEPT(1) -> accept(n, 1) }
	:: atomic { CAN_ACCEPT(2) -> accept(n, 2) }
#if BALLOTS >= 3
	:: atomic { CAN_ACCEPT(3) -> accept(n, 3) }
#endif
	:: atomic { promised[n] && owner[promised[n]] != n && commit[n] < lc[promised[n]] && held(n) ->
		commit_next(n); advance_match(n) }
	:: atomic { CAN_CHOOSE(o1) || CAN_CHOOSE(o2) -> choose(n) }
	:: atomic { st[n] == LEADING && match[n] < SLOTS && !stopped(n) ->	/* paxos__propose */
		if
		:: append(n, match[n] + 1, ballot[n])
#ifdef WITH_STOP
		:: append(n, match[n] + 1, STOP)
#endif
		fi }

	:: atomic { CAN_LEARN(o1) -> learn(n, o1) }
	:: atomic { CAN_LEARN(o2) -> learn(n, o2) }
	:: atomic { CAN_TAKE(o1) -> snapshot(n, o1) }
	:: atomic { CAN_TAKE(o2) -> snapshot(n, o2) }

	/* engine_flush; paxos_truncate.c: paxos__on_durable (how much is kept is anybody's guess) */
	:: atomic { start[n] <= commit[n] ->
		durable[n] = commit[n];
		if
		:: start[n] = durable[n] + 1; drop_below(n)
#if RESTARTS > 0
		:: true
#endif
		fi }
	:: atomic { st[n] != FOLLOWER -> follow(n) }		/* paxos__step_down */
	:: atomic { restarts < RESTARTS -> restart(n) }		/* paxos_restore.c: paxos_start */
	od
}

init {
	atomic {
		owner[1] = 0; minted = 1;
		st[0] = LEADING; ballot[0] = 1; promised[0] = 1; promised[1] = 1;
		if :: promised[2] = 1 :: true fi;
		run replica(0); run replica(1); run replica(2)
	}
}
