#include "tests/lib/check_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/lib/check.h"

struct chf chf;

void chf_setup(void)
{
	history_init(&chf.h);
}

void chf_teardown(void)
{
	history_release(&chf.h);
	mem_free(chf.states);
	chf.states = NULL;
	chf.states_size = 0;
}

void chf_start_over(void)
{
	history_release(&chf.h);
	history_init(&chf.h);
}

void chf_text(const char *lines)
{
	char text[4096];
	struct msg m = {""};
	FILE *f;

	CHECK_TRUE((size_t)snprintf(text, sizeof(text), "paxfs-history 1\n%s", lines) < sizeof(text));
	chf_start_over();
	f = fmemopen(text, strlen(text), "r");
	CHECK_NOT_NULL(f);
	if (history_read(&chf.h, f, &m) != 0)
		CHECK_FAIL("%s", m.text);
	fclose(f);
}

static bool may_be_next(uint32_t left, size_t i)
{
	for (size_t j = 0; j < chf.h.count; j++)
		if ((left >> j & 1) != 0 && history_done_ns(&chf.h.ops[j]) < chf.h.ops[i].invoke_ns)
			return false;
	return true;
}

struct search {
	bool (*step)(const struct history_op *op, void *state);
	size_t size;
};

/* @left: a bit per operation that has no place yet. @state: one of chf.states; the next is free. */
static bool search(const struct search *s, uint32_t left, void *state)
{
	uint8_t *after = (uint8_t *)state + s->size;
	bool done = true, found = false;

	for (size_t i = 0; i < chf.h.count; i++)
		done &= (left >> i & 1) == 0 || chf.h.ops[i].outcome == HISTORY_UNKNOWN;
	if (done)
		return true;
	for (size_t i = 0; i < chf.h.count && !found; i++) {
		if ((left >> i & 1) == 0 || !may_be_next(left, i))
			continue;
		memcpy(after, state, s->size);
		found = s->step(&chf.h.ops[i], after) && search(s, left & ~(1u << i), after);
	}
	return found;
}

bool chf_some_order(bool (*step)(const struct history_op *op, void *state), const void *first,
		    size_t size)
{
	struct search s = {step, size};
	uint32_t left = 0;

	CHECK_TRUE(chf.h.count <= 32);
	for (size_t i = 0; i < chf.h.count; i++)
		left |= chf.h.ops[i].outcome != HISTORY_FAILED ? 1u << i : 0;
	if (chf.states_size < (chf.h.count + 1) * size) {
		chf.states_size = (chf.h.count + 1) * size;
		chf.states = mem_must_realloc(chf.states, chf.states_size);
	}
	memcpy(chf.states, first, size);
	return search(&s, left, chf.states);
}

void chf_show(void)
{
	char text[256];

	for (size_t i = 0; i < chf.h.count; i++)
		fprintf(stderr, "  %s\n", history_op_text(&chf.h.ops[i], text, sizeof(text)));
}

void chf_accepted(void)
{
	if (chf.v.code != VERDICT_OK)
		CHECK_FAIL("%s", chf.v.text);
	CHECK_STR_EQ(chf.v.name, "ok");
	CHECK_STR_EQ(chf.v.text, "");
}

void chf_refused(const char *name, const char *part)
{
	CHECK_STR_EQ(chf.v.name, name);
	CHECK_INT_EQ(chf.v.code, strcmp(name, "unfit") == 0 ? VERDICT_UNFIT : VERDICT_WRONG);
	CHECK_CONTAINS(chf.v.text, part);
}
