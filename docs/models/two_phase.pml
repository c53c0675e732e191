/* Two-phase commit of one transaction: a coordinator group and two participant groups (txn/).
 *
 * A group is its state machine: what stands here under "replicated" changes only by executing a command
 * of its log, atomically, so a failover does not lose it; what stands under "leader" is lost at any
 * moment. Messages and proposed commands are sets that only grow (safety): whatever was sent may be
 * delivered any number of times, in any order, at any later time, or never. That is every loss,
 * duplication, delay and reordering there is. It also is every stale leader: what one who was deposed
 * may still say, it could have said before, so that the message is in the set already; the three
 * things that it may say of what it does not know are modelled by themselves (STALE below).
 *
 * -DLIVE is another reading of the same actions: messages are consumed, a budget of losses and failovers
 * is spent at will, then the timers (resend, ASK) run whenever nothing else is under way. Each run
 * must come to an end, and in it everything is decided, carried out and forgotten.
 *
 * What is left out, and why that is sound: README.md, "two_phase". What stands for which code: the
 * comment at each action.
 */
#ifndef MAXPREP
#define MAXPREP 2	/* times that a PREPARE is executed anew at one participant */
#endif
#ifndef FAILOVERS
#define FAILOVERS 2
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
#ifndef READER
#define READER 9	/* the participant that only reads; 9: both write */
#endif
#define P_(b) (1 << (b))

#ifdef LIVE
#define TAKE(set, bit)	set = set & ~(bit)
#else
#define TAKE(set, bit)	skip
#endif

mtype = { NONE, PREPARING, COMMITTED, GONE };	/* coordinator; GONE: ended, only the reply is left */
mtype = { IDLE, WAITING, PREPARED };		/* participant, own part */
mtype = { NOREPLY, YES, NO };

/* ---- replicated: coordinator (record C, table REPLY) ---- */
mtype cst = NONE;
mtype own = IDLE;
byte ownstamp, cstamp, cclk;
mtype kept = NOREPLY;		/* R record */
bool marked, closed;		/* the client's mark has passed the request; CLOSE */

/* ---- replicated: participants (record P) ---- */
mtype pst[2] = IDLE;
bool outcome[2];
byte pstamp[2], pclk[2];
byte carried[2];		/* how often the part was carried out; history only */

/* ---- leader of the coordinator group ---- */
bool proposed;			/* COORD_PROPOSED */
byte yes[2];			/* the stamp of its yes; 0: none */
bool no[2], acked[2];

/* ---- messages ---- */
bool request, cancel;		/* client to coordinator; the command of it too */
byte prepare, voteno, commitmsg, abortmsg, ackmsg, endmsg, askmsg;	/* bit per participant */
byte voteyes[2];		/* bit per stamp */
/* ---- commands proposed by leaders ---- */
byte cancelfor;			/* CANCEL with notify, bit per participant */
byte decide;			/* stamp of DECIDE(commit); 0: none */
bool decideno, endcmd;

/* ---- history ---- */
bool toldyes, toldno;		/* what the client was answered */
byte decisions;			/* times that a commit was carried out by the coordinator */
byte preps[2], failovers, losses;
bool over;

#define writes(p) ((p) != READER)

inline reply(r) {
	if
	:: r == YES -> toldyes = true
	:: r == NO -> toldno = true
	fi;
	assert(!(toldyes && toldno))	/* a reply is never contradicted */
}

inline send_prepares() {
#ifdef LIVE
	if :: !yes[0] && !no[0] -> prepare = prepare | 1 :: else fi;
	if :: !yes[1] && !no[1] -> prepare = prepare | 2 :: else fi
#else
	prepare = 3
#endif
}

inline votes_forget() {
	yes[0] = 0; yes[1] = 0; no[0] = false; no[1] = false; acked[0] = false; acked[1] = false
}

/* tsm_coordinator.c: txn__coord_abort (also from CANCEL, CLOSE, a refused own part) */
inline coord_abort() {
	kept = NO; reply(NO);
	abortmsg = 3;
	own = IDLE; ownstamp = 0; cst = GONE; votes_forget()
}

/* tsm_coordinator.c: txn__coord_refused */
inline coord_refused() {
	if
	:: proposed -> abortmsg = 3; proposed = false; votes_forget()
	:: else
	fi
}

/* tsm.c: txn__stamp_next: the entry's clock may be ahead of the group's */
inline stamp_next(clk) {
	clk = clk + 1
}

/* tsm_coordinator.c: txn__coord_own_run */
inline own_run() {
	if
	:: stamp_next(cclk); ownstamp = cclk; own = PREPARED
	:: coord_abort()	/* a condition fails */
	fi
}

/* tsm_coordinator.c: resolve_unknown */
inline resolve_unknown(p) {
	if
	:: closed || marked || kept != NOREPLY -> abortmsg = abortmsg | P_(p)
	:: else ->
#ifdef MUTANT_ABORT_FROM_MEMORY
		abortmsg = abortmsg | P_(p)
#else
		cancelfor = cancelfor | P_(p)
#endif
	fi
}

/* ---- the coordinator group ---- */

inline request_arrives() {	/* kv_replica_exec; tsm_coordinator.c: txn__coord_proposed */
	proposed = true; votes_forget(); send_prepares()
}

inline request_executes() {	/* tsm_request.c: txn__on_request, client_admits, check */
	TAKE(request, true);
	if
	:: closed || marked -> coord_refused()	/* FORGOTTEN, SESSION: says nothing of the past */
	:: else ->
		if
#ifndef MUTANT_RUN_AGAIN
		:: kept != NOREPLY -> reply(kept)
#endif
		:: cst == PREPARING || cst == COMMITTED
		:: else ->
			if
			:: kept = NO; reply(NO); coord_refused(); cst = GONE	/* WRONG_SHARD */
			:: cst = PREPARING;	/* tsm_coordinator.c: txn__coord_begin */
				if :: !proposed -> votes_forget(); send_prepares() :: else fi;
				proposed = false;
				if
				:: own = WAITING	/* own_begin */
				:: own_run()
				fi
			fi
		fi
	fi
}

/* tsm_coordinator.c: on_vote */
inline vote_arrives(p, s) {
	if
	:: cst == COMMITTED -> commitmsg = commitmsg | P_(p)
	:: (cst == PREPARING || proposed) && cst != COMMITTED ->
		if :: !yes[p] && !no[p] -> yes[p] = s :: else fi
	:: else -> resolve_unknown(p)
	fi
}

inline refusal_arrives(p) {	/* on_vote, with a status */
	if
	:: (cst == PREPARING || (proposed && cst != COMMITTED)) && !yes[p] && !no[p] -> no[p] = true
	:: cst == COMMITTED -> commitmsg = commitmsg | P_(p)
	:: else
	fi
}

inline ack_arrives(p) {		/* on_ack */
	if
	:: cst == COMMITTED -> acked[p] = true
	:: cst != COMMITTED && cst != PREPARING && !proposed -> endmsg = endmsg | P_(p)
#ifndef LIVE
	:: true -> endmsg = endmsg | P_(p)	/* STALE: a leader that does not know it yet */
#endif
	:: else
	fi
}

inline decide_executes() {	/* tsm_coordinator.c: txn__on_decide, commit */
	if
#ifdef MUTANT_LAST_DECISION
	:: cst == PREPARING || cst == COMMITTED ->
#else
	:: cst == PREPARING && own == PREPARED ->
#endif
		cstamp = (decide > ownstamp -> decide : ownstamp);
		if :: cclk < cstamp -> cclk = cstamp :: else fi;
		decisions++;
		assert(decisions == 1);		/* carried out once */
		/* "each yes holds its locks until the outcome" */
		assert(pst[0] == PREPARED && pst[1] == PREPARED);
		kept = YES; reply(YES);
		own = IDLE; ownstamp = 0; votes_forget();
		commitmsg = 3;
		if :: writes(0) || writes(1) -> cst = COMMITTED :: else -> cst = GONE fi
	:: else
	fi;
	TAKE(decide, 255)
}

inline cancel_known(notifymask) {	/* tsm_request.c: txn__on_cancel, cancel_known */
	if
#ifdef MUTANT_CLOSED_FIRST	/* as it was before this model was searched */
	:: closed -> abortmsg = abortmsg | notifymask; coord_refused()
	:: !closed && cst == COMMITTED -> commitmsg = commitmsg | notifymask
#else
	:: closed && cst != COMMITTED -> abortmsg = abortmsg | notifymask; coord_refused()
	:: cst == COMMITTED -> commitmsg = commitmsg | notifymask
#endif
	:: !closed && cst == PREPARING -> coord_abort(); abortmsg = abortmsg | notifymask
	:: else ->
		abortmsg = abortmsg | notifymask;
		if
		:: kept != NOREPLY -> reply(kept)
		:: kept == NOREPLY && !marked -> kept = NO; reply(NO); cst = GONE
		:: else
		fi;
		coord_refused()
	fi
}

#define acks_in	((acked[0] || !writes(0)) && (acked[1] || !writes(1)))

/* ---- a participant group ---- */

/* tsm_participant.c: txn__participant_run */
inline part_run(p) {
	stamp_next(pclk[p]);
	if
	:: pst[p] = PREPARED; pstamp[p] = pclk[p]; voteyes[p] = voteyes[p] | P_(pclk[p])
	:: pst[p] = IDLE; voteno = voteno | P_(p)
	fi
}

inline prepare_executes(p) {	/* tsm_participant.c: txn__on_prepare, prepare_begin */
	TAKE(prepare, P_(p));
	if
	:: outcome[p] -> ackmsg = ackmsg | P_(p)
	:: !outcome[p] && pst[p] == PREPARED -> voteyes[p] = voteyes[p] | P_(pstamp[p])
	:: !outcome[p] && pst[p] == WAITING
	:: else ->
		if
		:: preps[p] < MAXPREP ->
			preps[p]++;
			if
			:: pst[p] = WAITING
			:: part_run(p)
			fi
		:: else
		fi
	fi
}

inline release(p) {		/* tsm_participant.c: release */
	pst[p] = IDLE; pstamp[p] = 0
}

inline commit_executes(p) {	/* tsm_participant.c: txn__on_outcome, spurious, commit */
	TAKE(commitmsg, P_(p));
	if
	:: outcome[p] -> ackmsg = ackmsg | P_(p)	/* on_decision_message */
#ifdef MUTANT_NO_SPURIOUS
	:: !outcome[p] && pst[p] == PREPARED ->
#else
	:: !outcome[p] && pst[p] == PREPARED && cstamp >= pstamp[p] ->
#endif
		if
		:: writes(p) ->
			carried[p]++;
			assert(carried[p] == 1);	/* carried out once */
#ifndef MUTANT_NO_CLOCK_RAISE
			if :: pclk[p] < cstamp -> pclk[p] = cstamp :: else fi;
#endif
			outcome[p] = true
		:: else
		fi;
		release(p);
		ackmsg = ackmsg | P_(p)
	:: else -> release(p); ackmsg = ackmsg | P_(p)
	fi
}

/* ---- failures ---- */

inline coordinator_fails() {	/* tsm_coordinator.c: txn__coord_lead, take_over */
	failovers++; proposed = false; votes_forget()
}

#ifdef LIVE
#define UNDER_WAY (prepare || voteno || commitmsg || abortmsg || ackmsg || endmsg || askmsg || \
	voteyes[0] || voteyes[1] || cancelfor || decide || decideno || endcmd || request)
#define QUIET (!UNDER_WAY && !cancel && own != WAITING && pst[0] != WAITING && pst[1] != WAITING && \
	!(cst == COMMITTED && acks_in) && !(cst == PREPARING && (no[0] || no[1] || \
	(own == PREPARED && yes[0] && yes[1]))))
/* Something is owed: only then the timers do anything. */
#define OWED (cst == PREPARING || cst == COMMITTED || proposed || \
	pst[0] != IDLE || pst[1] != IDLE || outcome[0] || outcome[1])

/* tsm_coord_tick, txn__participant_tick: what is owed is said again. (The PROPOSED of a request that
 * never comes ends there too: TRIES_MAX.) */
inline timers() {
	if
	:: proposed && cst != PREPARING -> proposed = false; votes_forget()
	:: cst == PREPARING -> send_prepares()
	:: cst == COMMITTED ->
		if :: writes(0) && !acked[0] -> commitmsg = commitmsg | 1 :: else fi;
		if :: writes(1) && !acked[1] -> commitmsg = commitmsg | 2 :: else fi
	:: else
	fi;
#ifndef MUTANT_NO_ASK
	if :: pst[0] == PREPARED -> askmsg = askmsg | 1 :: else fi;
	if :: pst[1] == PREPARED -> askmsg = askmsg | 2 :: else fi;
#endif
#ifndef MUTANT_NO_ACK_AGAIN
	if :: outcome[0] -> ackmsg = ackmsg | 1 :: else fi;
	if :: outcome[1] -> ackmsg = ackmsg | 2 :: else fi
#endif
}

inline lose(set, which) {
	losses++; set = set & ~(which)
}
#endif

/* Participant p and the messages between it and the coordinator. */
proctype participant(byte p) {
	byte s;

#ifndef LIVE
end:
#endif
	do
	:: atomic { prepare & P_(p) -> prepare_executes(p) }
	:: atomic { voteyes[p] ->
		if
		:: voteyes[p] & 2 -> s = 1
		:: voteyes[p] & 4 -> s = 2
		:: voteyes[p] & 8 -> s = 3
		:: voteyes[p] & 16 -> s = 4
		:: voteyes[p] & 32 -> s = 5
		:: voteyes[p] & 64 -> s = 6
		:: voteyes[p] & 128 -> s = 7
		fi;
		TAKE(voteyes[p], P_(s));
		vote_arrives(p, s); s = 0 }
	:: atomic { voteno & P_(p) -> TAKE(voteno, P_(p)); refusal_arrives(p) }
	:: atomic { askmsg & P_(p) -> TAKE(askmsg, P_(p));	/* on_ask */
		if
		:: cst == COMMITTED -> commitmsg = commitmsg | P_(p)
		:: cst == PREPARING || (proposed && cst != COMMITTED)
		:: else -> resolve_unknown(p)
		fi }
	:: atomic { ackmsg & P_(p) -> TAKE(ackmsg, P_(p)); ack_arrives(p) }
	:: atomic { commitmsg & P_(p) -> commit_executes(p) }
	:: atomic { abortmsg & P_(p) -> TAKE(abortmsg, P_(p)); release(p) }	/* txn__on_outcome */
	:: atomic { endmsg & P_(p) -> TAKE(endmsg, P_(p)); outcome[p] = false }	/* txn__on_forget */
	:: atomic { pst[p] == WAITING -> part_run(p) }		/* tsm_queue.c: txn__examine, run */
#ifndef LIVE
	:: atomic { pst[p] != IDLE && !(askmsg & P_(p)) -> askmsg = askmsg | P_(p) } /* prepared_tick */
	:: atomic { outcome[p] && !(ackmsg & P_(p)) -> ackmsg = ackmsg | P_(p) }     /* outcome_tick */
#endif
#ifdef MUTANT_ACK_FROM_MEMORY
	:: atomic { (commitmsg & P_(p)) && !(ackmsg & P_(p)) -> ackmsg = ackmsg | P_(p) } /* STALE */
#endif
#ifdef MUTANT_UNILATERAL
	:: atomic { pst[p] == PREPARED -> release(p) }		/* gives up by itself */
#endif
	:: over -> break
	od
}

proctype cluster() {
#ifndef LIVE
end:
#endif
	do
	/* ---- client ---- */
	:: atomic { !toldyes && !toldno && !proposed && cst == NONE && kept == NOREPLY && !marked &&
		!closed && request -> request_arrives() }
	:: atomic { request -> request_executes() }
	:: atomic { cancel -> TAKE(cancel, true); cancel_known(0) }
	:: atomic { (toldyes || toldno) && !marked && !closed && cst != PREPARING ->
		marked = true; kept = NOREPLY }		/* tsm_clients.c: txn__client_mark */
#ifdef CLOSE
	:: atomic { !closed ->				/* tsm_request.c: txn__on_close, end_one_of */
		if :: cst == PREPARING -> coord_abort() :: else fi;
		closed = true; kept = NOREPLY }
#endif

	/* ---- coordinator ---- */
	:: atomic { own == WAITING -> own_run() }	/* tsm_queue.c: txn__examine, run */
	:: atomic { cst == PREPARING && !decideno && (no[0] || no[1]) -> decideno = true } /* progress */
	:: atomic { cst == PREPARING && own == PREPARED && yes[0] && yes[1] && !decide ->
		decide = (yes[0] > yes[1] -> yes[0] : yes[1]) }			/* progress */
	:: atomic { decideno -> TAKE(decideno, true);
		if
		:: cst == PREPARING -> coord_abort()
#ifdef MUTANT_LAST_DECISION
		:: cst == COMMITTED -> kept = NO; reply(NO); abortmsg = 3; cst = GONE
#endif
		:: else
		fi }
	:: atomic { decide -> decide_executes() }
	:: atomic { cancelfor & 1 -> TAKE(cancelfor, 1); cancel_known(1) }
	:: atomic { cancelfor & 2 -> TAKE(cancelfor, 2); cancel_known(2) }
#ifdef MUTANT_END_EARLY
	:: atomic { cst == COMMITTED && (acked[0] || acked[1]) && !endcmd -> endcmd = true }
#else
	:: atomic { cst == COMMITTED && acks_in && !endcmd -> endcmd = true }	/* end_if_acked */
#endif
	:: atomic { endcmd -> TAKE(endcmd, true);				/* txn__on_end */
		if
		:: cst == COMMITTED ->
			if :: writes(0) -> assert(carried[0] == 1); endmsg = endmsg | 1 :: else fi;
			if :: writes(1) -> assert(carried[1] == 1); endmsg = endmsg | 2 :: else fi;
			cst = GONE; votes_forget()
		:: else
		fi }
	:: atomic { failovers < FAILOVERS && (proposed || yes[0] || yes[1] || no[0] || no[1] ||
		acked[0] || acked[1]) -> coordinator_fails() }

#ifdef LIVE
	:: atomic { losses < LOSSES && UNDER_WAY ->
		if
		:: prepare -> lose(prepare, 255)
		:: voteyes[0] -> lose(voteyes[0], 255)
		:: voteyes[1] -> lose(voteyes[1], 255)
		:: voteno -> lose(voteno, 255)
		:: commitmsg & 1 -> lose(commitmsg, 1)
		:: commitmsg & 2 -> lose(commitmsg, 2)
		:: abortmsg & 1 -> lose(abortmsg, 1)
		:: abortmsg & 2 -> lose(abortmsg, 2)
		:: ackmsg -> lose(ackmsg, 255)
		:: endmsg & 1 -> lose(endmsg, 1)
		:: endmsg & 2 -> lose(endmsg, 2)
		:: askmsg -> lose(askmsg, 255)
		:: request -> losses++; request = false	/* a proposal that is never chosen */
		:: decide -> losses++; decide = 0
		:: decideno -> losses++; decideno = false
		:: endcmd -> losses++; endcmd = false
		:: cancelfor -> lose(cancelfor, 255)
		fi }
	:: atomic { QUIET && OWED -> timers() }
	:: atomic { QUIET && !OWED ->
		assert(pst[0] == IDLE && pst[1] == IDLE);
		assert(decisions == 0 || !writes(0) || carried[0] == 1);
		assert(decisions == 0 || !writes(1) || carried[1] == 1);
		assert(decisions == 1 || carried[0] + carried[1] == 0);
		over = true; break }
#endif
	od
}

init {
	atomic {
		request = true; cancel = true;
		if :: cclk = 0 :: cclk = 2 fi;
		if :: pclk[0] = 0 :: pclk[0] = 1 fi;
		run cluster(); run participant(0); run participant(1)
	}
}
