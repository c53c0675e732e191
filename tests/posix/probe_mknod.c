#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "tests/posix/probe.h"

static void fifos(void)
{
	int r, w;
	char c;

	DOES(mkfifo("p", 0640));
	WANT_EQ(seen("p").st_mode, S_IFIFO | 0640);
	r = open("p", O_RDONLY | O_NONBLOCK);
	w = open("p", O_WRONLY);
	WANT_EQ(write(w, "x", 1), 1);
	WANT_EQ(read(r, &c, 1), 1);
}

static void devices(void)
{
	DOES(mknod("c", S_IFCHR | 0600, makedev(1, 3)));
	DOES(mknod("b", S_IFBLK | 0600, makedev(259, 70000)));
	WANT_EQ(seen("c").st_mode, S_IFCHR | 0600);
	WANT_EQ(seen("c").st_rdev, makedev(1, 3));
	WANT_EQ(seen("b").st_rdev, makedev(259, 70000));
}

static void sockets(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "s"};
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);

	DOES(bind(s, (struct sockaddr *)&a, sizeof(a)));
	DOES(listen(s, 1));
	WANT(S_ISSOCK(seen("s").st_mode));
	DOES(connect(c, (struct sockaddr *)&a, sizeof(a)));
}

static void files(void)
{
	DOES(mknod("f", S_IFREG | 0644, 0));
	WANT(S_ISREG(seen("f").st_mode));
	DOES(mknod("g", 0644, 0));
	WANT(S_ISREG(seen("g").st_mode));
}

static long there_already(void) { return touch("f"), mkfifo("f", 0644); }
static long a_directory(void) { return mknod("d", S_IFDIR | 0755, 0); }
static long a_long_name(void) { return mkfifo(long_name(256), 0644); }
static long in_nothing(void) { return mkfifo("a/b", 0644); }

static long a_device_without_privilege(void)
{
	become(1000, 1000);
	return mknod("c", S_IFCHR | 0600, makedev(1, 3));
}

static const struct probe_case cases[] = {
	OK(fifos),
	OK(devices),
	OK(sockets),
	OK(files),
	FAILS(there_already, EEXIST),
	FAILS(a_directory, EPERM),
	FAILS(a_long_name, ENAMETOOLONG),
	FAILS(in_nothing, ENOENT),
	FAILS(a_device_without_privilege, EPERM),
};
PROBE_SUITE(mknod);
