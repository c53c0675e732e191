/* A TCP proxy between nodes, and between clients and nodes, whose links can be made bad while it runs.
 *
 *   faultproxy run CONTROL SEED ID=SOCKET...   listens on 127.0.0.1 for each node ID, at ports of the
 *                                              kernel's choice; passes on to the Unix socket SOCKET.
 *                                              Prints `ID 127.0.0.1:PORT` per node, then `ready`
 *   faultproxy ctl CONTROL COMMAND...          sends commands to the one that listens at CONTROL
 *
 * Who connects is told by the source address: 127.0.1.N is party N (see faultio.c, which binds
 * sockets), anything else is party 0. A link is an ordered pair of parties; `*` is any. Commands:
 *
 *   drop FROM TO             nothing passes, on any connection between the two, in this direction;
 *                            it is held back, and new connections of either come to nothing
 *   cut FROM TO              resets the connections that stand, between the two
 *   delay FROM TO MS [JIT]   each piece is held for MS ms, and up to JIT more; order is kept
 *   slow FROM TO BYTES       so many bytes a second, per connection
 *   heal FROM TO             all well again: what was held back goes on
 *   stats                    connections, bytes passed, resets
 *
 * Ends at SIGTERM, or when standard input is closed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PARTIES 128
#define LINES_MAX 512
#define CHUNK 65536
#define QUEUE_MAX (1024 * 1024) /* bytes held per direction; then it stops reading */

struct rule {
	bool drop;
	unsigned delay_ms, jitter_ms, bytes_per_s;
};
static struct rule rules[PARTIES][PARTIES];

struct chunk {
	struct chunk *next;
	uint64_t due_ms;
	size_t len, off;
	char data[];
};

struct flow { /* one direction of a line */
	int from, to;
	struct chunk *first, *last;
	size_t queued;
	uint64_t last_due_ms, next_ms; /* next_ms: of a slow link, when it may write again */
	bool eof, done;
};

struct line { /* one connection that came in, and the one that goes out for it */
	int fd[2]; /* 0: who connected; 1: the node, -1 until it is connected */
	int target;
	struct flow flow[2]; /* flow[i] reads fd[i] and writes fd[!i] */
};

struct node {
	bool used;
	int listener;
	char path[108];
};

static struct line *lines[LINES_MAX];
static struct node nodes[PARTIES];
static volatile sig_atomic_t stopped;
static uint64_t passed, resets, accepted, seed;

static void on_term(int s)
{
	(void)s;
	stopped = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t dice(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void die(const char *what)
{
	fprintf(stderr, "faultproxy: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct rule *rule_of(const struct flow *f)
{
	return &rules[f->from][f->to];
}

/* ---- lines ---- */

static void line_free(struct line **slot, bool reset)
{
	struct line *l = *slot;
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	if (reset) {
		setsockopt(l->fd[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		resets++;
	}
	for (int i = 0; i < 2; i++) {
		while (l->flow[i].first) {
			struct chunk *c = l->flow[i].first;

			l->flow[i].first = c->next;
			free(c);
		}
		if (l->fd[i] >= 0)
			close(l->fd[i]);
	}
	free(l);
	*slot = NULL;
}

static void line_accept(int target)
{
	struct sockaddr_in who;
	socklen_t len = sizeof(who);
	int fd = accept4(nodes[target].listener, (struct sockaddr *)&who, &len,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);
	int one = 1, from = 0;
	uint32_t a;

	if (fd < 0)
		return;
	a = ntohl(who.sin_addr.s_addr);
	if (a >> 8 == 0x7f0001 && (a & 0xff) < PARTIES)
		from = (int)(a & 0xff);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < LINES_MAX; i++) {
		struct line *l;

		if (lines[i])
			continue;
		l = calloc(1, sizeof(*l));
		if (!l)
			die("memory");
		*l = (struct line){.fd = {fd, -1}, .target = target};
		l->flow[0].from = l->flow[1].to = from;
		l->flow[0].to = l->flow[1].from = target;
		lines[i] = l;
		accepted++;
		return;
	}
	close(fd);
}

/* 0; -1 when nobody listens there. As long as a direction is dropped, no connection comes about. */
static int line_connect(struct line *l)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (l->fd[1] >= 0 || rule_of(&l->flow[0])->drop || rule_of(&l->flow[1])->drop)
		return 0;
	memcpy(to.sun_path, nodes[l->target].path, sizeof(to.sun_path));
	l->fd[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd[1] < 0)
		die("socket");
	return connect(l->fd[1], (struct sockaddr *)&to, sizeof(to));
}

/* ---- bytes ---- */

static bool may_read(const struct line *l, int i)
{
	const struct flow *f = &l->flow[i];

	return l->fd[1] >= 0 && !f->eof && !rule_of(f)->drop && f->queued < QUEUE_MAX;
}

static bool may_write(const struct line *l, int i, uint64_t now)
{
	const struct flow *f = &l->flow[i];

	return l->fd[1] >= 0 && f->first && !rule_of(f)->drop && f->first->due_ms <= now &&
	       f->next_ms <= now;
}

static int flow_read(struct line *l, int i, uint64_t now)
{
	struct flow *f = &l->flow[i];
	const struct rule *r = rule_of(f);
	struct chunk *c = malloc(sizeof(*c) + CHUNK);
	ssize_t n;

	if (!c)
		die("memory");
	n = read(l->fd[i], c->data, CHUNK);
	if (n <= 0) {
		free(c);
		f->eof = n == 0;
		return n == 0 || errno == EAGAIN || errno == EINTR ? 0 : -1;
	}
	*c = (struct chunk){.len = (size_t)n, .due_ms = now + r->delay_ms};
	if (r->jitter_ms)
		c->due_ms += dice() % (r->jitter_ms + 1);
	if (c->due_ms < f->last_due_ms)
		c->due_ms = f->last_due_ms;
	f->last_due_ms = c->due_ms;
	f->queued += c->len;
	if (f->last)
		f->last->next = c;
	else
		f->first = c;
	f->last = c;
	return 0;
}

static int flow_write(struct line *l, int i, uint64_t now)
{
	struct flow *f = &l->flow[i];
	struct chunk *c = f->first;
	unsigned rate = rule_of(f)->bytes_per_s;
	size_t want = c->len - c->off;
	ssize_t n;

	if (rate && want > rate / 20 + 1)
		want = rate / 20 + 1;
	n = send(l->fd[!i], c->data + c->off, want, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (rate)
		f->next_ms = now + (uint64_t)n * 1000 / rate;
	passed += (uint64_t)n;
	f->queued -= (size_t)n;
	c->off += (size_t)n;
	if (c->off < c->len)
		return 0;
	f->first = c->next;
	if (!f->first)
		f->last = NULL;
	free(c);
	return 0;
}

static void flow_end(struct line *l, int i)
{
	struct flow *f = &l->flow[i];

	if (f->eof && !f->first && !f->done && !rule_of(f)->drop) {
		f->done = true;
		shutdown(l->fd[!i], SHUT_WR);
	}
}

/* ---- control ---- */

static int party(const char *word)
{
	char *end;
	long n;

	if (strcmp(word, "*") == 0)
		return -1;
	n = strtol(word, &end, 10);
	return *end || n < 0 || n >= PARTIES ? -2 : (int)n;
}

static bool matches(int pattern, int id)
{
	return pattern < 0 || pattern == id;
}

static void cut(int from, int to)
{
	for (int i = 0; i < LINES_MAX; i++) {
		const struct line *l = lines[i];

		if (!l)
			continue;
		if ((matches(from, l->flow[0].from) && matches(to, l->flow[0].to)) ||
		    (matches(from, l->flow[0].to) && matches(to, l->flow[0].from)))
			line_free(&lines[i], true);
	}
}

static bool change(struct rule *r, const char *verb, unsigned a, unsigned b)
{
	if (strcmp(verb, "drop") == 0)
		r->drop = true;
	else if (strcmp(verb, "delay") == 0)
		r->delay_ms = a, r->jitter_ms = b;
	else if (strcmp(verb, "slow") == 0)
		r->bytes_per_s = a;
	else if (strcmp(verb, "heal") == 0)
		memset(r, 0, sizeof(*r));
	else
		return false;
	return true;
}

static void command(const char *text, char *out, size_t size)
{
	char verb[16] = "", a[16] = "", b[16] = "";
	unsigned x = 0, y = 0;
	int from, to, n = sscanf(text, "%15s %15s %15s %u %u", verb, a, b, &x, &y);

	snprintf(out, size, "ok\n");
	if (n == 1 && strcmp(verb, "stats") == 0) {
		snprintf(out, size, "accepted %llu bytes %llu resets %llu\n",
			 (unsigned long long)accepted, (unsigned long long)passed,
			 (unsigned long long)resets);
		return;
	}
	from = party(a);
	to = party(b);
	if (n < 3 || from == -2 || to == -2) {
		snprintf(out, size, "bad command: %.200s\n", text);
		return;
	}
	if (strcmp(verb, "cut") == 0) {
		cut(from, to);
		return;
	}
	for (int i = 0; i < PARTIES; i++)
		for (int k = 0; k < PARTIES; k++)
			if (matches(from, i) && matches(to, k) && !change(&rules[i][k], verb, x, y))
				snprintf(out, size, "bad command: %.200s\n", text);
}

/* One connection, commands of one line each, an answer of one line to each. */
static void serve_control(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char text[256], answer[320];

	while (f && fgets(text, sizeof(text), f)) {
		text[strcspn(text, "\n")] = 0;
		command(text, answer, sizeof(answer));
		dprintf(fd, "%s", answer);
	}
	if (f)
		fclose(f);
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(a.sun_path, path);
	return a;
}

static int ctl(const char *path, int argc, char **argv)
{
	struct sockaddr_un a = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), bad = 0;
	char answer[320];
	FILE *f;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		die(path);
	f = fdopen(fd, "r");
	for (int i = 0; f && i < argc; i++) {
		dprintf(fd, "%s\n", argv[i]);
		if (!fgets(answer, sizeof(answer), f))
			die("no answer");
		if (strcmp(answer, "ok\n") != 0)
			fputs(answer, stdout);
		bad |= strncmp(answer, "bad", 3) == 0;
	}
	return bad;
}

/* ---- the loop ---- */

static void listen_all(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		struct sockaddr_in a = {.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t len = sizeof(a);
		char *eq = strchr(argv[i], '=');
		int id = atoi(argv[i]), fd;

		if (!eq || id <= 0 || id >= PARTIES || strlen(eq + 1) >= sizeof(nodes[0].path)) {
			errno = EINVAL;
			die(argv[i]);
		}
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
		    listen(fd, 256) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
			die("listen");
		nodes[id].used = true;
		nodes[id].listener = fd;
		strcpy(nodes[id].path, eq + 1);
		printf("%d 127.0.0.1:%d\n", id, ntohs(a.sin_port));
	}
	puts("ready");
	fflush(stdout);
}

static short events_of(const struct line *l, int i, uint64_t now)
{
	return (short)((may_read(l, i) ? POLLIN : 0) | (may_write(l, !i, now) ? POLLOUT : 0));
}

static void line_serve(struct line **slot, const short got[2], uint64_t now)
{
	struct line *l = *slot;
	int bad = line_connect(l);

	for (int i = 0; i < 2 && !bad; i++) {
		if (may_read(l, i) && (got[i] & (POLLIN | POLLHUP | POLLERR)))
			bad = flow_read(l, i, now);
		if (!bad && (got[!i] & POLLOUT) && may_write(l, i, now))
			bad = flow_write(l, i, now);
		if (!bad && l->fd[1] >= 0)
			flow_end(l, i);
	}
	if (bad || (l->flow[0].done && l->flow[1].done))
		line_free(slot, bad != 0);
}

/* When something becomes due, in ms from now; -1: nothing does. */
static int next_due(uint64_t now)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < LINES_MAX; i++)
		for (int k = 0; lines[i] && k < 2; k++) {
			const struct flow *f = &lines[i]->flow[k];
			uint64_t at;

			if (!f->first || rule_of(f)->drop)
				continue;
			at = f->first->due_ms > f->next_ms ? f->first->due_ms : f->next_ms;
			if (at > now && at < best)
				best = at;
		}
	return best == UINT64_MAX ? -1 : (int)(best - now);
}

static void turn(int control)
{
	static struct pollfd p[LINES_MAX * 2 + PARTIES + 2];
	static int line_at[LINES_MAX];
	uint64_t now = now_ms();
	int n = 0, listeners;

	p[n++] = (struct pollfd){.fd = control, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = 0};
	for (int i = 0; i < PARTIES; i++)
		p[n++] = (struct pollfd){.fd = nodes[i].used ? nodes[i].listener : -1,
					 .events = POLLIN};
	listeners = n;
	for (int i = 0; i < LINES_MAX; i++) {
		line_at[i] = n;
		for (int k = 0; lines[i] && k < 2; k++) {
			short ev = events_of(lines[i], k, now);

			/* Without events POLLHUP would be told again and again. */
			p[n++] = (struct pollfd){.fd = ev ? lines[i]->fd[k] : -1, .events = ev};
		}
	}
	if (poll(p, (nfds_t)n, next_due(now)) < 0)
		return;
	now = now_ms();
	stopped |= (p[1].revents & (POLLHUP | POLLERR)) != 0;
	for (int i = 0; i < LINES_MAX; i++)
		if (lines[i])
			line_serve(&lines[i],
				   (short[]){p[line_at[i]].revents, p[line_at[i] + 1].revents}, now);
	for (int i = listeners - PARTIES; i < listeners; i++)
		if (p[i].revents)
			line_accept(i - (listeners - PARTIES));
	for (int i = 0; i < LINES_MAX; i++) /* new ones, and those of links that are well again */
		if (lines[i] && lines[i]->fd[1] < 0 && line_connect(lines[i]) != 0)
			line_free(&lines[i], true);
	if (p[0].revents)
		serve_control(control);
}

static int run(const char *path, const char *seed_text, int argc, char **argv)
{
	struct sockaddr_un a = unix_address(path);
	struct sigaction sa = {.sa_handler = on_term};
	int control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	seed = strtoull(seed_text, NULL, 10) * 2654435761u + 88172645463325252ull;
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &sa, NULL);
	if (control < 0 || bind(control, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    listen(control, 8) != 0)
		die(path);
	listen_all(argc, argv);
	while (!stopped)
		turn(control);
	unlink(path);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 4 && strcmp(argv[1], "run") == 0)
		return run(argv[2], argv[3], argc - 4, argv + 4);
	if (argc > 3 && strcmp(argv[1], "ctl") == 0)
		return ctl(argv[2], argc - 3, argv + 3);
	fputs("usage: faultproxy run CONTROL SEED ID=SOCKET... | ctl CONTROL COMMAND...\n", stderr);
	return 2;
}
