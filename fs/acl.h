/* POSIX access control lists (POSIX 1003.1e draft 17), in the form that Linux passes them: the
 * value of an extended attribute, version u32 | entries of tag u16, perm u16, id u32,
 * little-endian. Pure functions, and the pieces that they add to transactions. */
#ifndef PAXFS_FS_ACL_H
#define PAXFS_FS_ACL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "fs/fs_internal.h"

#define FS_X_ACL_ACCESS	 "system.posix_acl_access"
#define FS_X_ACL_DEFAULT "system.posix_acl_default"

#define FS_ACL_HEAD	   4u
#define FS_ACL_ENTRY	   8u
#define FS_ACL_SIZE_MAX	   4096u /* the kernel reads one page */
#define FS_ACL_ENTRIES_MAX ((FS_ACL_SIZE_MAX - FS_ACL_HEAD) / FS_ACL_ENTRY)

enum fs_acl_tag { /* in the order that a valid list has them */
		  FS_ACL_USER_OBJ = 0x01,
		  FS_ACL_USER = 0x02,
		  FS_ACL_GROUP_OBJ = 0x04,
		  FS_ACL_GROUP = 0x08,
		  FS_ACL_MASK = 0x10,
		  FS_ACL_OTHER = 0x20,
};

struct fs_acl_entry {
	uint16_t tag, perm;
	uint32_t id; /* of FS_ACL_USER and FS_ACL_GROUP; else UINT32_MAX */
};

struct fs_acl {
	uint32_t count; /* 0: none */
	struct fs_acl_entry e[FS_ACL_ENTRIES_MAX];
};

/* ERR_INVAL: not a valid list; ERR_TOO_BIG. No entries at all is valid: there is no list. */
int fs__acl_decode(struct slice value, struct fs_acl *out);
/* Into @b, of FS_ACL_SIZE_MAX bytes. */
struct slice fs__acl_encode(const struct fs_acl *acl, uint8_t *b);

/* The nine permission bits that the list stands for; true if they say all that it says. */
bool fs__acl_mode(const struct fs_acl *acl, uint16_t *perm);
/* chmod: the entries of owner, other, and mask (without one, group) become those of @perm. */
void fs__acl_chmod(struct fs_acl *acl, uint16_t perm);
/* A new object made with @perm under this default list (draft 17, 23.1.5): the list becomes its
 * access list, @perm what the list lets through. True if @perm says all of the result. */
bool fs__acl_create(struct fs_acl *acl, uint16_t *perm);

/* ---- in transactions ---- */

/* What a directory's record says it has: its default list, of the very state of @p->rec. @value is
 * empty if it has none, and kept while the permission version is the same. Requests only if it has
 * one. */
struct fs_default {
	struct buf value; /* owned */
	uint64_t perm_version;
};
int fs__default_known(struct fs *fs, struct fs_parent *p, struct fs_default *d);
void fs__default_release(struct fs_default *d);
/* Adds what a new inode inherits, and says so in @rec (permission bits, marks). ERR_CORRUPT. */
int fs__default_add(struct fs_op *op, const struct fs_make *q, const struct fs_default *d,
		    fs_ino ino, struct fs_inode *rec);

/* chmod of what has the access list @value: adds the changed list. ERR_CORRUPT. */
int fs__acl_add_chmod(struct fs_op *op, fs_ino ino, struct slice value, uint16_t perm);

#endif
