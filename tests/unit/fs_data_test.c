/* Reading, writing, holes, truncation, appending; against a model under random operations. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define KIB  1024u
#define MIB  (1024u * KIB)
#define RW   (FS_O_READ | FS_O_WRITE)

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

static struct fs_attr set_size(struct fsx_mount *m, fs_ino ino, uint64_t size)
{
	struct fs_attr in = {.size = size}, a = {0};

	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
	CHECK_U64_EQ(a.size, size);
	return a;
}

static uint8_t *pattern(size_t len, unsigned seed)
{
	uint8_t *p = malloc(len);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(1 + (i * 7 + i / 255 + seed) % 255); /* never 0 */
	return p;
}

/* ---- one thing at a time ---- */

FSC_CASE(write_and_read)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *file = fsc_open(m, f, RW);
	struct fs_attr before = fsc_attr(m, f), a;
	uint64_t end;

	m->x->now_ns += NS_PER_S;
	expect(file, 0, 10, slice_str(""));
	CHECK_OK(fs_write(file, 0, slice_str("hello"), &end));
	CHECK_U64_EQ(end, 5);
	expect(file, 0, 10, slice_str("hello"));
	expect(file, 1, 3, slice_str("ell"));
	expect(file, 5, 3, slice_str(""));
	expect(file, 500, 3, slice_str(""));
	expect(file, UINT64_MAX - 1, 3, slice_str(""));
	CHECK_OK(fs_write(file, 3, slice_str("LO!"), &end));
	expect(file, 0, 10, slice_str("helLO!"));
	a = fsc_attr(m, f);
	CHECK_U64_EQ(a.size, 6);
	CHECK_U64_EQ(a.blocks, 1);
	CHECK_U64_EQ(a.data_version, before.data_version + 2);
	CHECK_TRUE(a.mtime_ns > before.mtime_ns);
	CHECK_U64_EQ(a.ctime_ns, a.mtime_ns);
	CHECK_OK(fs_write(file, 2, (struct slice){0}, &end)); /* nothing */
	CHECK_U64_EQ(fsc_attr(m, f).data_version, a.data_version);
	CHECK_OK(fs_fsync(file));
	fs_file_close(file);
}

FSC_CASE(handles_do_what_they_were_opened_for)
{
	fs_ino f = fsc_file(m, ROOT, "f", "x"), d = fsc_mkdir(m, ROOT, "d");
	struct fs_file *r = fsc_open(m, f, FS_O_READ), *w = fsc_open(m, f, FS_O_WRITE);
	struct fs_file *dir = fsc_open(m, d, FS_O_READ), *no = NULL;
	struct buf b = BUF_INIT;

	CHECK_ERR(fs_write(r, 0, slice_str("y"), NULL), ERR_BAD_HANDLE);
	CHECK_ERR(fs_read(w, 0, 1, &b), ERR_BAD_HANDLE);
	CHECK_ERR(fs_read(dir, 0, 1, &b), ERR_IS_DIR);
	CHECK_ERR(fs_file_open(m->fs, d, FS_O_WRITE, &no), ERR_IS_DIR);
	CHECK_NULL(no);
	fs_file_close(r);
	fs_file_close(w);
	fs_file_close(dir);
	fsc_contents(m, f, "x");
	buf_release(&b);
}

FSC_CASE(across_blocks)
{
	static const size_t lens[] = {1, 3, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1,
				      3 * BLOCK_SIZE, MIB};
	static const uint64_t at[] = {0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1,
				      STRIPE_SIZE - BLOCK_SIZE - 1, STRIPE_SIZE - 1, STRIPE_SIZE};
	uint8_t *p = pattern(MIB, 3);

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (size_t k = 0; k < sizeof(at) / sizeof(at[0]); k++) {
			fs_ino f = fsc_file(m, ROOT, "f", "");
			struct fs_file *file = fsc_open(m, f, RW);

			fsc_write(file, at[k], slice_of(p, lens[i]));
			expect(file, at[k], lens[i] + 5, slice_of(p, lens[i]));
			CHECK_U64_EQ(fsc_attr(m, f).size, at[k] + lens[i]);
			if (at[k] >= BLOCK_SIZE)
				expect_zeros(file, at[k] - BLOCK_SIZE, BLOCK_SIZE);
			fs_file_close(file);
			CHECK_OK(fsc_unlink(m, ROOT, "f"));
		}
	}
	free(p);
}

FSC_CASE(a_long_write_and_a_long_read)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *file = fsc_open(m, f, RW);
	size_t len = 5 * MIB + 12345;
	uint64_t at = STRIPE_SIZE - 2 * MIB - 77;
	uint8_t *p = pattern(len, 9);

	fsc_write(file, at, slice_of(p, len));
	expect(file, at, len + 1, slice_of(p, len));
	expect(file, at + 1, len - 1, slice_of(p + 1, len - 1));
	fs_file_close(file);
	free(p);
}

FSC_CASE(holes_are_zeros)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *file = fsc_open(m, f, RW);

	fsc_write(file, 3 * STRIPE_SIZE + 5, slice_str("end"));
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 1);
	expect_zeros(file, 0, 2 * MIB);
	expect_zeros(file, STRIPE_SIZE - 1000, 2000);
	expect_zeros(file, 3 * STRIPE_SIZE - 10, 15);
	expect(file, 3 * STRIPE_SIZE + 5, 100, slice_str("end"));
	fsc_write(file, STRIPE_SIZE + 10, slice_str("mid"));
	expect_zeros(file, STRIPE_SIZE, 10);
	expect_zeros(file, STRIPE_SIZE + 13, BLOCK_SIZE);
	set_size(m, f, 4 * STRIPE_SIZE);
	expect_zeros(file, 3 * STRIPE_SIZE + 8, BLOCK_SIZE);
	fs_file_close(file);
}

FSC_CASE(sizes_have_an_end)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *file = fsc_open(m, f, RW);
	struct fs_attr in = {.size = FS_FILE_SIZE_MAX + 1}, a;

	CHECK_ERR(fs_write(file, FS_FILE_SIZE_MAX - 1, slice_str("ab"), NULL), ERR_FILE_TOO_BIG);
	CHECK_ERR(fs_write(file, UINT64_MAX - 1, slice_str("ab"), NULL), ERR_FILE_TOO_BIG);
	CHECK_ERR(fs_setattr(m->fs, f, FS_SET_SIZE, &in, &a), ERR_FILE_TOO_BIG);
	CHECK_U64_EQ(fsc_attr(m, f).size, 0);
	fsc_write(file, FS_FILE_SIZE_MAX - 2, slice_str("ab"));
	CHECK_U64_EQ(fsc_attr(m, f).size, FS_FILE_SIZE_MAX);
	expect(file, FS_FILE_SIZE_MAX - 2, 100, slice_str("ab"));
	set_size(m, f, 0);
	fs_file_close(file);
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 0);
}

/* ---- truncation ---- */

FSC_CASE(what_was_cut_does_not_come_back)
{
	static const uint64_t to[] = {0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1,
				      2 * BLOCK_SIZE, STRIPE_SIZE - BLOCK_SIZE, STRIPE_SIZE - 1,
				      STRIPE_SIZE, STRIPE_SIZE + 1, STRIPE_SIZE + BLOCK_SIZE};
	size_t len = 2 * BLOCK_SIZE + 100;
	uint8_t *p = pattern(len, 1);

	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		fs_ino f = fsc_file(m, ROOT, "f", "");
		struct fs_file *file = fsc_open(m, f, RW);
		uint64_t at = to[i] > BLOCK_SIZE + 50 ? to[i] - BLOCK_SIZE - 50 : 0;
		uint64_t kept = to[i] - at;

		fsc_write(file, at, slice_of(p, len));
		fsc_write(file, 2 * STRIPE_SIZE + 7, slice_str("far"));
		set_size(m, f, to[i]);
		expect(file, at, len, slice_of(p, kept));
		set_size(m, f, 3 * STRIPE_SIZE);
		expect(file, at, kept, slice_of(p, kept));
		expect_zeros(file, to[i], 3 * BLOCK_SIZE);
		expect_zeros(file, 2 * STRIPE_SIZE, BLOCK_SIZE);
		fs_file_close(file);
		fsx_check(m->x, true);
		CHECK_OK(fsc_unlink(m, ROOT, "f"));
	}
	free(p);
}

FSC_CASE(truncation_to_nothing_of_a_big_file)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *file = fsc_open(m, f, RW);
	uint8_t *p = pattern(5 * MIB, 2);
	uint64_t id = fsc_attr(m, f).data_id;
	struct fs_attr a;

	fsc_write(file, 0, slice_of(p, 5 * MIB));
	a = set_size(m, f, 0);
	CHECK_TRUE(a.data_id != id);
	fsc_write(file, 10, slice_str("new"));
	expect_zeros(file, 0, 10);
	expect(file, 10, 10, slice_str("new"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 1); /* the old blocks are gone, the new one is not */
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 0);
	expect(file, 10, 10, slice_str("new"));
	fs_file_close(file);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 0);
	free(p);
}

FSC_CASE(open_with_truncation)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	uint64_t v = fsc_attr(m, f).data_version;

	fs_file_close(fsc_open(m, f, FS_O_WRITE | FS_O_TRUNC));
	CHECK_U64_EQ(fsc_attr(m, f).size, 0);
	CHECK_U64_EQ(fsc_attr(m, f).data_version, v + 1);
	fsc_contents(m, f, "");
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 0);
}

/* A second mount has the file open across the change of its data id. */
FSC_CASE(contents_are_replaced_under_an_open_handle)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(m, f, RW), *b = fsc_open(n, f, RW);
	uint8_t *p = pattern(5 * MIB, 2);

	fsc_write(a, 0, slice_of(p, 5 * MIB));
	expect(b, MIB, 100, slice_of(p + MIB, 100));
	set_size(m, f, 0);
	expect(b, 0, 100, slice_str(""));
	fsc_write(b, 2, slice_str("b"));
	expect(a, 0, 100, slice_of("\0\0b", 3));
	fs_file_close(a);
	fs_file_close(b);
	free(p);
}

/* ---- appending ---- */

FSC_CASE(appends_ignore_the_offset)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "start");
	struct fs_file *a = fsc_open(m, f, RW | FS_O_APPEND);
	struct fs_file *b = fsc_open(n, f, FS_O_WRITE | FS_O_APPEND);
	uint64_t end;

	CHECK_OK(fs_write(a, 0, slice_str("-a"), &end));
	CHECK_U64_EQ(end, 7);
	CHECK_OK(fs_write(b, 99, slice_str("-b"), &end));
	CHECK_U64_EQ(end, 9);
	CHECK_OK(fs_write(a, 0, slice_str("-c"), &end));
	CHECK_U64_EQ(end, 11);
	expect(a, 0, 100, slice_str("start-a-b-c"));
	set_size(n, f, 1);
	CHECK_OK(fs_write(a, 0, slice_str("!"), &end));
	CHECK_U64_EQ(end, 2);
	expect(a, 0, 100, slice_str("s!"));
	fs_file_close(a);
	fs_file_close(b);
}

/* ---- access times ---- */

FSC_CASE(relatime)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_attr before = fsc_attr(m, f), first, again;
	struct fsx_mount *n = fsx_mount(m->x);
	uint64_t writes;

	m->x->now_ns += 10 * NS_PER_S;
	fsc_contents(m, f, "text");
	first = fsc_attr(m, f);
	CHECK_TRUE(first.atime_ns >= before.atime_ns + 9 * (int64_t)NS_PER_S); /* at once, here */
	CHECK_U64_EQ(first.mtime_ns, before.mtime_ns);
	fsc_idle(m);
	CHECK_U64_EQ(fsc_attr(n, f).atime_ns, first.atime_ns); /* written by now */
	writes = m->x->writes;
	fsc_contents(m, f, "text");
	fsc_idle(m);
	again = fsc_attr(m, f);
	CHECK_U64_EQ(again.atime_ns, first.atime_ns); /* later than mtime: stays */
	CHECK_U64_EQ(m->x->writes, writes);
	m->x->now_ns += 25 * 3600 * NS_PER_S;
	fsc_contents(m, f, "text");
	CHECK_TRUE(fsc_attr(m, f).atime_ns > again.atime_ns);
	fsc_idle(m);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
}

/* ---- against a model ---- */

/* The file is only ever written in windows around borders, so that the model stays small. */
#define WINDOW	   (100 * KIB)
#define MODEL_SIZE (2 * STRIPE_SIZE + WINDOW)

static const uint64_t borders[] = {0, BLOCK_SIZE, STRIPE_SIZE, 2 * STRIPE_SIZE};

struct model {
	struct fsx_mount *mounts[2];
	struct fs_file *files[2], *appenders[2];
	fs_ino ino;
	uint8_t *bytes; /* MODEL_SIZE, sparse */
	uint64_t size;
	uint64_t ops[5];
};

static uint64_t draw(struct model *t, uint64_t n)
{
	return fsx_random(t->mounts[0]->x) % n;
}

static uint64_t draw_offset(struct model *t)
{
	uint64_t b = borders[draw(t, 4)], d = draw(t, 2 * WINDOW);

	d = draw(t, 4) == 0 ? draw(t, 5) + WINDOW - 2 : d; /* often right at the border */
	return b + d < WINDOW ? 0 : b + d - WINDOW;
}

static size_t draw_len(struct model *t, uint64_t offset)
{
	uint64_t n = 1 + (draw(t, 2) ? draw(t, 20) : draw(t, 80 * KIB));

	return (size_t)(offset + n > MODEL_SIZE ? MODEL_SIZE - offset : n);
}

static void model_cut(struct model *t, uint64_t size)
{
	for (size_t i = 0; i < sizeof(borders) / sizeof(borders[0]) && size < t->size; i++) {
		uint64_t from = borders[i] < WINDOW ? 0 : borders[i] - WINDOW;
		uint64_t to = borders[i] + 2 * WINDOW; /* an append may run on */

		if (to > MODEL_SIZE)
			to = MODEL_SIZE;
		if (from < size)
			from = size;
		if (from < to)
			memset(t->bytes + from, 0, to - from);
	}
	t->size = size;
}

static void model_write(struct model *t, uint64_t offset, const uint8_t *p, size_t len)
{
	memcpy(t->bytes + offset, p, len);
	if (t->size < offset + len)
		t->size = offset + len;
}

static void random_write(struct model *t)
{
	uint64_t offset = draw_offset(t), end = 0;
	size_t len = draw_len(t, offset);
	uint8_t *p = pattern(len, (unsigned)draw(t, 255));

	CHECK_OK(fs_write(t->files[draw(t, 2)], offset, slice_of(p, len), &end));
	CHECK_U64_EQ(end, offset + len);
	model_write(t, offset, p, len);
	free(p);
}

static void random_append(struct model *t)
{
	size_t len = 1 + draw(t, 3000);
	uint64_t end = 0;
	uint8_t *p;

	if (t->size + len > MODEL_SIZE)
		return;
	p = pattern(len, (unsigned)draw(t, 255));
	CHECK_OK(fs_write(t->appenders[draw(t, 2)], 0, slice_of(p, len), &end));
	CHECK_U64_EQ(end, t->size + len);
	model_write(t, t->size, p, len);
	free(p);
}

static void random_truncate(struct model *t)
{
	uint64_t size = draw(t, 6) == 0 ? 0 : draw_offset(t);

	set_size(t->mounts[draw(t, 2)], t->ino, size);
	model_cut(t, size);
}

static void random_read(struct model *t)
{
	uint64_t offset = draw_offset(t);
	size_t len = draw_len(t, offset), want = 0;

	if (offset < t->size)
		want = t->size - offset < len ? t->size - offset : len;
	expect(t->files[draw(t, 2)], offset, len, slice_of(t->bytes + offset, want));
}

static void random_look(struct model *t)
{
	CHECK_U64_EQ(fsc_attr(t->mounts[draw(t, 2)], t->ino).size, t->size);
}

static void random_operation(struct model *t)
{
	static void (*const ops[])(struct model *t) = {random_write, random_append,
						       random_truncate, random_read, random_look};
	static const unsigned char odds[] = {0, 0, 0, 1, 1, 2, 3, 3, 3, 4};
	unsigned op = odds[draw(t, sizeof(odds))];

	ops[op](t);
	t->ops[op]++;
}

static void model_fiber(void *arg)
{
	struct model *t = arg;
	unsigned failures = check_failures();

	t->ino = fsc_file(t->mounts[0], ROOT, "f", "");
	for (int i = 0; i < 2; i++) {
		t->files[i] = fsc_open(t->mounts[i], t->ino, RW);
		t->appenders[i] = fsc_open(t->mounts[i], t->ino, FS_O_WRITE | FS_O_APPEND);
	}
	for (int i = 0; i < 600 && check_failures() == failures; i++)
		random_operation(t);
	for (int i = 0; i < 2; i++) {
		fs_file_close(t->files[i]);
		fs_file_close(t->appenders[i]);
	}
	for (int i = 0; i < 5; i++)
		CHECK_TRUE(t->ops[i] > 0);
}

static void random_operations_match_the_model(void)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct fsx *x = fsx_new(4, seed);
		struct model t = {.mounts = {fsx_mount(x), fsx_mount(x)}};

		t.bytes = calloc(1, MODEL_SIZE);
		fsx_call(x, model_fiber, &t);
		fsx_umount_all(x);
		fsx_check(x, false);
		fsx_free(x);
		free(t.bytes);
	}
}

static const struct check_test tests[] = {
	CHECK_TEST(write_and_read),
	CHECK_TEST(handles_do_what_they_were_opened_for),
	CHECK_TEST(across_blocks),
	CHECK_TEST(a_long_write_and_a_long_read),
	CHECK_TEST(holes_are_zeros),
	CHECK_TEST(sizes_have_an_end),
	CHECK_TEST(what_was_cut_does_not_come_back),
	CHECK_TEST(truncation_to_nothing_of_a_big_file),
	CHECK_TEST(open_with_truncation),
	CHECK_TEST(contents_are_replaced_under_an_open_handle),
	CHECK_TEST(appends_ignore_the_offset),
	CHECK_TEST(relatime),
	CHECK_TEST(random_operations_match_the_model),
};
CHECK_MAIN(tests)
