/* Every limit of paxfs, with its unit and its reason, and what must hold between them.
 * (Included as "base/limits.h"; the system's <limits.h> is another file.) */
#ifndef PAXFS_BASE_LIMITS_H
#define PAXFS_BASE_LIMITS_H

/* ---- bytes ---- */
#define KEY_SIZE_MAX        320u  /* place 2 + ino 8 + kind 1 + hash 8 + name 255, rounded up */
#define VALUE_SIZE_MAX      (64u * 1024u + 64u)  /* an xattr value: 64 KiB, plus its header */
#define BLOCK_SIZE          (32u * 1024u) /* of file data per B key: the most a PATCH rewrites */
#define WRITE_SIZE_MAX      (1024u * 1024u)       /* one FUSE request, one transaction */
#define STRIPE_SIZE         (64ull * 1024 * 1024) /* file bytes that share a place */
#define COMMAND_SIZE_MAX    (2u * 1024u * 1024u)  /* one txn command: a full write + its frame */
#define ENTRY_SIZE_MAX      (4u * 1024u * 1024u)  /* one log entry: a batch of commands */
#define FRAME_SIZE_MAX      (8u * 1024u * 1024u)  /* one frame on the wire: entries + headers */
#define REPLY_SIZE_MAX      (4u * 1024u * 1024u)  /* a scan or read reply */

/* ---- counts ---- */
#define GROUP_REPLICAS_MAX  5u    /* 1, 3 or 5 */
#define GROUPS_MAX          1024u /* ids 0 (meta) .. 1023 */
#define NODES_MAX           1024u /* ids 1 .. 1023 */
#define SHARDS_MAX          65536u
#define COMMANDS_PER_ENTRY_MAX 1024u
#define TXN_CONDS_MAX       512u  /* of one mini-transaction, all groups together */
#define TXN_READS_MAX       512u
#define TXN_MUTS_MAX        512u
#define TXN_GROUPS_MAX      32u   /* participants of one transaction */
#define TXN_WAITERS_PER_KEY_MAX 1024u /* beyond it BUSY, decided at apply */
#define TXN_SCAN_ITEMS_MAX  4096u /* keys in one scan reply */
#define TXN_SCAN_PASSED_MAX (4u * 1024u * 1024u) /* bytes of values that a scan of keys passes over */

/* ---- consensus ---- */
#define PAXOS_WINDOW_SLOTS_MAX 256u             /* accepted but not chosen, per group */
#define PAXOS_WINDOW_BYTES_MAX (32u * 1024u * 1024u)
#define PAXOS_PAGE_BYTES    (1024u * 1024u)     /* a PROMISE page, a LEARN message */
#define PAXOS_SNAPSHOT_CHUNK (512u * 1024u)

/* ---- names ---- */
#define FS_NAME_MAX         255u
#define FS_SYMLINK_MAX      4095u
#define FS_XATTR_NAME_MAX   255u
#define FS_XATTR_SIZE_MAX   (64u * 1024u)
#define ADDRESS_SIZE_MAX    256u /* "host:port", NUL included */

/* ---- fibers ---- */
/* Bytes of a fiber's stack: file system code keeps paths (4 KiB) and messages (0.5 KiB) on it, and
 * sanitizers triple the frames. Only touched pages cost memory. */
#define FIBER_STACK_SIZE    (128u * 1024u)
#define FIBER_IDLE_MAX      256u /* ended fibers kept with their stacks, per scheduler */

_Static_assert(COMMAND_SIZE_MAX > WRITE_SIZE_MAX + 256u * 1024u,
	       "a full write with its keys and headers is one command");
_Static_assert(ENTRY_SIZE_MAX >= 2 * COMMAND_SIZE_MAX, "an entry holds any command");
_Static_assert(FRAME_SIZE_MAX >= ENTRY_SIZE_MAX + 65536u, "a frame holds any entry");
_Static_assert(REPLY_SIZE_MAX + 65536u <= FRAME_SIZE_MAX, "a frame holds any reply");
_Static_assert(WRITE_SIZE_MAX / BLOCK_SIZE + 16u <= TXN_MUTS_MAX, "a full write fits");
_Static_assert(STRIPE_SIZE % BLOCK_SIZE == 0, "a block never straddles stripes");
_Static_assert(FS_XATTR_SIZE_MAX <= VALUE_SIZE_MAX, "an xattr is one value");
_Static_assert(PAXOS_PAGE_BYTES <= FRAME_SIZE_MAX / 2, "a page fits a frame");

#endif
