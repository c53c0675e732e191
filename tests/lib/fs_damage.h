/* Damage to a file system, written to the store past every call, and what fsck says of it.
 *
 *     fsd_set_field(m, ino, FS_F_NLINK, 7);
 *     fsd_fsck(m, false, &t);   CHECK_STR_EQ(t.kinds, "link-count");   fsd_release(&t);
 */
#ifndef PAXFS_TESTS_LIB_FS_DAMAGE_H
#define PAXFS_TESTS_LIB_FS_DAMAGE_H

#include "tests/lib/fs_case.h"

struct fsd_told {
	struct buf text;  /* the lines, NUL-terminated */
	char kinds[1024]; /* the kinds of problem told of, each once, sorted, with spaces between */
	fs_ino inos[64];  /* that they were about, without repeats */
	unsigned ino_count;
	struct fs_fsck_result r;
};

void fsd_fsck(struct fsx_mount *m, bool repair, struct fsd_told *t); /* must succeed */
void fsd_release(struct fsd_told *t);
void fsd_expect_clean(struct fsx_mount *m);

/* ---- damage; each is a change that nobody has made by a call ---- */

struct fsx_rec *fsd_rec(struct fsx_mount *m, const struct fs_key *k); /* must be there */
struct fsx_rec *fsd_inode(struct fsx_mount *m, fs_ino ino);
void fsd_put(struct fsx_mount *m, const struct fs_key *k, struct slice value);
void fsd_delete(struct fsx_mount *m, const struct fs_key *k);
void fsd_delete_inode(struct fsx_mount *m, fs_ino ino);
void fsd_move(struct fsx_mount *m, const struct fs_key *from, const struct fs_key *to);
void fsd_resize(struct fsx_mount *m, const struct fs_key *k, size_t len); /* cut, or zeros behind */
void fsd_set_field(struct fsx_mount *m, fs_ino ino, struct txn_field f, uint64_t v);
void fsd_name_key(struct fsx_mount *m, fs_ino dir, const char *name, struct fs_key *k);
void fsd_put_dentry(struct fsx_mount *m, fs_ino dir, const char *name, fs_ino ino, uint16_t type);
void fsd_drop_dentry(struct fsx_mount *m, fs_ino dir, const char *name);
void fsd_put_reap(struct fsx_mount *m, uint64_t object, uint8_t what, uint64_t session);

/* ---- tables of damage ---- */

struct fsd_tree { /* what every case begins with */
	fs_ino d, sub, low; /* /d, /d/sub, /d/sub/low */
	fs_ino deep;	    /* /d/sub/low/deep: "deep" */
	fs_ino f;	    /* /d/f: "text" */
	fs_ino g;	    /* /d/g and /g2: "linked" */
	fs_ino big;	    /* /big: "far" at STRIPE_SIZE + 5, nothing before */
	fs_ino link;	    /* /link: a symlink to "d/f" */
	fs_ino put;	    /* /put: 200,000 bytes 'p', with a data id that is not its number */
	fs_ino listed;	    /* /listed: an access list, security.capability, user.x */
	fs_ino empty;	    /* /empty: no bytes */
	fs_ino open;	    /* removed, but open in this mount */
	struct fs_file *file;
};

/* What a damage may cost: the rest is read before and after. */
enum fsd_spoils {
	FSD_D = 1,
	FSD_SUB = 2, /* and what is in it */
	FSD_F = 4,
	FSD_G = 8,
	FSD_BIG = 16,
	FSD_LINK = 32,
	FSD_PUT = 64,
	FSD_LISTED = 128,
	FSD_EMPTY = 256,
	FSD_OPEN = 512,
};

struct fsd_case {
	const char *name;
	void (*plant)(struct fsx_mount *m, struct fsd_tree *t);
	const char *kinds; /* exactly these are told of */
	unsigned spoils;   /* enum fsd_spoils */
	void (*check)(struct fsx_mount *m, struct fsd_tree *t); /* after the repair; may be NULL */
	bool stays; /* it is not mended */
	uint64_t hash_mask; /* 0: of all bits */
};

/* Each on a new cluster: fsck tells of these kinds and changes nothing; with repair it mends all of it;
 * a second run is clean; the checker of the tests agrees; what was not to be spoiled is as it was. */
void fsd_run_cases(const struct fsd_case *cases, size_t count);

#endif
