#include "tests/lib/check_fixture.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/check.h"

struct chf chf;

void chf_setup(void)
{
	history_init(&chf.h);
}

void chf_teardown(void)
{
	history_release(&chf.h);
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
