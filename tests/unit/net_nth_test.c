/* net: every allocation of calls and frames fails once, on either side: the connection of the
 * unlucky one is closed at worst, the call ends with an error, and the next one works. */
#include <string.h>

#include "base/err.h"
#include "base/fiber.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/net_fixture.h"

static struct fault *fault;
static uint8_t body[300000];

static bool is_excused(int err)
{
	return fault_has_fired(fault) &&
	       (err == ERR_NOMEM || err == ERR_CLOSED || err == ERR_UNREACHABLE || err == ERR_BUSY ||
		err == ERR_TIMEOUT);
}

/* A call that may be the unlucky one; then again. */
static void echo(struct net_peer *p, size_t len)
{
	struct slice part = slice_of(body, len);
	struct buf reply = BUF_INIT;
	int err = net_call(p, FIX_ECHO, &part, 1, net_fix_in_ms(500), &reply);

	if (err) {
		if (!is_excused(err))
			CHECK_OK(err);
		err = net_call(p, FIX_ECHO, &part, 1, net_fix_in_ms(20000), &reply);
	}
	CHECK_OK(err);
	CHECK_SLICE_EQ(buf_slice(&reply), part);
	buf_release(&reply);
}

static void caller(void *arg)
{
	static const size_t sizes[] = {0, 100, 5000, 300000, 100};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		echo(arg, sizes[i]);
}

static void calls_in(struct fault *f)
{
	struct net_peer *p;

	fault = f;
	net_fix_setup();
	p = net_fix_peer();
	net_fix_start(caller, p);
	fault_arm(f);
	net_fix_run_fibers();
	fault_disarm(f);
	net_peer_free(p);
	net_fix_teardown();
}

static void calls(void)
{
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 31);
	fault_every_forked("net: connect, call, reply", calls_in, NULL, NULL);
}

static void frames_in(struct fault *f)
{
	struct buf b = BUF_INIT;
	struct net_frame got;

	fault_arm(f);
	net_frame_encode(&b, 7, 0, 9, slice_of(body, 2000));
	if (fault_hit(f, buf_ok(&b) ? 0 : ERR_NOMEM)) {
		CHECK_INT_EQ(b.len, 0); /* no half of one */
		buf_reset(&b);
		net_frame_encode(&b, 7, 0, 9, slice_of(body, 2000));
	}
	fault_arm(f);
	CHECK_INT_EQ(net_frame_parse(buf_slice(&b), &got), (long)b.len);
	fault_disarm(f);
	CHECK_SLICE_EQ(got.body, slice_of(body, 2000));
	buf_release(&b);
}

static void frames(void)
{
	fault_every("net: frame", frames_in, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, fault_teardown, frames),
	CHECK_TEST_WITH(NULL, fault_teardown, calls),
};
CHECK_MAIN(tests)
