/* The leader's read lease, with restarts, hand-over and clocks that drift (consensus/,
 * kv/replica_read.c).
 *
 * Three replicas. Time is discrete: a tick advances every clock by one, except that the clock of
 * replica 0 is slow (which one it is does not matter: they are alike) and stands still at each (GRAIN
 * + 1)th tick. That is the drift that the margin allows: GRAIN ticks of the slow clock last at most
 * GRAIN + 1 of the others'. Ticks come at any moment, and any number of them. Clocks are not stored,
 * only what remains of each span, measured by the clock that counts it.
 *
 * The log is one number: `val` is the last write of the prefix that a replica has accepted, `abal` the
 * ballot at which. (Slots, gaps, truncation: snapshot_election.pml.)
 *
 * What is left out, and why that is sound: README.md, "lease_restart".
 */
#ifndef BALLOTS
#define BALLOTS 3
#endif
#ifndef WRITES
#define WRITES 1
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef GRAIN
#define GRAIN 1
#endif
#define L (GRAIN + 1)		/* paxos_timing.lease, of the follower's clock */
#ifdef MUTANT_NO_MARGIN
#define LL L
#else
#define LL GRAIN		/* lease - drift_margin, of the leader's */
#endif
#define N 3
#define NOBODY 9
#define AT(n, m) ((n) * N + (m))

mtype = { FOLLOWER, COLLECTING, LEADING };

/* ---- replicas ---- */
byte promised[N], abal[N], val[N];	/* on disk */
mtype st[N] = FOLLOWER;
byte ballot[N];		/* struct paxos.ballot */
byte bar[N];		/* lease_promise_ns: what remains */
byte barb[N];		/* lease_ballot, while bar */
byte silent[N];		/* silent_ns: what remains */
bool serving[N];
byte cmt[N];		/* leader: chosen, counted by itself */
byte lease[9];		/* leader, peer: lease_until_ns of the peer: what remains */

byte got[N];		/* candidate: whose PROMISE has been counted */
byte adopted_b[N], adopted[N];

/* ---- ballots ---- */
byte owner[BALLOTS + 1] = NOBODY;
byte token[BALLOTS + 1];
bool led[BALLOTS + 1];		/* has sent ACCEPTs */
bool ended[BALLOTS + 1];	/* handed over: TIMEOUT_NOW(b) is under way to everybody */
byte minted;
#ifdef DELAYED
byte late_b, late_from, late;	/* one ACCEPTED that takes its time; what remains of its lease, plus 1 */
#endif

/* ---- one read that has seen an old state, and has not been answered yet ---- */
byte reader = NOBODY;

/* ---- history and time ---- */
byte writes, chosen, restarts, phase;

#define has_lease(n) (st[n] == LEADING && (lease[AT(n, 0)] || lease[AT(n, 1)] || lease[AT(n, 2)]))

/* paxos_acceptor.c: paxos__lease_bar(p, from, token) == 0 */
#define free_for(n, from, tok) (!silent[n] && \
	(!bar[n] || owner[barb[n]] == (from) || ((tok) != 0 && (tok) == barb[n])) && \
	((from) == (n) || !has_lease(n)))
#ifdef MUTANT_ANY_TOKEN
#undef free_for
#define free_for(n, from, tok) (!silent[n] && \
	(!bar[n] || owner[barb[n]] == (from) || (tok) != 0) && \
	((from) == (n) || !has_lease(n)))
#endif

/* paxos_election.c: paxos__follow; paxos_reads.c: paxos__reads_fail, kv__read_fail */
inline follow(n) {
	if :: reader == n -> reader = NOBODY :: else fi;
	st[n] = FOLLOWER; ballot[n] = 0; serving[n] = false; cmt[n] = 0;
	got[n] = 0; adopted_b[n] = 0; adopted[n] = 0
#ifndef MUTANT_LEASE_SURVIVES
	; lease[AT(n, 0)] = 0; lease[AT(n, 1)] = 0; lease[AT(n, 2)] = 0
#endif
}

/* paxos_acceptor.c: paxos__raise_promise; the record is on disk before anything is answered */
inline raise_promise(n, b) {
	if
	:: b > promised[n] ->
		if :: st[n] != FOLLOWER -> follow(n) :: else fi;
		promised[n] = b
	:: else
	fi
}

/* paxos_election.c: paxos__candidate_begin, mint */
inline candidate(n, tok) {
	if :: st[n] != FOLLOWER -> follow(n) :: else fi;
	minted++;
	owner[minted] = n; token[minted] = tok;
	promised[n] = minted; ballot[n] = minted; st[n] = COLLECTING;
	got[n] = 1 << n;
	adopted_b[n] = abal[n]; adopted[n] = val[n]
}

/* recv_prepare.c: paxos__recv_prepare, may_promise; recv_promise.c. The answer is counted, or lost. */
inline promise(n, c) {
	raise_promise(n, ballot[c]);
	if
	:: !(got[c] & (1 << n)) ->
		got[c] = got[c] | (1 << n);
		if
		:: abal[n] > adopted_b[c] -> adopted_b[c] = abal[n]; adopted[c] = val[n]
		:: abal[n] == adopted_b[c] && val[n] > adopted[c] -> adopted[c] = val[n]
		:: else
		fi
	:: true
	fi
}
#define can_promise(n, c) (st[c] == COLLECTING && promised[n] <= ballot[c] && \
	(promised[n] == ballot[c] || free_for(n, c, token[ballot[c]])))

#define majority(s) ((s) == 3 || (s) >= 5)

/* paxos_leader.c: paxos__reign_begin, peer_begin; paxos_adopt.c: paxos__adopt_propose */
inline reign(n) {
	st[n] = LEADING;
	abal[n] = ballot[n]; val[n] = adopted[n]; led[ballot[n]] = true;
	got[n] = 0; adopted_b[n] = 0; adopted[n] = 0;
#ifdef MUTANT_SERVE_AT_ONCE
	serving[n] = true;
#endif
	check_leases(n)
}

/* "never two valid leases at once" */
inline check_leases(n) {
	assert(!has_lease(n) || !has_lease((n + 1) % N));
	assert(!has_lease(n) || !has_lease((n + 2) % N))
}

/* recv_accept.c: promise_lease */
inline promise_lease(m, b) {
	barb[m] = b; bar[m] = L
}

/* recv_accepted.c; paxos_lease.c: paxos__lease_ack: of the lease that the leader counts from its own
 * send time `rest` is left. */
inline lease_ack(leader, peer, rest) {
#ifdef MUTANT_FROM_RECEIPT
	lease[AT(leader, peer)] = LL;
#else
	if :: rest > lease[AT(leader, peer)] -> lease[AT(leader, peer)] = rest :: else fi;
#endif
	check_leases(leader)
}

/* recv_accept.c. A heartbeat of ballot b arrives; its ACCEPTED is counted, or lost, or takes its time.
 * */
inline beat_arrives(m, b) {
	raise_promise(m, b);
	promise_lease(m, b);
	if
	:: lease_ack(owner[b], m, LL)
#ifdef DELAYED
	:: !late -> late = LL + 1; late_b = b; late_from = m
#endif
	:: true
	fi
}

/* recv_accept.c: paxos__accept_entries */
inline entries_arrive(n, m) {
	raise_promise(m, ballot[n]);
	promise_lease(m, ballot[n]);
	abal[m] = ballot[n]; val[m] = val[n]
}

/* paxos_leader.c: choose; the client is answered */
inline choose(n, v) {
	serving[n] = true;
	cmt[n] = v;
	if :: v > chosen -> chosen = v :: else fi
}

inline pass(x) {
	if :: x -> x = x - 1 :: else fi
}

inline pass_of(n) {
	if
	:: n == 0 && phase == 0
	:: else ->
		pass(bar[n]); pass(silent[n]);
		if :: !bar[n] -> barb[n] = 0 :: else fi;
		pass(lease[AT(n, 0)]); pass(lease[AT(n, 1)]); pass(lease[AT(n, 2)])
	fi
}

/* What one replica does, and its messages to `m`, any of the two others. */
#define o1 ((n + 1) % N)
#define o2 ((n + 2) % N)

proctype replica(byte n) {
	byte b, m;

end:	do
	/* paxos_election.c: paxos__prevote_begin, has_votes: whoever is free to. Pre-vote and patience only
	 * make it rarer. */
	:: atomic { st[n] != LEADING && minted < BALLOTS && free_for(n, n, 0) -> candidate(n, 0) }

	/* recv_timeout_now.c */
	:: atomic { st[n] == FOLLOWER && minted < BALLOTS && promised[n] && ended[promised[n]] &&
		owner[promised[n]] != n && free_for(n, n, promised[n]) ->
		b = promised[n]; candidate(n, b); b = 0 }

	/* PREPARE arrives, the first time or again */
	:: atomic { can_promise(n, o1) -> m = o1; promise(n, m); m = 0 }
	:: atomic { can_promise(n, o2) -> m = o2; promise(n, m); m = 0 }
	:: atomic { st[n] == COLLECTING && majority(got[n]) -> reign(n) }

	/* a heartbeat of a leader arrives as soon as it was sent: one that is late leads to the same
	 * promise and to a shorter lease */
	:: atomic { st[o1] == LEADING && promised[n] <= ballot[o1] -> b = ballot[o1];
		beat_arrives(n, b); b = 0 }
	:: atomic { st[o2] == LEADING && promised[n] <= ballot[o2] -> b = ballot[o2];
		beat_arrives(n, b); b = 0 }
#ifdef DELAYED
	:: atomic { late && owner[late_b] == n ->	/* an ACCEPTED that took its time */
		if
		:: ballot[n] == late_b && st[n] == LEADING -> lease_ack(n, late_from, late - 1)
		:: else
		fi;
		late = 0; late_b = 0; late_from = 0 }
#endif
	/* or after its leader's end */
	:: atomic { led[1] && owner[1] != n && promised[n] <= 1 && ballot[owner[1]] != 1 ->
		raise_promise(n, 1); promise_lease(n, 1) }
	:: atomic { led[2] && owner[2] != n && promised[n] <= 2 && ballot[owner[2]] != 2 ->
		raise_promise(n, 2); promise_lease(n, 2) }
#if BALLOTS >= 3
	:: atomic { led[3] && owner[3] != n && promised[n] <= 3 && ballot[owner[3]] != 3 ->
		raise_promise(n, 3); promise_lease(n, 3) }
#endif
	/* its entries */
	:: atomic { st[n] == LEADING && promised[o1] <= ballot[n] &&
		(abal[o1] != ballot[n] || val[o1] != val[n]) -> m = o1; entries_arrive(n, m); m = 0 }
	:: atomic { st[n] == LEADING && promised[o2] <= ballot[n] &&
		(abal[o2] != ballot[n] || val[o2] != val[n]) -> m = o2; entries_arrive(n, m); m = 0 }
	:: atomic { st[n] == LEADING && writes < WRITES -> writes++; val[n] = writes } /* paxos__propose */
	:: atomic { st[n] == LEADING && abal[o1] == ballot[n] && (!serving[n] || val[o1] > cmt[n]) ->
		choose(n, val[o1]) }
	:: atomic { st[n] == LEADING && abal[o2] == ballot[n] && (!serving[n] || val[o2] > cmt[n]) ->
		choose(n, val[o2]) }

	/* the end of a candidacy or a reign: paxos__step_down, paxos__hand_over, a crash */
	:: atomic { st[n] != FOLLOWER -> follow(n) }
	:: atomic { st[n] == LEADING && !ended[ballot[n]] ->
		ended[ballot[n]] = true;
#ifndef MUTANT_HAND_OVER_STAYS
		follow(n)
#endif
		}
	:: atomic { restarts < RESTARTS ->	/* paxos_restore.c: paxos_start */
		restarts++;
		follow(n); bar[n] = 0; barb[n] = 0;
		lease[AT(n, 0)] = 0; lease[AT(n, 1)] = 0; lease[AT(n, 2)] = 0;
#ifndef MUTANT_NO_SILENCE
		silent[n] = L
#endif
		}

	/* paxos_reads.c: paxos__read, serve; then kv/replica_read.c: kv__read_done */
#ifdef MUTANT_CHECK_BEFORE
	:: atomic { reader == NOBODY && st[n] == LEADING && serving[n] && has_lease(n) -> reader = n }
	:: atomic { reader == n ->		/* comes now, and is answered by what was checked before */
		assert(cmt[n] >= chosen); reader = NOBODY }
#else
	:: atomic { reader == NOBODY && st[n] == LEADING && serving[n] && cmt[n] < chosen -> reader = n }
	:: atomic { reader == n && has_lease(n) ->
		assert(false) }			/* "a read under lease never misses a chosen write" */
#endif
	od
}

proctype clocks() {
end:	do
	:: atomic { bar[0] || bar[1] || bar[2] || silent[0] || silent[1] || silent[2] || lease[1] ||
		lease[2] || lease[3] || lease[5] || lease[6] || lease[7] ->
		pass_of(0); pass_of(1); pass_of(2);
#ifdef DELAYED
		if
		:: late > 1 && !(owner[late_b] == 0 && phase == 0) -> late = late - 1
		:: else
		fi;
#endif
		phase = (phase + 1) % (GRAIN + 1) }
	od
}

init {
	atomic {
		/* Begin with a reign: of the slow one, or of another; the third replica may not have heard of it. */
		if :: minted = 0 :: minted = 1 fi;
		owner[1] = minted; st[minted] = LEADING; ballot[minted] = 1; abal[minted] = 1; led[1] = true;
		promised[0] = 1; promised[1] = 1;
		if :: promised[2] = 1 :: true fi;
		minted = 1;
		run replica(0); run replica(1); run replica(2); run clocks()
	}
}
