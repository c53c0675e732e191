/* fallocate, SEEK_DATA and SEEK_HOLE, counted blocks, copy_file_range; all against a model. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define KIB  1024u
#define MIB  (1024ull * KIB)
#define GIB  (1024 * MIB)
#define B    ((uint64_t)BLOCK_SIZE)
#define RW   (FS_O_READ | FS_O_WRITE)
#define KEEP FS_FALLOC_KEEP_SIZE
#define HOLE (FS_FALLOC_PUNCH_HOLE | KEEP)
#define ZERO FS_FALLOC_ZERO_RANGE

static uint8_t *pattern(size_t len, unsigned seed)
{
	uint8_t *p = malloc(len);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(1 + (i * 7 + i / 255 + seed) % 255); /* never 0 */
	return p;
}

static struct fs_file *make(struct fsx_mount *m, const char *name, fs_ino *ino)
{
	*ino = fsc_file(m, ROOT, name, "");
	return fsc_open(m, *ino, RW);
}

static void fill(struct fs_file *f, uint64_t offset, size_t len)
{
	uint8_t *p = pattern(len, 1);

	fsc_write(f, offset, slice_of(p, len));
	free(p);
}

static void expect(struct fs_file *f, uint64_t offset, size_t len, struct slice want)
{
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(f, offset, len, &b));
	CHECK_SLICE_EQ(buf_slice(&b), want);
	buf_release(&b);
}

static void expect_zeros(struct fs_file *f, uint64_t offset, size_t len)
{
	uint8_t *zeros = calloc(1, len);

	expect(f, offset, len, slice_of(zeros, len));
	free(zeros);
}

static uint64_t data_from(struct fsx_mount *m, fs_ino ino, uint64_t offset)
{
	uint64_t at = UINT64_MAX;
	int err = fs_seek(m->fs, ino, offset, false, &at);

	if (err)
		CHECK_ERR(err, ERR_NO_DATA);
	return at;
}

static uint64_t hole_from(struct fsx_mount *m, fs_ino ino, uint64_t offset)
{
	uint64_t at = UINT64_MAX;
	int err = fs_seek(m->fs, ino, offset, true, &at);

	if (err)
		CHECK_ERR(err, ERR_NO_DATA);
	return at;
}

static uint64_t sectors(struct fsx_mount *m, fs_ino ino)
{
	struct fs_attr a = {0};

	CHECK_OK(fs_stat(m->fs, ino, &a));
	return a.blocks;
}

static bool marked(struct fsx_mount *m, fs_ino ino)
{
	struct fs_inode rec = {0};

	CHECK_OK(fs__inode_get(m->fs, ino, &rec));
	return rec.holes;
}

static void resize(struct fsx_mount *m, fs_ino ino, uint64_t size)
{
	struct fs_attr in = {.size = size}, a;

	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
}

/* ---- the mark of files with holes ---- */

FSC_CASE(only_gaps_mark_a_file)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, 5, 10);	      /* in the first block */
	fill(f, B, 10);	      /* behind it */
	fill(f, 2 * B + 7, 1); /* leaves nothing out, for block 1 is there */
	resize(m, ino, 3 * B); /* within the last one */
	CHECK_FALSE(marked(m, ino));
	CHECK_U64_EQ(sectors(m, ino), 3 * B / 512);
	fill(f, 4 * B, 1);
	CHECK_TRUE(marked(m, ino));
	CHECK_U64_EQ(sectors(m, ino), 3 * B / 512 + 1);
	resize(m, ino, 0);
	CHECK_FALSE(marked(m, ino));
	resize(m, ino, 1);
	CHECK_TRUE(marked(m, ino));
	CHECK_U64_EQ(sectors(m, ino), 0);
	fs_file_close(f);
}

/* A mount that believes the file to be longer than another one has made it. */
FSC_CASE(a_cut_elsewhere_is_noticed)
{
	struct fsx_mount *other = fsx_mount(m->x);
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, 0, 4 * B);
	resize(other, ino, 10);
	fill(f, 4 * B, 1); /* as it would go on */
	CHECK_TRUE(marked(m, ino));
	CHECK_U64_EQ(hole_from(m, ino, 0), B);
	CHECK_U64_EQ(data_from(m, ino, B), 4 * B);
	CHECK_U64_EQ(sectors(other, ino), B / 512 + 1);
	fs_file_close(f);
}

/* One that believes it to be shorter leaves no gap. */
FSC_CASE(growth_elsewhere_is_noticed)
{
	struct fsx_mount *other = fsx_mount(m->x);
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino), *g;

	fill(f, 0, 1);
	g = fsc_open(other, ino, RW);
	fill(g, 1, 4 * B - 1);
	fill(f, 4 * B, 1);
	CHECK_FALSE(marked(m, ino));
	fs_file_close(g);
	fs_file_close(f);
}

/* ---- SEEK_DATA, SEEK_HOLE ---- */

FSC_CASE(a_whole_file_is_data)
{
	fs_ino ino, d = fsc_mkdir(m, ROOT, "d");
	struct fs_file *f = make(m, "f", &ino);
	uint64_t at;

	CHECK_ERR(fs_seek(m->fs, ino, 0, false, &at), ERR_NO_DATA);
	CHECK_ERR(fs_seek(m->fs, ino, 0, true, &at), ERR_NO_DATA);
	fill(f, 0, 100);
	CHECK_U64_EQ(data_from(m, ino, 0), 0);
	CHECK_U64_EQ(data_from(m, ino, 99), 99);
	CHECK_U64_EQ(hole_from(m, ino, 0), 100);
	CHECK_U64_EQ(hole_from(m, ino, 99), 100);
	CHECK_ERR(fs_seek(m->fs, ino, 100, false, &at), ERR_NO_DATA);
	CHECK_ERR(fs_seek(m->fs, ino, 100, true, &at), ERR_NO_DATA);
	CHECK_ERR(fs_seek(m->fs, d, 0, true, &at), ERR_INVAL);
	fs_file_close(f);
}

FSC_CASE(data_and_holes_alternate)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, 2 * B + 5, 1);
	fill(f, 5 * B, 2 * B);
	fill(f, STRIPE_SIZE + 3 * B, 1);
	resize(m, ino, 3 * STRIPE_SIZE);
	CHECK_U64_EQ(data_from(m, ino, 0), 2 * B);
	CHECK_U64_EQ(data_from(m, ino, 2 * B + 9), 2 * B + 9);
	CHECK_U64_EQ(data_from(m, ino, 3 * B), 5 * B);
	CHECK_U64_EQ(data_from(m, ino, 7 * B), STRIPE_SIZE + 3 * B);
	CHECK_U64_EQ(data_from(m, ino, STRIPE_SIZE + 4 * B), UINT64_MAX);
	CHECK_U64_EQ(hole_from(m, ino, 0), 0);
	CHECK_U64_EQ(hole_from(m, ino, 7), 7);
	CHECK_U64_EQ(hole_from(m, ino, 2 * B), 3 * B);
	CHECK_U64_EQ(hole_from(m, ino, 5 * B + 1), 7 * B);
	CHECK_U64_EQ(hole_from(m, ino, STRIPE_SIZE + 3 * B), STRIPE_SIZE + 4 * B);
	CHECK_U64_EQ(hole_from(m, ino, 2 * STRIPE_SIZE + 1), 2 * STRIPE_SIZE + 1);
	CHECK_U64_EQ(sectors(m, ino), 4 * B / 512);
	fs_file_close(f);
}

/* Blocks up to a stripe's end and from the next one's beginning are one run. */
FSC_CASE(a_run_goes_on_over_stripes)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, STRIPE_SIZE - B, 2 * B);
	resize(m, ino, STRIPE_SIZE + 9 * B);
	CHECK_U64_EQ(data_from(m, ino, 1), STRIPE_SIZE - B);
	CHECK_U64_EQ(hole_from(m, ino, STRIPE_SIZE - B), STRIPE_SIZE + B);
	CHECK_U64_EQ(sectors(m, ino), 2 * B / 512);
	fs_file_close(f);
}

FSC_CASE(a_huge_hole_costs_few_requests)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);
	uint64_t before;

	resize(m, ino, 100 * GIB);
	fill(f, 50 * GIB + B, 1);
	fill(f, 100 * GIB - 1, 1);
	before = m->fs->stats.requests;
	CHECK_U64_EQ(data_from(m, ino, 0), 50 * GIB + B);
	CHECK_U64_EQ(data_from(m, ino, 50 * GIB + 2 * B), 100 * GIB - B);
	CHECK_U64_EQ(hole_from(m, ino, 50 * GIB + B), 50 * GIB + 2 * B);
	CHECK_U64_EQ(sectors(m, ino), 2 * B / 512);
	CHECK_TRUE(m->fs->stats.requests - before < 30);
	before = m->fs->stats.requests;
	CHECK_U64_EQ(sectors(m, ino), 2 * B / 512); /* known */
	CHECK_U64_EQ(m->fs->stats.requests - before, 1);
	fs_file_close(f);
}

/* A group's border in the middle of the blocks: scans end there. */
FSC_CASE(borders_between_blocks)
{
	struct fs_key k;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, 2 * B, 4 * B);
	fill(f, 9 * B, 1);
	for (uint64_t b = 1; b < 12; b += 3) {
		fs__key_block(&k, ino, b);
		fsx_split(m->x, fs__key_slice(&k), (uint32_t)(b % 4));
		CHECK_U64_EQ(data_from(m, ino, 0), 2 * B);
		CHECK_U64_EQ(hole_from(m, ino, 2 * B), 6 * B);
		CHECK_U64_EQ(data_from(m, ino, 6 * B), 9 * B);
		CHECK_U64_EQ(sectors(m, ino), 4 * B / 512 + 1);
	}
	CHECK_OK(fs_fallocate(f, HOLE, B, 3 * B, NULL));
	CHECK_U64_EQ(data_from(m, ino, 0), 4 * B);
	fs_file_close(f);
}

/* ---- fallocate ---- */

FSC_CASE(room_is_within_the_file)
{
	struct fs_attr before, a;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, 0, 10);
	before = fsc_attr(m, ino);
	m->x->now_ns += NS_PER_S;
	CHECK_OK(fs_fallocate(f, 0, 5, 100, NULL));
	a = fsc_attr(m, ino);
	CHECK_U64_EQ(a.size, 105);
	CHECK_TRUE(a.mtime_ns > before.mtime_ns && a.ctime_ns == a.mtime_ns);
	CHECK_U64_EQ(a.data_version, before.data_version + 1);
	CHECK_FALSE(marked(m, ino));
	CHECK_OK(fs_fallocate(f, 0, 0, 50, NULL)); /* it is there */
	CHECK_U64_EQ(fsc_attr(m, ino).size, 105);
	CHECK_OK(fs_fallocate(f, KEEP, 0, 10 * MIB, NULL));
	CHECK_U64_EQ(fsc_attr(m, ino).size, 105);
	CHECK_OK(fs_fallocate(f, 0, 10 * MIB, 1, NULL));
	CHECK_U64_EQ(fsc_attr(m, ino).size, 10 * MIB + 1);
	CHECK_TRUE(marked(m, ino));
	CHECK_U64_EQ(sectors(m, ino), B / 512);
	expect_zeros(f, 10, 1000);
	fs_file_close(f);
}

FSC_CASE(what_fallocate_refuses)
{
	struct fs_options ro = {.read_only = true};
	struct fsx_mount *other;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino), *r = fsc_open(m, ino, FS_O_READ);

	CHECK_ERR(fs_fallocate(f, 0, 0, 0, NULL), ERR_INVAL);
	CHECK_ERR(fs_fallocate(r, 0, 0, 1, NULL), ERR_BAD_HANDLE);
	CHECK_ERR(fs_fallocate(f, 0, FS_FILE_SIZE_MAX, 1, NULL), ERR_FILE_TOO_BIG);
	CHECK_ERR(fs_fallocate(f, 0, 1, UINT64_MAX, NULL), ERR_FILE_TOO_BIG);
	CHECK_ERR(fs_fallocate(f, FS_FALLOC_PUNCH_HOLE, 0, 1, NULL), ERR_UNSUPPORTED);
	CHECK_ERR(fs_fallocate(f, HOLE | ZERO, 0, 1, NULL), ERR_UNSUPPORTED);
	CHECK_ERR(fs_fallocate(f, 8, 0, 1, NULL), ERR_UNSUPPORTED);
	CHECK_U64_EQ(fsc_attr(m, ino).size, 0);
	fs_file_close(r);
	fs_file_close(f);
	other = fsx_mount_with(m->x, &ro);
	r = fsc_open(other, ino, FS_O_READ);
	CHECK_ERR(fs_fallocate(r, 0, 0, 1, NULL), ERR_READ_ONLY);
	fs_file_close(r);
}

static int little_room(void *ctx, uint64_t *total, uint64_t *free)
{
	(void)ctx;
	*total = GIB;
	*free = MIB;
	return 0;
}

FSC_CASE(room_that_is_not_there)
{
	struct fs_statfs s;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	m->fs->b.space = little_room;
	CHECK_ERR(fs_fallocate(f, 0, 0, 2 * MIB, NULL), ERR_NOSPACE);
	CHECK_ERR(fs_fallocate(f, KEEP, GIB, 2 * MIB, NULL), ERR_NOSPACE);
	CHECK_U64_EQ(fsc_attr(m, ino).size, 0);
	CHECK_OK(fs_fallocate(f, 0, 0, MIB, NULL));
	CHECK_OK(fs_fallocate(f, HOLE, 0, 2 * MIB, NULL));
	CHECK_OK(fs_statfs(m->fs, &s));
	CHECK_U64_EQ(s.blocks * s.block_size, GIB);
	CHECK_U64_EQ(s.blocks_free * s.block_size, MIB);
	CHECK_TRUE(s.files_free < s.files);
	fs_file_close(f);
}

static int no_answer(void *ctx, uint64_t *total, uint64_t *free)
{
	(void)ctx;
	(void)total;
	(void)free;
	(void)fiber_sleep(60 * NS_PER_S);
	return ERR_UNREACHABLE;
}

FSC_CASE(figures_of_a_store_that_is_down)
{
	struct fs_statfs s;
	uint64_t before;

	m->fs->b.space = little_room;
	CHECK_OK(fs_statfs(m->fs, &s));
	m->fs->b.space = no_answer;
	CHECK_OK(fs_statfs(m->fs, &s)); /* a moment old */
	CHECK_OK(fiber_sleep(10 * NS_PER_S));
	before = m->x->now_ns;
	CHECK_OK(fs_statfs(m->fs, &s));
	CHECK_TRUE(m->x->now_ns - before <= 3 * NS_PER_S);
	CHECK_U64_EQ(s.blocks * s.block_size, GIB);
	CHECK_OK(fiber_sleep(100 * NS_PER_S));
	m->fs->b.space = NULL;
	CHECK_OK(fs_statfs(m->fs, &s));
	CHECK_TRUE(s.blocks * s.block_size > GIB);
}

FSC_CASE(a_hole_is_punched)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);
	uint8_t *p = pattern(6 * B, 1);
	struct fs_attr before;

	fill(f, 0, 6 * B);
	before = fsc_attr(m, ino);
	m->x->now_ns += NS_PER_S;
	CHECK_OK(fs_fallocate(f, HOLE, B + 10, 3 * B, NULL));
	expect(f, 0, B + 10, slice_of(p, B + 10));
	expect_zeros(f, B + 10, 3 * B);
	expect(f, 4 * B + 10, 2 * B - 10, slice_of(p + 4 * B + 10, 2 * B - 10));
	CHECK_U64_EQ(fsc_attr(m, ino).size, 6 * B);
	CHECK_U64_EQ(fsc_attr(m, ino).data_version, before.data_version + 1);
	CHECK_TRUE(fsc_attr(m, ino).mtime_ns > before.mtime_ns);
	CHECK_U64_EQ(hole_from(m, ino, 0), 2 * B);
	CHECK_U64_EQ(data_from(m, ino, 2 * B), 4 * B);
	CHECK_U64_EQ(sectors(m, ino), 4 * B / 512);
	CHECK_OK(fs_fallocate(f, HOLE, 2 * B + 1, B, NULL)); /* nothing is there */
	CHECK_U64_EQ(sectors(m, ino), 4 * B / 512);
	CHECK_OK(fs_fallocate(f, HOLE, 5 * B, 100 * B, NULL)); /* over the end */
	CHECK_U64_EQ(fsc_attr(m, ino).size, 6 * B);
	CHECK_U64_EQ(sectors(m, ino), 3 * B / 512);
	before = fsc_attr(m, ino);
	CHECK_OK(fs_fallocate(f, HOLE, 6 * B, 100 * B, NULL)); /* behind the end */
	CHECK_U64_EQ(fsc_attr(m, ino).data_version, before.data_version);
	CHECK_OK(fs_fallocate(f, HOLE, 0, UINT32_MAX, NULL));
	CHECK_U64_EQ(sectors(m, ino), 0);
	expect_zeros(f, 0, 6 * B);
	fs_file_close(f);
	free(p);
}

FSC_CASE(a_hole_over_stripes)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, 0, 10);
	fill(f, STRIPE_SIZE - B, 2 * B);
	fill(f, 4 * STRIPE_SIZE + 5, 1);
	CHECK_OK(fs_fallocate(f, HOLE, 5, 4 * STRIPE_SIZE, NULL));
	CHECK_U64_EQ(data_from(m, ino, B), 4 * STRIPE_SIZE);
	expect(f, 4 * STRIPE_SIZE + 5, 1, slice_str("\2"));
	CHECK_OK(fs_fallocate(f, HOLE, 5, 4 * STRIPE_SIZE + 1, NULL));
	expect_zeros(f, 4 * STRIPE_SIZE, 6);
	CHECK_U64_EQ(fsc_attr(m, ino).size, 4 * STRIPE_SIZE + 6);
	fs_file_close(f);
}

FSC_CASE(a_range_is_zeroed)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fill(f, 0, 3 * B);
	CHECK_OK(fs_fallocate(f, ZERO | KEEP, 2 * B + 1, 9 * B, NULL));
	CHECK_U64_EQ(fsc_attr(m, ino).size, 3 * B);
	expect_zeros(f, 2 * B + 1, B - 1);
	CHECK_OK(fs_fallocate(f, ZERO, B, 9 * B, NULL));
	CHECK_U64_EQ(fsc_attr(m, ino).size, 10 * B);
	expect_zeros(f, B, 9 * B);
	CHECK_U64_EQ(sectors(m, ino), B / 512);
	fs_file_close(f);
}

/* ---- copy_file_range ---- */

static uint64_t copied(struct fs_file *from, uint64_t at, struct fs_file *to, uint64_t to_at,
		       uint64_t len)
{
	uint64_t n = UINT64_MAX;

	CHECK_OK(fs_copy_range(from, at, to, to_at, len, NULL, &n));
	return n;
}

/* Behind it nothing is left of the block, so it goes. */
FSC_CASE(what_is_zeroed_up_to_the_end_is_a_hole)
{
	fs_ino ino = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *f = fsc_open(m, ino, FS_O_READ | FS_O_WRITE);

	CHECK_OK(fs_fallocate(f, ZERO, 0, 9, NULL));
	CHECK_U64_EQ(sectors(m, ino), 1);
	CHECK_OK(fs_fallocate(f, ZERO, 0, 10, NULL));
	CHECK_U64_EQ(sectors(m, ino), 0);
	CHECK_U64_EQ(fsc_attr(m, ino).size, 10);
	fs_file_close(f);
}

FSC_CASE(a_range_is_copied)
{
	fs_ino a, b;
	struct fs_file *f = make(m, "a", &a), *g = make(m, "b", &b);
	uint8_t *p = pattern(5 * MIB, 1);

	fill(f, 0, 5 * MIB);
	CHECK_U64_EQ(copied(f, 7, g, 3, 5 * MIB - 100), 5 * MIB - 100);
	CHECK_U64_EQ(fsc_attr(m, b).size, 5 * MIB - 97);
	expect(g, 3, 5 * MIB, slice_of(p + 7, 5 * MIB - 100));
	expect_zeros(g, 0, 3);
	CHECK_U64_EQ(copied(f, 5 * MIB - 10, g, 0, 1000), 10); /* the end */
	expect(g, 0, 10, slice_of(p + 5 * MIB - 10, 10));
	CHECK_U64_EQ(copied(f, 5 * MIB, g, 0, 1000), 0);
	CHECK_U64_EQ(copied(f, 6 * MIB, g, 0, 1000), 0);
	CHECK_U64_EQ(copied(f, 0, f, MIB, 100), 100); /* within one file */
	expect(f, MIB, 100, slice_of(p, 100));
	fs_file_close(f);
	fs_file_close(g);
	free(p);
}

FSC_CASE(what_copying_refuses)
{
	fs_ino a, b, d = fsc_mkdir(m, ROOT, "d");
	struct fs_file *f = make(m, "a", &a), *g = make(m, "b", &b), *r, *w, *dir, *app;
	uint64_t n = 7;

	fill(f, 0, 100);
	r = fsc_open(m, a, FS_O_READ);
	w = fsc_open(m, b, FS_O_WRITE);
	app = fsc_open(m, b, FS_O_WRITE | FS_O_APPEND);
	dir = fsc_open(m, d, FS_O_READ);
	CHECK_ERR(fs_copy_range(w, 0, g, 0, 1, NULL, &n), ERR_BAD_HANDLE);
	CHECK_ERR(fs_copy_range(f, 0, r, 0, 1, NULL, &n), ERR_BAD_HANDLE);
	CHECK_ERR(fs_copy_range(f, 0, app, 0, 1, NULL, &n), ERR_BAD_HANDLE);
	CHECK_ERR(fs_copy_range(dir, 0, g, 0, 1, NULL, &n), ERR_IS_DIR);
	CHECK_ERR(fs_copy_range(f, 0, f, 50, 51, NULL, &n), ERR_INVAL);
	CHECK_ERR(fs_copy_range(f, 49, f, 0, 99, NULL, &n), ERR_INVAL);
	CHECK_ERR(fs_copy_range(f, 0, g, FS_FILE_SIZE_MAX, 1, NULL, &n), ERR_FILE_TOO_BIG);
	CHECK_U64_EQ(n, 7);
	CHECK_U64_EQ(copied(f, 0, f, 50, 50), 50);
	fs_file_close(f);
	fs_file_close(g);
	fs_file_close(r);
	fs_file_close(w);
	fs_file_close(app);
	fs_file_close(dir);
}

FSC_CASE(holes_stay_holes)
{
	fs_ino a, b;
	struct fs_file *f = make(m, "a", &a), *g = make(m, "b", &b);
	uint64_t before;

	fill(f, 3 * B, 10);
	fill(f, 40 * GIB, B);
	resize(m, a, 80 * GIB + 5);
	fill(g, 0, 8 * B); /* in the way */
	before = m->fs->stats.requests;
	CHECK_U64_EQ(copied(f, 0, g, 0, 100 * GIB), 80 * GIB + 5);
	CHECK_TRUE(m->fs->stats.requests - before < 1500); /* a few for each GiB */
	CHECK_U64_EQ(fsc_attr(m, b).size, 80 * GIB + 5);
	CHECK_U64_EQ(data_from(m, b, 0), 3 * B);
	CHECK_U64_EQ(hole_from(m, b, 3 * B), 4 * B);
	CHECK_U64_EQ(data_from(m, b, 4 * B), 40 * GIB);
	CHECK_U64_EQ(sectors(m, b), 2 * B / 512);
	fs_file_close(f);
	fs_file_close(g);
}

struct stopping {
	struct fs_file *f, *g;
	struct fiber *fiber;
	uint64_t n, writes;
	int err;
};

static void copy_fiber(void *arg)
{
	struct stopping *s = arg;

	s->fiber = fiber_self();
	s->err = fs_copy_range(s->f, 0, s->g, 0, 8 * MIB, NULL, &s->n);
	fiber_interrupt_clear();
	s->fiber = NULL;
}

static struct stopping stopping;

static void stop_at_the_third(struct fsx *x, const struct txn_mini *m)
{
	(void)x;
	if (m->mut_count > 8 && ++stopping.writes == 3 && stopping.fiber)
		fiber_interrupt(stopping.fiber);
}

FSC_CASE(an_interrupt_ends_it_with_what_is_done)
{
	fs_ino a, b;
	struct fs_file *f = make(m, "a", &a), *g = make(m, "b", &b);

	fill(f, 0, 8 * MIB);
	stopping = (struct stopping){.f = f, .g = g};
	m->x->before = stop_at_the_third;
	copy_fiber(&stopping);
	m->x->before = NULL;
	CHECK_OK(stopping.err);
	CHECK_TRUE(stopping.n >= 2 * MIB && stopping.n <= 3 * MIB);
	CHECK_U64_EQ(fsc_attr(m, b).size, stopping.n);
	fs_file_close(f);
	fs_file_close(g);
}

/* ---- against a model ---- */

#define SPAN 40u /* blocks of the model's file */

struct model {
	uint8_t bytes[SPAN * BLOCK_SIZE];
	uint64_t size;
};

static void model_zero(struct model *o, uint64_t from, uint64_t to)
{
	if (to > from)
		memset(o->bytes + from, 0, to - from);
}

static void random_range(struct fsx *x, uint64_t *at, uint64_t *len)
{
	uint64_t unit = fsx_random(x) % 3 ? BLOCK_SIZE : 1;

	*at = fsx_random(x) % (SPAN * BLOCK_SIZE) / unit * unit;
	*len = 1 + fsx_random(x) % (SPAN * BLOCK_SIZE - *at);
	if (fsx_random(x) % 2)
		*len = 1 + *len % (3 * BLOCK_SIZE) / unit * unit;
	if (*len > SPAN * BLOCK_SIZE - *at)
		*len = SPAN * BLOCK_SIZE - *at;
}

static void one_change(struct fsx_mount *m, struct fs_file *f, struct model *o)
{
	static uint8_t copy[SPAN * BLOCK_SIZE];
	uint64_t at, len, to, n;
	struct fsx *x = m->x;
	uint8_t *p;

	random_range(x, &at, &len);
	switch (fsx_random(x) % 6) {
	case 0:
	case 1:
		p = pattern(len, (unsigned)fsx_random(x));
		fsc_write(f, at, slice_of(p, len));
		memcpy(o->bytes + at, p, len);
		free(p);
		break;
	case 2:
		CHECK_OK(fs_fallocate(f, HOLE, at, len, NULL));
		model_zero(o, at, at + len < o->size ? at + len : o->size);
		return;
	case 3:
		CHECK_OK(fs_fallocate(f, ZERO, at, len, NULL));
		model_zero(o, at, at + len);
		break;
	case 4:
		resize(m, fs_file_ino(f), at);
		model_zero(o, at, sizeof(o->bytes));
		o->size = at;
		return;
	default:
		to = fsx_random(x) % (SPAN * BLOCK_SIZE);
		len = len < SPAN * BLOCK_SIZE - to ? len : SPAN * BLOCK_SIZE - to;
		len = at >= o->size ? 0 : len < o->size - at ? len : o->size - at;
		if (at < to + len && to < at + len)
			return;
		n = copied(f, at, f, to, len);
		CHECK_U64_EQ(n, len);
		if (n == 0)
			return;
		memcpy(copy, o->bytes + at, n);
		memcpy(o->bytes + to, copy, n);
		at = to;
		break;
	}
	o->size = o->size > at + len ? o->size : at + len;
}

/* What seeks and counts tell is what is stored; every byte before the first hole's data is zero. */
static void same_as_model(struct fsx_mount *m, struct fs_file *f, const struct model *o)
{
	fs_ino ino = fs_file_ino(f);
	uint64_t there = 0, hole, at = 0, cut = fs__blocks_end(o->size) - o->size;
	struct fs_inode rec;
	struct fs_key k;

	expect(f, 0, sizeof(o->bytes), slice_of(o->bytes, o->size));
	CHECK_OK(fs__inode_get(m->fs, ino, &rec));
	for (uint64_t b = 0; b * B < o->size; b++) {
		bool has;

		fs__key_block(&k, rec.data_id, b);
		has = fsx_find(m->x, fs__key_slice(&k)) != NULL;
		there += has ? B / 512 : 0;
		if (has && (b + 1) * B > o->size)
			there -= cut / 512;
		CHECK_TRUE(has || rec.holes);
		CHECK_U64_EQ(data_from(m, ino, b * B) == b * B, has);
		CHECK_U64_EQ(hole_from(m, ino, b * B) == b * B, !has);
	}
	CHECK_U64_EQ(sectors(m, ino), rec.holes ? there : (o->size + 511) / 512);
	for (at = 0; at < o->size; at = hole) { /* to and fro */
		at = data_from(m, ino, at);
		if (at == UINT64_MAX)
			break;
		hole = hole_from(m, ino, at);
		CHECK_TRUE(hole > at && hole <= o->size);
	}
}

FSC_CASE(random_changes_match_the_model)
{
	struct fsx_mount *other = fsx_mount(m->x);
	struct model *o = calloc(1, sizeof(*o));
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino), *g = fsc_open(other, ino, RW);

	for (unsigned i = 0; i < 300; i++) {
		bool here = fsx_random(m->x) % 2;

		one_change(here ? m : other, here ? f : g, o);
		same_as_model(here ? other : m, here ? g : f, o);
	}
	fs_file_close(f);
	fs_file_close(g);
	free(o);
}

static const struct check_test tests[] = {
	CHECK_TEST(only_gaps_mark_a_file),
	CHECK_TEST(a_cut_elsewhere_is_noticed),
	CHECK_TEST(growth_elsewhere_is_noticed),
	CHECK_TEST(a_whole_file_is_data),
	CHECK_TEST(data_and_holes_alternate),
	CHECK_TEST(a_run_goes_on_over_stripes),
	CHECK_TEST(a_huge_hole_costs_few_requests),
	CHECK_TEST(borders_between_blocks),
	CHECK_TEST(room_is_within_the_file),
	CHECK_TEST(what_fallocate_refuses),
	CHECK_TEST(room_that_is_not_there),
	CHECK_TEST(figures_of_a_store_that_is_down),
	CHECK_TEST(a_hole_is_punched),
	CHECK_TEST(a_hole_over_stripes),
	CHECK_TEST(a_range_is_zeroed),
	CHECK_TEST(what_is_zeroed_up_to_the_end_is_a_hole),
	CHECK_TEST(a_range_is_copied),
	CHECK_TEST(what_copying_refuses),
	CHECK_TEST(holes_stay_holes),
	CHECK_TEST(an_interrupt_ends_it_with_what_is_done),
	CHECK_TEST(random_changes_match_the_model),
};
CHECK_MAIN(tests)
