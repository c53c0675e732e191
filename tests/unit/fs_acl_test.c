/* Access control lists: what is one, what it and the mode do to each other, what is inherited. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "fs/acl.h"
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO

/* ---- lists as text: "u:-:rwx u:7:r-- g:-:r-x m:-:r-x o:-:---" ---- */

struct list {
	uint8_t b[512];
	struct slice v;
};

static unsigned bits(const char *s)
{
	return (s[0] == 'r' ? 4u : 0) | (s[1] == 'w' ? 2u : 0) | (s[2] == 'x' ? 1u : 0);
}

static struct list *make(struct list *l, const char *text)
{
	uint8_t *p = l->b + 4;
	char kind, id[16], perm[4];
	int n = 0;

	le32_put(l->b, 2);
	for (; sscanf(text, " %c:%15[^:]:%3s%n", &kind, id, perm, &n) == 3; text += n, p += 8) {
		bool named = id[0] != '-';
		unsigned tag = kind == 'u' ? 1 : kind == 'g' ? 4 : kind == 'm' ? 16 : 32;

		le16_put(p, (uint16_t)(named ? tag << 1 : tag));
		le16_put(p + 2, (uint16_t)bits(perm));
		le32_put(p + 4, named ? (uint32_t)atoi(id) : UINT32_MAX);
	}
	l->v = slice_of(l->b, (size_t)(p - l->b));
	return l;
}

static int set(struct fsx_mount *m, fs_ino ino, const char *name, const char *text)
{
	struct list l;

	return fs_setxattr(m->fs, ino, slice_str(name), make(&l, text)->v, 0);
}

#define ACCESS	"system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

static void expect(struct fsx_mount *m, fs_ino ino, const char *name, const char *text)
{
	struct buf b = BUF_INIT;
	struct list l;

	CHECK_OK(fs_getxattr(m->fs, ino, slice_str(name), &b));
	CHECK_SLICE_EQ(buf_slice(&b), make(&l, text)->v);
	buf_release(&b);
}

static void expect_none(struct fsx_mount *m, fs_ino ino, const char *name)
{
	struct buf b = BUF_INIT;

	CHECK_ERR(fs_getxattr(m->fs, ino, slice_str(name), &b), ERR_NO_DATA);
	buf_release(&b);
}

static unsigned mode(struct fsx_mount *m, fs_ino ino)
{
	return fsc_attr(m, ino).mode & 07777;
}

/* ---- what is a list ---- */

static void lists_are_checked(void)
{
	static const struct {
		const char *text;
		int err;
	} t[] = {
		{"", 0}, /* no entries: no list */
		{"u:-:rwx g:-:r-x o:-:---", 0},
		{"u:-:rwx u:7:r-- g:-:r-x m:-:r-x o:-:---", 0},
		{"u:-:rwx u:7:r-- u:5:r-- g:-:r-x g:9:--- g:8:rwx m:-:r-x o:-:---", 0},
		{"u:-:rwx g:-:r-x m:-:r-x o:-:---", 0},
		{"u:-:rwx u:7:r-- g:-:r-x o:-:---", ERR_INVAL}, /* named ones need a mask */
		{"u:-:rwx g:-:r-x g:7:r-x o:-:---", ERR_INVAL},
		{"u:-:rwx g:-:r-x", ERR_INVAL},
		{"u:-:rwx o:-:r-x", ERR_INVAL},
		{"g:-:rwx o:-:r-x", ERR_INVAL},
		{"u:-:rwx", ERR_INVAL},
		{"u:-:rwx u:-:rwx g:-:r-x o:-:---", ERR_INVAL},
		{"u:-:rwx g:-:r-x m:-:r-- m:-:r-- o:-:---", ERR_INVAL},
		{"g:-:r-x u:-:rwx o:-:---", ERR_INVAL},
		{"u:-:rwx g:-:r-x o:-:--- m:-:r--", ERR_INVAL},
		{"u:-:rwx u:7:r-- g:-:r-x u:8:r-- m:-:r-x o:-:---", ERR_INVAL},
	};
	struct fs_acl acl;
	struct list l;
	uint8_t b[FS_ACL_SIZE_MAX];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		CHECK_ERR(fs__acl_decode(make(&l, t[i].text)->v, &acl), t[i].err);
		if (!t[i].err)
			CHECK_SLICE_EQ(fs__acl_encode(&acl, b), l.v);
	}
}

static void damaged_lists_are_refused(void)
{
	uint8_t big[FS_ACL_SIZE_MAX + FS_ACL_ENTRY] = {2};
	struct fs_acl acl;
	struct list l;

	make(&l, "u:-:rwx u:7:r-- g:-:r-x m:-:r-x o:-:---");
	for (size_t n = 0; n < l.v.len; n++)
		CHECK_ERR(fs__acl_decode(slice_of(l.b, n), &acl), n == 4 ? 0 : ERR_INVAL);
	l.b[0] = 1; /* another version */
	CHECK_ERR(fs__acl_decode(l.v, &acl), ERR_INVAL);
	l.b[0] = 2;
	l.b[6] = 8; /* more than rwx */
	CHECK_ERR(fs__acl_decode(l.v, &acl), ERR_INVAL);
	l.b[6] = 7;
	l.b[4] = 0; /* no kind, two kinds, an unknown one */
	CHECK_ERR(fs__acl_decode(l.v, &acl), ERR_INVAL);
	l.b[4] = 3;
	CHECK_ERR(fs__acl_decode(l.v, &acl), ERR_INVAL);
	l.b[4] = 64;
	CHECK_ERR(fs__acl_decode(l.v, &acl), ERR_INVAL);
	l.b[4] = 1;
	le32_put(l.b + 16, UINT32_MAX); /* nobody */
	CHECK_ERR(fs__acl_decode(l.v, &acl), ERR_INVAL);
	CHECK_ERR(fs__acl_decode(slice_of(big, sizeof(big)), &acl), ERR_TOO_BIG);
}

/* Draft 17, 23.1.5: no entry lets through more than the mode asked for, and named ones are masked.
 */
static void creation_against_the_rule(void)
{
	for (unsigned i = 0; i < 0x8000; i++) {
		unsigned owner = i & 7, group = i >> 3 & 7, other = i >> 6 & 7, asked = i * 7 % 512;
		unsigned mask = i >> 9 & 7;
		bool masked = i >> 12 & 1;
		struct fs_acl acl = {.count = 0};
		uint16_t perm = (uint16_t)asked, want;

		acl.e[acl.count++] =
			(struct fs_acl_entry){FS_ACL_USER_OBJ, (uint16_t)owner, UINT32_MAX};
		acl.e[acl.count++] =
			(struct fs_acl_entry){FS_ACL_GROUP_OBJ, (uint16_t)group, UINT32_MAX};
		if (masked)
			acl.e[acl.count++] =
				(struct fs_acl_entry){FS_ACL_MASK, (uint16_t)mask, UINT32_MAX};
		acl.e[acl.count++] =
			(struct fs_acl_entry){FS_ACL_OTHER, (uint16_t)other, UINT32_MAX};
		want = (uint16_t)((owner << 6 | (masked ? mask : group) << 3 | other) & asked);
		if (fs__acl_create(&acl, &perm) == masked || perm != want ||
		    acl.e[0].perm != (want >> 6 & 7) ||
		    acl.e[1].perm != (masked ? group : (want >> 3 & 7u)) ||
		    (masked && acl.e[2].perm != (want >> 3 & 7)) ||
		    acl.e[acl.count - 1].perm != (want & 7)) {
			CHECK_U64_EQ(i, UINT64_MAX); /* says which */
			return;
		}
	}
}

/* ---- the list and the mode ---- */

FSC_CASE(a_list_sets_the_mode_and_chmod_sets_the_list)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_attr in = {.mode = 0640}, out;

	CHECK_OK(set(m, f, ACCESS, "u:-:rwx u:7:rw- g:-:r-- m:-:rw- o:-:r--"));
	CHECK_U64_EQ(mode(m, f), 0764);
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE, &in, &out));
	CHECK_U64_EQ(out.mode & 07777, 0640);
	expect(m, f, ACCESS, "u:-:rw- u:7:rw- g:-:r-- m:-:r-- o:-:---");
	/* of what the mode says as well nothing is kept, and the mode stays when the list goes */
	CHECK_OK(fs_removexattr(m->fs, f, slice_str(ACCESS)));
	CHECK_U64_EQ(mode(m, f), 0640);
	CHECK_OK(fs_removexattr(m->fs, f, slice_str(ACCESS)));
	CHECK_OK(set(m, f, ACCESS, "u:-:rwx u:7:rw- g:-:r-- m:-:rw- o:-:r--"));
	CHECK_OK(set(m, f, ACCESS, "u:-:r-x g:-:-w- o:-:--x"));
	CHECK_U64_EQ(mode(m, f), 0521);
	expect_none(m, f, ACCESS);
	CHECK_OK(set(m, f, ACCESS, "u:-:r-- g:-:r-- m:-:rwx o:-:---"));
	CHECK_U64_EQ(mode(m, f), 0470);
	CHECK_OK(set(m, f, ACCESS, "")); /* no entries: as if removed */
	expect_none(m, f, ACCESS);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
}

static bool in_no_group(void *ctx, uint32_t gid)
{
	(void)ctx;
	(void)gid;
	return false;
}
static const struct fs_writer outsider = {.in_group = in_no_group};

FSC_CASE(set_id_bits_stay_unless_the_caller_may_not_keep_setgid)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_attr in = {.mode = 06755}, out;
	struct list l;

	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE, &in, &out));
	CHECK_OK(set(m, f, ACCESS, "u:-:rwx u:7:rw- g:-:r-- m:-:rw- o:-:r--"));
	CHECK_U64_EQ(mode(m, f), 06764);
	make(&l, "u:-:rwx g:-:r-x o:-:---");
	CHECK_OK(fs_setxattr_by(m->fs, f, slice_str(ACCESS), l.v, 0, &outsider));
	CHECK_U64_EQ(mode(m, f), 04750);
}

static bool in_group_55(void *ctx, uint32_t gid)
{
	(void)ctx;
	return gid == 55;
}

/* Whether the group is the caller's is asked of the group that the file has when the list is set. */
FSC_CASE(setgid_of_a_group_that_another_mount_just_gave)
{
	static const struct fs_writer member = {.in_group = in_group_55};
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_attr in = {.mode = 02755, .gid = 55}, out;
	struct list l;

	CHECK_OK(fs_setattr(m->fs, f, FS_SET_GID, &in, &out));
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE, &in, &out));
	make(&l, "u:-:rwx u:7:rw- g:-:r-x m:-:r-x o:-:r-x"); /* the bits that there are */
	CHECK_OK(fs_setxattr_by(m->fs, f, slice_str(ACCESS), l.v, 0, &member));
	CHECK_U64_EQ(mode(m, f), 02755);
	in.gid = 66;
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_GID, &in, &out)); /* m does not know it */
	CHECK_U64_EQ(out.mode & 07777, 02755);
	CHECK_OK(fs_setxattr_by(m->fs, f, slice_str(ACCESS), l.v, 0, &member));
	CHECK_U64_EQ(mode(n, f), 0755);
}

FSC_CASE(who_can_have_one)
{
	fs_ino f = fsc_file(m, ROOT, "f", ""), d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr a;

	CHECK_ERR(set(m, f, DEFAULT, "u:-:rwx g:-:r-x o:-:---"), ERR_ACCESS);
	CHECK_OK(fs_removexattr(m->fs, f, slice_str(DEFAULT)));
	CHECK_OK(set(m, d, DEFAULT, "u:-:rwx g:-:r-x o:-:---"));
	expect(m, d, DEFAULT, "u:-:rwx g:-:r-x o:-:---"); /* kept, though the shortest */
	CHECK_U64_EQ(mode(m, d), 0755);
	CHECK_ERR(set(m, d, ACCESS, "u:-:rwx"), ERR_INVAL);
	CHECK_ERR(set(m, 4711, ACCESS, "u:-:rwx g:-:r-x o:-:---"), ERR_STALE);
	CHECK_OK(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("s"), slice_str("t"), &a));
	CHECK_ERR(set(m, a.ino, ACCESS, "u:-:rwx g:-:r-x o:-:---"), ERR_UNSUPPORTED);
	CHECK_ERR(fs_removexattr(m->fs, a.ino, slice_str(ACCESS)), ERR_UNSUPPORTED);
	CHECK_OK(fs_removexattr(m->fs, d, slice_str(DEFAULT)));
	expect_none(m, d, DEFAULT);
}

/* ---- inheritance ---- */

static fs_ino make_with(struct fsx_mount *m, fs_ino dir, const char *name, unsigned perm,
			unsigned umask)
{
	struct fs_cred cred = {.uid = 1000, .gid = 100, .umask = umask};
	struct fs_attr a;

	CHECK_OK(fs_mknod(m->fs, &cred, dir, slice_str(name), S_IFREG | perm, 0, &a));
	CHECK_U64_EQ(a.mode, fsc_attr(m, a.ino).mode);
	return a.ino;
}

#define GIVEN "u:-:rwx u:7:rwx g:-:r-x m:-:rwx o:-:r-x"

FSC_CASE(what_is_made_inherits)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f, sub;
	struct fs_cred cred = {.uid = 1000, .gid = 100, .umask = 077};
	struct fs_file *file;
	struct fs_attr a;

	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	f = make_with(m, d, "f", 0664, 077); /* the umask has no say */
	CHECK_U64_EQ(mode(m, f), 0664);
	expect(m, f, ACCESS, "u:-:rw- u:7:rwx g:-:r-x m:-:rw- o:-:r--");
	expect_none(m, f, DEFAULT);
	CHECK_OK(fs_mkdir(m->fs, &cred, d, slice_str("sub"), 0700, &a));
	sub = a.ino;
	CHECK_U64_EQ(mode(m, sub), 0700);
	expect(m, sub, ACCESS, "u:-:rwx u:7:rwx g:-:r-x m:-:--- o:-:---");
	expect(m, sub, DEFAULT, GIVEN);
	CHECK_OK(fs_create(m->fs, &cred, sub, slice_str("c"), 0666, FS_O_WRITE, &a, &file));
	CHECK_U64_EQ(a.mode & 07777, 0664);
	expect(m, a.ino, ACCESS, "u:-:rw- u:7:rwx g:-:r-x m:-:rw- o:-:r--");
	fs_file_close(file);
	CHECK_OK(fs_symlink(m->fs, &cred, d, slice_str("s"), slice_str("t"), &a));
	CHECK_U64_EQ(a.mode & 0777, 0777);
	expect_none(m, a.ino, ACCESS);
	CHECK_OK(fs_kv_put(m->fs, &cred, slice_str("/d/k/v"), slice_str("x"), true));
	CHECK_OK(fs_path_lookup(m->fs, slice_str("/d/k"), true, &a));
	expect(m, a.ino, DEFAULT, GIVEN);
	CHECK_OK(fs_path_lookup(m->fs, slice_str("/d/k/v"), true, &a));
	CHECK_U64_EQ(a.mode & 0777, 0664);
	expect(m, a.ino, ACCESS, "u:-:rw- u:7:rwx g:-:r-x m:-:rw- o:-:r--");
	CHECK_OK(fs_removexattr(m->fs, d, slice_str(DEFAULT)));
	CHECK_U64_EQ(mode(m, make_with(m, d, "g", 0664, 077)), 0600);
}

FSC_CASE(a_short_default_list_leaves_only_a_mode)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f;

	CHECK_OK(set(m, d, DEFAULT, "u:-:rw- g:-:rw- o:-:---"));
	f = make_with(m, d, "f", 0777, 022);
	CHECK_U64_EQ(mode(m, f), 0660);
	expect_none(m, f, ACCESS);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 1);
}

FSC_CASE(setgid_and_a_default_list)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr in = {.mode = 02777, .gid = 55}, a;

	CHECK_OK(fs_setattr(m->fs, d, FS_SET_MODE | FS_SET_GID, &in, &a));
	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	CHECK_OK(fs_mkdir(m->fs, &fsc_cred, d, slice_str("sub"), 0750, &a));
	CHECK_U64_EQ(a.mode & 07777, 02750);
	CHECK_U64_EQ(a.gid, 55);
}

/* The other mount's picture of the directory is old: what is made follows the list all the same. */
FSC_CASE(the_list_of_the_moment_counts)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f;

	(void)fsc_attr(n, d);
	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	f = make_with(n, d, "f1", 0666, 0);
	expect(n, f, ACCESS, "u:-:rw- u:7:rwx g:-:r-x m:-:rw- o:-:r--");
	CHECK_OK(set(m, d, DEFAULT, "u:-:rwx g:-:--- o:-:---"));
	CHECK_U64_EQ(mode(n, make_with(n, d, "f2", 0666, 0)), 0600);
	CHECK_OK(fs_removexattr(m->fs, d, slice_str(DEFAULT)));
	CHECK_U64_EQ(mode(n, make_with(n, d, "f3", 0666, 022)), 0644);
}

/* The kernel checked with another access list: it has to look again. */
FSC_CASE(another_access_list_is_another_permission)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr a;

	CHECK_OK(set(m, d, ACCESS, "u:-:rwx u:7:rwx g:-:r-x m:-:rwx o:-:r-x"));
	(void)fsc_attr(n, d);
	CHECK_OK(set(m, d, ACCESS, "u:-:rwx u:8:rwx g:-:r-x m:-:rwx o:-:r-x")); /* the same mode */
	CHECK_ERR(fs_mkdir(n->fs, &fsc_cred, d, slice_str("x"), 0755, &a), ERR_STALE);
	CHECK_OK(fs_mkdir(n->fs, &fsc_cred, d, slice_str("x"), 0755, &a));
	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	CHECK_OK(set(m, d, DEFAULT, "u:-:rwx g:-:--- o:-:---"));
}

/* chmod through a mount that does not know of the list. */
FSC_CASE(chmod_of_the_unknown)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_attr in = {.mode = 0700, .size = 1}, a;

	(void)fsc_attr(n, f);
	CHECK_OK(set(m, f, ACCESS, "u:-:rwx u:7:rw- g:-:r-- m:-:rw- o:-:r--"));
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_MODE, &in, &a));
	expect(m, f, ACCESS, "u:-:rwx u:7:rw- g:-:r-- m:-:--- o:-:---");
	in.mode = 0666;
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_MODE | FS_SET_SIZE, &in, &a));
	CHECK_U64_EQ(a.size, 1);
	CHECK_U64_EQ(a.mode & 07777, 0666);
	expect(m, f, ACCESS, "u:-:rw- u:7:rw- g:-:r-- m:-:rw- o:-:rw-");
	CHECK_OK(fs_removexattr(m->fs, f, slice_str(ACCESS)));
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_MODE, &in, &a));
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
}

/* ---- another mount changes the list between the look and the change ---- */

static struct {
	struct fsx_mount *m;
	fs_ino ino;
	const char *name, *text;
	uint64_t at; /* before that execution of all */
} rival;

static void interfere(struct fsx *x, const struct txn_mini *mini)
{
	(void)mini;
	if (x->execs < rival.at || !rival.text)
		return;
	CHECK_OK(set(rival.m, rival.ino, rival.name, rival.text));
	rival.text = NULL;
}

static void arm(struct fsx_mount *by, fs_ino ino, const char *name, const char *text, uint64_t in)
{
	rival.m = by;
	rival.ino = ino;
	rival.name = name;
	rival.text = text;
	rival.at = by->x->execs + in;
	by->x->before = interfere;
}

FSC_CASE(a_default_list_that_changes_meanwhile)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f;

	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	(void)fsc_attr(n, d);
	(void)make_with(n, d, "warm", 0666, 0);
	arm(m, d, DEFAULT, "u:-:rwx u:9:r-- g:-:r-x m:-:rwx o:-:---",
	    1); /* read before, made after */
	f = make_with(n, d, "f", 0666, 0);
	CHECK_TRUE(!rival.text);
	CHECK_U64_EQ(mode(n, f), 0660);
	expect(n, f, ACCESS, "u:-:rw- u:9:r-- g:-:r-x m:-:rw- o:-:---");
}

/* What is known of the directory goes back, by an answer that comes late, while inode numbers are got
 * between the first item and the second. */
static struct fs_inode before_the_list;

static void late_answer(struct fsx *x, const struct txn_mini *mini)
{
	(void)x;
	if (mini->mut_count > 0)
		fs__hint_inode_set(rival.m->fs, rival.ino, &before_the_list);
}

FSC_CASE(files_made_together_inherit_the_same)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_kv_item items[2] = {{.path = slice_str("/d/a"), .value = slice_str("1")},
				      {.path = slice_str("/d/b"), .value = slice_str("2")}};
	struct fs_cred cred = fsc_cred;
	struct fs_attr a;

	CHECK_OK(fs__inode_get(n->fs, d, &before_the_list));
	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	(void)fsc_attr(n, d);
	rival.m = n;
	rival.ino = d;
	m->x->before = late_answer;
	CHECK_OK(fs_kv_mput(n->fs, &cred, items, 2, false, NULL));
	m->x->before = NULL;
	for (int i = 0; i < 2; i++) {
		CHECK_OK(fs_path_lookup(m->fs, items[i].path, true, &a));
		expect(m, a.ino, ACCESS, "u:-:rw- u:7:rwx g:-:r-x m:-:rw- o:-:r--");
	}
}

FSC_CASE(chmod_of_a_list_that_changes_meanwhile)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_attr in = {.mode = 0600}, a;

	CHECK_OK(set(m, f, ACCESS, "u:-:rwx u:7:rw- g:-:r-- m:-:rw- o:-:r--"));
	(void)fsc_attr(n, f);
	arm(m, f, ACCESS, "u:-:rwx u:8:r-x g:-:-w- m:-:rw- o:-:r--", 1); /* the same mode */
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_MODE, &in, &a));
	CHECK_TRUE(!rival.text);
	expect(n, f, ACCESS, "u:-:rw- u:8:r-x g:-:-w- m:-:--- o:-:---");
	arm(m, f, ACCESS, "u:-:rwx u:9:r-x g:-:-w- m:-:rw- o:-:r--", 0); /* a list against a list */
	CHECK_OK(set(n, f, ACCESS, "u:-:r-- u:6:r-x g:-:-w- m:-:r-- o:-:r--"));
	expect(n, f, ACCESS, "u:-:r-- u:6:r-x g:-:-w- m:-:r-- o:-:r--");
	CHECK_U64_EQ(mode(m, f), 0444);
}

FSC_CASE(lists_go_with_their_file)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");

	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	(void)make_with(m, d, "f", 0666, 0);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 2);
	CHECK_OK(fsc_unlink(m, d, "f"));
	CHECK_OK(fsc_rmdir(m, ROOT, "d"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
}

/* No request more than without lists, where there are none. */
FSC_CASE(directories_without_one_cost_nothing)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr in = {.mode = 0600}, a;
	uint64_t before;

	(void)make_with(m, d, "warm", 0666, 0);
	before = m->x->execs;
	(void)fs_mknod(m->fs, &fsc_cred, d, slice_str("f"), S_IFREG | 0666, 0, &a);
	CHECK_U64_EQ(m->x->execs, before + 1);
	CHECK_OK(fs_setattr(m->fs, a.ino, FS_SET_MODE, &in, &a));
	CHECK_U64_EQ(m->x->execs, before + 2);
	CHECK_OK(set(m, d, DEFAULT, GIVEN));
	before = m->x->execs;
	(void)fs_mknod(m->fs, &fsc_cred, d, slice_str("g"), S_IFREG | 0666, 0, &a);
	CHECK_U64_EQ(m->x->execs, before + 2);
}

static const struct check_test tests[] = {
	CHECK_TEST(lists_are_checked),
	CHECK_TEST(damaged_lists_are_refused),
	CHECK_TEST(creation_against_the_rule),
	CHECK_TEST(a_list_sets_the_mode_and_chmod_sets_the_list),
	CHECK_TEST(set_id_bits_stay_unless_the_caller_may_not_keep_setgid),
	CHECK_TEST(setgid_of_a_group_that_another_mount_just_gave),
	CHECK_TEST(who_can_have_one),
	CHECK_TEST(what_is_made_inherits),
	CHECK_TEST(a_short_default_list_leaves_only_a_mode),
	CHECK_TEST(setgid_and_a_default_list),
	CHECK_TEST(the_list_of_the_moment_counts),
	CHECK_TEST(another_access_list_is_another_permission),
	CHECK_TEST(chmod_of_the_unknown),
	CHECK_TEST(a_default_list_that_changes_meanwhile),
	CHECK_TEST(files_made_together_inherit_the_same),
	CHECK_TEST(chmod_of_a_list_that_changes_meanwhile),
	CHECK_TEST(lists_go_with_their_file),
	CHECK_TEST(directories_without_one_cost_nothing),
};
CHECK_MAIN(tests)
