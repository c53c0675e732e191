/* Records and keys of the file system (fs/format.h). Byte 0 picks one; what decodes is encoded to what
 * decodes to the same. Keys made of any number, hash and name are taken apart into the same. */
#include "fs/format.h"
#include "tests/fuzz/fuzz.h"

static void inode(struct slice s)
{
	struct fs_inode i, j;
	uint8_t b[FS_INODE_SIZE], c[FS_INODE_SIZE];

	if (fs__inode_decode(s, &i) != 0)
		return;
	CHECK(s.len >= FS_INODE_SIZE && i.perm <= 07777);
	fs__inode_encode(b, &i);
	CHECK(fs__inode_decode(slice_of(b, sizeof(b)), &j) == 0);
	fs__inode_encode(c, &j);
	CHECK(memcmp(b, c, sizeof(b)) == 0 && fs__inode_mode(&i) == fs__inode_mode(&j));
}

static void dentry(struct slice s)
{
	struct fs_dentry d, e;
	uint8_t b[FS_DENTRY_SIZE];

	if (fs__dentry_decode(s, &d) != 0)
		return;
	fs__dentry_encode(b, &d);
	CHECK(fs__dentry_decode(slice_of(b, sizeof(b)), &e) == 0);
	CHECK(d.ino == e.ino && d.type == e.type && d.tie == e.tie && d.tie < FS_TIES_MAX);
}

static void reap(struct slice s)
{
	struct fs_reap r, q;
	uint8_t b[FS_REAP_SIZE];

	if (fs__reap_decode(s, &r) != 0)
		return;
	fs__reap_encode(b, &r);
	CHECK(fs__reap_decode(slice_of(b, sizeof(b)), &q) == 0);
	CHECK(r.what == q.what && r.session == q.session && r.since_ns == q.since_ns);
}

static void system_record(struct slice s)
{
	struct fs_system r, q;
	uint8_t b[FS_SYSTEM_SIZE];

	if (fs__system_decode(s, &r) != 0)
		return;
	fs__system_encode(b, &r);
	CHECK(fs__system_decode(slice_of(b, sizeof(b)), &q) == 0);
	CHECK(r.version == q.version && memcmp(r.hash_key, q.hash_key, 16) == 0);
}

static void key_bytes(struct slice s)
{
	struct fs_key_parts p;
	struct fs_key k;

	if (s.len > KEY_SIZE_MAX || !fs__key_parse(s, &p))
		return;
	fs__key_head(&k, p.place, p.number, p.kind);
	fs__key_bytes(&k, p.rest);
	CHECK(slice_eq(fs__key_slice(&k), s));
}

static void check_range(const struct fs_key *from, const struct fs_key *to, const struct fs_key *k)
{
	CHECK(slice_cmp(fs__key_slice(from), fs__key_slice(to)) < 0);
	CHECK(slice_cmp(fs__key_slice(from), fs__key_slice(k)) <= 0);
	CHECK(slice_cmp(fs__key_slice(k), fs__key_slice(to)) < 0);
}

static void keys_made(struct slice s)
{
	struct fuzz_in in = {.left = s};
	uint64_t number = fuzz_u64(&in) >> 1, hash = fuzz_u64(&in) >> 1;
	struct slice name = fuzz_bytes(&in, FS_NAME_MAX);
	struct fs_key k, from, to;
	struct fs_key_parts p;

	fs__key_dentry(&k, number, hash, name);
	CHECK(fs__key_parse(fs__key_slice(&k), &p) && p.kind == FS_KIND_DENTRY);
	CHECK(p.number == number && p.place == fs__place(number));
	CHECK(p.rest.len == 8 + name.len);
	fs__range_hash(&from, &to, number, hash);
	check_range(&from, &to, &k);
	fs__range_kind(&from, &to, number, FS_KIND_DENTRY);
	check_range(&from, &to, &k);
	fs__range_number(&from, &to, number);
	check_range(&from, &to, &k);
	fs__key_xattr(&k, number, name);
	check_range(&from, &to, &k);
	hash %= FS_FILE_SIZE_MAX / BLOCK_SIZE;
	fs__key_block(&k, number, hash);
	fs__range_blocks(&from, &to, number, hash, UINT64_MAX);
	check_range(&from, &to, &k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct slice) = {inode,	     dentry,	reap,
						      system_record, key_bytes, keys_made};
	struct fuzz_in in = fuzz_in_of(data, size);
	void (*kind)(struct slice) = kinds[fuzz_below(&in, 6)];

	kind(fuzz_rest(&in));
	return 0;
}
