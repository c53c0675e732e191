/* Keys and records of the file system (README.md has the tables). Pure functions. */
#ifndef PAXFS_FS_FORMAT_H
#define PAXFS_FS_FORMAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/slice.h"
#include "fs/fs.h"
#include "txn/txn.h"

/* Of the F record. What 2 adds to inode records, 1 has as zeros, and they mean "not known": a file
 * system of 1 is opened, and becomes one of 2. Inode records are of version 1 in both. */
#define FS_FORMAT_VERSION 2u
#define FS_FORMAT_OLDEST  1u
#define FS_INODE_VERSION  1u

/* ---- numbers and places ---- */

#define FS_PLACE_COUNT	0x8000u
#define FS_NUMBER_BITS	48
#define FS_COUNTER_MASK ((1ull << FS_NUMBER_BITS) - 1)

static inline uint16_t fs__place(uint64_t number)
{
	return (uint16_t)(number >> FS_NUMBER_BITS & (FS_PLACE_COUNT - 1));
}

static inline uint64_t fs__number(uint16_t place, uint64_t counter)
{
	return (uint64_t)place << FS_NUMBER_BITS | (counter & FS_COUNTER_MASK);
}

uint16_t fs__place_hash(uint64_t number, uint64_t salt);
uint16_t fs__stripe_place(uint64_t data_id, uint64_t stripe);

/* ---- keys ---- */

#define FS_KIND_BLOCK	'B'
#define FS_KIND_DENTRY	'D'
#define FS_KIND_SYSTEM	'F'
#define FS_KIND_REAP	'G'
#define FS_KIND_HOLD	'H' /* the root's: who has which orphan open */
#define FS_KIND_INODE	'I'
#define FS_KIND_LOCK	'L'
#define FS_KIND_MOUNT	'M' /* the root's: the mounts */
#define FS_KIND_QUEUE	'Q' /* the root's: orphans that the mounts are asked for */
#define FS_KIND_STRIPES 'S'
#define FS_KIND_XATTR	'X'

#define FS_KEY_HEAD    11u /* place, number, kind */
#define FS_DENTRY_HEAD (FS_KEY_HEAD + 8u)

_Static_assert(FS_DENTRY_HEAD + FS_NAME_MAX <= KEY_SIZE_MAX, "a dentry's key fits");
_Static_assert(FS_KEY_HEAD + FS_XATTR_NAME_MAX <= KEY_SIZE_MAX, "an xattr's key fits");
_Static_assert(FS_KIND_BLOCK == TXN_KEY_KIND_BLOCK, "the engine knows blocks by their kind");

struct fs_key {
	uint8_t b[KEY_SIZE_MAX];
	uint16_t len;
};

static inline struct slice fs__key_slice(const struct fs_key *k)
{
	return slice_of(k->b, k->len);
}

void fs__key_head(struct fs_key *k, uint16_t place, uint64_t number, uint8_t kind);
void fs__key_u64(struct fs_key *k, uint64_t v); /* appends big-endian */
void fs__key_bytes(struct fs_key *k, struct slice s); /* appends; must fit */
/* The first key that is not below every key with this prefix. */
void fs__key_after(struct fs_key *to, const struct fs_key *prefix);
/* Where a scan goes on: behind @last, and, if that is one, behind all blocks of its data id. */
void fs__key_behind(struct fs_key *to, struct slice last, bool blocks);

void fs__key_inode(struct fs_key *k, fs_ino ino);
void fs__key_dentry(struct fs_key *k, fs_ino dir, uint64_t hash, struct slice name);
void fs__key_xattr(struct fs_key *k, fs_ino ino, struct slice name);
void fs__key_block(struct fs_key *k, uint64_t data_id, uint64_t block);
void fs__key_stripes(struct fs_key *k, uint64_t data_id, uint64_t chunk);
void fs__key_reap(struct fs_key *k, uint64_t object, uint8_t what); /* enum fs_reap_what */
void fs__key_system(struct fs_key *k);
/* All keys of one kind of a number, or all keys of a number at its own place. */
void fs__range_kind(struct fs_key *from, struct fs_key *to, uint64_t number, uint8_t kind);
void fs__range_number(struct fs_key *from, struct fs_key *to, uint64_t number);
/* Dentries with this hash. */
void fs__range_hash(struct fs_key *from, struct fs_key *to, fs_ino dir, uint64_t hash);
/* Blocks [first, end) of one stripe; @end may be UINT64_MAX for the rest of the stripe. */
void fs__range_blocks(struct fs_key *from, struct fs_key *to, uint64_t data_id, uint64_t first,
		     uint64_t end);

struct fs_key_parts {
	uint16_t place;
	uint64_t number;
	uint8_t kind;
	struct slice rest;
};
bool fs__key_parse(struct slice key, struct fs_key_parts *out);

/* ---- stripes ---- */

#define FS_BLOCKS_PER_STRIPE   (STRIPE_SIZE / BLOCK_SIZE)
#define FS_STRIPES_PER_CHUNK   4096u /* bits of one S value */
#define FS_STRIPES_CHUNK_BYTES (FS_STRIPES_PER_CHUNK / 8u)
#define FS_FILE_SIZE_MAX       (1ull << 53)

_Static_assert(FS_BLOCKS_PER_STRIPE <= TXN_SCAN_ITEMS_MAX, "a DELETE_RANGE empties a stripe");

static inline uint64_t fs__stripe_of_block(uint64_t block)
{
	return block / FS_BLOCKS_PER_STRIPE;
}

/* Where the last block of a file of @size ends. */
static inline uint64_t fs__blocks_end(uint64_t size)
{
	return (size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

/* ---- inode record ---- */

#define FS_INODE_SIZE 128u

#define FS_F_ORPHAN	  ((struct txn_field){.offset = 1, .width = 1})
#define FS_F_XATTRS	  ((struct txn_field){.offset = 2, .width = 1})
#define FS_F_HOLES	  ((struct txn_field){.offset = 3, .width = 1})
#define FS_F_PERM	  ((struct txn_field){.offset = 4, .width = 2})
#define FS_F_TYPE	  ((struct txn_field){.offset = 6, .width = 2})
#define FS_F_UID	  ((struct txn_field){.offset = 8, .width = 4})
#define FS_F_GID	  ((struct txn_field){.offset = 12, .width = 4})
#define FS_F_NLINK	  ((struct txn_field){.offset = 16, .width = 4})
#define FS_F_SIZE	  ((struct txn_field){.offset = 32, .width = 8, .commutes = true})
#define FS_F_ATIME	  ((struct txn_field){.offset = 40, .width = 8, .commutes = true})
#define FS_F_MTIME	  ((struct txn_field){.offset = 48, .width = 8, .commutes = true})
#define FS_F_CTIME	  ((struct txn_field){.offset = 56, .width = 8, .commutes = true})
#define FS_F_BTIME	  ((struct txn_field){.offset = 64, .width = 8, .commutes = true})
#define FS_F_DATA_ID	  ((struct txn_field){.offset = 72, .width = 8})
#define FS_F_DATA_VERSION ((struct txn_field){.offset = 80, .width = 8, .commutes = true})
#define FS_F_PERM_VERSION ((struct txn_field){.offset = 88, .width = 8})
#define FS_F_PARENT	  ((struct txn_field){.offset = 96, .width = 8})
#define FS_F_NAME_HASH	  ((struct txn_field){.offset = 104, .width = 8})
#define FS_F_CUT_VERSION  ((struct txn_field){.offset = 112, .width = 8})
#define FS_F_ATIME_SET	  ((struct txn_field){.offset = 120, .width = 8})

/* Byte 2 of the record. The first one stays when the last attribute goes; the others are exact. */
enum fs_has {
	FS_HAS_XATTRS = 1, /* has, or had, extended attributes */
	FS_HAS_DEFAULT_ACL = 2,
	FS_HAS_ACCESS_ACL = 4,
	FS_HAS_CAPABILITY = 8, /* security.capability */
};

struct fs_inode {
	bool orphan;
	uint8_t xattrs; /* enum fs_has: what extended attributes it has */
	bool holes;  /* blocks below the end may be absent; false: none is */
	uint16_t perm; /* 07777 */
	uint16_t type; /* S_IFMT >> 12: also the DT_* value */
	uint32_t uid, gid, nlink;
	uint64_t rdev, size;
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint64_t data_id, data_version, perm_version;
	fs_ino parent;
	uint64_t name_hash;
	uint64_t cut_version; /* stamp of the last change that made it shorter */
	uint64_t atime_set; /* stamp of the last change of atime by utimens */
};

void fs__inode_encode(uint8_t out[FS_INODE_SIZE], const struct fs_inode *in);
/* ERR_CORRUPT when it is none. A symlink's target follows the first FS_INODE_SIZE bytes. */
int fs__inode_decode(struct slice value, struct fs_inode *out);

static inline uint32_t fs__inode_mode(const struct fs_inode *i)
{
	return (uint32_t)i->type << 12 | i->perm;
}

#define FS_TYPE(mode) ((uint16_t)(((mode) & S_IFMT) >> 12))
#define FS_T_DIR     FS_TYPE(S_IFDIR)
#define FS_T_FILE    FS_TYPE(S_IFREG)
#define FS_T_SYMLINK FS_TYPE(S_IFLNK)

/* ---- dentry ---- */

#define FS_DENTRY_SIZE 10u
#define FS_TIE_BITS    7
#define FS_TIE_MASK    ((1ull << FS_TIE_BITS) - 1)
#define FS_TIES_MAX    (1u << FS_TIE_BITS)
#define FS_HASH_FIRST  (1ull << FS_TIE_BITS) /* smaller cookies are "." and ".." */

struct fs_dentry {
	fs_ino ino;
	uint8_t type; /* DT_* */
	uint8_t tie;
};
void fs__dentry_encode(uint8_t out[FS_DENTRY_SIZE], const struct fs_dentry *in);
int fs__dentry_decode(struct slice value, struct fs_dentry *out); /* ERR_CORRUPT */

/* ---- G and F records ---- */

enum fs_reap_what { FS_REAP_INODE = 1, FS_REAP_DATA = 2, FS_REAP_STAGED = 3 };
#define FS_REAP_SIZE 24u
#define FS_F_SINCE   ((struct txn_field){.offset = 16, .width = 8, .commutes = true})
#define FS_F_ASKED    ((struct txn_field){.offset = 1, .width = 1})
#define FS_F_RENEWALS ((struct txn_field){.offset = 4, .width = 4})
#define FS_F_REAPER   ((struct txn_field){.offset = 8, .width = 8}) /* session */

struct fs_reap {
	uint8_t what;
	bool asked; /* an orphan: only H records keep it */
	uint32_t renewals; /* +1 with each H that came after that */
	uint64_t session, since_ns;
};
void fs__reap_encode(uint8_t out[FS_REAP_SIZE], const struct fs_reap *in);
int fs__reap_decode(struct slice value, struct fs_reap *out); /* ERR_CORRUPT */

/* ---- M, Q and H records, under the root's number ---- */

#define FS_MOUNT_SIZE 16u
#define FS_F_CURSOR   ((struct txn_field){.offset = 0, .width = 8})
#define FS_F_CLEANER  ((struct txn_field){.offset = 8, .width = 8})
struct fs_mount_rec {
	uint64_t cursor, cleaner;
};
void fs__key_mount(struct fs_key *k, uint64_t session);
void fs__mount_encode(uint8_t out[FS_MOUNT_SIZE], const struct fs_mount_rec *in);
int fs__mount_decode(struct slice value, struct fs_mount_rec *out); /* ERR_CORRUPT */

#define FS_QUEUE_SIZE 16u
#define FS_F_HEAD     ((struct txn_field){.offset = 0, .width = 8})
#define FS_F_CHANGES  ((struct txn_field){.offset = 8, .width = 8, .commutes = true})
struct fs_queue {
	uint64_t head, changes;
};
void fs__key_queue(struct fs_key *k); /* all batches are behind it, in order */
void fs__queue_encode(uint8_t out[FS_QUEUE_SIZE], const struct fs_queue *in);
int fs__queue_decode(struct slice value, struct fs_queue *out); /* ERR_CORRUPT */

#define FS_BATCH_HEAD 8u
#define FS_BATCH_MAX  1024u /* orphans */
#define FS_F_OWNER    ((struct txn_field){.offset = 0, .width = 8})
void fs__key_batch(struct fs_key *k, uint64_t number);
/* How many orphans; the i-th is at FS_BATCH_HEAD + 8 * i. ERR_CORRUPT. */
int fs__batch_decode(struct slice value, uint64_t *owner, uint32_t *count);

#define FS_HOLD_SIZE 8u
void fs__key_hold(struct fs_key *k, fs_ino ino, uint64_t session);

#define FS_SYSTEM_SIZE 24u
#define FS_F_FORMAT    ((struct txn_field){.offset = 0, .width = 4})
struct fs_system {
	uint32_t version;
	uint8_t hash_key[16];
};
void fs__system_encode(uint8_t out[FS_SYSTEM_SIZE], const struct fs_system *in);
/* ERR_CORRUPT. Of a later version only the number is read: what else it has is not known. */
int fs__system_decode(struct slice value, struct fs_system *out);

/* ---- hashing ---- */

/* SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012). */
uint64_t fs__siphash(const uint8_t key[16], const void *p, size_t len);
uint64_t fs__name_digest(const uint8_t key[16], fs_ino dir, struct slice name);
uint64_t fs__name_hash(uint64_t digest); /* the part that keys and cookies have */

#endif
