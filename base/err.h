/* The one error space of paxfs.
 *
 * Every fallible function returns 0 or one of these negative codes; a message for people goes
 * into a `struct msg` (msg.h) on cold paths. errno exists only in mount/ and where a system call
 * is made; err_from_errno() turns the latter into a code at once.
 */
#ifndef PAXFS_BASE_ERR_H
#define PAXFS_BASE_ERR_H

/* X(name, number, text). Numbers travel on the wire and in logs: never reuse or renumber. */
#define ERR_MAP(X)                                                                                 \
	/* general */                                                                              \
	X(NOMEM, 1, "out of memory")                                                               \
	X(INVAL, 2, "invalid argument")                                                            \
	X(BUSY, 3, "too many requests are waiting; try again")                                     \
	X(TIMEOUT, 4, "timed out")                                                                 \
	X(CANCELED, 5, "canceled")                                                                 \
	X(TOO_BIG, 6, "too big")                                                                   \
	X(UNSUPPORTED, 7, "not supported")                                                         \
	X(INTERRUPTED, 8, "interrupted")                                                           \
	X(USAGE, 9, "wrong usage")                                                                 \
	/* disk */                                                                                 \
	X(IO, 20, "input/output error")                                                            \
	X(CORRUPT, 21, "stored data is damaged")                                                   \
	X(NOSPACE, 22, "no space left")                                                            \
	X(IDENTITY, 23, "the data directory belongs to another node or cluster")                   \
	X(LOCKED, 24, "the data directory is in use by another process")                           \
	/* wire */                                                                                 \
	X(PROTO, 40, "malformed message")                                                          \
	X(WIRE_VERSION, 41, "peer speaks another protocol version")                                \
	X(CLOSED, 42, "connection closed")                                                         \
	X(UNREACHABLE, 43, "unreachable")                                                          \
	X(ADDR_IN_USE, 44, "address is in use")                                                    \
	/* groups and shards */                                                                    \
	X(NOT_LEADER, 60, "this replica is not the leader")                                        \
	X(WRONG_SHARD, 61, "this group does not own that key")                                     \
	X(NO_GROUP, 62, "no such group on this node")                                              \
	X(NOT_READY, 63, "not initialised")                                                        \
	X(EXISTS_CLUSTER, 64, "the cluster is initialised already")                                \
	X(AMNESIA, 65, "this replica lost its state and must not vote")                            \
	/* transactions */                                                                         \
	X(CONDITION, 80, "a condition of the transaction does not hold")                           \
	X(ABORTED, 81, "the transaction was aborted; try again")                                   \
	X(DEADLOCK, 82, "the transaction was aborted to break a deadlock; try again")              \
	X(FORGOTTEN, 83, "the request was acknowledged and forgotten before")                      \
	X(SESSION, 84, "the session is closed")                                                    \
	X(ABSENT_RECORD, 85, "a record that a mutation needs is absent")                           \
	X(BAD_FIELD, 86, "a field lies outside its record")                                        \
	X(ELSEWHERE, 87, "the key is in another group")                                            \
	X(OUTCOME, 88, "the session ended before the answer came: it may have been done")          \
	/* files */                                                                                \
	X(NOT_FOUND, 100, "no such file or key")                                                   \
	X(EXISTS, 101, "it exists already")                                                        \
	X(NOT_DIR, 102, "not a directory")                                                         \
	X(IS_DIR, 103, "is a directory")                                                           \
	X(NOT_EMPTY, 104, "directory not empty")                                                   \
	X(NAME_TOO_LONG, 105, "name too long")                                                     \
	X(STALE, 106, "stale file handle")                                                         \
	X(ACCESS, 107, "permission denied")                                                        \
	X(PERM, 108, "operation not permitted")                                                    \
	X(LOOP, 109, "too many levels of symbolic links, or a directory would contain itself")     \
	X(FILE_TOO_BIG, 110, "file too large")                                                     \
	X(TOO_MANY_LINKS, 111, "too many links")                                                   \
	X(NO_DATA, 112, "no such attribute")                                                       \
	X(RANGE, 113, "result does not fit")                                                       \
	X(BAD_HANDLE, 114, "bad file handle")                                                      \
	X(WOULD_BLOCK, 115, "would block")                                                         \
	X(READ_ONLY, 116, "read-only file system")                                                 \
	X(LOCK_LOST, 117, "a lock of the file was lost with the session")

enum err {
#define X(name, number, text) ERR_##name = -(number),
	ERR_MAP(X)
#undef X
};

/* Static text for @code, never NULL; 0 is "ok". */
const char *err_text(int code);

/* Static symbolic name ("NOT_LEADER"), never NULL; 0 is "OK". */
const char *err_name(int code);

/* A code for a positive errno value; ERR_IO for those without a counterpart. */
int err_from_errno(int errnum);

#endif
