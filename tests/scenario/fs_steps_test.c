/* Every call, disturbed at each of its executions: by any other call of a second mount, by a lost
 * reply, by death.
 *
 *  - With another call B just before the k-th execution of A, both answers and the tree are those
 *    of A before B, or of B before A.
 *  - When the reply of the k-th execution is lost, or the mount dies there, the tree is that from
 *    before or from after; big truncations may stop in between. The store stays whole.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define MIB  (1024u * 1024u)

/* /a/d file, /a/e empty, /b/c empty, /b/f file, /g and /h one file, /big with holes, 5 MiB long
 * and a bit at 130 MiB, with attributes. */
struct world {
	struct fsx *x;
	struct fsx_mount *m, *n;
	fs_ino a, b, c, d, e, f, g, big;
};

/* ---- calls ---- */

static int mk(struct fsx_mount *m, fs_ino dir, const char *name, bool is_dir)
{
	struct fs_attr a;

	if (is_dir)
		return fs_mkdir(m->fs, &fsc_cred, dir, slice_str(name), 0777, &a);
	return fs_mknod(m->fs, &fsc_cred, dir, slice_str(name), S_IFREG | 0644, 0, &a);
}

static int set_size(struct fsx_mount *m, fs_ino ino, uint64_t size)
{
	struct fs_attr in = {.size = size}, a;

	return fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a);
}

static int put(struct fsx_mount *m, fs_ino ino, unsigned flags, uint64_t at, const char *text)
{
	struct fs_file *f;
	int err = fs_file_open(m->fs, ino, FS_O_WRITE | flags, &f);

	if (err)
		return err;
	err = fs_write(f, at, slice_str(text), NULL);
	fs_file_close(f);
	return err;
}

static int chmod_to(struct fsx_mount *m, fs_ino ino, uint32_t mode)
{
	struct fs_attr in = {.mode = mode}, a;

	return fs_setattr(m->fs, ino, FS_SET_MODE, &in, &a);
}

#define CALL(name, expr)                                                                           \
	static int name(struct world *w, struct fsx_mount *m)                                      \
	{                                                                                          \
		(void)w;                                                                           \
		return expr;                                                                       \
	}

CALL(create_x, mk(m, w->a, "x", false))
CALL(mkdir_x, mk(m, w->a, "x", true))
CALL(create_in_c, mk(m, w->c, "y", false))
CALL(mkdir_in_e, mk(m, w->e, "y", true))
CALL(unlink_d, fsc_unlink(m, w->a, "d"))
CALL(unlink_f, fsc_unlink(m, w->b, "f"))
CALL(unlink_g, fsc_unlink(m, ROOT, "g"))
CALL(unlink_h, fsc_unlink(m, ROOT, "h"))
CALL(unlink_big, fsc_unlink(m, ROOT, "big"))
CALL(rmdir_c, fsc_rmdir(m, w->b, "c"))
CALL(rmdir_e, fsc_rmdir(m, w->a, "e"))
CALL(rename_d_over_f, fsc_rename(m, w->a, "d", w->b, "f", 0))
CALL(rename_d_to_x, fsc_rename(m, w->a, "d", w->a, "x", 0))
CALL(rename_f_to_d, fsc_rename(m, w->b, "f", w->a, "d", 0))
CALL(noreplace_f_to_x, fsc_rename(m, w->b, "f", w->a, "x", FS_RENAME_NOREPLACE))
CALL(rename_g_to_h, fsc_rename(m, ROOT, "g", ROOT, "h", 0))
CALL(rename_d_over_g, fsc_rename(m, w->a, "d", ROOT, "g", 0))
CALL(rename_d_over_big, fsc_rename(m, w->a, "d", ROOT, "big", 0))
CALL(rename_c_over_e, fsc_rename(m, w->b, "c", w->a, "e", 0))
CALL(rename_e_over_c, fsc_rename(m, w->a, "e", w->b, "c", 0))
CALL(rename_a_into_c, fsc_rename(m, ROOT, "a", w->c, "y", 0))
CALL(rename_b_into_e, fsc_rename(m, ROOT, "b", w->e, "y", 0))
CALL(exchange_d_f, fsc_rename(m, w->a, "d", w->b, "f", FS_RENAME_EXCHANGE))
CALL(exchange_e_f, fsc_rename(m, w->a, "e", w->b, "f", FS_RENAME_EXCHANGE))
CALL(exchange_e_b, fsc_rename(m, w->a, "e", ROOT, "b", FS_RENAME_EXCHANGE))
CALL(link_g_x, fsc_link(m, w->g, w->a, "x"))
CALL(link_d_in_c, fsc_link(m, w->d, w->c, "y"))
CALL(cut_g, set_size(m, w->g, 2))
CALL(extend_g, set_size(m, w->g, 20))
CALL(cut_big, set_size(m, w->big, 100))
CALL(empty_big, set_size(m, w->big, 0))
CALL(append_g, put(m, w->g, FS_O_APPEND, 0, "+more"))
CALL(write_g, put(m, w->g, 0, 3, "WRITTEN"))
CALL(write_big, put(m, w->big, 0, 2 * STRIPE_SIZE + 7, "FAR"))
CALL(write_in_hole, put(m, w->big, 0, STRIPE_SIZE + 7, "HOLE"))
CALL(write_d, put(m, w->d, 0, 1, "D"))
CALL(chmod_a, chmod_to(m, w->a, 0711))
CALL(chmod_d, chmod_to(m, w->d, 0711))
CALL(xattr_d, fs_setxattr(m->fs, w->d, slice_str("user.x"), slice_str("v"), 0))
CALL(xattr_f_once, fs_setxattr(m->fs, w->f, slice_str("user.x"), slice_str("1"), FS_XATTR_CREATE))
CALL(unxattr_big, fs_removexattr(m->fs, w->big, slice_str("user.x")))

/* ---- calls by path ---- */

static int kv_put(struct fsx_mount *m, const char *path, const char *value, bool parents)
{
	return fs_kv_put(m->fs, &fsc_cred, slice_str(path), slice_str(value), parents);
}

static int kv_put_large(struct fsx_mount *m, const char *path)
{
	uint8_t *p = calloc(1, MIB + MIB / 4);
	int err;

	memset(p, 'L', MIB);
	err = fs_kv_put(m->fs, &fsc_cred, slice_str(path), slice_of(p, MIB + MIB / 4), false);
	free(p);
	return err;
}

static int kv_cas(struct fsx_mount *m, const char *path, const char *expected, const char *value)
{
	struct buf now = BUF_INIT;
	int err = fs_kv_cas(m->fs, &fsc_cred, slice_str(path), !expected,
			    slice_str(expected ? expected : ""), slice_str(value), &now);

	buf_release(&now);
	return err;
}

static int kv_two(struct fsx_mount *m, const char *put_path, const char *del_path)
{
	struct fs_kv_item items[2] = {{.path = slice_str(put_path), .value = slice_str("m1")},
				      {.path = slice_str(del_path), .absent = true}};
	uint32_t failed;

	return fs_kv_mput(m->fs, &fsc_cred, items, 2, false, &failed);
}

CALL(kv_put_d, kv_put(m, "a/d", "put", false))
CALL(kv_put_x, kv_put(m, "/a/x", "put", false))
CALL(kv_put_deep, kv_put(m, "b/n/n/x", "deep", true))
CALL(kv_put_large_d, kv_put_large(m, "a/d"))
CALL(kv_put_large_x, kv_put_large(m, "a/x"))
CALL(kv_put_big, kv_put(m, "big", "small now", false))
CALL(kv_del_f, fs_kv_del(m->fs, slice_str("b/f")))
CALL(kv_cas_d, kv_cas(m, "a/d", "ddd", "cas"))
CALL(kv_cas_g, kv_cas(m, "h", "gggg", "cas"))
CALL(kv_cas_x, kv_cas(m, "a/x", NULL, "cas"))
CALL(kv_two_d_f, kv_two(m, "a/d", "b/f"))
CALL(kv_two_x_d, kv_two(m, "b/x", "a/d"))
CALL(kv_swap_d_f, fs_kv_swap(m->fs, slice_str("a/d"), slice_str("b/f")))

/* Several calls in a row, as B only: what B's client then knows must still be so after A. */

static int exchange_and_fill(struct world *w, struct fsx_mount *m)
{
	int err = exchange_d_f(w, m);

	return err ? err : put(m, w->d, 0, 0, "DDD"); /* of the same size */
}

static int move_away_and_fill(struct world *w, struct fsx_mount *m)
{
	int err = rename_d_to_x(w, m);

	return err ? err : put(m, w->d, 0, 0, "DDD");
}

static int move_away_and_remake(struct world *w, struct fsx_mount *m)
{
	int err = rename_d_to_x(w, m);

	if (!err)
		err = mk(m, w->a, "d", false);
	return err ? err : chmod_to(m, w->d, 0700);
}

static int move_and_use_directory(struct world *w, struct fsx_mount *m)
{
	int err = fsc_rename(m, w->a, "e", ROOT, "x", 0);

	return err ? err : mk(m, w->e, "f", false);
}

static const struct call {
	const char *name;
	int (*run)(struct world *w, struct fsx_mount *m);
	bool in_steps; /* more than one transaction changes something */
	bool series;
} calls[] = {
	{"exchange_and_fill", exchange_and_fill, .series = true},
	{"move_away_and_fill", move_away_and_fill, .series = true},
	{"move_away_and_remake", move_away_and_remake, .series = true},
	{"move_and_use_directory", move_and_use_directory, .series = true},
	{"create_x", create_x, .in_steps = false},
	{"mkdir_x", mkdir_x, .in_steps = false},
	{"create_in_c", create_in_c, .in_steps = false},
	{"mkdir_in_e", mkdir_in_e, .in_steps = false},
	{"unlink_d", unlink_d, .in_steps = false},
	{"unlink_f", unlink_f, .in_steps = false},
	{"unlink_g", unlink_g, .in_steps = false},
	{"unlink_h", unlink_h, .in_steps = false},
	{"unlink_big", unlink_big, .in_steps = false},
	{"rmdir_c", rmdir_c, .in_steps = false},
	{"rmdir_e", rmdir_e, .in_steps = false},
	{"rename_d_over_f", rename_d_over_f, .in_steps = false},
	{"rename_d_to_x", rename_d_to_x, .in_steps = false},
	{"rename_f_to_d", rename_f_to_d, .in_steps = false},
	{"noreplace_f_to_x", noreplace_f_to_x, .in_steps = false},
	{"rename_g_to_h", rename_g_to_h, .in_steps = false},
	{"rename_d_over_g", rename_d_over_g, .in_steps = false},
	{"rename_d_over_big", rename_d_over_big, .in_steps = false},
	{"rename_c_over_e", rename_c_over_e, .in_steps = false},
	{"rename_e_over_c", rename_e_over_c, .in_steps = false},
	{"rename_a_into_c", rename_a_into_c, .in_steps = false},
	{"rename_b_into_e", rename_b_into_e, .in_steps = false},
	{"exchange_d_f", exchange_d_f, .in_steps = false},
	{"exchange_e_f", exchange_e_f, .in_steps = false},
	{"exchange_e_b", exchange_e_b, .in_steps = false},
	{"link_g_x", link_g_x, .in_steps = false},
	{"link_d_in_c", link_d_in_c, .in_steps = false},
	{"cut_g", cut_g, .in_steps = false},
	{"extend_g", extend_g, .in_steps = false},
	{"cut_big", cut_big, .in_steps = true},
	{"empty_big", empty_big, .in_steps = false},
	{"append_g", append_g, .in_steps = false},
	{"write_g", write_g, .in_steps = false},
	{"write_big", write_big, .in_steps = false},
	{"write_in_hole", write_in_hole, .in_steps = false},
	{"write_d", write_d, .in_steps = false},
	{"chmod_a", chmod_a, .in_steps = false},
	{"chmod_d", chmod_d, .in_steps = false},
	{"xattr_d", xattr_d, .in_steps = false},
	{"xattr_f_once", xattr_f_once, .in_steps = false},
	{"unxattr_big", unxattr_big, .in_steps = false},
	{"kv_put_d", kv_put_d, .in_steps = false},
	{"kv_put_x", kv_put_x, .in_steps = false},
	{"kv_put_deep", kv_put_deep, .in_steps = true},
	{"kv_put_large_d", kv_put_large_d, .in_steps = false},
	{"kv_put_large_x", kv_put_large_x, .in_steps = false},
	{"kv_put_big", kv_put_big, .in_steps = false},
	{"kv_del_f", kv_del_f, .in_steps = false},
	{"kv_cas_d", kv_cas_d, .in_steps = false},
	{"kv_cas_g", kv_cas_g, .in_steps = false},
	{"kv_cas_x", kv_cas_x, .in_steps = false},
	{"kv_two_d_f", kv_two_d_f, .in_steps = false},
	{"kv_two_x_d", kv_two_x_d, .in_steps = false},
	{"kv_swap_d_f", kv_swap_d_f, .in_steps = false},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* ---- the world, and what it looks like ---- */

static void prepare(void *arg)
{
	struct world *w = arg;
	static const char *const names[] = {"a", "b", "g", "h", "big"};
	struct fs_file *f;

	w->a = fsc_mkdir(w->m, ROOT, "a");
	w->b = fsc_mkdir(w->m, ROOT, "b");
	w->c = fsc_mkdir(w->m, w->b, "c");
	w->e = fsc_mkdir(w->m, w->a, "e");
	w->d = fsc_file(w->m, w->a, "d", "ddd");
	w->f = fsc_file(w->m, w->b, "f", "ff");
	w->g = fsc_file(w->m, ROOT, "g", "gggg");
	w->big = fsc_file(w->m, ROOT, "big", "");
	CHECK_OK(fsc_link(w->m, w->g, ROOT, "h"));
	CHECK_OK(fs_setxattr(w->m->fs, w->big, slice_str("user.x"), slice_str("b"), 0));
	f = fsc_open(w->m, w->big, FS_O_WRITE);
	for (unsigned i = 0; i < 6; i++)
		fsc_write(f, i * (MIB - 10), slice_str("twenty bytes of text"));
	fsc_write(f, 130ull * MIB, slice_str("far"));
	fs_file_close(f);
	for (int i = 0; i < 2; i++) { /* both mounts remember everything, as after an ls -lR */
		struct fsx_mount *m = i ? w->n : w->m;

		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			CHECK_TRUE(fsc_ino(m, ROOT, names[k]) != 0);
		CHECK_U64_EQ(fsc_ino(m, w->a, "d"), w->d);
		CHECK_U64_EQ(fsc_ino(m, w->a, "e"), w->e);
		CHECK_U64_EQ(fsc_ino(m, w->b, "c"), w->c);
		CHECK_U64_EQ(fsc_ino(m, w->b, "f"), w->f);
		for (fs_ino *ino = &w->a; ino <= &w->big; ino++)
			CHECK_U64_EQ(fsc_attr(m, *ino).ino, *ino);
	}
}

static void dump_file(struct fsx_mount *m, const struct fs_attr *a, struct buf *out)
{
	static const uint64_t at[] = {0, 4 * MIB, STRIPE_SIZE, 2 * STRIPE_SIZE, 130ull * MIB};
	struct fs_file *f = fsc_open(m, a->ino, FS_O_READ);
	struct buf b = BUF_INIT;
	char line[64];

	snprintf(line, sizeof(line), " %o n%u s%llu ", a->mode, a->nlink,
		 (unsigned long long)a->size);
	buf_add_slice(out, slice_str(line));
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		CHECK_OK(fs_read(f, at[i], 24, &b));
		buf_add_u8(out, '[');
		buf_add_slice(out, buf_slice(&b));
		buf_add_u8(out, ']');
	}
	if (fs_getxattr(m->fs, a->ino, slice_str("user.x"), &b) == 0) {
		buf_add_slice(out, slice_str(" x="));
		buf_add_slice(out, buf_slice(&b));
	}
	buf_release(&b);
	fs_file_close(f);
}

/* The tree as text: the same for the same tree, whatever the numbers are. */
static void dump_dir(struct fsx_mount *m, fs_ino dir, unsigned depth, struct buf *out)
{
	static const char *const names[] = {"a", "b", "big", "c", "d", "e",
					    "f", "g", "h",   "n", "x", "y"};
	struct fs_attr a, self = fsc_attr(m, dir);
	unsigned found = 0;
	char line[64];

	snprintf(line, sizeof(line), " %o n%u {", self.mode, self.nlink);
	buf_add_slice(out, slice_str(line));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int err = fs_lookup(m->fs, dir, slice_str(names[i]), &a);

		if (err) {
			CHECK_ERR(err, ERR_NOT_FOUND);
			continue;
		}
		found++;
		buf_add_u8(out, '\n');
		buf_add_slice(out, slice_str(names[i]));
		if (S_ISDIR(a.mode) && depth < 10)
			dump_dir(m, a.ino, depth + 1, out);
		else
			dump_file(m, &a, out);
	}
	buf_add_u8(out, '}');
	CHECK_U64_EQ(fsc_entries(m, dir), found);
}

struct outcome {
	int err_a, err_b;
	struct buf tree;
	uint64_t execs; /* of A */
};

static void release(struct outcome *o)
{
	buf_release(&o->tree);
}

/* ---- running A with B somewhere ---- */

struct script {
	const struct call *a, *b;
	uint64_t at; /* B runs before this execution of A (from 1); 0: before A; UINT64_MAX: after */
	uint64_t seen;
	bool in_a, b_done;
	struct world w;
	struct outcome *o;
};

static struct script *playing;

static void run_b(struct script *s)
{
	if (!s->b || s->b_done)
		return;
	s->b_done = true;
	s->o->err_b = s->b->run(&s->w, s->w.n);
}

static void before_exec(struct fsx *x, const struct txn_mini *m)
{
	struct script *s = playing;

	(void)x;
	(void)m;
	if (s->in_a && ++s->seen == s->at)
		run_b(s);
}

static void play_fiber(void *arg)
{
	struct script *s = arg;

	if (s->at == 0)
		run_b(s);
	s->in_a = true;
	s->o->err_a = s->a->run(&s->w, s->w.m);
	s->in_a = false;
	run_b(s);
}

static void dump_fiber(void *arg)
{
	struct script *s = arg;
	struct fsx_mount *fresh = fsx_mount(s->w.x);

	dump_dir(fresh, ROOT, 0, &s->o->tree);
}

static void open_world(struct world *w)
{
	w->x = fsx_new(4, 1);
	w->m = fsx_mount(w->x);
	w->n = fsx_mount(w->x);
	fsx_call(w->x, prepare, w);
}

static void play(const struct call *a, const struct call *b, uint64_t at, struct outcome *o)
{
	struct script s = {.a = a, .b = b, .at = at, .o = o};

	*o = (struct outcome){0};
	open_world(&s.w);
	playing = &s;
	s.w.x->before = before_exec;
	fsx_call(s.w.x, play_fiber, &s);
	s.w.x->before = NULL;
	o->execs = s.seen;
	fsx_call(s.w.x, dump_fiber, &s);
	fsx_umount_all(s.w.x);
	fsx_check(s.w.x, false);
	fsx_free(s.w.x);
}

static bool same(const struct outcome *p, const struct outcome *q)
{
	return p->err_a == q->err_a && p->err_b == q->err_b &&
	       slice_eq(buf_slice(&p->tree), buf_slice(&q->tree));
}

static void print(const char *what, const struct outcome *o)
{
	fprintf(stderr, "%s: A %s, B %s, then%.*s\n", what, err_name(o->err_a), err_name(o->err_b),
		(int)o->tree.len, (const char *)o->tree.data);
}

static void pair(const struct call *a, const struct call *b)
{
	struct outcome ab, ba, o;

	play(a, b, UINT64_MAX, &ab);
	play(a, b, 0, &ba);
	for (uint64_t k = 1; k <= ab.execs + 1; k++) {
		play(a, b, k, &o);
		if (!same(&o, &ab) && !same(&o, &ba)) {
			print("A then B", &ab);
			print("B then A", &ba);
			print("B within A", &o);
			CHECK_FAIL("A = %s, B = %s before execution %llu of A", a->name, b->name,
				   (unsigned long long)k);
		}
		release(&o);
	}
	release(&ab);
	release(&ba);
}

/* All in the plain build. With sanitizers each takes ten times as long, and memory is treated alike by
 * most of them: one in three. */
#ifdef __SANITIZE_ADDRESS__
#define PAIR_STEP 3
#else
#define PAIR_STEP 1
#endif

static void any_two_calls_are_as_if_one_came_first(void)
{
	unsigned failures = check_failures();

	for (size_t i = 0; i < CALLS && check_failures() == failures; i++)
		for (size_t k = i % PAIR_STEP; k < CALLS && check_failures() == failures; k += PAIR_STEP)
			if (!calls[i].in_steps && !calls[k].in_steps && !calls[i].series)
				pair(&calls[i], &calls[k]);
}

/* Truncation in steps is not atomic; the store is whole at each of them all the same. */
static void truncation_in_steps_disturbed(void)
{
	for (size_t i = 0; i < CALLS; i++)
		for (uint64_t k = 1; calls[i].in_steps && k <= 8; k++)
			for (size_t j = 0; j < CALLS; j++) {
				struct outcome o;

				play(&calls[i], &calls[j], k, &o);
				if (o.err_a != ERR_STALE)
					CHECK_OK(o.err_a);
				release(&o);
			}
}

/* ---- lost replies and death ---- */

enum trouble { LOST_REPLY, DEATH };

struct victim {
	struct world w;
	const struct call *c;
	enum trouble trouble;
	uint64_t at;
	int err, again;
	bool hit;
	struct buf before, after, disturbed, second;
};

static void trouble_fiber(void *arg)
{
	struct victim *v = arg;
	struct fsx_mount *fresh = fsx_mount(v->w.x);

	dump_dir(fresh, ROOT, 0, &v->before);
	if (v->trouble == LOST_REPLY)
		v->w.m->lose_reply = (int64_t)v->at;
	else
		v->w.m->lives = (int64_t)v->at - 1;
	v->err = v->c->run(&v->w, v->w.m);
	v->hit = v->trouble == LOST_REPLY ? v->w.m->lose_reply == 0 : v->w.m->lives == 0;
	v->w.m->lose_reply = 0;
	dump_dir(fresh, ROOT, 0, &v->disturbed);
	/* once more, from where one can: nothing stands in the way */
	v->again = v->c->run(&v->w, v->trouble == DEATH ? v->w.n : v->w.m);
	dump_dir(fresh, ROOT, 0, &v->second);
}

/* Undisturbed, what would it be? */
static void normal_fiber(void *arg)
{
	struct victim *v = arg;

	CHECK_OK(v->c->run(&v->w, v->w.m));
	dump_dir(v->w.n, ROOT, 0, &v->after);
}

static void judge(struct victim *v)
{
	bool is_before = slice_eq(buf_slice(&v->disturbed), buf_slice(&v->before));
	bool is_after = slice_eq(buf_slice(&v->disturbed), buf_slice(&v->after));
	bool ends_after = slice_eq(buf_slice(&v->second), buf_slice(&v->after));

	if (v->err && v->err != (v->trouble == DEATH ? ERR_SESSION : ERR_TIMEOUT))
		CHECK_FAIL("%s, execution %llu: answers %s", v->c->name,
			   (unsigned long long)v->at, err_name(v->err));
	if (v->err == 0 && !is_after)
		CHECK_FAIL("%s, execution %llu: not done", v->c->name, (unsigned long long)v->at);
	if (!is_before && !is_after && !v->c->in_steps)
		CHECK_FAIL("%s, execution %llu: half done", v->c->name, (unsigned long long)v->at);
	if (is_before && !is_after)
		CHECK_OK(v->again);
	if (is_before && !is_after && !ends_after)
		CHECK_FAIL("%s, execution %llu: the second try does something else", v->c->name,
			   (unsigned long long)v->at);
}

static bool disturb(const struct call *c, enum trouble trouble, uint64_t at)
{
	struct victim v = {.c = c, .trouble = trouble, .at = at}, plain = {.c = c};
	bool hit;

	open_world(&plain.w);
	fsx_call(plain.w.x, normal_fiber, &plain);
	fsx_free(plain.w.x);
	buf_move(&v.after, &plain.after);
	open_world(&v.w);
	fsx_call(v.w.x, trouble_fiber, &v);
	judge(&v);
	fsx_umount_all(v.w.x);
	fsx_check(v.w.x, true);
	fsx_free(v.w.x);
	hit = v.hit;
	buf_release(&v.before);
	buf_release(&v.after);
	buf_release(&v.disturbed);
	buf_release(&v.second);
	return hit;
}

static void disturb_all(enum trouble trouble)
{
	for (size_t i = 0; i < CALLS; i++) {
		unsigned hits = calls[i].series ? 1 : 0;

		for (uint64_t at = 1; !calls[i].series && at < 30; at++) {
			if (!disturb(&calls[i], trouble, at))
				break;
			hits++;
		}
		if (calls[i].run != rename_g_to_h) /* two names of one file: nothing to do */
			CHECK_TRUE(hits > 0);
	}
}

static void a_lost_reply_at_each_execution(void)
{
	disturb_all(LOST_REPLY);
}

static void death_at_each_execution(void)
{
	disturb_all(DEATH);
}

/* ---- appends, with anything going wrong ---- */

#define WRITERS 4u
#define RECORDS 15u

struct appends {
	struct fsx *x;
	struct fsx_mount *m[2];
	fs_ino f;
	bool acked[256], unknown[256];
};

struct writer {
	struct appends *t;
	unsigned i;
};

static void make_fiber(void *arg)
{
	struct appends *t = arg;

	t->f = fsc_file(t->m[0], ROOT, "f", "");
}

static void append_fiber(void *arg)
{
	struct writer *w = arg;
	struct appends *t = w->t;
	struct fs_file *f;
	uint8_t rec[100];
	int err;

	do
		err = fs_file_open(t->m[w->i % 2]->fs, t->f, FS_O_WRITE | FS_O_APPEND, &f);
	while (err == ERR_TIMEOUT);
	CHECK_OK(err);
	for (unsigned k = 0; k < RECORDS; k++) {
		unsigned id = 1 + w->i * RECORDS + k;

		memset(rec, (int)id, sizeof(rec));
		err = fs_write(f, 0, slice_of(rec, sizeof(rec)), NULL);
		if (err)
			CHECK_ERR(err, ERR_TIMEOUT);
		t->acked[id] = err == 0;
		t->unknown[id] = err != 0;
	}
	fs_file_close(f);
}

static void read_back_fiber(void *arg)
{
	struct appends *t = arg;
	struct fs_file *f = fsc_open(t->m[0], t->f, FS_O_READ);
	unsigned times[256] = {0};
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(f, 0, MIB, &b));
	CHECK_U64_EQ(b.len % 100, 0);
	for (size_t at = 0; at + 100 <= b.len; at += 100) {
		for (size_t i = 1; i < 100; i++)
			if (b.data[at + i] != b.data[at])
				CHECK_FAIL("record at %zu is torn", at);
		times[b.data[at]]++;
	}
	for (unsigned id = 1; id <= WRITERS * RECORDS; id++) {
		if (t->acked[id])
			CHECK_U64_EQ(times[id], 1);
		else
			CHECK_TRUE(times[id] <= 1);
	}
	buf_release(&b);
	fs_file_close(f);
}

static void appends_happen_at_most_once(void)
{
	uint64_t timeouts = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct appends t = {.x = fsx_new(4, seed)};
		struct writer w[WRITERS];

		t.m[0] = fsx_mount(t.x);
		t.m[1] = fsx_mount(t.x);
		fsx_call(t.x, make_fiber, &t);
		t.x->fault_percent = 20;
		t.x->delay_ns = NS_PER_MS;
		for (unsigned i = 0; i < WRITERS; i++) {
			w[i] = (struct writer){&t, i};
			fsx_start(t.x, append_fiber, &w[i]);
		}
		fsx_settle(t.x);
		timeouts += t.x->timeouts;
		t.x->fault_percent = 0;
		fsx_call(t.x, read_back_fiber, &t);
		fsx_umount_all(t.x);
		fsx_check(t.x, false);
		fsx_free(t.x);
	}
	CHECK_TRUE(timeouts > 100);
}

static const struct check_test tests[] = {
	CHECK_TEST(any_two_calls_are_as_if_one_came_first),
	CHECK_TEST(truncation_in_steps_disturbed),
	CHECK_TEST(a_lost_reply_at_each_execution),
	CHECK_TEST(death_at_each_execution),
	CHECK_TEST(appends_happen_at_most_once),
};
CHECK_MAIN(tests)
