/* Keys and records of the file system: shapes, order, what decoding refuses. */
#include "base/bytes.h"
#include "base/err.h"
#include "fs/format.h"
#include "tests/lib/check.h"

static struct slice ks(const struct fs_key *k)
{
	return fs__key_slice(k);
}

static bool within(const struct fs_key *k, const struct fs_key *from, const struct fs_key *to)
{
	return slice_cmp(ks(k), ks(from)) >= 0 && slice_cmp(ks(k), ks(to)) < 0;
}

/* ---- hashing ---- */

/* Appendix A of the SipHash paper, and vectors of its reference implementation. */
static void siphash_vectors(void)
{
	static const struct {
		size_t len;
		uint64_t want;
	} v[] = {
		{0, 0x726fdb47dd0e0e31ull},
		{1, 0x74f839c593dc67fdull},
		{8, 0x93f5f5799a932462ull},
		{15, 0xa129ca6149be45e5ull},
	};
	uint8_t key[16], in[16];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = in[i] = i;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		CHECK_U64_EQ(fs__siphash(key, in, v[i].len), v[i].want);
}

static void digest_depends_on_all(void)
{
	static const uint8_t k1[16] = {1}, k2[16] = {2};
	uint64_t d = fs__name_digest(k1, 7, slice_str("a"));

	CHECK_U64_EQ(fs__name_digest(k1, 7, slice_str("a")), d);
	CHECK_TRUE(fs__name_digest(k1, 7, slice_str("b")) != d);
	CHECK_TRUE(fs__name_digest(k1, 8, slice_str("a")) != d);
	CHECK_TRUE(fs__name_digest(k2, 7, slice_str("a")) != d);
}

/* Room for the tie below, a clear top bit above, and never a cookie of "." or "..". */
static void name_hash_leaves_room(void)
{
	static const uint64_t digests[] = {0, 1, 0x7f, 0xff, 0x100, 0x1ff, UINT64_MAX, 1ull << 63};

	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
		uint64_t h = fs__name_hash(digests[i]);

		CHECK_U64_EQ(h & FS_TIE_MASK, 0);
		CHECK_U64_EQ(h >> 63, 0);
		CHECK_TRUE(h >= FS_HASH_FIRST);
	}
	CHECK_TRUE(fs__name_hash(UINT64_MAX) != fs__name_hash(1ull << 63));
}

/* ---- numbers and places ---- */

static void numbers_carry_their_place(void)
{
	uint64_t n = fs__number(0x7abc, 0x123456789abcull);

	CHECK_U64_EQ(n, 0x7abc123456789abcull);
	CHECK_U64_EQ(fs__place(n), 0x7abc);
	CHECK_U64_EQ(fs__place(fs__number(0x7fff, FS_COUNTER_MASK)), 0x7fff);
	CHECK_U64_EQ(fs__number(0x7fff, UINT64_MAX) >> 63, 0);
	CHECK_U64_EQ(fs__place(FS_ROOT_INO), 0);
}

static void places_spread(void)
{
	static unsigned seen[16];
	unsigned n = 16000;

	memset(seen, 0, sizeof(seen));
	for (uint64_t i = 0; i < n; i++) {
		uint16_t p = fs__place_hash(fs__number(0, i + 1024), 0);

		CHECK_TRUE(p < FS_PLACE_COUNT);
		seen[p / (FS_PLACE_COUNT / 16)]++;
	}
	for (int i = 0; i < 16; i++)
		CHECK_TRUE(seen[i] > n / 16 * 8 / 10 && seen[i] < n / 16 * 12 / 10);
}

static void stripes_have_places(void)
{
	uint64_t id = fs__number(0x55, 9);
	unsigned other = 0;

	CHECK_U64_EQ(fs__stripe_place(id, 0), 0x55);
	for (uint64_t s = 1; s < 100; s++) {
		CHECK_TRUE(fs__stripe_place(id, s) < FS_PLACE_COUNT);
		other += fs__stripe_place(id, s) != 0x55;
	}
	CHECK_TRUE(other > 90);
}

/* ---- keys ---- */

static void keys_have_their_bytes(void)
{
	static const uint8_t inode[] = {0x12, 0x34, 0x12, 0x34, 0, 0, 0, 0, 0, 5, 'I'};
	static const uint8_t dentry[] = {0x12, 0x34, 0x12, 0x34, 0, 0, 0, 0, 0,	  5,   'D',
					 1,    2,    3,	   4,	 5, 6, 7, 0x80, 'a', 'b'};
	static const uint8_t reap[] = {0x12, 0x34, 0x12, 0x34, 0, 0, 0, 0, 0, 5, 'G', 2};
	fs_ino ino = fs__number(0x1234, 5);
	struct fs_key k;

	fs__key_inode(&k, ino);
	CHECK_SLICE_EQ(ks(&k), slice_of(inode, sizeof(inode)));
	fs__key_dentry(&k, ino, 0x0102030405060780ull, slice_str("ab"));
	CHECK_SLICE_EQ(ks(&k), slice_of(dentry, sizeof(dentry)));
	fs__key_reap(&k, ino, FS_REAP_DATA);
	CHECK_SLICE_EQ(ks(&k), slice_of(reap, sizeof(reap)));
}

static void longest_name_fits(void)
{
	uint8_t name[FS_NAME_MAX];
	struct fs_key_parts p;
	struct fs_key k;

	memset(name, 0xff, sizeof(name));
	fs__key_dentry(&k, fs__number(0x7fff, FS_COUNTER_MASK), 1ull << 7,
		       slice_of(name, sizeof(name)));
	CHECK_U64_EQ(k.len, FS_DENTRY_HEAD + FS_NAME_MAX);
	CHECK_TRUE(fs__key_parse(ks(&k), &p));
	CHECK_U64_EQ(p.place, 0x7fff);
	CHECK_U64_EQ(p.number, fs__number(0x7fff, FS_COUNTER_MASK));
	CHECK_INT_EQ(p.kind, FS_KIND_DENTRY);
	CHECK_SLICE_EQ(slice_of(p.rest.p + 8, p.rest.len - 8), slice_of(name, sizeof(name)));
}

static void parse_refuses_short_keys(void)
{
	struct fs_key_parts p;
	struct fs_key k;

	fs__key_inode(&k, 77);
	CHECK_TRUE(fs__key_parse(ks(&k), &p));
	CHECK_U64_EQ(p.rest.len, 0);
	for (size_t n = 0; n < FS_KEY_HEAD; n++)
		CHECK_FALSE(fs__key_parse(slice_of(k.b, n), &p));
}

static void after_is_above_all_with_prefix(void)
{
	struct fs_key k = {.b = {1, 0xff, 0xff}, .len = 3}, to;
	static const uint8_t want[] = {2};

	fs__key_after(&to, &k);
	CHECK_SLICE_EQ(ks(&to), slice_of(want, 1));
	k.b[2] = 7;
	fs__key_after(&to, &k);
	CHECK_U64_EQ(to.len, 3);
	CHECK_INT_EQ(to.b[2], 8);
}

static void ranges_hold_their_keys_only(void)
{
	fs_ino ino = fs__number(3, 0xff), next = fs__number(3, 0x100);
	struct fs_key from, to, k;

	fs__range_kind(&from, &to, ino, FS_KIND_DENTRY);
	fs__key_dentry(&k, ino, FS_HASH_FIRST, slice_str("x"));
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_dentry(&k, ino, INT64_MAX & ~FS_TIE_MASK, slice_str("\xff\xff"));
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_dentry(&k, next, FS_HASH_FIRST, slice_str("x"));
	CHECK_FALSE(within(&k, &from, &to));
	fs__key_inode(&k, ino);
	CHECK_FALSE(within(&k, &from, &to));

	fs__range_number(&from, &to, ino);
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_xattr(&k, ino, slice_str("user.a"));
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_block(&k, ino, 0);
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_inode(&k, next);
	CHECK_FALSE(within(&k, &from, &to));

	fs__range_hash(&from, &to, ino, 0x180);
	fs__key_dentry(&k, ino, 0x180, slice_str("\xff"));
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_dentry(&k, ino, 0x200, slice_str("a"));
	CHECK_FALSE(within(&k, &from, &to));
	fs__key_dentry(&k, ino, 0x100, slice_str("a"));
	CHECK_FALSE(within(&k, &from, &to));
}

static void block_ranges_stay_in_their_stripe(void)
{
	uint64_t id = fs__number(3, 9), per = FS_BLOCKS_PER_STRIPE;
	struct fs_key from, to, k;

	fs__range_blocks(&from, &to, id, 2 * per + 5, UINT64_MAX);
	fs__key_block(&k, id, 2 * per + 5);
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_block(&k, id, 2 * per + 4);
	CHECK_FALSE(within(&k, &from, &to));
	fs__key_block(&k, id, 3 * per - 1);
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_block(&k, id, 3 * per);
	CHECK_FALSE(within(&k, &from, &to));

	fs__range_blocks(&from, &to, id, 1, 3);
	fs__key_block(&k, id, 2);
	CHECK_TRUE(within(&k, &from, &to));
	fs__key_block(&k, id, 3);
	CHECK_FALSE(within(&k, &from, &to));
}

/* Byte order is number order: listings and truncation rely on it. */
static void keys_sort_by_number(void)
{
	uint64_t id = fs__number(1, 1);
	struct fs_key a, b;

	for (uint64_t i = 1; i < 40; i++) {
		fs__key_head(&a, 0, id, 'B');
		fs__key_u64(&a, (1ull << i) - 1);
		fs__key_head(&b, 0, id, 'B');
		fs__key_u64(&b, 1ull << i);
		CHECK_TRUE(slice_cmp(ks(&a), ks(&b)) < 0);
	}
}

/* ---- records ---- */

static const struct fs_inode full = {
	.orphan = true,
	.xattrs = true,
	.perm = 07654,
	.type = FS_T_FILE,
	.uid = 0xfffffffe,
	.gid = 0x12345678,
	.nlink = 0x7fffffff,
	.rdev = 0x1122334455667788ull,
	.size = 1ull << 53,
	.atime_ns = 11,
	.mtime_ns = INT64_MIN,
	.ctime_ns = 13,
	.btime_ns = 14,
	.data_id = 15,
	.data_version = 16,
	.perm_version = 17,
	.parent = 18,
	.name_hash = 19,
	.holes = true,
	.cut_version = 20,
	.atime_set = 20,
};

static void inode_comes_back(void)
{
	uint8_t b[FS_INODE_SIZE], again[FS_INODE_SIZE];
	struct fs_inode got;

	fs__inode_encode(b, &full);
	CHECK_OK(fs__inode_decode(slice_of(b, sizeof(b)), &got));
	CHECK_TRUE(got.orphan && got.xattrs);
	CHECK_TRUE(got.holes);
	CHECK_U64_EQ(got.cut_version, 20);
	CHECK_INT_EQ(got.perm, full.perm);
	CHECK_INT_EQ(got.type, full.type);
	CHECK_U64_EQ(got.uid, full.uid);
	CHECK_U64_EQ(got.gid, full.gid);
	CHECK_U64_EQ(got.nlink, full.nlink);
	CHECK_U64_EQ(got.rdev, full.rdev);
	CHECK_U64_EQ(got.size, full.size);
	CHECK_TRUE(got.mtime_ns == full.mtime_ns);
	CHECK_U64_EQ(got.name_hash, full.name_hash);
	CHECK_U64_EQ(fs__inode_mode(&got), S_IFREG | 07654);
	fs__inode_encode(again, &got);
	CHECK_MEM_EQ(again, b, sizeof(b));
}

/* Seconds and ns of a file's times, to ns since 1970 and back. */
static void times_come_back(void)
{
	static const struct timespec t[] = {
		{0, 0},
		{0, 1},
		{-1, 999999999}, /* one ns before 1970 */
		{-315619200, 0}, /* 1960 */
		{-315619200, 5},
		{1763740800, 123456789},
		{9223372035, 999999999}, /* 2262 */
		{-9223372035, 1},	 /* 1677 */
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct timespec back = fs_time_split(fs_time_of(t[i]));

		CHECK_TRUE(back.tv_sec == t[i].tv_sec && back.tv_nsec == t[i].tv_nsec);
	}
	CHECK_TRUE(fs_time_of(t[2]) == -1);
}

static void times_out_of_range_stop_at_its_ends(void)
{
	static const time_t after[] = {9223372036, 19880899200 /* 2600 */, INT64_MAX};
	struct timespec end;

	for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++) {
		end = fs_time_split(fs_time_of((struct timespec){after[i], 999999999}));
		CHECK_TRUE(end.tv_sec == 9223372036 && end.tv_nsec == 0);
		end = fs_time_split(fs_time_of((struct timespec){-after[i], 999999999}));
		CHECK_TRUE(end.tv_sec == -9223372036 && end.tv_nsec == 0);
	}
	end = fs_time_split(INT64_MIN);
	CHECK_TRUE(end.tv_sec == -9223372037 && end.tv_nsec == 145224192);
	end = fs_time_split(fs_time_of((struct timespec){INT64_MIN, 0}));
	CHECK_TRUE(end.tv_sec == -9223372036 && end.tv_nsec == 0);
}

static uint64_t field(const uint8_t *b, struct txn_field f)
{
	uint64_t v = 0;

	for (unsigned i = f.width; i > 0; i--)
		v = v << 8 | b[f.offset + i - 1];
	return v;
}

/* Mutations name fields by offset and width: they must be where the codec puts them. */
static void fields_are_where_the_codec_has_them(void)
{
	uint8_t b[FS_INODE_SIZE];

	fs__inode_encode(b, &full);
	CHECK_U64_EQ(field(b, FS_F_ORPHAN), 1);
	CHECK_U64_EQ(field(b, FS_F_XATTRS), 1);
	CHECK_U64_EQ(field(b, FS_F_PERM), full.perm);
	CHECK_U64_EQ(field(b, FS_F_UID), full.uid);
	CHECK_U64_EQ(field(b, FS_F_GID), full.gid);
	CHECK_U64_EQ(field(b, FS_F_NLINK), full.nlink);
	CHECK_U64_EQ(field(b, FS_F_SIZE), full.size);
	CHECK_U64_EQ(field(b, FS_F_ATIME), full.atime_ns);
	CHECK_U64_EQ(field(b, FS_F_MTIME), full.mtime_ns);
	CHECK_U64_EQ(field(b, FS_F_CTIME), full.ctime_ns);
	CHECK_U64_EQ(field(b, FS_F_BTIME), full.btime_ns);
	CHECK_U64_EQ(field(b, FS_F_DATA_ID), full.data_id);
	CHECK_U64_EQ(field(b, FS_F_DATA_VERSION), full.data_version);
	CHECK_U64_EQ(field(b, FS_F_PERM_VERSION), full.perm_version);
	CHECK_U64_EQ(field(b, FS_F_PARENT), full.parent);
	CHECK_U64_EQ(field(b, FS_F_ATIME_SET), full.atime_set);
	CHECK_U64_EQ(field(b, FS_F_NAME_HASH), full.name_hash);
}

static void damaged_inodes_are_refused(void)
{
	uint8_t b[FS_INODE_SIZE + 4] = {0};
	struct fs_inode got;

	fs__inode_encode(b, &full);
	CHECK_OK(fs__inode_decode(slice_of(b, sizeof(b)), &got)); /* a symlink's target follows */
	for (size_t n = 0; n < FS_INODE_SIZE; n++)
		CHECK_ERR(fs__inode_decode(slice_of(b, n), &got), ERR_CORRUPT);
	b[0]++;
	CHECK_ERR(fs__inode_decode(slice_of(b, FS_INODE_SIZE), &got), ERR_CORRUPT);
}

static void dentry_comes_back(void)
{
	struct fs_dentry d = {.ino = 0x7fff000000000001ull, .type = 10, .tie = 127}, got;
	uint8_t b[FS_DENTRY_SIZE];

	fs__dentry_encode(b, &d);
	CHECK_OK(fs__dentry_decode(slice_of(b, sizeof(b)), &got));
	CHECK_U64_EQ(got.ino, d.ino);
	CHECK_U64_EQ(le64_get(b), d.ino); /* where references read it */
	CHECK_INT_EQ(got.type, 10);
	CHECK_INT_EQ(got.tie, 127);
	CHECK_ERR(fs__dentry_decode(slice_of(b, sizeof(b) - 1), &got), ERR_CORRUPT);
	b[9] = 128;
	CHECK_ERR(fs__dentry_decode(slice_of(b, sizeof(b)), &got), ERR_CORRUPT);
}

static void reap_and_system_come_back(void)
{
	struct fs_reap g = {.what = FS_REAP_STAGED, .session = 77, .since_ns = 99}, gg;
	struct fs_system s = {.version = 1, .hash_key = {9, 8, 7, [15] = 1}}, ss;
	uint8_t b[FS_REAP_SIZE], c[FS_SYSTEM_SIZE];

	fs__reap_encode(b, &g);
	CHECK_OK(fs__reap_decode(slice_of(b, sizeof(b)), &gg));
	CHECK_U64_EQ(gg.session, 77);
	CHECK_U64_EQ(gg.since_ns, 99);
	CHECK_U64_EQ(field(b, FS_F_SINCE), 99);
	CHECK_INT_EQ(gg.what, FS_REAP_STAGED);
	b[0] = 0;
	CHECK_ERR(fs__reap_decode(slice_of(b, sizeof(b)), &gg), ERR_CORRUPT);
	b[0] = FS_REAP_STAGED + 1;
	CHECK_ERR(fs__reap_decode(slice_of(b, sizeof(b)), &gg), ERR_CORRUPT);
	CHECK_ERR(fs__reap_decode(slice_of(b, 3), &gg), ERR_CORRUPT);
	fs__system_encode(c, &s);
	CHECK_OK(fs__system_decode(slice_of(c, sizeof(c)), &ss));
	CHECK_U64_EQ(ss.version, 1);
	CHECK_MEM_EQ(ss.hash_key, s.hash_key, 16);
	CHECK_ERR(fs__system_decode(slice_of(c, sizeof(c) - 1), &ss), ERR_CORRUPT);
}

static const struct check_test tests[] = {
	CHECK_TEST(siphash_vectors),
	CHECK_TEST(digest_depends_on_all),
	CHECK_TEST(name_hash_leaves_room),
	CHECK_TEST(numbers_carry_their_place),
	CHECK_TEST(places_spread),
	CHECK_TEST(stripes_have_places),
	CHECK_TEST(keys_have_their_bytes),
	CHECK_TEST(longest_name_fits),
	CHECK_TEST(parse_refuses_short_keys),
	CHECK_TEST(after_is_above_all_with_prefix),
	CHECK_TEST(ranges_hold_their_keys_only),
	CHECK_TEST(block_ranges_stay_in_their_stripe),
	CHECK_TEST(keys_sort_by_number),
	CHECK_TEST(times_come_back),
	CHECK_TEST(times_out_of_range_stop_at_its_ends),
	CHECK_TEST(inode_comes_back),
	CHECK_TEST(fields_are_where_the_codec_has_them),
	CHECK_TEST(damaged_inodes_are_refused),
	CHECK_TEST(dentry_comes_back),
	CHECK_TEST(reap_and_system_come_back),
};
CHECK_MAIN(tests)
