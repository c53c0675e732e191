/* What -o takes, and what it refuses. */
#include "base/err.h"
#include "mount/mount.h"
#include "tests/lib/check.h"

static struct mount_options o;

static void setup(void)
{
	mount_options_default(&o, true);
}

static void teardown(void)
{
	mount_options_release(&o);
}

static void defaults_of_root_and_of_others(void)
{
	struct mount_options u;

	CHECK_TRUE(o.allow_other && o.suid && o.dev && o.default_permissions && !o.read_only);
	mount_options_default(&u, false);
	CHECK_TRUE(!u.allow_other && !u.suid && !u.dev && u.default_permissions);
	mount_options_release(&u);
}

static void takes_what_it_knows(void)
{
	struct msg m = {""};

	CHECK_OK(mount_options_parse(&o, "ro,noatime,nosuid,timeout=1.5,max_background=9", &m));
	CHECK_TRUE(o.read_only && o.noatime && !o.suid);
	CHECK_U64_EQ(o.timeout_ns, 1500000000u);
	CHECK_U64_EQ(o.max_background, 9);
	CHECK_U64_EQ(o.max_inodes, 1000000);
	CHECK_OK(mount_options_parse(&o, "max_inodes=100,noprune", &m));
	CHECK_U64_EQ(o.max_inodes, 100);
	CHECK_TRUE(o.no_prune);
	CHECK_U64_EQ(o.session_ns, 60000000000u);
	CHECK_OK(mount_options_parse(&o, "session_timeout=5", &m));
	CHECK_U64_EQ(o.session_ns, 5000000000u);
	CHECK_OK(mount_options_parse(&o, "rw,fsname=x,sync,dirsync", &m));
	CHECK_FALSE(o.read_only);
	CHECK_STR_EQ(o.fsname, "x");
	CHECK_STR_EQ(o.kernel, "sync,dirsync");
	CHECK_FALSE(o.strictatime);
	CHECK_OK(mount_options_parse(&o, "strictatime", &m));
	CHECK_TRUE(o.strictatime);
	CHECK_OK(mount_options_parse(&o, "nostrictatime", &m));
	CHECK_FALSE(o.strictatime);
}

static void drops_what_mount_hands_to_everybody(void)
{
	struct msg m = {""};

	CHECK_OK(mount_options_parse(&o,
				     "defaults,auto,noauto,user,users,owner,group,nofail,_netdev,"
				     "comment=a b,x-systemd.automount,,",
				     &m));
	CHECK_NULL(o.kernel);
}

static void the_last_word_on_access_times_counts(void)
{
	static const struct {
		const char *list;
		bool noatime, strictatime;
	} cases[] = {
		{"relatime", false, false},	       {"noatime", true, false},
		{"strictatime", false, true},	       {"noatime,strictatime", false, true},
		{"strictatime,noatime", true, false},  {"noatime,relatime", false, false},
		{"strictatime,atime", false, false},   {"norelatime", false, false},
		{"strictatime,nostrictatime", false, false},
		{"strictatime,lazytime,nodiratime,silent", false, true},
	};
	struct msg m = {""};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		o.noatime = o.strictatime = false;
		CHECK_OK(mount_options_parse(&o, cases[i].list, &m));
		CHECK_TRUE(o.noatime == cases[i].noatime && o.strictatime == cases[i].strictatime);
		CHECK_NULL(o.kernel); /* libfuse knows none of these */
	}
}

static void refuses_the_unknown_by_name(void)
{
	static const char *const bad[] = {"frob", "ro,timeout=soon", "max_background=0",
					  "timeout=", "timeout=-1", "max_background=x",
					  "max_inodes=99", "max_inodes=4294967296", "max_inodes=-1",
					  "session_timeout=4.9", "session_timeout=3601",
					  "session_timeout="};
	struct msg m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		m.text[0] = '\0';
		CHECK_ERR(mount_options_parse(&o, bad[i], &m), ERR_USAGE);
		CHECK_TRUE(m.text[0] != '\0');
	}
	CHECK_ERR(mount_options_parse(&o, "ro,frob=1", &m), ERR_USAGE);
	CHECK_CONTAINS(m.text, "\"frob=1\"");
}

static void names_what_is_wrong_with_a_mount_point(void)
{
	struct msg m = {""};

	CHECK_TRUE(mount_check_point("/no/such/place", &m) != 0);
	CHECK_CONTAINS(m.text, "/");
	CHECK_TRUE(mount_check_point("/proc", &m) != 0);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, defaults_of_root_and_of_others),
	CHECK_TEST_WITH(setup, teardown, takes_what_it_knows),
	CHECK_TEST_WITH(setup, teardown, drops_what_mount_hands_to_everybody),
	CHECK_TEST_WITH(setup, teardown, the_last_word_on_access_times_counts),
	CHECK_TEST_WITH(setup, teardown, refuses_the_unknown_by_name),
	CHECK_TEST(names_what_is_wrong_with_a_mount_point),
};
CHECK_MAIN(tests)
