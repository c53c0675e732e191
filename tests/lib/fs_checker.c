/* What must hold of the stored records (fs/README.md, "What holds"), checked without the code that
 * calls are made of: the codecs of format.h are all it uses. */
#include <stdarg.h>
#include <stdio.h>
#include <uthash.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "fs/format.h"
#include "tests/lib/check.h"
#include "tests/lib/fs_fixture.h"

struct node { /* one number: an inode, a data id, or something to reap */
	uint64_t number;
	bool is_inode, is_data, to_reap;
	struct fs_inode rec;
	uint64_t size; /* of the file with this data id */
	uint32_t links, subdirs;
	bool holes;	 /* of a data id: its file may have holes */
	uint64_t blocks; /* of a data id */
	fs_ino found_in; /* by its dentries */
	uint64_t found_hash;
	UT_hash_handle hh;
};

struct checker {
	struct fsx *x;
	struct node *nodes;
	uint8_t hash_key[16];
	bool leftovers;
	unsigned problems;
};

static void problem(struct checker *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void problem(struct checker *c, const char *fmt, ...)
{
	va_list ap;

	c->problems++;
	fprintf(stderr, "checker: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

static struct node *find(struct checker *c, uint64_t number)
{
	struct node *n;

	HASH_FIND(hh, c->nodes, &number, sizeof(number), n);
	return n;
}

static struct node *get(struct checker *c, uint64_t number)
{
	struct node *n = find(c, number);

	if (n)
		return n;
	n = mem_must_alloc(sizeof(*n));
	n->number = number;
	HASH_ADD(hh, c->nodes, number, sizeof(n->number), n);
	return n;
}

#define N(v) ((unsigned long long)(v))

/* ---- first pass: inodes, what is to be reaped, the system's record ---- */

static void take_inode(struct checker *c, const struct fs_key_parts *p, struct slice value)
{
	struct node *n = get(c, p->number), *d;

	if (fs__inode_decode(value, &n->rec) || p->rest.len > 0) {
		problem(c, "inode %llx is damaged", N(p->number));
		return;
	}
	n->is_inode = true;
	if (n->rec.type != FS_T_SYMLINK && value.len != FS_INODE_SIZE)
		problem(c, "inode %llx has a tail", N(p->number));
	if (n->rec.type == FS_T_SYMLINK && value.len - FS_INODE_SIZE != n->rec.size)
		problem(c, "symlink %llx: target and size differ", N(p->number));
	if (n->rec.type != FS_T_FILE)
		return;
	d = get(c, n->rec.data_id);
	if (d->is_data)
		problem(c, "data id %llx belongs to two files", N(d->number));
	d->is_data = true;
	d->size = n->rec.size;
	d->holes = n->rec.holes;
}

static void take_reap(struct checker *c, const struct fs_key_parts *p, struct slice value)
{
	struct fs_reap g;

	if (fs__reap_decode(value, &g) || p->rest.len != 1 || p->rest.p[0] != g.what) {
		problem(c, "G record of %llx is damaged", N(p->number));
		return;
	}
	get(c, p->number)->to_reap = true;
	if (!c->leftovers)
		problem(c, "G record (%u) of %llx is left over", g.what, N(p->number));
}

static void first_pass(struct checker *c, const struct fs_key_parts *p, struct slice value)
{
	struct fs_system sys;

	if (p->kind == FS_KIND_INODE) {
		take_inode(c, p, value);
	} else if (p->kind == FS_KIND_REAP) {
		take_reap(c, p, value);
	} else if (p->kind == FS_KIND_SYSTEM) {
		if (fs__system_decode(value, &sys))
			problem(c, "system record is damaged");
		else
			memcpy(c->hash_key, sys.hash_key, sizeof(c->hash_key));
	}
}

/* ---- second pass: what refers to them ---- */

static void take_dentry(struct checker *c, const struct fs_key_parts *p, struct slice value)
{
	struct node *dir = find(c, p->number), *n;
	struct fs_dentry d;
	struct slice name;
	uint64_t hash, digest;

	if (p->rest.len <= 8 || fs__dentry_decode(value, &d)) {
		problem(c, "dentry in %llx is damaged", N(p->number));
		return;
	}
	hash = be64_get(p->rest.p);
	name = slice_of(p->rest.p + 8, p->rest.len - 8);
	digest = fs__name_digest(c->hash_key, p->number, name);
	if (hash != fs__name_hash(digest & c->x->hash_mask))
		problem(c, "%llx/%.*s: wrong hash", N(p->number), (int)name.len, name.p);
	if (!dir || !dir->is_inode || dir->rec.type != FS_T_DIR || dir->rec.nlink == 0)
		problem(c, "%llx/%.*s is in no directory", N(p->number), (int)name.len, name.p);
	n = find(c, d.ino);
	if (!n || !n->is_inode) {
		problem(c, "%llx/%.*s leads to no inode (%llx)", N(p->number), (int)name.len,
			name.p, N(d.ino));
		return;
	}
	if (n->rec.type != d.type)
		problem(c, "%llx/%.*s has a wrong type", N(p->number), (int)name.len, name.p);
	n->links++;
	n->found_in = p->number;
	n->found_hash = hash;
	if (dir && n->rec.type == FS_T_DIR)
		dir->subdirs++;
}

static bool stripe_marked(struct checker *c, uint64_t data_id, uint64_t stripe)
{
	uint64_t bit = stripe % FS_STRIPES_PER_CHUNK;
	struct fs_key k;
	struct fsx_rec *r;

	fs__key_stripes(&k, data_id, stripe / FS_STRIPES_PER_CHUNK);
	r = fsx_find(c->x, fs__key_slice(&k));
	return r && bit / 8 < r->value.len && (r->value.data[bit / 8] >> bit % 8 & 1);
}

static void take_block(struct checker *c, const struct fs_key_parts *p, struct slice value)
{
	struct node *n = find(c, p->number);
	uint64_t block, start;

	if (p->rest.len != 8 || value.len > BLOCK_SIZE) {
		problem(c, "block of %llx is damaged", N(p->number));
		return;
	}
	block = be64_get(p->rest.p);
	start = block * BLOCK_SIZE;
	if (p->place != fs__stripe_place(p->number, fs__stripe_of_block(block)))
		problem(c, "block %llu of %llx is at a wrong place", N(block), N(p->number));
	if (n && n->is_data) {
		n->blocks++;
		if (start >= n->size || start + value.len > n->size)
			problem(c, "block %llu of %llx (%zu bytes) reaches beyond the size %llu",
				N(block), N(p->number), value.len, N(n->size));
	} else if (!n || !n->to_reap) {
		problem(c, "block %llu of %llx belongs to nothing", N(block), N(p->number));
	}
	if (fs__stripe_of_block(block) > 0 &&
	    !stripe_marked(c, p->number, fs__stripe_of_block(block)))
		problem(c, "block %llu of %llx: its stripe has no mark", N(block), N(p->number));
}

static void second_pass(struct checker *c, const struct fs_key_parts *p, struct slice value)
{
	struct node *n = find(c, p->number);

	switch (p->kind) {
	case FS_KIND_DENTRY:
		take_dentry(c, p, value);
		break;
	case FS_KIND_BLOCK:
		take_block(c, p, value);
		break;
	case FS_KIND_STRIPES:
		if (!n || (!n->is_data && !n->to_reap))
			problem(c, "S record of %llx belongs to nothing", N(p->number));
		break;
	case FS_KIND_XATTR:
		if (n && n->to_reap)
			break;
		if (!n || !n->is_inode || !n->rec.xattrs)
			problem(c, "xattr of %llx belongs to nothing", N(p->number));
		break;
	default:
		break;
	}
	if (p->kind != FS_KIND_BLOCK && p->place != fs__place(p->number))
		problem(c, "key of %llx (%c) is at a wrong place", N(p->number), p->kind);
}

static void pass(struct checker *c,
		 void (*take)(struct checker *c, const struct fs_key_parts *p, struct slice value))
{
	struct fs_key_parts p;
	struct fsx_rec *r;

	RB_FOREACH(r, fsx_tree, &c->x->tree)
		if (r->key.data[0] < 0x80 && fs__key_parse(buf_slice(&r->key), &p))
			take(c, &p, buf_slice(&r->value));
}

/* ---- last: each inode by itself, ties, reachability ---- */

static void check_dir(struct checker *c, const struct node *n)
{
	if (n->rec.nlink != 2 + n->subdirs)
		problem(c, "directory %llx: nlink %u, subdirectories %u", N(n->number),
			n->rec.nlink, n->subdirs);
	if (n->number == FS_ROOT_INO) {
		if (n->links != 0 || n->rec.parent != FS_ROOT_INO)
			problem(c, "the root has a name, or a parent");
		return;
	}
	if (n->links != 1)
		problem(c, "directory %llx has %u names", N(n->number), n->links);
	if (n->rec.parent != n->found_in || n->rec.name_hash != n->found_hash)
		problem(c, "directory %llx does not know its place", N(n->number));
}

static void check_reached(struct checker *c, const struct node *n)
{
	const struct node *at = n;

	for (int depth = 0; at && at->is_inode && depth < 100000; depth++) {
		if (at->number == FS_ROOT_INO)
			return;
		at = find(c, at->rec.parent);
	}
	problem(c, "directory %llx cannot be reached", N(n->number));
}

static void check_node(struct checker *c, const struct node *n)
{
	if (n->is_data && !n->holes && n->blocks < fs__blocks_end(n->size) / BLOCK_SIZE)
		problem(c, "data %llx has holes that its file does not know of", N(n->number));
	if (!n->is_inode)
		return;
	if (n->rec.nlink == 0) {
		if (n->links > 0)
			problem(c, "inode %llx has names, and nlink 0", N(n->number));
		if (!n->to_reap || !n->rec.orphan)
			problem(c, "inode %llx is forgotten", N(n->number));
		return;
	}
	if (n->rec.orphan)
		problem(c, "inode %llx is marked as an orphan", N(n->number));
	if (n->rec.type == FS_T_DIR) {
		check_dir(c, n);
		check_reached(c, n);
	} else if (n->rec.nlink != n->links) {
		problem(c, "inode %llx: nlink %u, names %u", N(n->number), n->rec.nlink, n->links);
	}
}

/* Entries of equal hash are neighbours: their ties differ. */
static void check_ties(struct checker *c)
{
	struct fsx_rec *r, *s;
	struct fs_dentry a, b;

	RB_FOREACH(r, fsx_tree, &c->x->tree) {
		if (r->key.len < FS_DENTRY_HEAD || r->key.data[0] >= 0x80 ||
		    r->key.data[10] != FS_KIND_DENTRY || fs__dentry_decode(buf_slice(&r->value), &a))
			continue;
		for (s = RB_NEXT(fsx_tree, &c->x->tree, r);
		     s && s->key.len >= FS_DENTRY_HEAD &&
		     memcmp(s->key.data, r->key.data, FS_DENTRY_HEAD) == 0;
		     s = RB_NEXT(fsx_tree, &c->x->tree, s))
			if (!fs__dentry_decode(buf_slice(&s->value), &b) && a.tie == b.tie)
				problem(c, "two names of %llx have one cookie",
					N(be64_get(r->key.data + 2)));
	}
}

void fsx_check(struct fsx *x, bool leftovers)
{
	struct checker c = {.x = x, .leftovers = leftovers};
	struct node *n, *next, *root;

	pass(&c, first_pass);
	pass(&c, second_pass);
	HASH_ITER(hh, c.nodes, n, next)
		check_node(&c, n);
	check_ties(&c);
	root = find(&c, FS_ROOT_INO);
	if (!root || !root->is_inode)
		problem(&c, "there is no root");
	HASH_ITER(hh, c.nodes, n, next) {
		HASH_DEL(c.nodes, n);
		mem_free(n);
	}
	CHECK_U64_EQ(c.problems, 0);
}
