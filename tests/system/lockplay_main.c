/* Locks as processes see them, from two mounts: lockplay MNT MNT2 PLAY. Each player is a process that
 * does what the play tells it and answers with an errno; a play that goes wrong says where, and exits 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILES	8
#define WAIT_MS 10000 /* for an answer that must come */
#define STILL_MS 300  /* no answer for so long: it waits */

enum what { OPEN, CLOSE, DUP, FLOCK, SET, GET, WRITE, READ };

struct order {
	enum what what;
	int slot, arg, type; /* arg: flags of flock, command of fcntl, the other slot */
	off_t start, len;
	char path[512];
};

struct answer {
	int err;
	struct flock found;
};

struct player {
	pid_t pid;
	int fd;
	const char *dir;
};

static const char *mounts[2];

static void on_signal(int signum)
{
	(void)signum;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int act(const struct order *o, int fds[FILES], struct flock *found)
{
	struct flock l = {.l_type = (short)o->type, .l_start = o->start, .l_len = o->len};
	char byte;
	int rc = 0;

	switch (o->what) {
	case OPEN: rc = fds[o->slot] = open(o->path, o->arg | O_CREAT | O_CLOEXEC, 0644); break;
	case CLOSE: rc = close(fds[o->slot]); break;
	case DUP: rc = fds[o->slot] = dup(fds[o->arg]); break;
	case FLOCK: rc = flock(fds[o->slot], o->arg); break;
	case SET:
	case GET:
		rc = fcntl(fds[o->slot], o->arg, &l);
		*found = l;
		break;
	case WRITE: rc = pwrite(fds[o->slot], "w", 1, o->start) == 1 ? 0 : -1; break;
	case READ: rc = pread(fds[o->slot], &byte, 1, o->start) < 0 ? -1 : 0; break;
	}
	return rc < 0 ? errno : 0;
}

static void player_main(int fd)
{
	struct sigaction sa = {.sa_handler = on_signal}; /* without SA_RESTART */
	int fds[FILES];
	struct order o;

	sigaction(SIGUSR1, &sa, NULL);
	while (read(fd, &o, sizeof(o)) == sizeof(o)) {
		struct answer a = {0};

		a.err = act(&o, fds, &a.found);
		if (write(fd, &a, sizeof(a)) != sizeof(a))
			break;
	}
	_exit(0);
}

static struct player enter(int mount)
{
	struct player p = {.dir = mounts[mount]};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		exit(2);
	p.pid = fork();
	if (p.pid == 0) {
		close(pair[0]);
		player_main(pair[1]);
	}
	close(pair[1]);
	p.fd = pair[0];
	return p;
}

static void leave(struct player *p, int signum)
{
	kill(p->pid, signum);
	waitpid(p->pid, NULL, 0);
	close(p->fd);
}

static void tell(struct player *p, struct order o)
{
	if (write(p->fd, &o, sizeof(o)) != sizeof(o))
		exit(2);
}

static int hear(struct player *p, int ms, struct answer *a)
{
	struct pollfd f = {.fd = p->fd, .events = POLLIN};

	if (poll(&f, 1, ms) != 1)
		return -1;
	return read(p->fd, a, sizeof(*a)) == sizeof(*a) ? a->err : -1;
}

static int ask(struct player *p, struct order o)
{
	struct answer a;

	tell(p, o);
	return hear(p, WAIT_MS, &a);
}

#define EXPECT(what, want)                                                                         \
	do {                                                                                       \
		int got_ = (what), want_ = (want);                                                 \
		if (got_ != want_) {                                                               \
			fprintf(stderr, "line %d: %s: %s, not %s\n", __LINE__, #what,              \
				got_ < 0 ? "no answer" : strerror(got_),                           \
				want_ < 0 ? "no answer" : strerror(want_));                        \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static int op(struct player *p, int slot, const char *name)
{
	struct order o = {.what = OPEN, .slot = slot, .arg = O_RDWR};

	snprintf(o.path, sizeof(o.path), "%s/%s", p->dir, name);
	return ask(p, o);
}

static struct order flocking(int slot, int how)
{
	return (struct order){.what = FLOCK, .slot = slot, .arg = how};
}

static struct order range(int slot, int command, int type, off_t start, off_t len)
{
	return (struct order){
		.what = SET, .slot = slot, .arg = command, .type = type, .start = start, .len = len};
}

static struct order simple(enum what what, int slot)
{
	return (struct order){.what = what, .slot = slot};
}

static int waits(struct player *p)
{
	struct answer a;

	return hear(p, STILL_MS, &a);
}

static int answers(struct player *p)
{
	struct answer a;

	return hear(p, WAIT_MS, &a);
}

/* ---- plays ---- */

static void play_flock(void)
{
	struct player a = enter(0), b = enter(1), c = enter(0);

	EXPECT(op(&a, 0, "flock"), 0);
	EXPECT(op(&b, 0, "flock"), 0);
	EXPECT(op(&c, 0, "flock"), 0);
	EXPECT(ask(&a, flocking(0, LOCK_EX | LOCK_NB)), 0);
	EXPECT(ask(&b, flocking(0, LOCK_SH | LOCK_NB)), EWOULDBLOCK);
	EXPECT(ask(&c, flocking(0, LOCK_SH | LOCK_NB)), EWOULDBLOCK); /* the same mount */
	EXPECT(ask(&a, flocking(0, LOCK_SH)), 0);
	EXPECT(ask(&b, flocking(0, LOCK_SH | LOCK_NB)), 0);
	EXPECT(ask(&a, flocking(0, LOCK_EX | LOCK_NB)), EWOULDBLOCK);
	EXPECT(ask(&b, flocking(0, LOCK_UN)), 0);
	EXPECT(ask(&a, flocking(0, LOCK_EX | LOCK_NB)), 0);
	leave(&a, SIGTERM);
	EXPECT(ask(&c, flocking(0, LOCK_EX)), 0);
	leave(&b, SIGTERM);
	leave(&c, SIGTERM);
}

static void play_ranges(void)
{
	struct player a = enter(0), b = enter(1);
	struct order get = {.what = GET, .arg = F_GETLK, .type = F_WRLCK};
	struct answer found;

	EXPECT(op(&a, 0, "ranges"), 0);
	EXPECT(op(&b, 0, "ranges"), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 10, 10)), 0);
	EXPECT(ask(&b, range(0, F_SETLK, F_WRLCK, 19, 1)), EAGAIN);
	EXPECT(ask(&b, range(0, F_SETLK, F_RDLCK, 0, 0)), EAGAIN);
	EXPECT(ask(&b, range(0, F_SETLK, F_WRLCK, 20, 0)), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_RDLCK, 1000000, 1)), EAGAIN);
	tell(&b, get);
	EXPECT(hear(&b, WAIT_MS, &found), 0);
	if (found.found.l_type != F_WRLCK || found.found.l_start != 10 || found.found.l_len != 10)
		exit(3);
	EXPECT(ask(&a, range(0, F_SETLK, F_UNLCK, 12, 2)), 0); /* a hole */
	EXPECT(ask(&b, range(0, F_SETLK, F_RDLCK, 12, 2)), 0);
	EXPECT(ask(&b, range(0, F_SETLK, F_RDLCK, 11, 2)), EAGAIN);
	EXPECT(ask(&a, range(0, F_SETLK, F_RDLCK, 10, 10)), 0); /* down, over the other's hole */
	EXPECT(ask(&b, range(0, F_SETLK, F_RDLCK, 0, 30)), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 12, 1)), EAGAIN);
	leave(&a, SIGTERM);
	leave(&b, SIGTERM);
}

static void play_wake(void)
{
	struct player a = enter(0), b = enter(1);
	long begin, sum = 0, worst = 0;

	EXPECT(op(&a, 0, "wake"), 0);
	EXPECT(op(&b, 0, "wake"), 0);
	for (int i = 0; i < 10; i++) {
		EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 0, 0)), 0);
		tell(&b, range(0, F_SETLKW, F_WRLCK, 5, 1));
		EXPECT(waits(&b), -1);
		begin = now_ms();
		EXPECT(ask(&a, range(0, F_SETLK, F_UNLCK, 0, 0)), 0);
		EXPECT(answers(&b), 0);
		begin = now_ms() - begin;
		sum += begin;
		worst = begin > worst ? begin : worst;
		EXPECT(ask(&b, range(0, F_SETLK, F_UNLCK, 0, 0)), 0);
	}
	printf("from unlock to the other mount's lock: %ld ms, worst %ld ms\n", sum / 10, worst);
	leave(&a, SIGTERM);
	leave(&b, SIGTERM);
}

static void play_signal(void)
{
	struct player a = enter(0), b = enter(1);
	long begin;

	EXPECT(op(&a, 0, "signal"), 0);
	EXPECT(op(&b, 0, "signal"), 0);
	EXPECT(ask(&a, flocking(0, LOCK_EX)), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 0, 0)), 0);
	for (int i = 0; i < 4; i++) {
		tell(&b, i % 2 ? flocking(0, LOCK_SH) : range(0, F_SETLKW, F_RDLCK, 0, 1));
		EXPECT(waits(&b), -1);
		begin = now_ms();
		kill(b.pid, SIGUSR1);
		EXPECT(answers(&b), EINTR);
		begin = now_ms() - begin;
		if (begin > 700) { /* other requests are given a second */
			fprintf(stderr, "the signal took %ld ms\n", begin);
			exit(1);
		}
	}
	tell(&b, flocking(0, LOCK_EX)); /* and SIGKILL frees the process */
	EXPECT(waits(&b), -1);
	leave(&b, SIGKILL);
	EXPECT(ask(&a, flocking(0, LOCK_UN)), 0);
	EXPECT(ask(&a, flocking(0, LOCK_EX | LOCK_NB)), 0); /* nobody waits any more */
	leave(&a, SIGTERM);
}

static void play_deadlock(void)
{
	struct player a = enter(0), b = enter(1), c = enter(0);

	EXPECT(op(&a, 0, "dead1") | op(&a, 1, "dead2") | op(&b, 0, "dead1") | op(&b, 1, "dead2"), 0);
	EXPECT(op(&c, 0, "dead1") | op(&c, 1, "dead2"), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 0, 0)), 0);
	EXPECT(ask(&b, range(1, F_SETLK, F_WRLCK, 0, 0)), 0);
	tell(&a, range(1, F_SETLKW, F_WRLCK, 0, 0));
	EXPECT(waits(&a), -1);
	tell(&c, range(1, F_SETLKW, F_WRLCK, 0, 0)); /* no circle: it holds nothing */
	EXPECT(waits(&c), -1);
	EXPECT(ask(&b, range(0, F_SETLKW, F_WRLCK, 5, 1)), EDEADLK);
	EXPECT(waits(&a), -1);
	EXPECT(ask(&b, range(1, F_SETLK, F_UNLCK, 0, 0)), 0);
	EXPECT(answers(&a), 0);
	EXPECT(ask(&a, range(1, F_SETLK, F_UNLCK, 0, 0)), 0);
	EXPECT(answers(&c), 0);
	leave(&a, SIGTERM);
	leave(&b, SIGTERM);
	leave(&c, SIGTERM);
}

static void play_descriptions(void)
{
	struct player a = enter(0), b = enter(1);

	EXPECT(op(&a, 0, "ofd1") | op(&a, 1, "ofd1") | op(&a, 2, "ofd2"), 0);
	EXPECT(op(&b, 0, "ofd1") | op(&b, 2, "ofd2"), 0);
	EXPECT(ask(&a, range(0, F_OFD_SETLK, F_WRLCK, 0, 10)), 0);
	EXPECT(ask(&a, range(1, F_OFD_SETLK, F_WRLCK, 5, 1)), EAGAIN); /* one process, two opens */
	EXPECT(ask(&b, range(0, F_SETLK, F_WRLCK, 5, 1)), EAGAIN);	 /* they meet POSIX locks */
	EXPECT(ask(&a, (struct order){.what = DUP, .slot = 3, .arg = 0}), 0);
	EXPECT(ask(&a, simple(CLOSE, 1)), 0); /* another open, and a duplicate: it stays */
	EXPECT(ask(&a, simple(CLOSE, 0)), 0);
	EXPECT(ask(&b, range(0, F_SETLK, F_WRLCK, 5, 1)), EAGAIN);
	EXPECT(ask(&a, simple(CLOSE, 3)), 0);
	EXPECT(ask(&b, range(0, F_SETLKW, F_WRLCK, 5, 1)), 0); /* RELEASE is not waited for */
	EXPECT(ask(&b, range(0, F_SETLK, F_UNLCK, 5, 1)), 0);
	EXPECT(op(&a, 0, "ofd1"), 0); /* a circle of descriptions is none */
	EXPECT(ask(&a, range(0, F_OFD_SETLK, F_WRLCK, 0, 1)), 0);
	EXPECT(ask(&b, range(2, F_OFD_SETLK, F_WRLCK, 0, 1)), 0);
	tell(&a, range(2, F_OFD_SETLKW, F_WRLCK, 0, 1));
	EXPECT(waits(&a), -1);
	tell(&b, range(0, F_OFD_SETLKW, F_WRLCK, 0, 1));
	EXPECT(waits(&b), -1);
	kill(b.pid, SIGUSR1);
	EXPECT(answers(&b), EINTR);
	leave(&b, SIGTERM);
	EXPECT(answers(&a), 0);
	leave(&a, SIGTERM);
}

static void play_close(void)
{
	struct player a = enter(0), b = enter(1);

	EXPECT(op(&a, 0, "close") | op(&a, 1, "close") | op(&b, 0, "close"), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 0, 0)), 0);
	EXPECT(ask(&b, range(0, F_SETLK, F_WRLCK, 0, 0)), EAGAIN);
	EXPECT(ask(&a, simple(CLOSE, 1)), 0); /* any close of the process ends its POSIX locks */
	EXPECT(ask(&b, range(0, F_SETLK, F_WRLCK, 0, 0)), 0);
	EXPECT(ask(&b, range(0, F_SETLK, F_UNLCK, 0, 0)), 0);
	EXPECT(ask(&a, flocking(0, LOCK_EX)), 0); /* flock: the last close of this open */
	EXPECT(op(&a, 1, "close"), 0);
	EXPECT(ask(&a, (struct order){.what = DUP, .slot = 2, .arg = 0}), 0);
	EXPECT(ask(&a, simple(CLOSE, 0)), 0);
	EXPECT(ask(&a, simple(CLOSE, 1)), 0);
	EXPECT(ask(&b, flocking(0, LOCK_EX | LOCK_NB)), EWOULDBLOCK);
	EXPECT(ask(&a, simple(CLOSE, 2)), 0);
	EXPECT(ask(&b, flocking(0, LOCK_EX)), 0);
	EXPECT(ask(&b, flocking(0, LOCK_UN)), 0);
	EXPECT(op(&a, 0, "close"), 0); /* a process that is killed */
	EXPECT(ask(&a, flocking(0, LOCK_EX)), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 0, 0)), 0);
	leave(&a, SIGKILL);
	EXPECT(ask(&b, flocking(0, LOCK_EX)), 0);
	EXPECT(ask(&b, range(0, F_SETLKW, F_WRLCK, 0, 0)), 0);
	leave(&b, SIGTERM);
}

/* Holds FILE's lock on MNT2, says so, and writes under it when told to: the answer is its exit. */
static void play_hold(void)
{
	struct player b = enter(1);
	char line[16];

	EXPECT(op(&b, 0, "held"), 0);
	EXPECT(ask(&b, range(0, F_SETLK, F_WRLCK, 0, 0)), 0);
	EXPECT(ask(&b, flocking(0, LOCK_EX)), 0);
	EXPECT(ask(&b, simple(WRITE, 0)), 0);
	printf("held\n");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin)) {
		struct order o = {.what = WRITE, .start = 1};
		int err = ask(&b, o);

		printf("%s\n", err < 0 ? "no answer" : err ? strerror(err) : "written");
	}
	leave(&b, SIGKILL);
}

/* Waits for that lock on MNT, and takes it. */
static void play_take(void)
{
	struct player a = enter(0);

	EXPECT(op(&a, 0, "held"), 0);
	EXPECT(ask(&a, range(0, F_SETLK, F_WRLCK, 0, 0)), EAGAIN);
	tell(&a, range(0, F_SETLKW, F_WRLCK, 0, 0));
	EXPECT(waits(&a), -1);
	printf("waits\n");
	fflush(stdout);
	EXPECT(answers(&a), 0);
	EXPECT(ask(&a, flocking(0, LOCK_EX)), 0);
	leave(&a, SIGTERM);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*play)(void);
	} plays[] = {
		{"flock", play_flock},	       {"ranges", play_ranges},
		{"wake", play_wake},	       {"signal", play_signal},
		{"deadlock", play_deadlock},   {"descriptions", play_descriptions},
		{"close", play_close},	       {"hold", play_hold},
		{"take", play_take},
	};

	if (argc != 4)
		return 2;
	mounts[0] = argv[1];
	mounts[1] = argv[2];
	for (size_t i = 0; i < sizeof(plays) / sizeof(plays[0]); i++) {
		if (strcmp(plays[i].name, argv[3]) == 0) {
			plays[i].play();
			return 0;
		}
	}
	return 2;
}
