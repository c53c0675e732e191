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
#define CK_PASSES_MAX 8u /* with repair: again until nothing is left to mend */
#define CK_PAGE	      1024u
#define CK_LINE_MAX   512u

struct ck_inode {
	fs_ino ino;
	bool present, bad, has_xattr, has_entry, twice;
	uint8_t marks;	    /* of the attributes that were found (enum fs_has) */
	bool bad_list;	    /* an access list that is none */
	uint16_t list_perm; /* what the access list says of the mode */
	uint64_t version;
	struct fs_inode rec;
	uint32_t names, subdirs;
	/* a dentry that leads to it, and for a directory another one */
	fs_ino dir, dir2;
	uint64_t hash, hash2;
	uint8_t type;
	/* one entry of it */
	uint64_t entry_hash;
	fs_ino entry_ino;
	uint8_t walk; /* 1: being walked, 2: reaches the root, 3: does not */
	UT_hash_handle hh;
};

struct ck_data {
	uint64_t id;
	fs_ino owner;
	bool stored; /* a B or S key was seen */
	bool reaped; /* a G record speaks of it */
	uint64_t count;	     /* of its blocks, in the first round */
	uint64_t block, end; /* of the highest block: its number, and where its bytes end */
	UT_hash_handle hh;
};

enum ck_kind {
	CK_DANGLING = 1, /* dir, hash, ino: no such inode, or one without names */
	CK_TYPE,	 /* dir, hash, ino */
	CK_NO_DIR,	 /* dir, hash, ino: an entry of what is no directory */
	CK_PARENT,	 /* dir, hash, ino: the directory does not point back */
	CK_TWICE,	 /* dir, hash, ino: a second name of a directory */
	CK_LINKS,	 /* ino, count, version */
	CK_CYCLE,	 /* ino */
	CK_NO_REAP,	 /* ino: no names, and nobody to reap it */
	CK_REAP,	 /* ino (the object), what, owner */
	CK_DATA,	 /* data id of nobody */
	CK_BEYOND,	 /* ino, data id, block */
	CK_GAP,		 /* ino: blocks are absent, and it does not say so */
	CK_STRIPE,	 /* data id, block: not marked */
	CK_XATTR,	 /* ino: attributes without inode, or not as its record says */
	CK_LOCKS,	 /* ino: locks without inode, or of sessions that ended */
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
	struct ck_inode *inodes;
	struct ck_data *data;
	struct ck_reap *reaps; /* owned */
	uint32_t reap_count, reap_cap;
	struct ck_list now, before; /* suspects of this round that need more; of the one before */
	struct ck_list verify;	    /* of this round, to be looked at in a transaction */
	uint64_t last_hash, last_dir, ties[2]; /* of the run of dentries being scanned */
	uint64_t far_data, far_stripe;	       /* the stripe >= 1 seen last */
	struct ck_told *told;
	unsigned pass, round;
	uint64_t bad_inodes; /* of this round */
	uint64_t keys, mended, left; /* of this pass: repaired, not repaired */
};

/* ---- scan ---- */
int ck__scan(struct ck *c);
void ck__clear(struct ck *c); /* the tables */

/* ---- check ---- */
int ck__suspect(struct ck_list *l, const struct ck_suspect *s); /* ERR_NOMEM */
int ck__collect(struct ck *c);			/* from the tables */
int ck__verify(struct ck *c, const struct ck_suspect *s); /* looks, reports, mends */
int ck__verify_locks(struct ck *c, const struct ck_suspect *s); /* fsck_locks.c */
int ck__verify_waits(struct ck *c); /* the index of waits: fsck_locks.c */

/* ---- attributes ---- */
void ck__take_xattr(struct ck_inode *e, struct slice name, struct slice value);
bool ck__suspect_xattr(const struct ck_inode *e);
int ck__verify_xattr(struct ck *c, const struct ck_suspect *s);

/* ---- report and repair ---- */
void ck__line(struct ck *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A problem: counted as mended if @err, what the repair said, is 0 and there was one. */
void ck__problem(struct ck *c, bool tried, int err);
static inline bool ck__repairs(const struct ck *c)
{
	return c->o->repair && !c->fs->o.read_only;
}
int ck__delete_key(struct ck *c, struct slice key, uint64_t version);
/* Deletes an entry, of which dir, hash, ino are known, and corrects what counts it. */
int ck__delete_entry(struct ck *c, const struct ck_suspect *s);
int ck__rename_entry(struct ck *c, struct slice key, uint64_t version, const struct fs_dentry *d);
int ck__fix_type(struct ck *c, const struct ck_suspect *s, uint16_t type);
int ck__fix_parent(struct ck *c, const struct ck_suspect *s);
int ck__fix_links(struct ck *c, const struct ck_suspect *s);
int ck__adopt(struct ck *c, fs_ino ino, uint64_t version); /* a name in lost+found */
int ck__fix_no_reap(struct ck *c, fs_ino ino);
int ck__fix_beyond(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec);
int ck__fix_gap(struct ck *c, fs_ino ino, uint64_t data_id);
int ck__fix_stripe(struct ck *c, const struct ck_suspect *s);
int ck__exec(struct fs_op *op); /* tries again while that may help */

#endif
