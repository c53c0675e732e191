/* Named failpoints: the steps at which a node may be killed, stopped, delayed or made to fail, in a
 * build of their own (-DPAXFS_FAILPOINTS, tests/system/failpoints.mk). In the product they are nothing.
 *
 * Of a `paxfs node` in that build:
 *   PAXFS_FAILPOINT=NAME[:NTH][:ACTION]  armed from the start
 *   PAXFS_FAILPOINT_DIR=DIR  SIGUSR2 arms what DIR/PID says, in the same form (empty: nothing);
 *                            DIR/PID.fired gets the name when it fires
 * ACTION: kill (the default), stop, delay=MS (from the NTH hit on, each), error (where FAILPOINT_ERROR
 * stands; elsewhere nothing).
 *
 * The list below is the only one. A name that is not in it does not compile, in either build; one that
 * is not used in the code fails tests/system/failpoints.sh, which hits each in each of its roles.
 */
#ifndef PAXFS_BASE_FAILPOINT_H
#define PAXFS_BASE_FAILPOINT_H

#include <stdbool.h>
#include <stdint.h>

/* X(name, roles, trigger, what is then on disk, or sent)
 *
 * roles: as what a node can hit it. L leads a group, F leads none, C coordinates transactions, P takes
 * part in them; N: a node outside of a running cluster's life, as the trigger says.
 * trigger: what makes it happen. load; elect: another leader is killed; hand_over: leaderships are given
 * away; freeze: another leader stops and goes on; bounce: another node restarts; floor: sessions grow
 * old; ask: the node is asked for the layout; boot: it starts, and has missed entries; boot_elect: then
 * a leader is killed; behind: it starts, behind the others' logs; source: another one does; init: a
 * cluster is made. */
#define FAILPOINTS(X)                                                                              \
	/* the log */                                                                              \
	X(log_promise, "LF", "hand_over", "a promise is in the log's memory, not on disk")         \
	X(log_entry, "LFCP", "load", "an accepted entry is in the log's memory, not on disk")      \
	X(log_mark, "LF", "load", "the log is to be cut; the mark is not written")                 \
	X(log_before_write, "LFCP", "load", "a batch is complete in memory, not written")          \
	X(log_after_write, "LFCP", "load", "a batch is on disk (write and sync are one call)")     \
	X(log_after_told, "LF", "load", "a batch is on disk, and its owners are woken")            \
	X(log_roll, "LF", "load", "the segment is full; its SEAL is not written")                  \
	X(log_header_before, "LF", "load", "a segment is taken again; its header is the old one")  \
	X(log_header_after, "LF", "load", "a segment has its new header, nothing behind it")       \
	X(log_create_before, "N", "init", "a segment file is not there yet")                       \
	X(log_create_after, "N", "init", "a segment file is there, without a header")              \
	X(log_rewrite, "LF", "load", "live records of an old segment are about to be appended") \
	/* engine, small files */                                                                  \
	X(engine_before_commit, "LFCP", "load", "an entry is executed, its batch not written")     \
	X(engine_after_commit, "LFCP", "load", "an entry is in the engine (memory), not answered") \
	X(flush_before, "LF", "load", "the engine is about to be flushed")                         \
	X(flush_after, "LF", "load", "the engine is flushed, the log not cut")                     \
	X(peers_before_rename, "LF", "load", "peers.tmp is on disk, peers is the old one")         \
	X(peers_after_rename, "LF", "load", "peers is new, its directory not synced")              \
	X(node_before_rename, "N", "init", "node.tmp is on disk, there is no file node")           \
	X(node_after_rename, "N", "init", "the file node is there, its directory not synced")      \
	X(cluster_before_rename, "N", "init", "cluster.tmp is on disk: not initialised")           \
	X(cluster_after_rename, "N", "init", "cluster is there: initialised, nothing else is")     \
	/* snapshots */                                                                            \
	X(install_begin, "N", "behind", "nothing of the snapshot is there")                        \
	X(install_chunk, "N", "behind", "a chunk has arrived, and is not taken")                   \
	X(install_finish_before, "N", "behind", "all chunks are there, the old state lives")       \
	X(install_finish_after, "N", "behind", "the new state lives")                              \
	X(snapshot_read, "L", "source", "a chunk has been read, not sent")                         \
	/* messages of consensus, each before it is sent */                                        \
	X(send_prevote, "F", "elect", "PREVOTE")                                                   \
	X(send_prevote_reply, "F", "elect", "PREVOTE_REPLY")                                       \
	X(send_prepare, "LF", "hand_over", "PREPARE; the own promise is on disk")                  \
	X(send_promise, "LF", "hand_over", "PROMISE; it is on disk")                               \
	X(send_accept, "LCP", "load", "ACCEPT, with entries or a heartbeat")                       \
	X(send_accepted, "FCP", "load", "ACCEPTED; the entries are on disk")                       \
	X(send_reject, "F", "freeze", "REJECT: a higher ballot was promised")                      \
	X(send_learn_request, "N", "boot_elect", "LEARN_REQUEST: chosen slots are missing")   \
	X(send_learn, "L", "bounce", "LEARN, chosen entries for one that lacks them")              \
	X(send_timeout_now, "L", "hand_over", "TIMEOUT_NOW; the lease has ended here")             \
	/* messages between groups, each before it is sent */                                      \
	X(send_txn_prepare, "C", "load", "PREPARE; the request may not be chosen yet")             \
	X(send_txn_vote, "P", "load", "VOTE; the part is prepared, and chosen")                    \
	X(send_txn_decision, "C", "load", "DECISION; the decision is chosen")                      \
	X(send_txn_ack, "P", "load", "ACK; the outcome is carried out")                            \
	X(send_txn_end, "C", "load", "END; all writers have acknowledged")                         \
	X(send_txn_ask, "P", "freeze", "ASK: a prepared part hears nothing")                       \
	X(send_txn_probe, "L", "load", "PROBE: a part waits")                                      \
	X(send_txn_probe_on, "L", "load", "PROBE_ON")                                              \
	X(send_txn_cancel, "L", "load", "CANCEL: a deadlock, or too long a wait")                  \
	/* commands, each before and after it is executed; nothing of its entry is in the engine */ \
	X(apply_request_before, "LF", "load", "")                                                  \
	X(apply_request_after, "LF", "load", "")                                                   \
	X(apply_cancel_before, "LF", "load", "")                                                   \
	X(apply_cancel_after, "LF", "load", "")                                                    \
	X(apply_close_before, "LF", "load", "")                                                    \
	X(apply_close_after, "LF", "load", "")                                                     \
	X(apply_floor_before, "LF", "floor", "")                                                   \
	X(apply_floor_after, "LF", "floor", "")                                                    \
	X(apply_prepare_before, "PF", "load", "")                                                  \
	X(apply_prepare_after, "PF", "load", "")                                                   \
	X(apply_outcome_before, "PF", "load", "")                                                  \
	X(apply_outcome_after, "PF", "load", "")                                                   \
	X(apply_forget_before, "PF", "load", "")                                                   \
	X(apply_forget_after, "PF", "load", "")                                                    \
	X(apply_decide_before, "CF", "load", "")                                                   \
	X(apply_decide_after, "CF", "load", "")                                                    \
	X(apply_end_before, "CF", "load", "")                                                      \
	X(apply_end_after, "CF", "load", "")                                                       \
	X(apply_drop_before, "LF", "load", "")                                                     \
	X(apply_drop_after, "LF", "load", "")                                                      \
	/* callers and connections */                                                              \
	X(session_open, "L", "load", "a client asks for an id; nothing is proposed")               \
	X(answer_open, "L", "load", "the id is issued; the client does not know it")               \
	X(answer_exec, "LC", "load", "executed; the client does not know it")                      \
	X(answer_read, "L", "load", "read; not answered")                                          \
	X(answer_admin, "L", "load", "CLOSE or FLOOR is executed, not answered")                   \
	X(answer_map, "LF", "ask", "the layout is asked for")                                     \
	X(answer_other, "LF", "load", "any other call (status, flush ...) is done, not answered")  \
	X(hello_send, "N", "boot", "this node's greeting")                                         \
	X(hello_receive, "LF", "bounce", "another node's greeting is here")                        \
	X(net_before_write, "LF", "load", "frames are queued, none is written to the socket")      \
	X(net_after_write, "LF", "load", "frames are in the socket's buffer")

#define FAILPOINT_ENUM(name, roles, trigger, text) FP_##name,
enum failpoint { FAILPOINTS(FAILPOINT_ENUM) FP_COUNT };
#undef FAILPOINT_ENUM

#ifdef PAXFS_FAILPOINTS

#include <stdatomic.h>

extern _Atomic unsigned failpoint_armed; /* 1 + the armed one; 0: none */
bool failpoint_hit(enum failpoint f);	 /* true: the step is to fail */
uint64_t failpoint_tuned(const char *variable, uint64_t otherwise);

static inline bool failpoint_check(enum failpoint f)
{
	return atomic_load_explicit(&failpoint_armed, memory_order_relaxed) == (unsigned)f + 1 &&
	       failpoint_hit(f);
}

#define FAILPOINT(name)		 ((void)failpoint_check(FP_##name))
#define FAILPOINT_IF(cond, name) ((void)((cond) && failpoint_check(FP_##name)))
/* @err when the armed action is `error`, else 0. */
#define FAILPOINT_ERROR(name, err) (failpoint_check(FP_##name) ? (err) : 0)
/* A limit that makes steps rare; that build takes it from the environment. */
#define FAILPOINT_TUNE(variable, value) failpoint_tuned(variable, value)

#else

#define FAILPOINT(name)			((void)FP_##name)
#define FAILPOINT_IF(cond, name)	((void)sizeof((cond) ? FP_##name : 0))
#define FAILPOINT_ERROR(name, err)	((void)FP_##name, 0)
#define FAILPOINT_TUNE(variable, value) (value)

#endif
#endif
