/* Paths, and the key-value calls on them. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define MIB  (1024u * 1024u)

static int find(struct fsx_mount *m, const char *path, bool follow, fs_ino *ino)
{
	struct fs_attr a = {0};
	int err = fs_path_lookup(m->fs, slice_str(path), follow, &a);

	*ino = a.ino;
	return err;
}

static int put(struct fsx_mount *m, const char *path, const char *value)
{
	return fs_kv_put(m->fs, &fsc_cred, slice_str(path), slice_str(value), false);
}

static void expect(struct fsx_mount *m, const char *path, const char *want)
{
	struct buf b = BUF_INIT;
	uint64_t version = 0;

	CHECK_OK(fs_kv_get(m->fs, slice_str(path), &b, &version));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str(want));
	CHECK_TRUE(version != 0);
	buf_release(&b);
}

static int get_err(struct fsx_mount *m, const char *path)
{
	struct buf b = BUF_INIT;
	int err = fs_kv_get(m->fs, slice_str(path), &b, NULL);

	buf_release(&b);
	return err;
}

static fs_ino symlink_to(struct fsx_mount *m, fs_ino dir, const char *name, const char *target)
{
	struct fs_attr a = {0};

	CHECK_OK(fs_symlink(m->fs, &fsc_cred, dir, slice_str(name), slice_str(target), &a));
	return a.ino;
}

/* ---- walking ---- */

FSC_CASE(paths_are_walked)
{
	static const char *const same[] = {"a/b/f",    "/a/b/f",	"//a///b//f", "a/./b/f",
					   "a/b/../b/f", "../../a/b/f", "./a/b/./f"};
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, a, "b"), f, got;

	f = fsc_file(m, b, "f", "text");
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		CHECK_OK(find(m, same[i], true, &got));
		CHECK_U64_EQ(got, f);
	}
	CHECK_OK(find(m, "/", true, &got));
	CHECK_U64_EQ(got, ROOT);
	CHECK_OK(find(m, "a/b/..", true, &got));
	CHECK_U64_EQ(got, a);
	CHECK_OK(find(m, "a/b/", true, &got));
	CHECK_U64_EQ(got, b);
	CHECK_ERR(find(m, "a/b/f/", true, &got), ERR_NOT_DIR);
	CHECK_ERR(find(m, "a/b/f/x", true, &got), ERR_NOT_DIR);
	CHECK_ERR(find(m, "a/x/f", true, &got), ERR_NOT_FOUND);
	CHECK_ERR(find(m, "", true, &got), ERR_NOT_FOUND);
}

FSC_CASE(symlinks_are_followed)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, a, "b"), f, s, got;

	f = fsc_file(m, b, "f", "text");
	s = symlink_to(m, a, "rel", "b/f");
	symlink_to(m, b, "up", "../rel");
	symlink_to(m, ROOT, "dir", "/a/b");
	symlink_to(m, ROOT, "loop", "loop");
	symlink_to(m, ROOT, "none", "a/nothing");
	CHECK_OK(find(m, "a/rel", true, &got));
	CHECK_U64_EQ(got, f);
	CHECK_OK(find(m, "a/rel", false, &got));
	CHECK_U64_EQ(got, s);
	CHECK_OK(find(m, "dir/up", true, &got));
	CHECK_U64_EQ(got, f);
	CHECK_OK(find(m, "dir/../rel", true, &got)); /* ".." of where the link leads */
	CHECK_U64_EQ(got, f);
	CHECK_ERR(find(m, "loop", true, &got), ERR_LOOP);
	CHECK_ERR(find(m, "loop/x", false, &got), ERR_LOOP);
	CHECK_OK(find(m, "loop", false, &got));
	CHECK_ERR(find(m, "none", true, &got), ERR_NOT_FOUND);
	CHECK_OK(find(m, "none", false, &got));
}

FSC_CASE(as_many_links_as_allowed)
{
	char name[16], target[16];
	fs_ino f = fsc_file(m, ROOT, "l0", ""), got;

	for (int i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i - 1);
		symlink_to(m, ROOT, name, target);
	}
	CHECK_OK(find(m, "l40", true, &got));
	CHECK_U64_EQ(got, f);
	CHECK_ERR(find(m, "l41", true, &got), ERR_LOOP);
}

FSC_CASE(where_things_are)
{
	fs_ino d = fsc_mkdir_far(m, ROOT, "d", ROOT), f = fsc_file(m, ROOT, "f", "x");
	struct fs_where w = {0};
	struct fs_key k;

	CHECK_OK(fsc_rename(m, ROOT, "f", d, "f", 0));
	CHECK_OK(fs_where(m->fs, slice_str(fsc_ino(m, ROOT, "d0") == d ? "d0/f" : "d1/f"), &w));
	CHECK_U64_EQ(w.ino, f);
	CHECK_U64_EQ(w.inode_group, fsc_group(m, ROOT));
	CHECK_U64_EQ(w.data_group, fsc_group(m, ROOT));
	CHECK_U64_EQ(w.dentry_group, fsc_group(m, d));
	fs__key_inode(&k, f);
	CHECK_SLICE_EQ(buf_slice(&w.inode_key), fs__key_slice(&k));
	CHECK_ERR(fs_where(m->fs, slice_str("nothing"), &w), ERR_NOT_FOUND);
	buf_release(&w.inode_key);
}

/* ---- put, get, delete ---- */

FSC_CASE(put_and_get)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f;

	CHECK_ERR(get_err(m, "d/k"), ERR_NOT_FOUND);
	CHECK_OK(put(m, "d/k", "one"));
	expect(m, "d/k", "one");
	f = fsc_ino(m, d, "k");
	fsc_contents(m, f, "one");
	CHECK_OK(put(m, "d/k", "second"));
	expect(m, "d/k", "second");
	CHECK_U64_EQ(fsc_ino(m, d, "k"), f); /* overwritten, not replaced */
	CHECK_OK(put(m, "/d/k", ""));
	expect(m, "d/k", "");
	CHECK_U64_EQ(fsc_attr(m, f).mode, S_IFREG | 0644);
	CHECK_OK(fs_kv_del(m->fs, slice_str("d/k")));
	CHECK_ERR(get_err(m, "d/k"), ERR_NOT_FOUND);
	CHECK_ERR(fs_kv_del(m->fs, slice_str("d/k")), ERR_NOT_FOUND);
	CHECK_ERR(get_err(m, "d"), ERR_IS_DIR);
	CHECK_ERR(put(m, "d", "x"), ERR_IS_DIR);
	CHECK_ERR(fs_kv_del(m->fs, slice_str("d")), ERR_IS_DIR);
	CHECK_ERR(put(m, "n/k", "x"), ERR_NOT_FOUND);
	CHECK_ERR(put(m, "", "x"), ERR_NOT_FOUND);
}

FSC_CASE(put_makes_parents)
{
	fs_ino got;

	CHECK_OK(fs_kv_put(m->fs, &fsc_cred, slice_str("a/b/c/k"), slice_str("v"), true));
	expect(m, "a/b/c/k", "v");
	CHECK_OK(find(m, "a/b", true, &got));
	CHECK_U64_EQ(fsc_attr(m, got).mode, S_IFDIR | 0755);
	CHECK_U64_EQ(fsc_attr(m, got).uid, 1000);
	CHECK_ERR(fs_kv_put(m->fs, &fsc_cred, slice_str("a/b/c/k/x"), slice_str("v"), true),
		  ERR_NOT_DIR);
}

FSC_CASE(versions_change_with_the_value)
{
	uint64_t v1, v2, v3;
	struct buf b = BUF_INIT;

	CHECK_OK(put(m, "k", "1"));
	CHECK_OK(fs_kv_get(m->fs, slice_str("k"), &b, &v1));
	CHECK_OK(fs_kv_get(m->fs, slice_str("k"), &b, &v2));
	CHECK_U64_EQ(v1, v2);
	CHECK_OK(put(m, "k", "1"));
	CHECK_OK(fs_kv_get(m->fs, slice_str("k"), &b, &v3));
	CHECK_TRUE(v3 != v1);
	CHECK_OK(fs_kv_del(m->fs, slice_str("k")));
	CHECK_OK(put(m, "k", "1"));
	CHECK_OK(fs_kv_get(m->fs, slice_str("k"), &b, &v2));
	CHECK_TRUE(v2 != v1 && v2 != v3);
	buf_release(&b);
}

FSC_CASE(values_of_all_sizes)
{
	static const size_t sizes[] = {1,	   BLOCK_SIZE,	BLOCK_SIZE + 1, 128 * 1024,
				       128 * 1024 + 1, MIB,	MIB + 1,	5 * MIB + 3,
				       100,	   2 * MIB,	0};
	size_t max = 5 * MIB + 3;
	uint8_t *p = malloc(max);
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < max; i++)
		p[i] = (uint8_t)(i * 31 + i / 253);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		p[0]++;
		CHECK_OK(fs_kv_put(m->fs, &fsc_cred, slice_str("k"), slice_of(p, sizes[i]), false));
		CHECK_OK(fs_kv_get(m->fs, slice_str("k"), &b, NULL));
		CHECK_SLICE_EQ(buf_slice(&b), slice_of(p, sizes[i]));
		fsx_check(m->x, true);
	}
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 0);
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 0);
	buf_release(&b);
	free(p);
}

/* ---- several at once ---- */

FSC_CASE(mput_all_or_nothing)
{
	struct fs_kv_item items[3] = {{.path = slice_str("a/k"), .value = slice_str("1")},
				      {.path = slice_str("b/k"), .value = slice_str("2")},
				      {.path = slice_str("none/k"), .value = slice_str("3")}};
	struct fs_kv_item back[3] = {{.path = slice_str("a/k")},
				     {.path = slice_str("b/x")},
				     {.path = slice_str("b/k")}};
	fs_ino a = fsc_mkdir(m, ROOT, "a");
	struct buf store = BUF_INIT;
	uint32_t failed = 99;
	uint64_t cross;

	fsc_mkdir(m, ROOT, "b");
	CHECK_ERR(fs_kv_mput(m->fs, &fsc_cred, items, 3, false, &failed), ERR_NOT_FOUND);
	CHECK_U64_EQ(failed, 2);
	CHECK_U64_EQ(fsc_entries(m, a), 0);
	cross = m->x->cross;
	CHECK_OK(fs_kv_mput(m->fs, &fsc_cred, items, 2, false, &failed));
	CHECK_TRUE(m->x->cross <= cross + 1);
	CHECK_OK(fs_kv_mget(m->fs, back, 3, &store));
	CHECK_SLICE_EQ(back[0].value, slice_str("1"));
	CHECK_TRUE(back[1].absent && !back[0].absent);
	CHECK_SLICE_EQ(back[2].value, slice_str("2"));
	items[0].absent = true;
	items[1].value = slice_str("4");
	CHECK_OK(fs_kv_mput(m->fs, &fsc_cred, items, 2, false, &failed));
	CHECK_ERR(get_err(m, "a/k"), ERR_NOT_FOUND);
	expect(m, "b/k", "4");
	CHECK_OK(fs_kv_mput(m->fs, &fsc_cred, items + 2, 1, true, &failed));
	expect(m, "none/k", "3");
	buf_release(&store);
}

FSC_CASE(cas)
{
	struct buf now = BUF_INIT;

	CHECK_OK(fs_kv_cas(m->fs, &fsc_cred, slice_str("k"), true, slice_str(""), slice_str("1"),
			   &now));
	CHECK_ERR(fs_kv_cas(m->fs, &fsc_cred, slice_str("k"), true, slice_str(""), slice_str("2"),
			    &now),
		  ERR_CONDITION);
	CHECK_SLICE_EQ(buf_slice(&now), slice_str("1"));
	CHECK_ERR(fs_kv_cas(m->fs, &fsc_cred, slice_str("k"), false, slice_str("x"),
			    slice_str("2"), &now),
		  ERR_CONDITION);
	expect(m, "k", "1");
	CHECK_OK(fs_kv_cas(m->fs, &fsc_cred, slice_str("k"), false, slice_str("1"),
			   slice_str("2"), &now));
	expect(m, "k", "2");
	CHECK_OK(fs_kv_del(m->fs, slice_str("k")));
	CHECK_TRUE(fs_kv_cas(m->fs, &fsc_cred, slice_str("k"), false, slice_str("2"),
			     slice_str("3"), &now) != 0);
	CHECK_ERR(get_err(m, "k"), ERR_NOT_FOUND);
	buf_release(&now);
}

FSC_CASE(swap)
{
	fsc_mkdir(m, ROOT, "d");
	CHECK_OK(put(m, "k", "1"));
	CHECK_OK(put(m, "d/l", "2"));
	CHECK_OK(fs_kv_swap(m->fs, slice_str("k"), slice_str("d/l")));
	expect(m, "k", "2");
	expect(m, "d/l", "1");
	CHECK_ERR(fs_kv_swap(m->fs, slice_str("k"), slice_str("none")), ERR_NOT_FOUND);
	expect(m, "k", "2");
}

/* ---- many clients ---- */

#define COUNTERS 8u
#define ROUNDS	 10u

struct counting {
	struct fsx_mount *m[2];
	unsigned i;
};

/* Counts up by cas: an increment is lost exactly when cas lets two through. */
static void count_fiber(void *arg)
{
	struct counting *c = arg;
	struct fsx_mount *m = c->m[c->i % 2];
	struct buf now = BUF_INIT;
	char from[16], to[16];

	for (unsigned r = 0; r < ROUNDS; r++) {
		int err = fs_kv_get(m->fs, slice_str("n"), &now, NULL);

		CHECK_OK(err);
		do {
			snprintf(from, sizeof(from), "%.*s", (int)now.len,
				 (const char *)now.data);
			snprintf(to, sizeof(to), "%d", atoi(from) + 1);
			err = fs_kv_cas(m->fs, &fsc_cred, slice_str("n"), false, slice_str(from),
					slice_str(to), &now);
		} while (err == ERR_CONDITION);
		CHECK_OK(err);
	}
	buf_release(&now);
}

static void start_fiber(void *arg)
{
	CHECK_OK(put(arg, "n", "0"));
}

static void end_fiber(void *arg)
{
	expect(arg, "n", "80");
}

static void counting_by_cas_loses_nothing(void)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct fsx *x = fsx_new(4, seed);
		struct fsx_mount *m = fsx_mount(x), *n = fsx_mount(x);
		struct counting c[COUNTERS];

		fsx_call(x, start_fiber, m);
		x->delay_ns = NS_PER_MS;
		for (unsigned i = 0; i < COUNTERS; i++) {
			c[i] = (struct counting){{m, n}, i};
			fsx_start(x, count_fiber, &c[i]);
		}
		fsx_settle(x);
		fsx_call(x, end_fiber, n);
		fsx_umount_all(x);
		fsx_check(x, false);
		fsx_free(x);
	}
}

static const struct check_test tests[] = {
	CHECK_TEST(paths_are_walked),
	CHECK_TEST(symlinks_are_followed),
	CHECK_TEST(as_many_links_as_allowed),
	CHECK_TEST(where_things_are),
	CHECK_TEST(put_and_get),
	CHECK_TEST(put_makes_parents),
	CHECK_TEST(versions_change_with_the_value),
	CHECK_TEST(values_of_all_sizes),
	CHECK_TEST(mput_all_or_nothing),
	CHECK_TEST(cas),
	CHECK_TEST(swap),
	CHECK_TEST(counting_by_cas_loses_nothing),
};
CHECK_MAIN(tests)
