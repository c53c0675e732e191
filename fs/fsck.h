/* The online check: what its files share.
 *
 * A round scans all keys, page by page, into tables of inodes and data ids. What does not fit
 * together is a suspect, since the file system changes meanwhile. Most suspects can be looked at in
 * one transaction, which decides. Those that only a whole scan can decide (how many names an inode
 * has, who uses a data id) must come up with the same evidence in CK_ROUNDS rounds: then the second
 * scan lay within a time in which the inode's record did not change, so it counted right; and a
 * data id, whose life is staged, used, replaced, gone, cannot have hidden from each of them.
 */
#ifndef PAXFS_FS_FSCK_H
#define PAXFS_FS_FSCK_H

#include "fs/fs_internal.h"

#define CK_ROUNDS     3u
#define CK_PASSES_MAX 16u /* with repair: again until nothing is left to mend; the last one only looks */
#define CK_PAGE	      1024u
#define CK_LINE_MAX   512u
#define CK_PATH_MAX   256u
#define CK_SLAB	      1024u /* rows of a table that are allocated together */

/* ---- tables: rows that begin with their key, a u64, and stay where they are ---- */

struct ck_table {
	uint8_t **slabs; /* owned, of CK_SLAB rows each */
	uint32_t *index; /* owned: number of a row + 1, or 0; open addressing */
	size_t row_size;
	uint32_t count, slab_count, slab_cap, mask;
};

void *ck__row_find(const struct ck_table *t, uint64_t key);
void *ck__row_get(struct ck_table *t, uint64_t key); /* made, zeroed, if absent; NULL: no memory */
void *ck__row_at(const struct ck_table *t, uint32_t i);
void ck__table_clear(struct ck_table *t); /* keeps the memory */
void ck__table_release(struct ck_table *t);

struct ck_inode {
	fs_ino ino;
	/* of the record */
	uint64_t version, size, data_id;
	fs_ino parent;
	uint64_t name_hash;
	/* one entry that leads to it, and another one: of another type, if there is one */
	fs_ino dir, dir2;
	uint64_t hash, hash2;
	uint32_t nlink, names, subdirs;
	uint16_t perm, list_perm; /* list_perm: what the access list says of the mode */
	uint8_t type;		  /* of the record */
	uint8_t name_type, name_type2;
	uint8_t xattrs; /* enum fs_has, of the record */
	uint8_t marks;	/* the same, of the attributes that were found */
	bool present : 1, bad : 1, odd : 1, holes : 1, orphan : 1, has_xattr : 1, has_entry : 1;
	bool bad_list : 1; /* an access list that is none */
	bool walking : 1, walked : 1;
};

struct ck_data {
	uint64_t id;
	fs_ino owner;
	uint64_t count;	     /* of its blocks, in the first round */
	uint64_t block, end; /* of the highest block: its number, and where its bytes end */
	bool shared; /* another inode has it, too */
	bool stored; /* a B or S key was seen */
	bool blocks; /* a B key was */
	bool reaped; /* a G record speaks of it */
};

/* What can be wrong, and what programs call it. */
#define CK_KINDS(X)                                                                                \
	X(DANGLING, "dangling-name")	   /* dir, hash, ino: no such inode */                     \
	X(TYPE, "name-type")		   /* dir, hash, ino */                                    \
	X(NO_DIR, "name-in-no-directory")  /* ino: the number that has entries */                  \
	X(PARENT, "directory-parent")	   /* dir, hash, ino: it does not point back */            \
	X(TWICE, "directory-twice")	   /* dir, hash, ino: a second name of a directory */      \
	X(NO_LINKS, "no-links")		   /* ino, dir, hash, count: names or entries, nlink 0 */   \
	X(LINKS, "link-count")		   /* ino, count, version */                               \
	X(NO_NAME, "no-name")		   /* as LINKS */                                          \
	X(CYCLE, "directory-loop")	   /* ino */                                               \
	X(LOST, "inode-lost")		   /* ino, dir, hash, count: absent or damaged */          \
	X(FIELDS, "inode-fields")	   /* ino */                                               \
	X(WRONG_TYPE, "inode-type")	   /* ino, dir, hash, count: what names and contents say */ \
	X(ROOT, "root")			   /* count: subdirectories */                             \
	X(NO_REAP, "orphan-forgotten")	   /* ino: no names, and nobody to reap it */              \
	X(REAP, "reap-left")		   /* ino (the object), what, owner */                     \
	X(DATA, "data-without-file")	   /* data id of nobody; dir, hash: a name of that number */ \
	X(SHARED, "data-shared")	   /* ino, dir (another inode), data id */                 \
	X(BEYOND, "data-beyond-end")	   /* ino, data id, block */                               \
	X(GAP, "holes-unmarked")	   /* ino: blocks are absent, and it does not say so */    \
	X(STRIPE, "stripe-unmarked")	   /* data id, block */                                    \
	X(XATTR, "attributes")		   /* ino: without inode, or not as its record says */     \
	X(LOCKS, "locks")		   /* ino: without inode, or of sessions that ended */     \
	X(REAP_WRONG, "in-use-but-reaped") /* as REAP */                                           \
	X(NAME, "name-invalid")		   /* of a record: these are told of by the scan */        \
	X(NAME_HASH, "name-hash")                                                                  \
	X(COOKIE, "name-cookie")                                                                   \
	X(RECORD, "record-damaged")                                                                \
	X(PLACE, "record-misplaced")                                                               \
	X(UNKNOWN, "key-unknown")                                                                  \
	X(COUNTER, "number-counter") /* of the store's own keys */                                 \
	X(ORDER, "rename-order")                                                                   \
	X(LOCK_WAIT, "lock-wait")

enum ck_kind {
	CK_NONE,
#define X(kind, name) CK_##kind,
	CK_KINDS(X)
#undef X
};

struct ck_suspect {
	uint64_t kind, ino, dir, hash, count, version, data_id, block;
};

struct ck_list {
	struct ck_suspect *v; /* owned */
	uint32_t count, cap;
};

struct ck_reap {
	uint64_t object;
	uint8_t what;
};

struct ck_told;

struct ck {
	struct fs *fs;
	const struct fs_fsck_options *o;
	struct fs_fsck_result *r;
	struct ck_table inodes, data;
	struct ck_reap *reaps; /* owned */
	uint32_t reap_count, reap_cap;
	struct ck_list now, before; /* suspects of this round that need more; of the one before */
	struct ck_list verify;	    /* of this round, to be looked at in a transaction */
	uint64_t last_hash, last_dir, ties[2]; /* of the run of dentries being scanned */
	uint64_t far_data, far_stripe;	       /* the stripe >= 1 seen last */
	uint64_t highest;		       /* counter of the numbers seen in use */
	struct ck_told *told;
	unsigned pass, round;
	uint64_t bad_inodes; /* of this round */
	uint64_t keys;
	uint64_t mended, left, changed; /* of this pass: repaired, not, not so any more */
	struct {			/* what is being told of */
		enum ck_kind kind;
		fs_ino ino;	  /* 0: none */
		fs_ino dir;	  /* of a name that leads there; 0: not known */
		uint64_t hash;
		uint32_t group;
		char text[CK_LINE_MAX], path[CK_PATH_MAX];
	} at;
};

static inline struct ck_inode *ck__inode(struct ck *c, fs_ino ino)
{
	return ck__row_find(&c->inodes, ino);
}
static inline struct ck_data *ck__data(struct ck *c, uint64_t id)
{
	return ck__row_find(&c->data, id);
}

/* ---- scan ---- */
int ck__scan(struct ck *c);
void ck__clear(struct ck *c); /* the tables */
static inline bool ck__counting(const struct ck *c) /* totals are those of the first time round */
{
	return c->pass == 0 && c->round == 0;
}

/* ---- records that are wrong in themselves (fsck_record.c) ---- */
/* A key that nobody would look under: 0, or it has been dealt with and is not to be looked at: 1. */
int ck__bad_key(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it);
/* Tells of it, and deletes it if @drop (and repairing). Once a pass. */
void ck__bad_record(struct ck *c, enum ck_kind kind, const struct txn_item *it, const char *what,
		    bool drop);
/* The same, where something takes its place: *@mend, if repairing. */
typedef int ck_mend_fn(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it);
void ck__bad_value(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it,
		   const char *what, ck_mend_fn *mend);
void ck__bad_reap(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it);
void ck__bad_block(struct ck *c, const struct txn_item *it);	/* too long */
void ck__bad_stripes(struct ck *c, const struct txn_item *it);	/* the same */
void ck__bad_name(struct ck *c, const struct txn_item *it, const struct fs_dentry *d);
void ck__bad_cookie(struct ck *c, const struct txn_item *it, const struct fs_dentry *d);

/* ---- check ---- */
int ck__suspect(struct ck_list *l, const struct ck_suspect *s); /* ERR_NOMEM */
int ck__collect(struct ck *c);			/* from the tables */
int ck__verify(struct ck *c, const struct ck_suspect *s); /* looks, reports, mends */
int ck__verify_entry(struct ck *c, const struct ck_suspect *s);
int ck__verify_no_dir(struct ck *c, const struct ck_suspect *s);
int ck__verify_cycle(struct ck *c, const struct ck_suspect *s);
int ck__decode(const struct txn_value *v, struct fs_inode *rec, bool *there); /* ERR_CORRUPT */
static inline bool ck__lives(bool there, const struct fs_inode *rec)
{
	return there && rec->nlink > 0;
}

/* ---- inodes (fsck_inode.c, fsck_rebuild.c) ---- */
bool ck__odd(struct slice value, const struct fs_inode *rec); /* fields that cannot be */
bool ck__known_type(uint16_t type);
int ck__verify_fields(struct ck *c, const struct ck_suspect *s);
int ck__verify_wrong_type(struct ck *c, const struct ck_suspect *s);
int ck__verify_no_links(struct ck *c, const struct ck_suspect *s);
int ck__verify_no_reap(struct ck *c, const struct ck_suspect *s);
int ck__verify_root(struct ck *c, const struct ck_suspect *s);
int ck__verify_lost(struct ck *c, const struct ck_suspect *s);
/* A file for data that has none: under its own number, or a new one in lost+found. */
int ck__rebuild_file(struct ck *c, const struct ck_suspect *s);

/* ---- data (fsck_data.c, fsck_share.c) ---- */
int ck__verify_reap(struct ck *c, const struct ck_suspect *s);
int ck__verify_data(struct ck *c, const struct ck_suspect *s);
int ck__verify_beyond(struct ck *c, const struct ck_suspect *s);
int ck__verify_gap(struct ck *c, const struct ck_suspect *s);
int ck__verify_stripe(struct ck *c, const struct ck_suspect *s);
int ck__verify_shared(struct ck *c, const struct ck_suspect *s);
/* The data that has its number is a file's, from now on. */
int ck__give_back(struct ck *c, fs_ino ino, const struct fs_inode *rec);
/* Where the bytes of its highest block end; 0: it has none. */
int ck__data_end(struct ck *c, uint64_t data_id, uint64_t *end);
int ck__block_seen(struct ck *c, uint64_t data_id, bool *any); /* has it a block? */

/* ---- files held open without a name (fsck_holds.c) ---- */
bool ck__hold_record_ok(const struct fs_key_parts *p, struct slice value);
void ck__bad_hold(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it);
/* Has a mount the orphan open, or is one asking the others? Then it is left to them. */
int ck__orphan_wanted(struct ck *c, fs_ino ino, bool *wanted);

/* ---- attributes ---- */
void ck__take_xattr(struct ck *c, struct ck_inode *e, const struct fs_key_parts *p,
		    const struct txn_item *it);
bool ck__suspect_xattr(const struct ck_inode *e);
int ck__verify_xattr(struct ck *c, const struct ck_suspect *s);

/* ---- locks (fsck_locks.c) and the store's own keys (fsck_meta.c) ---- */
int ck__verify_locks(struct ck *c, const struct ck_suspect *s);
int ck__verify_waits(struct ck *c); /* the index of waits: fsck_locks.c */
int ck__check_meta(struct ck *c); /* after a scan */

/* ---- report and repair ---- */
/* What the next lines are about; @ino may be 0. */
void ck__about(struct ck *c, enum ck_kind kind, fs_ino ino);
void ck__about_name(struct ck *c, enum ck_kind kind, fs_ino dir, uint64_t hash, fs_ino ino);
void ck__line(struct ck *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A problem: counted as mended if @err, what the repair said, is 0 and there was one. */
void ck__problem(struct ck *c, bool tried, int err);
void ck__path(struct ck *c, char out[CK_PATH_MAX]); /* of c->at; "" when there is none */
static inline bool ck__repairs(const struct ck *c)
{
	return c->o->repair && !c->fs->o.read_only && c->pass + 1 < CK_PASSES_MAX;
}
int ck__delete_key(struct ck *c, struct slice key, uint64_t version);
/* Deletes an entry, of which dir, hash, ino are known, under what @also adds (may be NULL). */
typedef void ck_also_fn(struct fs_op *op, const void *ctx);
int ck__delete_entry(struct ck *c, const struct ck_suspect *s, ck_also_fn *also, const void *ctx);
int ck__rename_entry(struct ck *c, struct slice key, uint64_t version, const struct fs_dentry *d);
int ck__fix_cookie(struct ck *c, struct slice key, const struct fs_dentry *d);
int ck__fix_type(struct ck *c, const struct ck_suspect *s, uint16_t type);
int ck__fix_parent(struct ck *c, const struct ck_suspect *s);
int ck__fix_links(struct ck *c, const struct ck_suspect *s);
int ck__lost_and_found(struct ck *c, fs_ino *dir);
int ck__adopt(struct ck *c, fs_ino ino, uint64_t version); /* a name in lost+found */
int ck__fix_no_reap(struct ck *c, fs_ino ino);
int ck__fix_beyond(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec);
int ck__fix_gap(struct ck *c, fs_ino ino, uint64_t data_id);
int ck__fix_stripe(struct ck *c, const struct ck_suspect *s);
int ck__exec(struct fs_op *op); /* tries again while that may help */
int ck__finish(struct fs_op *op); /* the same, and ends it */

#endif
