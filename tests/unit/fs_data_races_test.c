/* Data calls beside others that change the same file, and answers that come late. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define KIB  1024u
#define MIB  (1024ull * KIB)
#define B    ((uint64_t)BLOCK_SIZE)
#define RW   (FS_O_READ | FS_O_WRITE)
#define HOLE (FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE)

static uint8_t sevens[1024 * 1024];

static struct slice some(size_t len)
{
	memset(sevens, 7, sizeof(sevens));
	return slice_of(sevens, len);
}

static struct fs_file *make(struct fsx_mount *m, const char *name, fs_ino *ino)
{
	*ino = fsc_file(m, ROOT, name, "");
	return fsc_open(m, *ino, RW);
}

static void resize(struct fsx_mount *m, fs_ino ino, uint64_t size)
{
	struct fs_attr in = {.size = size}, a;

	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
}

static struct fs_inode record(struct fsx_mount *m, fs_ino ino)
{
	struct fs_inode rec = {0};

	CHECK_OK(fs__inode_get(m->fs, ino, &rec));
	return rec;
}

static uint64_t sectors(struct fsx_mount *m, fs_ino ino)
{
	struct fs_attr a = {0};

	CHECK_OK(fs_stat(m->fs, ino, &a));
	return a.blocks;
}

/* ---- somebody else, between the calls of one ---- */

static struct {
	struct fsx_mount *m;
	fs_ino ino;
	struct fs_file *f;
	enum txn_read_kind read; /* before executions that begin with this; 0: that change something */
	unsigned times;
	void (*fn)(unsigned left);
} rival;

static void interfere(struct fsx *x, const struct txn_mini *mini)
{
	(void)x;
	if (rival.times == 0 || (mini->mut_count > 0) != (rival.read == 0))
		return;
	if (rival.read != 0 && (mini->read_count == 0 || mini->reads[0].kind != rival.read))
		return;
	rival.fn(--rival.times);
}

static void arm(struct fsx_mount *m, fs_ino ino, enum txn_read_kind read, unsigned times,
		void (*fn)(unsigned left))
{
	rival.m = m;
	rival.ino = ino;
	rival.read = read;
	rival.times = times;
	rival.fn = fn;
	m->x->before = interfere;
}

/* ---- punching ---- */

struct writer {
	struct fs_file *f;
	uint64_t at, done;
	bool stop, ended;
};

static void write_on(void *arg)
{
	struct writer *w = arg;
	uint64_t end;

	while (!w->stop) {
		CHECK_OK(fs_write(w->f, w->at, some(4 * KIB), &end));
		w->done++;
	}
	w->ended = true;
}

FSC_CASE(a_hole_is_punched_beside_writers)
{
	struct writer w[8];
	uint64_t before = 0;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fsc_write(f, 0, some(1024 * KIB));
	m->x->delay_ns = NS_PER_MS;
	for (unsigned i = 0; i < 8; i++) {
		w[i] = (struct writer){.f = f, .at = i * 64 * KIB};
		fsx_start(m->x, write_on, &w[i]);
	}
	fiber_sleep(10 * NS_PER_MS);
	before = m->fs->stats.retries;
	CHECK_OK(fs_fallocate(f, HOLE, 800000, 5 * 4096, NULL)); /* within a block */
	CHECK_OK(fs_fallocate(f, HOLE, 800000, 200000, NULL));
	CHECK_TRUE(m->fs->stats.retries - before <= 2);
	for (unsigned i = 0; i < 8; i++)
		w[i].stop = true;
	m->x->delay_ns = 0;
	fiber_sleep(NS_PER_S);
	for (unsigned i = 0; i < 8; i++)
		CHECK_TRUE(w[i].ended && w[i].done > 0);
	fs_file_close(f);
}

static void grow_and_fill(unsigned left)
{
	(void)left;
	resize(rival.m, rival.ino, 2 * B + 500);
	fsc_write(rival.f, 2 * B, some(500));
}

static void cut_short(unsigned left)
{
	(void)left;
	resize(rival.m, rival.ino, B + 10);
}

static void drop_the_last(unsigned left)
{
	(void)left;
	CHECK_OK(fs_fallocate(rival.f, HOLE, 2 * B, B, NULL));
}

static void expect_zeros(struct fs_file *f, uint64_t offset, uint64_t end)
{
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(f, offset, end - offset, &b));
	for (size_t i = 0; i < b.len; i++)
		CHECK_U64_EQ(b.data[i], 0);
	buf_release(&b);
}

/* The block that the range ends in comes, goes or gets shorter between the look and the change. That no
 * block reaches beyond the end is checked when the test is over. */
FSC_CASE(the_edge_changes_meanwhile)
{
	static const struct {
		uint64_t size;
		void (*fn)(unsigned left);
	} t[] = {{2 * B, grow_and_fill}, {2 * B + 500, cut_short}, {2 * B + 500, drop_the_last},
		 {2 * B + 100, grow_and_fill}};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct fsx_mount *n = fsx_mount(m->x);
		char name[8];
		fs_ino ino;
		struct fs_file *f;

		snprintf(name, sizeof(name), "f%u", i);
		f = make(m, name, &ino);
		fsc_write(f, 0, some(t[i].size));
		rival.f = fsc_open(n, ino, RW);
		arm(n, ino, 0, 1, t[i].fn);
		CHECK_OK(fs_fallocate(f, HOLE, B - 5, B + 5 + 300, NULL));
		CHECK_U64_EQ(rival.times, 0);
		m->x->before = NULL;
		expect_zeros(f, B - 5, 2 * B + 300);
		CHECK_TRUE(record(m, ino).holes);
		fs_file_close(rival.f);
		fs_file_close(f);
	}
}

static void change_at_random(void *arg)
{
	struct writer *w = arg;
	struct fsx *x = ((struct fsx_mount *)w->f->fs->b.ctx)->x;

	while (!w->stop) {
		uint64_t at = fsx_random(x) % (4 * B), len = 1 + fsx_random(x) % B, end;

		switch (fsx_random(x) % 4) {
		case 0:
		case 1:
			CHECK_OK(fs_write(w->f, at, some(len), &end));
			break;
		case 2:
			CHECK_OK(fs_fallocate(w->f, HOLE, at, len * 2, NULL));
			break;
		default: {
			struct fs_attr in = {.size = at}, a;

			CHECK_OK(fs_setattr(w->f->fs, fs_file_ino(w->f), FS_SET_SIZE, &in, &a));
		}
		}
		w->done++;
	}
	w->ended = true;
}

/* What must hold of a file holds after any mixture; the fixture looks, also for gaps without a mark. */
FSC_CASE(mixtures_leave_files_whole)
{
	struct fsx_mount *n = fsx_mount(m->x);
	struct writer w[4];
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino), *g = fsc_open(n, ino, RW);

	m->x->delay_ns = NS_PER_MS;
	for (unsigned i = 0; i < 4; i++) {
		w[i] = (struct writer){.f = i % 2 ? f : g};
		fsx_start(m->x, change_at_random, &w[i]);
	}
	for (unsigned i = 0; i < 100; i++) {
		struct fs_attr a;

		fiber_sleep(10 * NS_PER_MS);
		CHECK_OK(fs_stat(m->fs, ino, &a));
		fsx_check(m->x, true);
	}
	for (unsigned i = 0; i < 4; i++)
		w[i].stop = true;
	m->x->delay_ns = 0;
	fiber_sleep(10 * NS_PER_S);
	for (unsigned i = 0; i < 4; i++)
		CHECK_TRUE(w[i].ended && w[i].done > 20);
	fs_file_close(f);
	fs_file_close(g);
}

static bool nobody(void *ctx, uint32_t gid)
{
	(void)ctx;
	(void)gid;
	return false;
}

/* A range of holes is changed as any other: times, set-id bits. Behind the end nothing is. */
FSC_CASE(punching_nothing)
{
	static const struct fs_writer writer = {.in_group = nobody};
	struct fs_attr in = {.mode = 04755}, was, now;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fsc_write(f, 0, some(100));
	resize(m, ino, 300 * MIB);
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_MODE, &in, &was));
	m->x->now_ns += NS_PER_S;
	CHECK_OK(fs_fallocate(f, HOLE, 300 * MIB, MIB, &writer));
	now = fsc_attr(m, ino);
	CHECK_TRUE(now.mtime_ns == was.mtime_ns && now.data_version == was.data_version);
	CHECK_U64_EQ(now.mode & 07777, 04755);
	CHECK_OK(fs_fallocate(f, HOLE, 200 * MIB, MIB, &writer));
	now = fsc_attr(m, ino);
	CHECK_TRUE(now.mtime_ns > was.mtime_ns && now.ctime_ns == now.mtime_ns);
	CHECK_U64_EQ(now.data_version, was.data_version + 1);
	CHECK_U64_EQ(now.mode & 07777, 0755);
	fs_file_close(f);
}

/* ---- looking for holes ---- */

/* A mark that says too much costs one count, of which no request reads much. */
FSC_CASE(a_wrong_mark_goes)
{
	uint64_t at, before, writes;
	struct fs_inode rec;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	for (unsigned i = 0; i < 48; i++)
		fsc_write(f, i * MIB, some(MIB));
	fsc_write(f, 49 * MIB, some(MIB));
	CHECK_TRUE(record(m, ino).holes);
	fsc_write(f, 48 * MIB, some(MIB));
	CHECK_TRUE(record(m, ino).holes);
	before = m->x->passed;
	(void)sectors(m, ino);
	CHECK_TRUE(m->x->passed - before <= 8ull * (TXN_SCAN_PASSED_MAX + B));
	CHECK_TRUE(record(m, ino).holes);
	CHECK_U64_EQ(sectors(m, ino), 50 * MIB / 512);
	rec = record(m, ino);
	CHECK_FALSE(rec.holes);
	before = m->x->passed;
	writes = m->x->writes;
	CHECK_U64_EQ(sectors(m, ino), 50 * MIB / 512);
	CHECK_OK(fs_seek(m->fs, ino, 0, true, &at));
	CHECK_U64_EQ(at, 50 * MIB);
	CHECK_U64_EQ(m->x->passed, before);
	CHECK_U64_EQ(m->x->writes, writes);
	fs_file_close(f);
}

FSC_CASE(a_seek_to_the_end_takes_it_off_too)
{
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);
	struct fs_inode was;
	uint64_t at;

	fsc_write(f, B, some(10));
	fsc_write(f, 0, some(B));
	CHECK_OK(fs_seek(m->fs, ino, 2, true, &at));
	CHECK_U64_EQ(at, B + 10);
	was = record(m, ino);
	CHECK_FALSE(was.holes);
	fsc_write(f, 0, some(B));
	CHECK_U64_EQ(record(m, ino).data_version, was.data_version + 1);
	fs_file_close(f);
}

static void punch_another(unsigned left)
{
	(void)left;
	CHECK_OK(fs_fallocate(rival.f, HOLE, 0, B, NULL));
}

/* A gap that is made after the count keeps the mark. */
FSC_CASE(a_gap_made_meanwhile_keeps_it)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fsc_write(f, B, some(10));
	fsc_write(f, 0, some(B));
	rival.f = fsc_open(n, ino, RW);
	arm(n, ino, 0, 1, punch_another); /* before the mark goes */
	(void)sectors(m, ino);
	CHECK_U64_EQ(rival.times, 0);
	m->x->before = NULL;
	CHECK_TRUE(record(m, ino).holes);
	CHECK_U64_EQ(sectors(m, ino), 1);
	fs_file_close(rival.f);
	fs_file_close(f);
}

/* Other contents, and in them data further behind; the old blocks are gone. */
static void start_over(unsigned left)
{
	resize(rival.m, rival.ino, 0);
	resize(rival.m, rival.ino, 8 * MIB);
	fsc_write(rival.f, (40 - left) * B, some(10));
	CHECK_OK(fs__reap_blocks(rival.m->fs, rival.ino));
}

FSC_CASE(contents_that_are_replaced_all_the_time)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);
	uint64_t at = 0;

	resize(m, ino, 8 * MIB);
	fsc_write(f, 5 * B, some(10));
	rival.f = fsc_open(n, ino, RW);
	arm(n, ino, TXN_SCAN_KEYS, 9, start_over);
	CHECK_OK(fs_seek(m->fs, ino, 0, false, &at));
	CHECK_U64_EQ(rival.times, 0);
	m->x->before = NULL;
	CHECK_U64_EQ(at, 40 * B);
	fs_file_close(rival.f);
	fs_file_close(f);
}

/* ---- answers that come late ---- */

struct late {
	struct fs_file *f;
	uint64_t at;
	size_t len;
	bool done;
};

static void write_once(void *arg)
{
	struct late *l = arg;
	uint64_t end;

	CHECK_OK(fs_write(l->f, l->at, some(l->len), &end));
	l->done = true;
}

/* A write of 64 KiB whose answer comes after another mount has cut the file, and this one has seen it.
 * False: it came before. */
static bool late_write(struct fsx_mount *m, struct fsx_mount *n, fs_ino ino, struct fs_file *f)
{
	struct late l = {.f = f, .len = 64 * KIB};
	bool late;

	m->x->delay_ns = 10 * NS_PER_MS;
	fsx_start(m->x, write_once, &l);
	fiber_sleep(fsx_random(m->x) % (12 * NS_PER_MS));
	m->x->delay_ns = 0;
	resize(n, ino, 0);
	(void)fsc_attr(m, ino);
	late = !l.done;
	while (!l.done)
		fiber_sleep(NS_PER_MS);
	return late && fsc_attr(n, ino).size == 0;
}

static void cut_before_the_answer(struct fsx_mount *m, void (*fn)(struct fsx_mount *m, fs_ino ino,
								  struct fs_file *f))
{
	struct fsx_mount *n = fsx_mount(m->x);
	unsigned hits = 0;

	for (unsigned i = 0; i < 400 && hits < 5; i++) {
		struct fs_file *f;
		char name[16];
		fs_ino ino;

		snprintf(name, sizeof(name), "f%u", i);
		f = make(m, name, &ino);
		if (late_write(m, n, ino, f)) {
			fn(m, ino, f);
			hits++;
		}
		fs_file_close(f);
	}
	CHECK_U64_EQ(hits, 5);
}

static void make_longer(struct fsx_mount *m, fs_ino ino, struct fs_file *f)
{
	CHECK_OK(fs_fallocate(f, 0, 0, 64 * KIB, NULL));
	CHECK_U64_EQ(fsc_attr(m, ino).size, 64 * KIB);
}

static void write_behind(struct fsx_mount *m, fs_ino ino, struct fs_file *f)
{
	uint64_t at;

	fsc_write(f, 64 * KIB, some(64 * KIB));
	CHECK_OK(fs_seek(m->fs, ino, 0, true, &at));
	CHECK_U64_EQ(at, 0);
	CHECK_U64_EQ(sectors(m, ino), 128);
}

FSC_CASE(a_late_answer_does_not_make_it_longer)
{
	cut_before_the_answer(m, make_longer);
}

FSC_CASE(a_late_answer_does_not_fill_a_gap)
{
	cut_before_the_answer(m, write_behind);
}

static void look_on(void *arg)
{
	struct writer *w = arg;
	struct fs_attr a;

	while (!w->stop) {
		CHECK_OK(fs_getattr(w->f->fs, fs_file_ino(w->f), &a));
		w->done++;
	}
	w->ended = true;
}

/* Reads of far stripes compare data versions: one that is believed must never be ahead of the truth. */
FSC_CASE(a_supposed_version_is_never_ahead)
{
	struct writer w[6];
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	m->x->delay_ns = NS_PER_MS;
	for (unsigned i = 0; i < 6; i++) {
		w[i] = (struct writer){.f = f, .at = i * 64 * KIB};
		fsx_start(m->x, i < 3 ? look_on : write_on, &w[i]);
	}
	for (unsigned i = 0; i < 400; i++) {
		struct fs_inode now;
		struct fs_key k;
		struct fsx_rec *r;

		fiber_sleep(NS_PER_MS / 2);
		fs__key_inode(&k, ino);
		r = fsx_find(m->x, fs__key_slice(&k));
		CHECK_OK(fs__inode_decode(buf_slice(&r->value), &now));
		CHECK_TRUE(f->node->seen.data_version <= now.data_version);
	}
	for (unsigned i = 0; i < 6; i++)
		w[i].stop = true;
	m->x->delay_ns = 0;
	fiber_sleep(NS_PER_S);
	for (unsigned i = 0; i < 6; i++)
		CHECK_TRUE(w[i].ended && w[i].done > 0);
	fs_file_close(f);
}

static void same_times(struct fsx_mount *m, fs_ino ino, const struct fs_attr *told)
{
	struct fs_attr now = fsc_attr(m, ino);

	CHECK_TRUE(told->mtime_ns == now.mtime_ns);
	CHECK_TRUE(told->ctime_ns == now.ctime_ns);
}

/* A change of several groups may have a stamp below what its group has seen since: the times stay. What
 * the answer says is what is stored, also when a time set into the future gives way. */
FSC_CASE(times_in_answers_do_not_go_back)
{
	struct fs_attr in = {.size = 5, .mode = 0600}, a;
	fs_ino ino;
	struct fs_file *f = make(m, "f", &ino);

	fsc_write(f, 0, some(10));
	m->x->lag_ns = NS_PER_S;
	CHECK_OK(fs_link(m->fs, ino, ROOT, slice_str("g"), &a));
	same_times(m, ino, &a);
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
	same_times(m, ino, &a);
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_MODE, &in, &a));
	same_times(m, ino, &a);
	fsc_write(f, 0, some(1));
	CHECK_TRUE(f->node->seen.mtime_ns == fsc_attr(m, ino).mtime_ns);
	m->x->lag_ns = 0;
	in.mtime_ns = in.ctime_ns = (int64_t)m->x->now_ns + 1000 * (int64_t)NS_PER_S;
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_MTIME | FS_SET_CTIME, &in, &a));
	same_times(m, ino, &a);
	in.size = 3;
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
	same_times(m, ino, &a);
	CHECK_TRUE(a.mtime_ns < in.mtime_ns);
	fs_file_close(f);
}

static const struct check_test tests[] = {
	CHECK_TEST(a_hole_is_punched_beside_writers),
	CHECK_TEST(the_edge_changes_meanwhile),
	CHECK_TEST(mixtures_leave_files_whole),
	CHECK_TEST(punching_nothing),
	CHECK_TEST(a_wrong_mark_goes),
	CHECK_TEST(a_seek_to_the_end_takes_it_off_too),
	CHECK_TEST(a_gap_made_meanwhile_keeps_it),
	CHECK_TEST(contents_that_are_replaced_all_the_time),
	CHECK_TEST(a_late_answer_does_not_make_it_longer),
	CHECK_TEST(a_late_answer_does_not_fill_a_gap),
	CHECK_TEST(a_supposed_version_is_never_ahead),
	CHECK_TEST(times_in_answers_do_not_go_back),
};
CHECK_MAIN(tests)
