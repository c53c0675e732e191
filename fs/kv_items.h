/* The key-value face: paths that are looked at, and changed, together in one transaction. */
#ifndef PAXFS_FS_KV_ITEMS_H
#define PAXFS_FS_KV_ITEMS_H

#include "fs/acl.h"

#define KV_ITEMS_MAX	64u
#define KV_TOGETHER_MAX WRITE_SIZE_MAX /* bytes of values in one transaction */
#define KV_IN_PLACE_MAX (128u << 10)   /* larger values replace a file's contents by others */
#define KV_VALUE_MAX	(256ull << 20)
#define KV_NO_COND	UINT32_MAX

enum kv_act { KV_READ, KV_PUT, KV_DELETE };
enum kv_expect { KV_EXPECT_ANY, KV_EXPECT_ABSENT, KV_EXPECT_VALUE };

struct kv_one {
	/* what is asked */
	enum kv_act act;
	struct slice path, data; /* data: to put */
	enum kv_expect expect;
	struct slice expected;
	/* where it is */
	struct fs_walk w;
	fs_ino dir; /* of the path as written, before a last symlink was followed */
	struct fs_name n;
	bool missing; /* no directory, so no file */
	/* what the last look found, if n.present */
	bool known; /* ino, data_id and blocks are good guesses: they are read by their keys */
	fs_ino ino;
	uint64_t data_id;
	uint32_t blocks;
	struct fs_inode rec;
	uint64_t version; /* of the inode's record */
	bool big;	  /* larger than fits: not in `value` */
	struct buf value;
	uint32_t read; /* index of the first read */
	uint32_t dir_read;
	/* the change */
	struct fs_parent parent;
	struct fs_default inherit; /* of the parent */
	struct fs_victim victim;
	bool not_now;	      /* the victim is not deleted with its name */
	uint64_t fresh;	      /* counter value in hand for a new inode or data id */
	uint64_t staged;      /* data id under which `data` is stored already */
	uint64_t old_data;    /* to reap after it */
	uint32_t parent_cond, free_cond;
};

struct kv_set {
	struct fs *fs;
	const struct fs_cred *cred;
	bool make_parents;
	bool contents; /* a look brings values */
	struct kv_one *ones; /* owned */
	uint32_t count;
	uint32_t failed; /* index of the item that an error is about; count: none */
};

/* ERR_TOO_BIG */
int fs__kv_begin(struct kv_set *s, struct fs *fs, uint32_t count);
void fs__kv_end(struct kv_set *s);
/* Walks every path to its last directory. A missing one: ERR_NOT_FOUND for a put, else `missing`. */
int fs__kv_place(struct kv_set *s);
/* Finds all items in one state of the store. ERR_STALE: place them again. */
int fs__kv_look(struct kv_set *s);
/* Stores the value of an item that was looked at under a data id of its own. */
int fs__kv_stage(struct kv_set *s, struct kv_one *one);
/* Places, looks and changes, all or nothing. */
int fs__kv_change(struct kv_set *s);
/* The parts that an item adds to the transaction; @i: its index. */
int fs__kv_prepare_put(struct kv_set *s, uint32_t i);
int fs__kv_add_put(struct fs_op *op, struct kv_set *s, uint32_t i);
void fs__kv_put_done(struct kv_set *s, struct kv_one *one);

#endif
