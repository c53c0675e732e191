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

#endif
