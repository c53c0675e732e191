/* Shared inside tests/sim/sim_fs*.c only. */
#ifndef PAXFS_TESTS_SIM_SIM_FS_INTERNAL_H
#define PAXFS_TESTS_SIM_SIM_FS_INTERNAL_H

#include <stdio.h>
#include <sys/stat.h>
#include <uthash.h>

#include "base/buf.h"
#include "fs/fs.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_fs.h"

#define FSIM_NEVER	 UINT64_MAX
#define FSIM_MOUNTS_MAX	 4u
#define FSIM_FIBERS_MAX	 4u
#define FSIM_WORKERS_MAX (FSIM_MOUNTS_MAX * FSIM_FIBERS_MAX)
#define FSIM_HANDLES	 2u /* open files of a worker */
#define FSIM_READ_MAX	 (256u * 1024u)
#define FSIM_REGISTERS	 6u
#define FSIM_LOGS	 3u
#define FSIM_WHITEOUT	 0x100u /* among the flags of a rename */

/* ---- names: all that there are ---- */

#define FSIM_NAMES(X)                                                                               \
	X(A, "a") X(B, "b") X(C, "c") X(D, "d") X(E, "e") /* of the random calls */                 \
	X(MA, "ma") X(MB, "mb") X(MC, "mc") X(M, "m")	  /* the wanderer, and where it may be */   \
	X(REG, "reg") X(LOG, "log")			  /* what is in these is checked apart */   \
	X(P, "p") X(Q, "q")				  /* each wants to lie in the other */      \
	X(L0, "l0") X(L1, "l1") X(L2, "l2")		  /* what is locked */

enum fsim_name {
#define X(name, text) NAME_##name,
	FSIM_NAMES(X)
#undef X
		NAME_COUNT
};
#define FSIM_TREE_NAMES	  5u
#define FSIM_WANDER_FIRST NAME_MA
#define FSIM_WANDER_DIRS  3u

enum fsim_xattr { /* the first ones mean nothing */
	FSIM_X_ACCESS = 3,
	FSIM_X_DEFAULT,
	FSIM_X_CAPABILITY, /* goes with each change of contents */
	FSIM_XATTRS
};
static inline bool fsim__is_list(unsigned x)
{
	return x == FSIM_X_ACCESS || x == FSIM_X_DEFAULT;
}

struct slice fsim__name(enum fsim_name n);
struct slice fsim__xattr_name(unsigned x);

/* ---- calls ---- */

enum fsim_kind {
	CALL_MKNOD,
	CALL_CREATE, /* flags: FS_O_EXCL */
	CALL_MKDIR,
	CALL_SYMLINK, /* data: target */
	CALL_LINK,
	CALL_UNLINK,
	CALL_RMDIR,
	CALL_RENAME,
	CALL_CHMOD,
	CALL_UTIMES, /* offset: atime and mtime, ns */
	CALL_TRUNCATE, /* offset: the size */
	CALL_WRITE,
	CALL_APPEND,
	CALL_OPEN_TRUNC,
	CALL_FALLOCATE, /* flags: mode; offset, len */
	CALL_COPY, /* to ino, offset; from ino2, offset2; len; end: how much */
	CALL_SETXATTR,
	CALL_REMOVEXATTR,
	CALL_LAST_CHANGE = CALL_REMOVEXATTR,
	CALL_READ,
	CALL_STAT, /* flags: 1: with the blocks counted */
	CALL_SEEK, /* flags: 1: a hole; end: where */
	CALL_LOOKUP,
	CALL_READDIR,
	CALL_READLINK,
	CALL_GETXATTR,
	CALL_LISTXATTR,
};

struct fsim_call {
	uint32_t id;
	enum fsim_kind kind;
	uint32_t mount; /* which process, counted anew after each kill */
	uint64_t invoke_ns, return_ns; /* FSIM_NEVER: it did not */
	uint64_t exec_ns, exec_end_ns; /* of the transaction that committed, or may have */
	uint64_t stamp;		       /* of its commit; 0: nothing was committed */
	uint32_t commits;
	/* A call of several transactions has a record for each; the first one is the call's. */
	bool stepwise;
	struct fsim_call *whole; /* NULL: it is that one */
	struct fsim_effect *effects; /* of its transaction on blocks (sim_fs_contents.h); owned */
	uint32_t effect_count;
	uint64_t grows; /* the size is at least so much then; 0: as before */
	int err;
	/* what was asked for */
	uint64_t dir, dir2, ino;
	enum fsim_name name, name2;
	unsigned flags, xattr;
	uint32_t mode;
	uint64_t offset;
	struct slice data; /* owned */
	uint64_t opened_ns; /* the handle's; 0: not through a handle */
	uint64_t ino2, offset2, len;
	unsigned counter; /* raised under a lock (sim_fs_locks.h); 0: none */
	/* what came back */
	uint64_t made; /* number of the inode that the transaction makes */
	bool has_attr;
	bool attr_later; /* it is not what it was right after the change */
	struct fs_attr attr;
	uint64_t end;
	struct slice out; /* owned */
	bool stopped;	    /* its last step met an outage: it may have ended there */
	uint64_t copied_at; /* a step of a copy: `out` lies there in the target then */
	uint64_t listed[NAME_COUNT]; /* readdir: inode by name; listxattr: by attribute */
};

extern struct fsim_call **fsim_calls;
extern uint32_t fsim_call_count;

const char *fsim__text(const struct fsim_call *c); /* in a static buffer */

/* ---- workers ---- */

struct fsim_handle {
	struct fs_file *file; /* NULL: none */
	uint64_t ino, opened_ns;
	bool append;
};

struct fsim_mount;
struct fsim_worker {
	struct fsim_mount *m;
	uint32_t id; /* unique in the run */
	struct fiber *fiber;
	struct fsim_call *call; /* under way, if it is one that is replayed */
	bool main;		/* its transaction is the call's change */
	uint64_t since_ns;	/* any call is under way; 0: none */
	struct fsim_handle handles[FSIM_HANDLES];
	uint64_t records; /* appended to logs */
	struct fsim_locker *locker; /* of its locks; NULL: none yet */
};

struct fsim_mount {
	struct sim_machine machine;
	struct sim_client_env env;
	struct sim_proc *proc;
	uint32_t number, incarnation;
	struct kv_client *kv;
	struct fs *fs;
	struct fs *hears; /* of its session's end */
	struct fsim_executor { /* what fs sees: the client's, noted */
		struct txn_executor x;
		struct txn_executor *real;
	} executor;
	struct fsim_worker workers[FSIM_FIBERS_MAX];
	uint32_t fibers_left;
	struct fiber *waiter;
	bool replacing;
	bool keeps_locks; /* decides alone where it can */
	bool evicted;	  /* somebody closes its session, or has */
	bool lost;	  /* it has heard so: it makes way */
};

extern struct sim_fs_config fsim_cfg;
extern const struct fs_cred fsim_cred;

struct fsim_call *fsim__begin(struct fsim_worker *w, enum fsim_kind kind);
void fsim__end(struct fsim_worker *w, struct fsim_call *c, int err);
struct fsim_call *fsim__call_of(const struct fsim_worker *w, enum fsim_kind kind); /* arguments first */
void fsim__run(struct fsim_worker *w, struct fsim_call *c);			      /* then that */
/* Calls that are judged elsewhere, for the numbers and the clock. */
void fsim__other_begin(struct fsim_worker *w);
void fsim__other_end(struct fsim_worker *w, int err);
/* Neither the call's nor the tree's fault: the store could not be asked. Its effect is open. */
bool fsim__is_outage(int err);
/* Did that mount end in a way that may leave orphans? */
bool fsim__left_hastily(uint32_t mount);
int fsim__open(struct fsim_mount *m, struct sim_client_env *e, struct fs **out); /* also m->kv */
void fsim__note_dir(uint64_t ino);
void fsim__forget_handles(struct fsim_worker *w, bool close);

/* ---- sim_fs_calls.c ---- */
/* The directories and files that stay; to be called again after a failure. */
int fsim__make_first(struct fsim_worker *w);
void fsim__tree_call(struct fsim_worker *w);
void fsim__wander_call(struct fsim_worker *w);
uint64_t fsim__any_file(struct fsim_worker *w); /* an inode seen lately */
struct fsim_handle *fsim__some_handle(struct fsim_worker *w, bool append); /* NULL: none */
struct fsim_call *fsim__call_with(struct fsim_worker *w, const struct fsim_handle *h,
				  enum fsim_kind kind);
struct fsim_handle *fsim__free_handle(struct fsim_worker *w);
uint64_t fsim__make_file(struct fsim_worker *w, enum fsim_name name); /* in the root; 0: not yet */

/* ---- sim_fs_data.c: holes, copies ---- */
void fsim__data_call(struct fsim_worker *w);

/* ---- sim_fs_lists.c: access lists ---- */
/* For this mode; @full: with a user and a mask. @named: the permissions of the user and of the group. */
struct slice fsim__list(uint32_t mode, bool full, unsigned named);
bool fsim__list_is_full(struct slice list);
uint32_t fsim__list_mode(struct slice list);
struct slice fsim__list_with(struct slice list, uint32_t mode); /* as chmod makes it */

/* ---- sim_fs_files.c ---- */
void fsim__files_init(void);
int fsim__files_make(struct fsim_worker *w);
void fsim__files_call(struct fsim_worker *w);
int fsim__files_read(struct fs *fs); /* the last word */
uint64_t fsim__files_judge(void);

/* ---- sim_fs_tree.c: the tree as the last mount saw it ---- */
struct fsim_seen {
	uint64_t ino;
	struct fs_attr attr;
	struct slice data; /* owned: contents, target */
	bool xattr_there[FSIM_XATTRS];
	struct slice xattr[FSIM_XATTRS];
	uint64_t entries[NAME_COUNT]; /* of a directory */
};
struct fsim_tree {
	struct fsim_seen *seen;
	uint32_t count, cap;
	uint64_t *left; /* objects that the first fsck said wait to be removed */
	uint32_t left_count, left_cap;
	uint32_t locks_left; /* inodes with locks of dead mounts, the last fsck said */
};
extern struct fsim_tree fsim_tree;
void fsim__inspect(struct sim_client_env *e);

/* ---- sim_fs_model.c ---- */

struct fsim_version {
	uint64_t lo_ns, hi_ns; /* it came to be not before, not after */
	uint64_t value;
	struct slice data; /* borrowed for ever */
	uint64_t blocks;   /* of contents: bit n: block n is there */
	const struct fsim_call *by; /* NULL: from the start */
};

enum fsim_what {
	OBJ_NAME = 1, /* (directory, name): inode, 0: none */
	OBJ_LIFE,     /* (inode): 1 while it has a name */
	OBJ_MODE,     /* (inode): permission bits */
	OBJ_DATA,     /* (file): contents; value: size */
	OBJ_PARENT,   /* (directory) */
	OBJ_XATTR,    /* (inode, which): 1 there; data */
	OBJ_MTIME,    /* (inode that is no directory): ns */
	OBJ_DIR_MTIME, /* changes of a directory commute: their order is that of the stamps in the end */
	OBJ_ATIME,    /* as the inode was made, or utimes said; reads are looked for elsewhere. 0: any */
};

struct fsim_object {
	struct fsim_key {
		uint64_t ino;
		uint32_t what, n;
	} key;
	struct fsim_version *v; /* in the order of commits; v[0]: before all */
	uint32_t count, cap;
	UT_hash_handle hh;
};

struct fsim_delta { /* of a link count: these commute */
	uint64_t lo_ns, hi_ns;
	int32_t by;
};

struct fsim_inode {
	uint64_t ino;
	uint32_t type; /* S_IFMT bits */
	bool apart;    /* a directory in which not only calls of the model make names */
	int64_t nlink;
	uint32_t entries;
	struct slice target;
	const struct fsim_call *zeroed; /* who took its last name */
	struct fsim_delta *deltas;
	uint32_t delta_count, delta_cap;
	UT_hash_handle hh;
};

_Noreturn void fsim__wrong(const struct fsim_call *c, const char *why); /* by the model */
void fsim__must(const struct fsim_call *c, bool holds, const char *why);
struct fsim_version *fsim__set(const struct fsim_call *c, enum fsim_what what, uint64_t ino, uint32_t n,
			       uint64_t v, struct slice data);
void fsim__changed(const struct fsim_call *c, uint64_t ino); /* contents: time of change, capability */
void fsim__replay(void); /* all that committed; a violation if it cannot have been so */
struct fsim_object *fsim__object(enum fsim_what what, uint64_t ino, uint32_t n);
struct fsim_inode *fsim__inode(uint64_t ino); /* NULL: there never was */
const struct fsim_version *fsim__now(enum fsim_what what, uint64_t ino, uint32_t n);
uint64_t fsim__model_each(void (*fn)(const struct fsim_inode *i)); /* how many */

/* ---- sim_fs_judge.c ---- */
void fsim__judge_calls(void);
void fsim__judge_tree(void);

#endif
