#include "fs/format.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"

/* ---- places ---- */

/* The finalizer of SplitMix64: every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

uint16_t fs__place_hash(uint64_t number, uint64_t salt)
{
	return (uint16_t)(mix(mix(number) ^ salt) >> 49);
}

uint16_t fs__stripe_place(uint64_t data_id, uint64_t stripe)
{
	return stripe == 0 ? fs__place(data_id) : fs__place_hash(data_id, stripe);
}

/* ---- keys ---- */

void fs__key_head(struct fs_key *k, uint16_t place, uint64_t number, uint8_t kind)
{
	be16_put(k->b, place);
	be64_put(k->b + 2, number);
	k->b[10] = kind;
	k->len = FS_KEY_HEAD;
}

void fs__key_bytes(struct fs_key *k, struct slice s)
{
	CHECK(k->len + s.len <= sizeof(k->b));
	if (s.len > 0)
		memcpy(k->b + k->len, s.p, s.len);
	k->len = (uint16_t)(k->len + s.len);
}

void fs__key_u64(struct fs_key *k, uint64_t v)
{
	uint8_t b[8];

	be64_put(b, v);
	fs__key_bytes(k, slice_of(b, sizeof(b)));
}

void fs__key_after(struct fs_key *to, const struct fs_key *prefix)
{
	*to = *prefix;
	while (to->len > 0 && to->b[to->len - 1] == 0xff)
		to->len--;
	CHECK(to->len > 0);
	to->b[to->len - 1]++;
}

void fs__key_behind(struct fs_key *to, struct slice last, bool blocks)
{
	struct fs_key_parts p;

	to->len = 0;
	if (blocks && fs__key_parse(last, &p) && p.kind == FS_KIND_BLOCK) {
		fs__key_head(to, p.place, p.number, FS_KIND_BLOCK + 1);
		return;
	}
	fs__key_bytes(to, last);
	fs__key_bytes(to, slice_of("", 1));
}

void fs__key_inode(struct fs_key *k, fs_ino ino)
{
	fs__key_head(k, fs__place(ino), ino, FS_KIND_INODE);
}

void fs__key_dentry(struct fs_key *k, fs_ino dir, uint64_t hash, struct slice name)
{
	fs__key_head(k, fs__place(dir), dir, FS_KIND_DENTRY);
	fs__key_u64(k, hash);
	fs__key_bytes(k, name);
}

void fs__key_xattr(struct fs_key *k, fs_ino ino, struct slice name)
{
	fs__key_head(k, fs__place(ino), ino, FS_KIND_XATTR);
	fs__key_bytes(k, name);
}

void fs__key_block(struct fs_key *k, uint64_t data_id, uint64_t block)
{
	uint16_t place = fs__stripe_place(data_id, fs__stripe_of_block(block));

	fs__key_head(k, place, data_id, FS_KIND_BLOCK);
	fs__key_u64(k, block);
}

void fs__key_stripes(struct fs_key *k, uint64_t data_id, uint64_t chunk)
{
	fs__key_head(k, fs__place(data_id), data_id, FS_KIND_STRIPES);
	fs__key_u64(k, chunk);
}

void fs__key_reap(struct fs_key *k, uint64_t object, uint8_t what)
{
	fs__key_head(k, fs__place(object), object, FS_KIND_REAP);
	fs__key_bytes(k, slice_of(&what, 1));
}

void fs__key_system(struct fs_key *k)
{
	fs__key_head(k, fs__place(FS_ROOT_INO), FS_ROOT_INO, FS_KIND_SYSTEM);
}

void fs__range_kind(struct fs_key *from, struct fs_key *to, uint64_t number, uint8_t kind)
{
	fs__key_head(from, fs__place(number), number, kind);
	fs__key_after(to, from);
}

void fs__range_number(struct fs_key *from, struct fs_key *to, uint64_t number)
{
	fs__key_head(from, fs__place(number), number, 0);
	from->len = FS_KEY_HEAD - 1;
	fs__key_after(to, from);
}

void fs__range_hash(struct fs_key *from, struct fs_key *to, fs_ino dir, uint64_t hash)
{
	fs__key_dentry(from, dir, hash, (struct slice){0});
	fs__key_after(to, from);
}

void fs__range_blocks(struct fs_key *from, struct fs_key *to, uint64_t data_id, uint64_t first,
		     uint64_t end)
{
	uint64_t stripe = fs__stripe_of_block(first);
	uint64_t stripe_end = (stripe + 1) * FS_BLOCKS_PER_STRIPE;

	if (end > stripe_end)
		end = stripe_end;
	fs__key_block(from, data_id, first);
	fs__key_head(to, fs__stripe_place(data_id, stripe), data_id, FS_KIND_BLOCK);
	fs__key_u64(to, end);
}

bool fs__key_parse(struct slice key, struct fs_key_parts *out)
{
	if (key.len < FS_KEY_HEAD)
		return false;
	out->place = be16_get(key.p);
	out->number = be64_get(key.p + 2);
	out->kind = key.p[10];
	out->rest = slice_of(key.p + FS_KEY_HEAD, key.len - FS_KEY_HEAD);
	return true;
}

/* ---- times ---- */

#define TIME_S_MAX ((time_t)(INT64_MAX / (int64_t)NS_PER_S))

int64_t fs_time_of(struct timespec t)
{
	if (t.tv_sec >= TIME_S_MAX || t.tv_sec <= -TIME_S_MAX)
		return (t.tv_sec > 0 ? TIME_S_MAX : -TIME_S_MAX) * (int64_t)NS_PER_S;
	return t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}

struct timespec fs_time_split(int64_t ns)
{
	struct timespec t = {.tv_sec = ns / (int64_t)NS_PER_S, .tv_nsec = ns % (int64_t)NS_PER_S};

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += (long)NS_PER_S;
	}
	return t;
}

/* ---- records ---- */

void fs__inode_encode(uint8_t out[FS_INODE_SIZE], const struct fs_inode *in)
{
	memset(out, 0, FS_INODE_SIZE);
	out[0] = FS_INODE_VERSION;
	out[1] = in->orphan;
	out[2] = in->xattrs;
	out[3] = in->holes;
	le16_put(out + 4, in->perm);
	le16_put(out + 6, in->type);
	le32_put(out + 8, in->uid);
	le32_put(out + 12, in->gid);
	le32_put(out + 16, in->nlink);
	le64_put(out + 24, in->rdev);
	le64_put(out + 32, in->size);
	le64_put(out + 40, (uint64_t)in->atime_ns);
	le64_put(out + 48, (uint64_t)in->mtime_ns);
	le64_put(out + 56, (uint64_t)in->ctime_ns);
	le64_put(out + 64, (uint64_t)in->btime_ns);
	le64_put(out + 72, in->data_id);
	le64_put(out + 80, in->data_version);
	le64_put(out + 88, in->perm_version);
	le64_put(out + 96, in->parent);
	le64_put(out + 104, in->name_hash);
	le64_put(out + 112, in->cut_version);
	le64_put(out + 120, in->atime_set);
}

int fs__inode_decode(struct slice value, struct fs_inode *out)
{
	const uint8_t *p = value.p;

	if (value.len < FS_INODE_SIZE || p[0] != FS_INODE_VERSION)
		return ERR_CORRUPT;
	*out = (struct fs_inode){
		.orphan = p[1] != 0,
		.xattrs = p[2],
		.holes = p[3] != 0,
		.perm = le16_get(p + 4) & 07777,
		.type = le16_get(p + 6) & 017,
		.uid = le32_get(p + 8),
		.gid = le32_get(p + 12),
		.nlink = le32_get(p + 16),
		.rdev = le64_get(p + 24),
		.size = le64_get(p + 32),
		.atime_ns = (int64_t)le64_get(p + 40),
		.mtime_ns = (int64_t)le64_get(p + 48),
		.ctime_ns = (int64_t)le64_get(p + 56),
		.btime_ns = (int64_t)le64_get(p + 64),
		.data_id = le64_get(p + 72),
		.data_version = le64_get(p + 80),
		.perm_version = le64_get(p + 88),
		.parent = le64_get(p + 96),
		.name_hash = le64_get(p + 104),
		.cut_version = le64_get(p + 112),
		.atime_set = le64_get(p + 120),
	};
	return 0;
}

void fs__dentry_encode(uint8_t out[FS_DENTRY_SIZE], const struct fs_dentry *in)
{
	le64_put(out, in->ino);
	out[8] = in->type;
	out[9] = in->tie;
}

int fs__dentry_decode(struct slice value, struct fs_dentry *out)
{
	if (value.len != FS_DENTRY_SIZE || value.p[9] >= FS_TIES_MAX)
		return ERR_CORRUPT;
	*out = (struct fs_dentry){.ino = le64_get(value.p), .type = value.p[8], .tie = value.p[9]};
	return 0;
}

void fs__reap_encode(uint8_t out[FS_REAP_SIZE], const struct fs_reap *in)
{
	memset(out, 0, FS_REAP_SIZE);
	out[0] = in->what;
	out[1] = in->asked;
	le32_put(out + 4, in->renewals);
	le64_put(out + 8, in->session);
	le64_put(out + 16, in->since_ns);
}

int fs__reap_decode(struct slice value, struct fs_reap *out)
{
	if (value.len != FS_REAP_SIZE || value.p[0] < FS_REAP_INODE || value.p[0] > FS_REAP_STAGED)
		return ERR_CORRUPT;
	*out = (struct fs_reap){.what = value.p[0],
				.asked = value.p[1] != 0,
				.renewals = le32_get(value.p + 4),
				.session = le64_get(value.p + 8),
				.since_ns = le64_get(value.p + 16)};
	return 0;
}

void fs__system_encode(uint8_t out[FS_SYSTEM_SIZE], const struct fs_system *in)
{
	memset(out, 0, FS_SYSTEM_SIZE);
	le32_put(out, in->version);
	memcpy(out + 8, in->hash_key, sizeof(in->hash_key));
}

int fs__system_decode(struct slice value, struct fs_system *out)
{
	*out = (struct fs_system){.version = 0};
	if (value.len < 4)
		return ERR_CORRUPT;
	out->version = le32_get(value.p);
	if (value.len != FS_SYSTEM_SIZE)
		return out->version > FS_FORMAT_VERSION ? 0 : ERR_CORRUPT;
	memcpy(out->hash_key, value.p + 8, sizeof(out->hash_key));
	return 0;
}

uint64_t fs__name_digest(const uint8_t key[16], fs_ino dir, struct slice name)
{
	uint8_t b[8 + FS_NAME_MAX];

	CHECK(name.len <= FS_NAME_MAX);
	be64_put(b, dir);
	if (name.len > 0)
		memcpy(b + 8, name.p, name.len);
	return fs__siphash(key, b, 8 + name.len);
}

uint64_t fs__name_hash(uint64_t digest)
{
	uint64_t h = digest >> 1 & ~FS_TIE_MASK;

	return h < FS_HASH_FIRST ? FS_HASH_FIRST : h;
}
